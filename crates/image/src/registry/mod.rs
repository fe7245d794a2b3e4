//! The HTTP side: one request at a time, with whatever login its registry asks for.
//!
//! `reqwest` directly rather than a registry crate: resuming a blob, falling back between mirrors and telling the
//! refusals apart all need the response itself.

mod auth;
pub(crate) mod blob;
mod push;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use reqwest::{Method, Response, StatusCode, Url};

use self::auth::{Challenge, Grant};
use crate::error::chain;
use crate::reference::{DEFAULT_REGISTRY, Name};
use crate::{Error, Login};

/// Longest manifest, index or config that is read: registries refuse to store longer ones.
const LONGEST_DOCUMENT: u64 = 8 << 20;
/// Object stores behind registries take one or two.
const MOST_REDIRECTS: u32 = 5;
/// How much of a refusal's text is shown.
const SHOWN: usize = 300;
/// How often a request is sent again that a registry is too busy for.
const BUSY: u32 = 2;
/// What a registry may ask for before the next try; who wants more is told to come later by hand.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How registries are reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// By registry host (and port), the URLs asked before it, in order: `https://mirror.example`, or with a path that
    /// goes before the repository: `https://harbor.example/hub-proxy`. Credentials are never sent to them.
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// Registries (host and port) without TLS; those on loopback are taken to be.
    pub insecure: BTreeSet<String>,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How long a registry may send nothing.
    pub stall_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mirrors: BTreeMap::new(),
            insecure: BTreeSet::new(),
            connect_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(30),
        }
    }
}

/// Where one registry's content is asked for: itself, or a mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// `https://host:port`
    base: String,
    /// Before the repository, with a `/` at its end, or empty.
    prefix: String,
    /// For messages, and for whom credentials are.
    pub(crate) host: String,
    /// No mirror.
    pub(crate) origin: bool,
}

/// One image being asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) name: &'a Name,
    pub(crate) login: Option<&'a Login>,
    /// `pull` or `pull,push`.
    pub(crate) actions: &'static str,
}

impl Ask<'_> {
    pub(crate) fn image(&self) -> String {
        self.name.to_string()
    }
}

/// The client: connections, and the logins that registries have granted.
#[derive(Debug)]
pub(crate) struct Registry {
    pub(crate) settings: Settings,
    near: OnceLock<reqwest::Client>,
    far: OnceLock<reqwest::Client>,
    /// By endpoint, repository, actions and user.
    grants: Mutex<HashMap<String, Grant>>,
}

/// One request, repeatable.
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    /// An absolute URL, or a path below `/v2/<repository>/`.
    pub(crate) path: &'a str,
    pub(crate) headers: HeaderMap,
    /// Made again for each try.
    pub(crate) body: Option<&'a (dyn Fn() -> std::io::Result<reqwest::Body> + Send + Sync)>,
    /// It is sent again where the registry is busy.
    pub(crate) patient: bool,
}

impl<'a> Request<'a> {
    pub(crate) fn new(method: Method, path: &'a str) -> Self {
        Self {
            method,
            path,
            headers: HeaderMap::new(),
            body: None,
            patient: true,
        }
    }
}

