//! Connector documents: registries for images, and repositories for clones. Of the others only the type is kept.

use syntax::yaml::Node;

use super::{field, text};

/// A connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Connector {
    /// `type` as written.
    pub(crate) r#type: String,
    /// What it leads to.
    pub(crate) kind: Kind,
}

/// What a connector leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An image registry.
    Registry(Registry),
    /// A git server or repository.
    Git(Git),
    /// Something that a run on this machine does not look up.
    Other,
}

/// A `DockerRegistry` connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Registry {
    /// `dockerRegistryUrl`.
    pub(crate) url: String,
    /// The user and the reference of the password; none: anonymous.
    pub(crate) login: Option<(Value, String)>,
}

/// A text that is written, or the reference of a secret that holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// Written out.
    Plain(String),
    /// In a secret.
    Secret(String),
}

/// A connector of the git family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Git {
    /// `url`.
    pub(crate) url: String,
    /// The url is of an account: a clone names the repository.
    pub(crate) account: bool,
    /// How to log in.
    pub(crate) auth: Auth,
}

/// How to log in to a git server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Auth {
    /// Not at all.
    Anonymous,
    /// By user and the reference of the password or token.
    Http(Value, String),
    /// By the reference of a key.
    Ssh(String),
    /// In a way that a run on this machine does not know: its type.
    Other(String),
}

/// The types of the git family.
const GIT: [&str; 6] = [
    "Git",
    "Github",
    "Gitlab",
    "Bitbucket",
    "AzureRepo",
    "Codecommit",
];

impl Connector {
    /// Reads what stands under `connector:`. The error goes after "this connector …".
    pub(super) fn read(node: &Node) -> Result<Self, String> {
        let r#type = text(node, &["type"]).ok_or("has no `type`")?.to_owned();
        let spec = field(node, "spec");
        let kind = match r#type.as_str() {
            "DockerRegistry" => Kind::Registry(registry(spec.ok_or("has no `spec`")?)?),
            t if GIT.contains(&t) => Kind::Git(git(t, spec.ok_or("has no `spec`")?)?),
            _ => Kind::Other,
        };
        Ok(Self { r#type, kind })
    }
}

fn registry(spec: &Node) -> Result<Registry, String> {
    let url = text(spec, &["dockerRegistryUrl"])
        .ok_or("has no `dockerRegistryUrl`")?
        .to_owned();
    let login = match text(spec, &["auth", "type"]) {
        None | Some("Anonymous") => None,
        Some("UsernamePassword") => {
            let auth = field(spec, "auth")
                .and_then(|a| field(a, "spec"))
                .ok_or("has no `auth.spec`")?;
            let user = user(auth).ok_or("has neither `username` nor `usernameRef`")?;
            Some((
                user,
                text(auth, &["passwordRef"])
                    .ok_or("has no `passwordRef`")?
                    .to_owned(),
            ))
        }
        Some(other) => {
            return Err(format!(
                "has an `auth.type` `{other}`; it is one of `Anonymous`, `UsernamePassword`"
            ));
        }
    };
    Ok(Registry { url, login })
}

fn user(spec: &Node) -> Option<Value> {
    text(spec, &["username"])
        .map(|t| Value::Plain(t.to_owned()))
        .or_else(|| text(spec, &["usernameRef"]).map(|t| Value::Secret(t.to_owned())))
}

fn git(r#type: &str, spec: &Node) -> Result<Git, String> {
    let url = text(spec, &["url"]).ok_or("has no `url`")?.to_owned();
    // A plain Git connector says with `type` how it is reached, the others whose url it is.
    let level = if r#type == "Git" {
        text(spec, &["connectionType"])
    } else {
        text(spec, &["type"])
    };
    let (way, auth) = if r#type == "Git" {
        (text(spec, &["type"]), field(spec, "spec"))
    } else {
        let auth = field(spec, "authentication");
        (
            auth.and_then(|a| text(a, &["type"])),
            auth.and_then(|a| field(a, "spec")),
        )
    };
    let auth = match (way, auth) {
        (None, _) | (_, None) => Auth::Anonymous,
        (Some("Ssh"), Some(auth)) => Auth::Ssh(
            text(auth, &["sshKeyRef"])
                .ok_or("has no `sshKeyRef`")?
                .to_owned(),
        ),
        (Some("Http"), Some(auth)) => http(auth)?,
        (Some(other), _) => Auth::Other(other.to_owned()),
    };
    Ok(Git {
        url,
        account: matches!(level, Some("Account" | "Region" | "Project")),
        auth,
    })
}

/// Of Github and its like: `{type: UsernameToken, spec: {…}}`; of Git: the fields themselves.
fn http(auth: &Node) -> Result<Auth, String> {
    let (kind, spec) = match (text(auth, &["type"]), field(auth, "spec")) {
        (Some("Anonymous"), _) => return Ok(Auth::Anonymous),
        (Some(kind), Some(spec)) => (kind, spec),
        _ => ("UsernamePassword", auth),
    };
    if !matches!(kind, "UsernamePassword" | "UsernameToken") {
        return Ok(Auth::Other(kind.to_owned()));
    }
    let Some(user) = user(spec) else {
        return Ok(Auth::Anonymous);
    };
    let password = text(spec, &["tokenRef"])
        .or_else(|| text(spec, &["passwordRef"]))
        .ok_or("has neither `tokenRef` nor `passwordRef`")?;
    Ok(Auth::Http(user, password.to_owned()))
}
