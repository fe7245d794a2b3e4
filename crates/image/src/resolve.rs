//! From a reference to a manifest and a config, for one platform: what both `inspect` and `ensure` begin with.

use reqwest::Method;
use reqwest::header::{ACCEPT, HeaderValue};

use crate::manifest::{self, Descriptor, Facts, Manifest, Parsed, digest_of};
use crate::reference::Name;
use crate::registry::{Ask, Endpoint, Request};
use crate::{Client, Error, Platform, Pull, Reference, Want};

/// A manifest and all it says.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    /// What the reference itself leads to: an index, or the manifest.
    pub(crate) top: String,
    /// Of the platform's manifest.
    pub(crate) digest: String,
    pub(crate) layers: Vec<Descriptor>,
    /// As many as layers.
    pub(crate) diffs: Vec<String>,
    pub(crate) facts: Facts,
    /// The digests of all documents read.
    pub(crate) blobs: Vec<String>,
}

/// Checks a document against its digest.
pub(crate) fn checked(
    image: &str,
    what: &str,
    want: &str,
    bytes: Vec<u8>,
) -> Result<Vec<u8>, Error> {
    let got = digest_of(&bytes);
    if got == want {
        return Ok(bytes);
    }
    Err(Error::Digest {
        image: image.into(),
        what: what.into(),
        want: want.into(),
        got,
    })
}

/// Puts a manifest and its config together.
pub(crate) fn join(
    image: &str,
    top: &str,
    manifest_digest: &str,
    manifest: Manifest,
    config: &[u8],
    platform: &Platform,
) -> Result<Resolved, Error> {
    let (facts, diffs) = manifest::config(image, config, platform)?;
    let broken = |why: String| Error::Broken {
        image: image.into(),
        why,
    };
    if diffs.len() != manifest.layers.len() {
        return Err(broken(format!(
            "its manifest has {} layers and its config {}",
            manifest.layers.len(),
            diffs.len()
        )));
    }
    for layer in &manifest.layers {
        if !layer.media_type.is_empty() && !layer.media_type.contains("tar") {
            return Err(broken(format!(
                "a layer is of type `{}`: it is an artifact, not a container image",
                layer.media_type
            )));
        }
    }
    let mut blobs = vec![
        top.to_owned(),
        manifest_digest.to_owned(),
        manifest.config.digest.clone(),
    ];
    blobs.dedup();
    Ok(Resolved {
        top: top.into(),
        digest: manifest_digest.into(),
        layers: manifest.layers,
        diffs,
        facts,
        blobs,
    })
}

impl Client {
    /// What is known of a reference without asking anybody; none where a document or a layer is missing.
    pub(crate) fn resolve_here(&self, reference: &Reference, want: &Want) -> Option<Resolved> {
        let image = reference.to_string();
        let top = self.store.known(reference)?.digest;
        let mut digest = top.clone();
        let mut parsed = manifest::parse(&image, &self.store.blob(&digest)?).ok()?;
        if let Parsed::Index(list) = &parsed {
            let chosen = manifest::choose(&image, list, &want.platform).ok()?;
            digest.clone_from(&chosen.digest);
            parsed = manifest::parse(&image, &self.store.blob(&digest)?).ok()?;
        }
        let Parsed::Manifest(manifest) = parsed else {
            return None;
        };
        let config = self.store.blob(&manifest.config.digest)?;
        let resolved = join(&image, &top, &digest, manifest, &config, &want.platform).ok()?;
        resolved
            .diffs
            .iter()
            .all(|d| self.store.layer(d).is_some())
            .then_some(resolved)
    }

