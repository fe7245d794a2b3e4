//! `Git`, `Github`, `Gitlab`, `Bitbucket`.

use syntax::yaml::Node;
use syntax::{Span, Spanned};

use super::super::super::lower::{Cx, Fields, Slot};
use super::super::super::macros::words;
use super::super::super::name::Ref;
use super::{UserName, user_name};

words! {
    /// Whose host it is.
    GitKind {
        /// Any git server.
        Git = "Git",
        /// GitHub.
        Github = "Github",
        /// GitLab.
        Gitlab = "Gitlab",
        /// Bitbucket.
        Bitbucket = "Bitbucket",
    }
}

words! {
    /// What the connector's URL names.
    ConnectionType {
        /// An account; steps name the repository.
        Account = "Account",
        /// A repository.
        Repo = "Repo",
        /// A project, with some hosts.
        Project = "Project",
    }
}

words! {
    /// How the host is spoken to.
    Transport {
        /// HTTP.
        Http = "Http",
        /// SSH.
        Ssh = "Ssh",
    }
}

/// A git host.
#[derive(Debug, Clone, PartialEq)]
pub struct GitConnector {
    /// Where it is written.
    pub span: Span,
    /// Whose it is.
    pub kind: GitKind,
    /// Of the account or the repository.
    pub url: Option<Spanned<String>>,
    /// Whether the URL is an account's: steps then name the repository.
    pub account: bool,
    /// How it is logged in to; none where that is not written.
    pub auth: Option<GitAuth>,
}

/// How a git host is logged in to.
#[derive(Debug, Clone, PartialEq)]
pub enum GitAuth {
    /// Not at all.
    Anonymous,
    /// With a name and a secret: a password or a token.
    Http {
        /// The name.
        user: Option<UserName>,
        /// The secret.
        secret: Option<Spanned<Ref>>,
    },
    /// With a key.
    Ssh {
        /// The secret with the key.
        key: Option<Spanned<Ref>>,
    },
    /// Another way that the format knows, its keys as they are.
    Other {
        /// Its name.
        kind: Spanned<String>,
        /// Its keys.
        spec: Option<Node>,
    },
}

impl GitConnector {
    pub(super) fn lower(kind: GitKind, node: &Node, cx: &mut Cx) -> Option<Self> {
        let mut fields = Fields::of(node, "spec", cx)?;
        fields.required("url", cx);
        let url = Slot::take(&mut fields, "url", cx);
        fields.ignore(&[
            "validationRepo",
            "branchName",
            "delegateSelectors",
            "executeOnDelegate",
            "apiAccess",
            "proxy",
            "ignoreTestConnection",
            "connectorType",
            "validationProject",
        ]);
        // `Git` says how it is spoken to in `type`, its siblings in `authentication.type`.
        let (account, auth) = if kind == GitKind::Git {
            fields.required("type", cx);
            let transport: Option<Transport> = Slot::take(&mut fields, "type", cx);
            let connection: Option<ConnectionType> = Slot::take(&mut fields, "connectionType", cx);
            let auth = fields
                .node("spec")
                .and_then(|node| plain(transport?, node, cx));
            (connection == Some(ConnectionType::Account), auth)
        } else {
            let connection: Option<ConnectionType> = Slot::take(&mut fields, "type", cx);
            let auth = fields
                .node("authentication")
                .and_then(|node| hosted(node, cx));
            (connection == Some(ConnectionType::Account), auth)
        };
        let span = fields.span;
        fields.finish(cx);
        Some(Self {
            span,
            kind,
            url,
            account,
            auth,
        })
    }
}

/// `spec` of `Git`.
fn plain(transport: Transport, node: &Node, cx: &mut Cx) -> Option<GitAuth> {
    let mut fields = Fields::of(node, "spec", cx)?;
    fields.ignore(&["type"]);
    let auth = match transport {
        Transport::Ssh => GitAuth::Ssh {
            key: Slot::take(&mut fields, "sshKeyRef", cx),
        },
        Transport::Http => {
            let user = user_name(&mut fields, "username", "usernameRef", false, cx);
            let secret: Option<Spanned<Ref>> = Slot::take(&mut fields, "passwordRef", cx);
            if user.is_none() && secret.is_none() {
                GitAuth::Anonymous
            } else {
                GitAuth::Http { user, secret }
            }
        }
    };
    fields.finish(cx);
    Some(auth)
}

/// `authentication` of the hosts.
fn hosted(node: &Node, cx: &mut Cx) -> Option<GitAuth> {
    let mut fields = Fields::of(node, "authentication", cx)?;
    fields.required("type", cx);
    let transport: Option<Transport> = Slot::take(&mut fields, "type", cx);
    let spec = fields.node("spec");
    fields.finish(cx);
    let mut fields = Fields::of(spec?, "spec", cx)?;
    let auth = match transport? {
        Transport::Ssh => GitAuth::Ssh {
            key: Slot::take(&mut fields, "sshKeyRef", cx),
        },
        Transport::Http => {
            fields.required("type", cx);
            let kind: Spanned<String> = fields.value("type", cx)?;
            let inner = fields.node("spec");
            match kind.value.as_str() {
                "Anonymous" => GitAuth::Anonymous,
                "UsernameToken" | "UsernamePassword" => {
                    let mut inner = Fields::of(inner?, "spec", cx)?;
                    let user = user_name(&mut inner, "username", "usernameRef", false, cx);
                    let key = if kind.value == "UsernameToken" {
                        "tokenRef"
                    } else {
                        "passwordRef"
                    };
                    inner.required(key, cx);
                    let secret = Slot::take(&mut inner, key, cx);
                    inner.finish(cx);
                    GitAuth::Http { user, secret }
                }
                _ => GitAuth::Other {
                    kind,
                    spec: inner.cloned(),
                },
            }
        }
    };
    fields.finish(cx);
    Some(auth)
}
