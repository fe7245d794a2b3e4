//! Documents beside a pipeline.

use std::fs;

use super::*;

fn read(main: &str, beside: &[(&str, &str)]) -> Result<Documents, Problem> {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("p.yaml");
    fs::write(&file, main).expect("a file");
    let entities = dir.path().join("entities");
    fs::create_dir(&entities).expect("a directory");
    for (name, text) in beside {
        fs::write(entities.join(name), text).expect("a file");
    }
    Documents::read(&file, &[entities])
}

const PIPELINE: &str = "pipeline: {identifier: p}\n";

#[test]
fn connectors_and_secrets_are_found_by_reference() {
    let documents = read(
        &format!(
            "{PIPELINE}---
connector:
  identifier: docker
  type: DockerRegistry
  spec:
    dockerRegistryUrl: http://127.0.0.1:5000
    auth: {{type: UsernamePassword, spec: {{username: me, passwordRef: account.pw}}}}
---
secret:
  identifier: pw
  type: SecretText
  spec: {{valueType: Inline, value: hunter2}}
"
        ),
        &[(
            "git.yml",
            "connector:\n  identifier: hub\n  orgIdentifier: o\n  type: Github\n  spec:\n    url: https://github.com/me\n    type: Account\n    authentication:\n      type: Http\n      spec: {type: UsernameToken, spec: {usernameRef: u, tokenRef: t}}\n---\nconnector: {identifier: k8s, type: K8sCluster, spec: {}}\n",
        )],
    )
    .expect("documents");
    assert!(documents.pipeline.is_some() && documents.diagnostics.is_empty());
    let expected = Registry {
        url: "http://127.0.0.1:5000".to_owned(),
        login: Some((Value::Plain("me".to_owned()), "account.pw".to_owned())),
    };
    for reference in ["docker", "account.docker", "org.docker"] {
        let found = documents.connector(reference).expect(reference);
        assert_eq!(found.kind, Kind::Registry(expected.clone()));
    }
    let git = documents
        .connector("org.hub")
        .expect("the connector")
        .kind
        .clone();
    let auth = Auth::Http(Value::Secret("u".to_owned()), "t".to_owned());
    assert_eq!(
        git,
        Kind::Git(Git {
            url: "https://github.com/me".to_owned(),
            account: true,
            auth
        })
    );
    assert_eq!(
        documents.connector("k8s").expect("the cluster").kind,
        Kind::Other
    );
    assert!(documents.connector("nothing").is_none());
    assert_eq!(documents.secrets["account.pw"], "hunter2");
    assert_eq!(documents.sources.slice(documents.redact[0]), "hunter2");
}

#[test]
fn what_is_wrong_names_its_place() {
    let two = "connector: {identifier: a, type: Aws, spec: {}}\n";
    for (beside, says) in [
        (
            &[("a.yaml", two), ("b.yaml", two)][..],
            "the connector `account.a` is given twice, in",
        ),
        (
            &[(
                "a.yaml",
                "\nconnector: {identifier: a, type: DockerRegistry, spec: {}}\n",
            )],
            "a.yaml:2: this connector has no `dockerRegistryUrl`",
        ),
        (
            &[("a.yaml", "connector: {type: Aws}\n")],
            "an entity has no `identifier`",
        ),
    ] {
        let problem = read(PIPELINE, beside).unwrap_err().to_string();
        assert!(problem.contains(says), "{problem}");
    }
    let odd = read(PIPELINE, &[("x.yaml", "services: {web: {}}\n")]).expect("documents");
    assert!(
        odd.warnings[0]
            .ends_with("x.yaml:1: this document is none that Stepyard knows; it is not used")
    );
}