    /// By the pull policy: here, or from the registry. The notes say which mirrors failed.
    pub(crate) async fn resolve(
        &self,
        reference: &Reference,
        name: &Name,
        want: &Want,
        notes: &mut Vec<String>,
    ) -> Result<Resolved, Error> {
        if want.pull != Pull::Always {
            if let Some(here) = self.resolve_here(reference, want) {
                return Ok(here);
            }
            if want.pull == Pull::Never {
                return Err(Error::NotHere {
                    image: reference.to_string(),
                });
            }
        }
        let login = want.login.as_ref().filter(|l| l.is_for(&name.registry));
        if login.is_none()
            && let Some(other) = want.login.as_ref().and_then(|l| l.server.as_deref())
        {
            notes.push(format!(
                "the connector's login is for {other}: {} is asked without it",
                name.registry
            ));
        }
        let ask = Ask {
            name,
            login,
            actions: "pull",
        };
        let endpoints = self.registry.endpoints(&name.registry)?;
        let known = self.store.known(reference).map(|k| k.digest);
        let mut failed = None;
        for endpoint in &endpoints {
            match self.resolve_at(ask, endpoint, known.as_deref(), want).await {
                Ok(resolved) => return Ok(resolved),
                Err(e) => {
                    if !endpoint.origin {
                        notes.push(format!("mirror {}: {e}", endpoint.host));
                    }
                    failed = Some(e);
                }
            }
        }
        Err(failed.unwrap_or_else(|| Error::NotFound {
            image: ask.image(),
            registry: name.registry.clone(),
        }))
    }

    async fn resolve_at(
        &self,
        ask: Ask<'_>,
        at: &Endpoint,
        known: Option<&str>,
        want: &Want,
    ) -> Result<Resolved, Error> {
        let image = ask.image();
        let wanted = ask.name.wanted();
        // Registries count a HEAD less than a GET; it pays where the answer is likely the one we have.
        let mut top = None;
        if let Some(known) = known
            && let Some(bytes) = self.store.blob(known)
        {
            let path = format!("manifests/{wanted}");
            let response = self
                .registry
                .send(&ask, at, accepting(Request::new(Method::HEAD, &path)))
                .await?;
            let answered = response
                .headers()
                .get("docker-content-digest")
                .and_then(|v| v.to_str().ok());
            if answered == Some(known) {
                top = Some((known.to_owned(), bytes));
            }
        }
        let (top, bytes) = match top {
            Some(top) => top,
            None => self.manifest(&ask, at, wanted).await?,
        };
        let mut parsed = manifest::parse(&image, &bytes)?;
        let mut digest = top.clone();
        if let Parsed::Index(list) = &parsed {
            let chosen = manifest::choose(&image, list, &want.platform)?;
            digest.clone_from(&chosen.digest);
            let bytes = match self.store.blob(&digest) {
                Some(bytes) => bytes,
                None => self.manifest(&ask, at, &digest).await?.1,
            };
            parsed = manifest::parse(&image, &bytes)?;
        }
        let Parsed::Manifest(manifest) = parsed else {
            return Err(Error::Broken {
                image,
                why: "its index names another index".into(),
            });
        };
        let config_digest = &manifest.config.digest;
        let config = if let Some(bytes) = self.store.blob(config_digest) {
            bytes
        } else {
            let path = format!("blobs/{config_digest}");
            let response = self
                .registry
                .send(&ask, at, Request::new(Method::GET, &path))
                .await?;
            let bytes = self.registry.document(&ask, at, response).await?;
            let bytes = checked(&image, "its config", config_digest, bytes)?;
            self.store.put_blob(&image, config_digest, &bytes)?;
            bytes
        };
        join(&image, &top, &digest, manifest, &config, &want.platform)
    }

    /// A manifest or an index by tag or digest, checked and kept.
    async fn manifest(
        &self,
        ask: &Ask<'_>,
        at: &Endpoint,
        wanted: &str,
    ) -> Result<(String, Vec<u8>), Error> {
        let path = format!("manifests/{wanted}");
        let response = self
            .registry
            .send(ask, at, accepting(Request::new(Method::GET, &path)))
            .await?;
        let said = response
            .headers()
            .get("docker-content-digest")
            .and_then(|v| v.to_str().ok())
            .map(str::to_owned);
        let bytes = self.registry.document(ask, at, response).await?;
        let want = if wanted.starts_with("sha256:") {
            Some(wanted.to_owned())
        } else {
            said
        };
        let bytes = match &want {
            Some(want) if want.starts_with("sha256:") => {
                checked(&ask.image(), "its manifest", want, bytes)?
            }
            _ => bytes,
        };
        let digest = digest_of(&bytes);
        self.store.put_blob(&ask.image(), &digest, &bytes)?;
        Ok((digest, bytes))
    }
}

fn accepting(mut request: Request<'_>) -> Request<'_> {
    request
        .headers
        .insert(ACCEPT, HeaderValue::from_static(manifest::ACCEPT));
    request
}
