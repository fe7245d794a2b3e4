//! Logins of image registries, from the connectors that a pipeline refers to.

use driver::backend::{Access, Login};
use pipeline::model::{ConnectorSpec, DockerAuth, Entities, Ref, UserName};

use crate::problem::Problem;
use crate::secrets::Secrets;

/// The logins that these connector references need. A reference that leads to no connector is an anonymous pull, with a
/// warning; one whose password nobody gave is an error.
pub(crate) fn logins<'r>(
    references: impl IntoIterator<Item = &'r str>,
    entities: &Entities,
    secrets: &Secrets,
) -> Result<(Access, Vec<String>), Problem> {
    let mut access = Access::default();
    let mut warnings = Vec::new();
    for reference in references {
        if access.registries.contains_key(reference) {
            continue;
        }
        let found = Ref::parse(reference)
            .and_then(|r| entities.connector(&r).or_else(|| any_scope(entities, &r)));
        let Some(connector) = found else {
            warnings.push(format!(
                "the connector `{reference}` is not known here: images are pulled without a login, from the registry that their names say"
            ));
            continue;
        };
        let ConnectorSpec::DockerRegistry(registry) = &connector.spec else {
            return Err(Problem::invalid(format!(
                "the connector `{reference}` is of type {}; images come from one of type DockerRegistry",
                connector
                    .common
                    .kind
                    .as_ref()
                    .map_or("", |kind| &kind.value)
            )));
        };
        let server = registry.url.as_ref().map_or("", |url| &url.value);
        let (username, password) = match &registry.auth {
            Some(DockerAuth::UsernamePassword { user, password }) => {
                let by = format!("the connector `{reference}`");
                let secret = |r: &Ref| {
                    let name = r.to_string();
                    secrets
                        .get(&name)
                        .map(str::to_owned)
                        .ok_or_else(|| Secrets::missing(&name, &by))
                };
                let user = match user {
                    Some(UserName::Literal(name)) => Some(name.value.clone()),
                    Some(UserName::Secret(r)) => Some(secret(&r.value)?),
                    None => None,
                };
                (
                    user,
                    password.as_ref().map(|r| secret(&r.value)).transpose()?,
                )
            }
            _ => (None, None),
        };
        access.registries.insert(
            reference.to_owned(),
            Login {
                server: host(server),
                username,
                password,
            },
        );
    }
    Ok((access, warnings))
}

/// That a connector has a login, without the values of its secrets.
pub(crate) fn login_of(reference: &str, entities: &Entities) -> Option<Login> {
    let parsed = Ref::parse(reference)?;
    let connector = entities
        .connector(&parsed)
        .or_else(|| any_scope(entities, &parsed))?;
    let ConnectorSpec::DockerRegistry(registry) = &connector.spec else {
        return None;
    };
    let Some(DockerAuth::UsernamePassword { .. }) = &registry.auth else {
        return None;
    };
    Some(Login {
        server: host(registry.url.as_ref().map_or("", |url| &url.value)),
        username: Some(String::new()),
        password: Some(String::new()),
    })
}

/// On one machine a reference of another scope means the connector of that identifier, if there is one.
pub(crate) fn any_scope<'e>(
    entities: &'e Entities,
    reference: &Ref,
) -> Option<&'e pipeline::model::Connector> {
    entities
        .connectors
        .iter()
        .find(|c| c.common.identifier.as_str() == reference.id)
}

/// `https://host:port/path` without what is not the host and port.
pub(crate) fn host(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest).to_owned()
}
