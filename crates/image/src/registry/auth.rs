//! What a registry asks for in `WWW-Authenticate`, and what it grants.

use std::fmt;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::{Ask, Endpoint, Registry, loopback};
use crate::Error;

/// A token without `expires_in` lasts this long, by the token protocol's own words.
const SHORTEST_TOKEN: u64 = 60;
/// A token is not used in its last seconds: the request may take them.
const MARGIN: Duration = Duration::from_secs(10);

/// One challenge of a 401.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer {
        realm: String,
        service: Option<String>,
    },
}

impl Challenge {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service) = (None, None);
        let mut rest = rest;
        while let Some((key, after)) = rest.split_once('=') {
            let (value, next) = match after.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => after.split_once(',').unwrap_or((after, "")),
            };
            match key
                .trim()
                .trim_start_matches(',')
                .trim()
                .to_ascii_lowercase()
                .as_str()
            {
                "realm" => realm = Some(value.to_owned()),
                "service" => service = Some(value.to_owned()),
                _ => {}
            }
            rest = next;
        }
        Some(Self::Bearer {
            realm: realm?,
            service,
        })
    }
}

/// What goes into `Authorization`. It is never printed.
#[derive(Clone)]
pub(super) struct Grant {
    header: String,
    until: Option<Instant>,
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Grant(…)")
    }
}

impl Grant {
    pub(super) fn basic(user: &str, password: &str) -> Self {
        Self {
            header: format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))),
            until: None,
        }
    }

    pub(super) fn header(&self) -> &str {
        &self.header
    }

    pub(super) fn lasts(&self) -> bool {
        self.until.is_none_or(|until| until > Instant::now())
    }
}

/// Registries say `token`, OAuth 2 says `access_token`; Docker Hub says both.
#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    #[serde(rename = "access_token")]
    oauth: Option<String>,
    expires_in: Option<u64>,
}

impl Registry {
    pub(super) async fn token(
        &self,
        ask: &Ask<'_>,
        at: &Endpoint,
        realm: &str,
        service: Option<&str>,
        scope: &str,
        login: Option<(&str, &str)>,
    ) -> Result<Grant, Error> {
        let (image, registry) = (ask.image(), at.host.clone());
        let refused = |why: String| Error::Registry {
            image: image.clone(),
            registry: registry.clone(),
            status: 401,
            why,
        };
        let mut url = reqwest::Url::parse(realm)
            .map_err(|e| refused(format!("its token service `{realm}` is no URL: {e}")))?;
        let plain = url.scheme() == "http" && !loopback(url.host_str().unwrap_or_default());
        if plain && at.base.starts_with("https://") {
            return Err(refused(format!(
                "its token service {realm} is without TLS, so the login is not sent there"
            )));
        }
        url.query_pairs_mut()
            .extend_pairs(service.map(|s| ("service", s)))
            .append_pair("scope", scope);
        let mut request = self.http(ask, at, &url)?.get(url);
        if let Some((user, password)) = login {
            request = request.basic_auth(user, Some(password));
        }
        let response = request.send().await.map_err(|e| self.failed(ask, at, &e))?;
        if !response.status().is_success() {
            return Err(super::refusal(ask, at, response).await);
        }
        let bytes = self.document(ask, at, response).await?;
        let token: Answer = serde_json::from_slice(&bytes)
            .map_err(|e| refused(format!("its token service answered no token: {e}")))?;
        let text = token
            .token
            .or(token.oauth)
            .ok_or_else(|| refused("its token service answered no token".into()))?;
        let lasts =
            Duration::from_secs(token.expires_in.unwrap_or(SHORTEST_TOKEN)).saturating_sub(MARGIN);
        Ok(Grant {
            header: format!("Bearer {text}"),
            until: Instant::now().checked_add(lasts),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Challenge;

    #[test]
    fn challenges() {
        let bearer = |realm: &str, service: Option<&str>| {
            Some(Challenge::Bearer {
                realm: realm.into(),
                service: service.map(str::to_owned),
            })
        };
        for (text, want) in [
            ("Basic realm=\"x\"", Some(Challenge::Basic)),
            (
                "Bearer realm=\"https://a/t\",service=\"s, t\",scope=\"repository:a:pull\"",
                bearer("https://a/t", Some("s, t")),
            ),
            (
                "bearer service=s , realm=https://a/t",
                bearer("https://a/t", Some("s ")),
            ),
            ("Bearer service=\"s\"", None),
            ("Negotiate", None),
            ("Bearer realm=\"cut", None),
        ] {
            assert_eq!(Challenge::parse(text), want, "{text}");
        }
    }
}
