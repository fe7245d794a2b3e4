//! An Http step: one request, its answer, an assertion over it, outputs from it.

use std::time::Instant;

use engine::delegate::{FORBIDDEN, MISWRITTEN, UNAUTHENTICATED, UNREACHABLE};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use syntax::expr::Value;

use super::scope::{Seen, map};
use super::{Failed, Outputs, Request};

/// Bytes of an answer that are read: an output holds far less.
const LARGEST: usize = 10 * 1024 * 1024;
/// What a server has to take a connection.
const CONNECT: std::time::Duration = std::time::Duration::from_secs(30);

/// Sends it. What became of it is an output, too (`reference/entities.md` §9).
pub(super) async fn send(request: &Request, outputs: &mut Outputs) -> Result<(), Failed> {
    let end = answered(request, outputs).await;
    let (status, message) = match &end {
        Ok(()) => ("SUCCESS", ""),
        Err(failed) => ("FAILURE", &*failed.message),
    };
    for (name, value) in [("status", status), ("errorMsg", message)] {
        // A variable of the step's own of that name is what its author means.
        if !outputs.secret.contains_key(name) {
            let free = outputs.open.entry(name.to_owned());
            free.or_insert_with(|| value.to_owned());
        }
    }
    end
}

async fn answered(request: &Request, outputs: &mut Outputs) -> Result<(), Failed> {
    let ready = prepare(request).map_err(|message| Failed {
        code: MISWRITTEN,
        message,
    })?;
    println!("{} {}", request.method, request.url);
    let begun = Instant::now();
    let (code, headers, body) = answer(ready).await.map_err(|error| Failed {
        code: UNREACHABLE,
        message: format!(
            "no answer from {}: {}",
            host(&request.url),
            innermost(&error)
        ),
    })?;
    println!(
        "{code} after {} ms, {} bytes",
        begun.elapsed().as_millis(),
        body.len()
    );
    for (name, value) in [
        ("httpUrl", request.url.clone()),
        ("httpMethod", request.method.clone()),
        ("httpResponseCode", code.to_string()),
        ("httpResponseBody", body.clone()),
    ] {
        outputs.open.insert(name.to_owned(), value);
    }
    let of_headers = headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.as_str(), Value::from(value))
    });
    let seen = Seen {
        answer: map([
            ("httpUrl", request.url.as_str().into()),
            ("httpMethod", request.method.as_str().into()),
            ("httpResponseCode", i64::from(code).into()),
            ("httpResponseBody", body.as_str().into()),
            ("httpResponseHeaders", map(of_headers).into()),
        ]),
        known: &request.known,
    };
    for own in &request.outputs {
        // The format drops one that the answer does not have (`reference/entities.md` §9).
        let value = match seen.text(&own.text) {
            Ok(value) => value,
            Err(why) => {
                println!("warning: no output `{}`: {why}", own.name);
                continue;
            }
        };
        let to = if own.secret {
            &mut outputs.secret
        } else {
            &mut outputs.open
        };
        to.insert(own.name.clone(), value);
    }
    if let Some(assertion) = &request.assertion {
        let holds = seen.asserts(assertion).map_err(|why| Failed {
            code: MISWRITTEN,
            message: format!("the assertion `{assertion}` cannot be evaluated: {why}"),
        })?;
        println!("assertion {assertion}: {holds}");
        if !holds {
            return Err(Failed {
                code: 1,
                message: format!("the assertion `{assertion}` is false: the answer was {code}"),
            });
        }
    }
    // Any other answer is one, as long as nothing is asserted (`reference/entities.md` §9).
    let refused = match code {
        401 => Some((UNAUTHENTICATED, "who asks is not known there")),
        403 => Some((FORBIDDEN, "who asks may not")),
        _ => None,
    };
    match refused {
        Some((refused, why)) if request.assertion.is_none() => Err(Failed {
            code: refused,
            message: format!("the answer was {code}: {why}"),
        }),
        _ => Ok(()),
    }
}

fn prepare(request: &Request) -> Result<reqwest::RequestBuilder, String> {
    // Set already where this program did it before.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("stepyard/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT);
    if let Some((certificate, key)) = &request.certificate {
        let pem = format!("{}\n{}\n", certificate.trim(), key.trim());
        let identity = reqwest::Identity::from_pem(pem.as_bytes())
            .map_err(|e| format!("the client's certificate cannot be used: {}", innermost(&e)))?;
        builder = builder.identity(identity);
    }
    let client = builder
        .build()
        .map_err(|e| format!("failed to prepare the request: {}", innermost(&e)))?;
    let method = reqwest::Method::from_bytes(request.method.as_bytes())
        .map_err(|_| format!("`{}` is no method of HTTP", request.method))?;
    let url = reqwest::Url::parse(&request.url).map_err(|e| {
        format!("the url cannot be used: {e}; it begins with `http://` or `https://`")
    })?;
    let mut headers = HeaderMap::new();
    for (name, value) in &request.headers {
        let known = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| format!("`{name}` is no name of a header"))?;
        let value = HeaderValue::from_str(value)
            .map_err(|_| format!("the value of the header `{name}` cannot be sent"))?;
        headers.append(known, value);
    }
    let mut ready = client.request(method, url).headers(headers);
    if let Some(body) = &request.body {
        ready = ready.body(body.clone());
    }
    Ok(ready)
}

async fn answer(
    ready: reqwest::RequestBuilder,
) -> Result<(u16, HeaderMap, String), reqwest::Error> {
    let mut response = ready.send().await?;
    let (code, headers) = (response.status().as_u16(), response.headers().clone());
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await? {
        body.extend_from_slice(&piece);
        if body.len() > LARGEST {
            println!("the answer is longer than {LARGEST} bytes: the rest is not read");
            body.truncate(LARGEST);
            break;
        }
    }
    Ok((code, headers, String::from_utf8_lossy(&body).into_owned()))
}

/// Where a url leads, without what may be secret in it.
fn host(url: &str) -> String {
    reqwest::Url::parse(url)
        .ok()
        .and_then(|url| {
            let port = url.port().map_or(String::new(), |port| format!(":{port}"));
            Some(format!("{}{port}", url.host_str()?))
        })
        .unwrap_or_else(|| "there".to_owned())
}

/// The cause that says something.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