impl Registry {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            near: OnceLock::new(),
            far: OnceLock::new(),
            grants: Mutex::default(),
        }
    }

    /// The mirrors of a registry, then itself.
    pub(crate) fn endpoints(&self, registry: &str) -> Result<Vec<Endpoint>, Error> {
        let mut all = Vec::new();
        for url in self.settings.mirrors.get(registry).into_iter().flatten() {
            all.push(mirror(url)?);
        }
        all.push(self.origin(registry));
        Ok(all)
    }

    pub(crate) fn origin(&self, registry: &str) -> Endpoint {
        let host = if registry == DEFAULT_REGISTRY {
            "registry-1.docker.io"
        } else {
            registry
        };
        let plain = loopback(host) || self.settings.insecure.contains(registry);
        let scheme = if plain { "http" } else { "https" };
        Endpoint {
            base: format!("{scheme}://{host}"),
            prefix: String::new(),
            host: registry.into(),
            origin: true,
        }
    }

    /// A client for this URL. Loopback needs neither the machine's certificates (a bare one has none) nor its proxy.
    fn http(
        &self,
        ask: &Ask<'_>,
        endpoint: &Endpoint,
        url: &Url,
    ) -> Result<reqwest::Client, Error> {
        let near = url.scheme() == "http" && url.host_str().is_some_and(loopback);
        let cell = if near { &self.near } else { &self.far };
        if let Some(client) = cell.get() {
            return Ok(client.clone());
        }
        // Another part of the process may have chosen one: then that one serves.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("stepyard/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none()) // `send` follows them, minding who may see a login
            .connect_timeout(self.settings.connect_timeout)
            .read_timeout(self.settings.stall_timeout);
        if near {
            builder = builder.no_proxy().tls_certs_only([]);
        }
        let client = builder
            .build()
            .map_err(|e| self.failed(ask, endpoint, &e))?;
        Ok(cell.get_or_init(|| client).clone())
    }

    /// Sends a request, logging in where it is asked for. Answers below 400 (and 416) come back.
    pub(crate) async fn send(
        &self,
        ask: &Ask<'_>,
        at: &Endpoint,
        request: Request<'_>,
    ) -> Result<Response, Error> {
        let url = if request.path.starts_with("http") {
            request.path.to_owned()
        } else if let Some(path) = request.path.strip_prefix('/') {
            format!("{}/{path}", at.base)
        } else {
            format!(
                "{}/v2/{}{}/{}",
                at.base, at.prefix, ask.name.repository, request.path
            )
        };
        let broken = |why: String| Error::Unreachable {
            image: ask.image(),
            registry: at.host.clone(),
            why,
        };
        let parse = |text: &str| {
            Url::parse(text).map_err(|e| broken(format!("`{text}` is not a URL: {e}")))
        };
        let mut url = parse(&url)?;
        let home = parse(&at.base)?.origin();
        let key = Self::key(ask, at);
        let mut grant = self.grant(&key);
        let (mut tried, mut hops, mut busy) = (false, 0, 0);
        loop {
            // Blobs often lie elsewhere, behind a signed URL: nobody else is shown what the registry granted.
            let ours = url.origin() == home;
            let client = self.http(ask, at, &url)?;
            let mut r = client
                .request(request.method.clone(), url.clone())
                .headers(request.headers.clone());
            if let Some(grant) = grant.as_ref().filter(|_| ours) {
                r = r.header(AUTHORIZATION, grant.header());
            }
            if let Some(body) = request.body {
                r = r.body(body().map_err(|source| Error::File {
                    path: ask.image().into(),
                    source,
                })?);
            }
            let response = r.send().await.map_err(|e| self.failed(ask, at, &e))?;
            let status = response.status();
            if status.is_redirection()
                && let Some(to) = response.headers().get(LOCATION)
            {
                hops += 1;
                let to = to.to_str().unwrap_or_default();
                let next = url.join(to).map_err(|e| {
                    broken(format!("it redirects to `{to}`, which is not a URL: {e}"))
                })?;
                if hops > MOST_REDIRECTS {
                    return Err(broken(format!(
                        "it redirects more than {MOST_REDIRECTS} times"
                    )));
                }
                if url.scheme() == "https" && next.scheme() != "https" {
                    return Err(broken(format!(
                        "it redirects to {}, which is without TLS",
                        place(&next)
                    )));
                }
                url = next;
                continue;
            }
            if status == StatusCode::UNAUTHORIZED && !tried && ours {
                tried = true;
                if let Some(new) = self.log_in(ask, at, &response).await? {
                    self.keep(&key, new.clone());
                    grant = Some(new);
                    continue;
                }
            }
            if request.patient
                && busy < BUSY
                && let Some(pause) = passing(&response, busy + 1)
            {
                busy += 1;
                tokio::time::sleep(pause).await;
                continue;
            }
            if status.is_client_error() && status != StatusCode::RANGE_NOT_SATISFIABLE
                || status.is_server_error()
            {
                return Err(refusal(ask, at, response).await);
            }
            return Ok(response);
        }
    }

    async fn log_in(
        &self,
        ask: &Ask<'_>,
        at: &Endpoint,
        response: &Response,
    ) -> Result<Option<Grant>, Error> {
        let login = ask.login.filter(|_| at.origin).and_then(Login::pair);
        let headers = response.headers().get_all(WWW_AUTHENTICATE);
        let challenges = headers
            .iter()
            .filter_map(|v| Challenge::parse(v.to_str().ok()?))
            .collect::<Vec<_>>();
        let bearer = challenges.iter().find_map(|c| match c {
            Challenge::Bearer { realm, service } => Some((realm, service)),
            Challenge::Basic => None,
        });
        if let Some((realm, service)) = bearer {
            let scope = format!(
                "repository:{}{}:{}",
                at.prefix, ask.name.repository, ask.actions
            );
            return self
                .token(ask, at, realm, service.as_deref(), &scope, login)
                .await
                .map(Some);
        }
        Ok(login.map(|(user, password)| Grant::basic(user, password)))
    }

    fn key(ask: &Ask<'_>, at: &Endpoint) -> String {
        let user = ask
            .login
            .filter(|_| at.origin)
            .and_then(Login::pair)
            .map_or("", |(user, _)| user);
        format!(
            "{} {}{} {} {user}",
            at.base, at.prefix, ask.name.repository, ask.actions
        )
    }

    fn grant(&self, key: &str) -> Option<Grant> {
        let grants = self
            .grants
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        grants.get(key).filter(|g| g.lasts()).cloned()
    }

    fn keep(&self, key: &str, grant: Grant) {
        self.grants
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .insert(key.into(), grant);
    }

    /// A connection that failed, in our words.
    pub(crate) fn failed(&self, ask: &Ask<'_>, at: &Endpoint, e: &reqwest::Error) -> Error {
        let (image, registry) = (ask.image(), at.host.clone());
        if e.is_timeout() {
            let after = if e.is_connect() {
                self.settings.connect_timeout
            } else {
                self.settings.stall_timeout
            };
            return Error::TimedOut {
                image,
                registry,
                after,
            };
        }
        Error::Unreachable {
            image,
            registry,
            why: innermost(e),
        }
    }

    /// The whole body of a manifest or config.
    pub(crate) async fn document(
        &self,
        ask: &Ask<'_>,
        at: &Endpoint,
        mut response: Response,
    ) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|e| self.failed(ask, at, &e))?
        {
            bytes.extend_from_slice(&chunk);
            if bytes.len() as u64 > LONGEST_DOCUMENT {
                let why = format!(
                    "its manifest or config is longer than {} MiB",
                    LONGEST_DOCUMENT >> 20
                );
                return Err(Error::Broken {
                    image: ask.image(),
                    why,
                });
            }
        }
        Ok(bytes)
    }
}

