//! An id token for a user's name and password: what a connector of the kind OpenIdConnect describes.

use std::collections::HashMap;
use std::time::Duration;

use driver::backend::{Failure, FailureKind};
use kube::config::AuthProviderConfig;
use serde_json::Value;

/// How long an issuer may take for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// What an issuer is asked for. Holds secrets.
#[derive(Clone, Default)]
pub struct Oidc {
    /// `https://…`, below which is `.well-known/openid-configuration`.
    pub issuer: String,
    /// Whose token.
    pub username: String,
    /// Their password.
    pub password: String,
    /// As which client.
    pub client_id: String,
    /// Its secret, where it has one.
    pub client_secret: Option<String>,
    /// Besides `openid`, separated by spaces.
    pub scopes: String,
}

impl Oidc {
    /// A token, and what refreshes it where the issuer gives that.
    pub(crate) async fn provider(&self) -> Result<AuthProviderConfig, Failure> {
        // Another library may have chosen the same one already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = reqwest::Client::builder()
            .timeout(PATIENCE)
            .build()
            .map_err(|e| self.unreachable(&e))?;
        let issuer = self.issuer.trim_end_matches('/');
        let found = client
            .get(format!("{issuer}/.well-known/openid-configuration"))
            .send()
            .await
            .and_then(reqwest::Response::error_for_status)
            .map_err(|e| self.unreachable(&e))?
            .json::<Value>()
            .await
            .map_err(|e| self.unreachable(&e))?;
        let Some(endpoint) = found["token_endpoint"].as_str() else {
            return Err(self.refused("it names no token_endpoint"));
        };
        let scope = format!("openid {}", self.scopes);
        let mut form = vec![
            ("grant_type", "password"),
            ("username", &self.username),
            ("password", &self.password),
            ("client_id", &self.client_id),
            ("scope", scope.trim()),
        ];
        if let Some(secret) = &self.client_secret {
            form.push(("client_secret", secret));
        }
        let body = reqwest::Url::parse_with_params("http://form/", &form)
            .ok()
            .and_then(|url| url.query().map(str::to_owned))
            .unwrap_or_default();
        let answer = client
            .post(endpoint)
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(body)
            .send()
            .await
            .map_err(|e| self.unreachable(&e))?;
        let granted = answer.status().is_success();
        let answer: Value = answer.json().await.map_err(|e| self.unreachable(&e))?;
        let text = |key: &str| answer[key].as_str().map(str::to_owned);
        let Some(token) = text("id_token").filter(|_| granted) else {
            let why = text("error_description").or_else(|| text("error"));
            return Err(self.refused(&why.unwrap_or_else(|| "it gave no id_token".to_owned())));
        };
        let mut config = HashMap::from([("id-token".to_owned(), token)]);
        if let (Some(refresh), Some(secret)) = (text("refresh_token"), &self.client_secret) {
            config.extend([
                ("idp-issuer-url".to_owned(), self.issuer.clone()),
                ("client-id".to_owned(), self.client_id.clone()),
                ("client-secret".to_owned(), secret.clone()),
                ("refresh-token".to_owned(), refresh),
            ]);
        }
        Ok(AuthProviderConfig {
            name: "oidc".to_owned(),
            config,
            ..AuthProviderConfig::default()
        })
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        // The form is in no message: only an address is.
        Failure {
            kind: FailureKind::Connectivity,
            container: None,
            message: format!("failed to ask {} for a token: {error}", self.issuer),
            help: Some("check the connector's oidcIssuerUrl".to_owned()),
        }
    }

    fn refused(&self, why: &str) -> Failure {
        Failure {
            kind: FailureKind::Authentication,
            container: None,
            message: format!("{} gave no token for {}: {why}", self.issuer, self.username),
            help: Some("check the connector's user, password, client and scopes".to_owned()),
        }
    }
}
