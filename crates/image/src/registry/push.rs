//! The way up: blobs in one request each, then the manifest.

use std::path::Path;

use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, LOCATION};
use reqwest::{Body, Method};

use super::{Ask, Endpoint, Registry, Request};
use crate::Error;

impl Registry {
    /// Uploads a blob from a file, unless the registry has it. Returns whether it was sent.
    pub(crate) async fn push_blob(
        &self,
        ask: &Ask<'_>,
        at: &Endpoint,
        digest: &str,
        file: &Path,
    ) -> Result<bool, Error> {
        let there = format!("blobs/{digest}");
        match self.send(ask, at, Request::new(Method::HEAD, &there)).await {
            Ok(_) => return Ok(false),
            Err(Error::NotFound { .. }) => {}
            Err(e) => return Err(e),
        }
        let mut begin = Request::new(Method::POST, "blobs/uploads/");
        begin
            .headers
            .insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        let response = self.send(ask, at, begin).await?;
        let broken = |why: &str| Error::Registry {
            image: ask.image(),
            registry: at.host.clone(),
            status: response.status().as_u16(),
            why: why.into(),
        };
        let place = response
            .headers()
            .get(LOCATION)
            .and_then(|v| v.to_str().ok());
        let place = place.ok_or_else(|| broken("it did not say where the upload goes"))?;
        let mut url = response
            .url()
            .join(place)
            .map_err(|_| broken("it names a place for the upload that is no URL"))?;
        url.query_pairs_mut().append_pair("digest", digest);
        let fail = |source| Error::File {
            path: file.to_owned(),
            source,
        };
        let len = std::fs::metadata(file).map_err(fail)?.len();
        let mut request = Request::new(Method::PUT, url.as_str());
        request.headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/octet-stream"),
        );
        request
            .headers
            .insert(CONTENT_LENGTH, HeaderValue::from(len));
        let body = || std::fs::File::open(file).map(|f| Body::from(tokio::fs::File::from_std(f)));
        request.body = Some(&body);
        self.send(ask, at, request).await?;
        Ok(true)
    }

    /// Puts a manifest under a tag or its digest.
    pub(crate) async fn push_manifest(
        &self,
        ask: &Ask<'_>,
        at: &Endpoint,
        tag: &str,
        kind: &str,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let path = format!("manifests/{tag}");
        let mut request = Request::new(Method::PUT, &path);
        let kind = HeaderValue::from_str(kind).map_err(|_| Error::Broken {
            image: ask.image(),
            why: format!("`{kind}` is no media type"),
        })?;
        request.headers.insert(CONTENT_TYPE, kind);
        let body = || Ok(Body::from(bytes.to_vec()));
        request.body = Some(&body);
        self.send(ask, at, request).await.map(drop)
    }
}