/// reqwest repeats the URL at every level; the cause is what a person needs.
fn innermost(e: &reqwest::Error) -> String {
    let mut next = std::error::Error::source(e);
    while let Some(cause) = next {
        // What the system says is enough: the layers above it say only that there was a connection to be made.
        if let Some(error) = cause.downcast_ref::<std::io::Error>()
            && error.raw_os_error().is_some()
        {
            let words = error.to_string();
            let words = words.split(" (os error").next().unwrap_or_default();
            return words.to_lowercase();
        }
        next = cause.source();
    }
    std::error::Error::source(e).map_or_else(|| e.to_string(), chain)
}

/// How long to wait before an answer is asked for once more that says: not now; none: it says something else, or asks for more
/// patience than a start has. `tries`: how often it was asked.
fn passing(response: &Response, tries: u32) -> Option<Duration> {
    let not_now = matches!(
        response.status(),
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    );
    let pause = retry_after(response).map_or(blob::PAUSE * tries, Duration::from_secs);
    (not_now && pause <= LONGEST_PAUSE).then_some(pause)
}

fn retry_after(response: &Response) -> Option<u64> {
    let header = response.headers().get(RETRY_AFTER)?;
    header.to_str().ok()?.parse().ok()
}

/// A URL without its query, which may be a signature.
fn place(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

async fn refusal(ask: &Ask<'_>, at: &Endpoint, response: Response) -> Error {
    let (image, registry) = (ask.image(), at.host.clone());
    let login = ask.login.filter(|_| at.origin).and_then(Login::pair);
    let user = login.map(|(user, _)| user.to_owned());
    match response.status() {
        StatusCode::NOT_FOUND => Error::NotFound { image, registry },
        StatusCode::UNAUTHORIZED => match user {
            Some(user) => Error::LoginRefused {
                image,
                registry,
                user,
            },
            None => Error::LoginNeeded { image, registry },
        },
        StatusCode::FORBIDDEN => Error::Forbidden {
            image,
            registry,
            who: user.map_or_else(|| "anonymous users".into(), |u| format!("user `{u}`")),
        },
        StatusCode::TOO_MANY_REQUESTS => Error::RateLimited {
            image,
            registry,
            retry_after: retry_after(&response),
        },
        status => {
            let text = response.text().await.unwrap_or_default();
            let text: String = text
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
                .chars()
                .take(SHOWN)
                .collect();
            let why = if text.is_empty() {
                status.canonical_reason().unwrap_or("no reason").into()
            } else {
                text
            };
            Error::Registry {
                image,
                registry,
                status: status.as_u16(),
                why,
            }
        }
    }
}

fn mirror(url: &str) -> Result<Endpoint, Error> {
    let bad = |why: &str| Error::Setting {
        what: "mirror",
        text: url.into(),
        why: why.into(),
    };
    let (scheme, rest) = url
        .split_once("://")
        .ok_or_else(|| bad("it does not begin with https:// or http://"))?;
    if !matches!(scheme, "http" | "https") {
        return Err(bad("it does not begin with https:// or http://"));
    }
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    if host.is_empty() || host.contains('@') {
        return Err(bad("it needs a host, without user or password"));
    }
    let path = path.trim_matches('/');
    let prefix = if path.is_empty() {
        String::new()
    } else {
        format!("{path}/")
    };
    Ok(Endpoint {
        base: format!("{scheme}://{host}"),
        prefix,
        host: host.into(),
        origin: false,
    })
}

/// Whether a host (with or without port) is this machine.
pub(crate) fn loopback(host: &str) -> bool {
    if let Some(v6) = host.strip_prefix('[').and_then(|h| h.split(']').next()) {
        return v6
            .parse::<std::net::Ipv6Addr>()
            .is_ok_and(|ip| ip.is_loopback());
    }
    let name = host.split(':').next().unwrap_or(host);
    name == "localhost"
        || name.ends_with(".localhost")
        || name
            .parse::<std::net::Ipv4Addr>()
            .is_ok_and(|ip| ip.is_loopback())
}
