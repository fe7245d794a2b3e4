//! What a stage deploys and where, as its expressions see it.

use std::collections::BTreeMap;
use std::sync::Arc;

use pipeline::model::{Loaded, Options, read};
use pipeline::plan::NodeId;
use pipeline::resolve::{Fact, Known, Piece, Program, SecretRef, World, prepare};
use syntax::Sources;
use syntax::expr::Value;

const SHOP: &str = include_str!("entities/shop.yaml");

const SEE: &str = "stages.deploy.steps.pod.steps.see";
const AGAIN: &str = "stages.again.steps.pod.steps.see";

fn loaded(command: &str) -> Loaded {
    let mut sources = Sources::new();
    let quoted = format!("'{}'", command.replace('\'', "''"));
    let id = sources.add("shop.yaml", SHOP.replace("\"@\"", &quoted));
    read(&sources, [id], Options::default())
}

/// The text that a command becomes, secrets as the variables that hold them, or what is wrong.
fn shown(step: &str, command: &str) -> String {
    let loaded = loaded(command);
    let pipeline = loaded.pipeline.as_ref().expect("a pipeline");
    let text = |text: &str| -> Arc<[u8]> { text.as_bytes().into() };
    let known = Known {
        run: "r1".into(),
        account: Some("local".into()),
        user: Some("ann".into()),
        event: BTreeMap::from([("trigger.branch".to_owned(), "main".to_owned())]),
        files: Arc::new(BTreeMap::from([
            ("/settings.txt".to_owned(), text("set")),
            ("org:/x".to_owned(), text("of the org")),
        ])),
        ..Known::default()
    };
    let mut nodes: BTreeMap<NodeId, Fact> = BTreeMap::new();
    nodes.insert(
        "stages.deploy.steps.pod.steps.build".into(),
        Fact {
            status: Some("SUCCEEDED".into()),
            ran: true,
            outputs: BTreeMap::from([("TAG".to_owned(), Value::from("t7"))]),
            ..Fact::default()
        },
    );
    let world = World {
        pipeline,
        entities: &loaded.entities,
        known: &known,
        nodes: &nodes,
    };
    match prepare(&world, &step.into()) {
        Ok(made) => {
            let secrets: Vec<String> = made
                .env
                .iter()
                .filter(|(name, _)| name.starts_with("HARNESS_SECRET"))
                .flat_map(|(_, text)| text)
                .filter_map(|piece| match piece {
                    Piece::Secret(SecretRef(id)) => Some(format!(" [{id}]")),
                    Piece::Text(_) => None,
                })
                .collect();
            match made.program {
                Program::Script { text, .. } => text + &secrets.concat(),
                other => format!("{other:?}"),
            }
        }
        Err(diagnostics) => diagnostics
            .iter()
            .map(|own| own.message.clone())
            .collect::<Vec<_>>()
            .join("; "),
    }
}

#[test]
fn what_is_deployed_is_read_by_its_roots() {
    for (command, wanted) in [
        (
            "<+service.name> <+service.identifier> <+service.type>",
            "Shopping cart cart AWS_SAM",
        ),
        ("<+service.description>, <+service.tags.team>", "of Shop, a"),
        (
            "<+env.name> <+env.identifier> <+env.type> <+env.v1Type>",
            "Production account.prod Production PROD",
        ),
        (
            "<+infra.name> <+infra.infraIdentifier> <+infra.region> <+infra.connectorRef>",
            "Europe eu eu-central-1 account.aws",
        ),
        (
            "<+infra.environment.name> <+infra.identifier>",
            "Production null",
        ),
        // The highest override wins, by name; types are kept; expressions see the place that asks.
        ("<+serviceVariables.level>", "this cart in Europe"),
        (
            "<+serviceVariables.port + 1> <+serviceVariables.replicas * 2>",
            "8081 6",
        ),
        (
            "<+serviceVariables.where> <+serviceVariables.dotted.name>",
            "Production/eu-central-1 dots",
        ),
        (
            "<+env.variables.level> <+env.variables.replicas>",
            "this cart in Europe 3",
        ),
        (
            "login <+serviceVariables.password>",
            "login \"${HARNESS_SECRET_001}\" [account.cart_password]",
        ),
        (
            "<+serviceVariableOverrides.level> <+serviceVariableOverrides.blank>",
            "group from the service",
        ),
        // Artifacts, manifests, files.
        (
            "<+artifacts.primary.image> <+artifact.tag> <+artifacts.primary.identifier>",
            "registry.example.com/shop/cart:1.4 1.4 main",
        ),
        (
            "<+artifacts.primary.type> <+artifacts.primary.connectorRef>",
            "DockerRegistry registry",
        ),
        (
            "<+artifacts.sidecars.proxy.image>",
            "eu-docker.pkg.dev/p/r/proxy:2",
        ),
        (
            "<+manifests.sam.type> <+manifests.sam.samTemplateFile> <+manifests.sam.store.branch> <+manifests.values.order>",
            "AwsSamDirectory t.yaml main 1",
        ),
        (
            "<+configFile.getAsString(\"settings\")> <+fileStore.getAsBase64(\"org:/x\")>",
            "set b2YgdGhlIG9yZw==",
        ),
        ("<+rollbackArtifact.image ?? \"none\">", "none"),
        // The key of SAM: service, environment, connector, region.
        ("<+INFRA_KEY.length()> <+INFRA_KEY_SHORT_ID>", "40 null"),
        // Outputs by an alias.
        ("<+exportedVariables.getValue(\"stage.made.TAG\")>", "t7"),
        // What would have begun the run.
        ("<+trigger.branch> <+trigger.type ?: \"none\">", "main none"),
        (
            "<+codebase.commitSha>",
            "`command`: unknown: `codebase.commitSha`",
        ),
        // The world around.
        (
            "<+variable.domain> <+variable.org.domain> <+variable.account.domain>",
            "example.com org.example.com example.com",
        ),
        (
            "<+account.name> <+org.name> <+project.name> <+pipeline.triggeredBy.name> <+pipeline.triggerType>",
            "local default web ann MANUAL",
        ),
    ] {
        assert_eq!(shown(SEE, command), wanted, "{command}");
    }
    for (command, wanted) in [
        (
            "<+service.name> in <+env.name>",
            "Shopping cart in Production",
        ),
        ("<+artifact.tag>", "1.4"),
        // What another stage deploys, by its place in the text.
        (
            "<+pipeline.stages.deploy.spec.service.name> <+pipeline.stages.deploy.spec.serviceConfig.output.identifier> <+stage.spec.deploymentType>",
            "Shopping cart cart AWS_SAM",
        ),
        (
            "<+pipeline.stages.deploy.spec.infrastructure.output.region> <+pipeline.stages.deploy.spec.env.name> <+stage.spec.environment.type>",
            "eu-central-1 Production Production",
        ),
        (
            "<+pipeline.stages.deploy.spec.serviceConfig.serviceDefinition.spec.artifacts.primary.output.tag> <+pipeline.stages.deploy.spec.artifacts.primary.tag>",
            "1.4 1.4",
        ),
        (
            "<+pipeline.stages.deploy.spec.serviceConfig.variables.replicas * 2>",
            "6",
        ),
        (
            "<+project.tags.isEmpty()> <+empty(pipeline.description)>",
            "true true",
        ),
    ] {
        assert_eq!(shown(AGAIN, command), wanted, "{command}");
    }
}

/// What is said of the documents before anything runs.
fn said(from: &str, to: &str) -> Vec<String> {
    assert!(SHOP.contains(from), "{from}");
    let mut sources = Sources::new();
    let id = sources.add(
        "shop.yaml",
        SHOP.replacen(from, to, 1).replace("\"@\"", "echo"),
    );
    read(&sources, [id], Options::default())
        .diagnostics
        .iter()
        .filter(|own| !own.code.as_str().starts_with("SY04"))
        .map(|own| format!("{} {}", own.code, own.message))
        .collect()
}

#[test]
fn what_does_not_fit_is_told_before() {
    assert_eq!(
        said("identifier: shop", "identifier: shop"),
        Vec::<String>::new()
    );
    for (from, to, wanted) in [
        (
            "name: svc, type: String, value: cart",
            "name: svc, type: String, value: crat",
            "SY0312 there is no service `crat` among the documents",
        ),
        (
            "  serviceDefinition:\n    type: AWS_SAM",
            "  serviceDefinition:\n    type: Kubernetes",
            "SY0312 the stage deploys AWS_SAM, the service `cart` is of Kubernetes",
        ),
        (
            "  deploymentType: AWS_SAM\n  type: AWS_SAM",
            "  deploymentType: ECS\n  type: AWS_SAM",
            "SY0312 the stage deploys AWS_SAM, the infrastructure `eu` is for ECS",
        ),
        (
            "  environmentRef: prod\n  deploymentType",
            "  environmentRef: staging\n  deploymentType",
            "SY0312 the infrastructure `eu` is in the environment `staging`, not in `account.prod`",
        ),
        (
            "spec: {connectorRef: account.aws, region: eu-central-1}",
            "spec: {connectorRef: account.aws}\n  scopedServices: [other]",
            "SY0312 the infrastructure `eu` does not take the service `cart`",
        ),
        (
            "manifest: {identifier: values",
            "manifest: {identifier: sam",
            "SY0312 the manifest `sam` is there twice",
        ),
        (
            "service: {useFromStage: {stage: deploy}}",
            "service: {useFromStage: {stage: dploy}}",
            "SY0312 no stage `dploy` names a service of its own",
        ),
        (
            "spec: {tag: \"1.4\"}",
            "spec: {tga: \"1.4\"}",
            "SY0310 service `cart` asks for no `tga` here",
        ),
    ] {
        let said = said(from, to);
        assert!(said.iter().any(|own| own == wanted), "{wanted}: {said:#?}");
    }
}

#[test]
fn what_is_not_there_is_said() {
    for (step, command, wanted) in [
        (SEE, "<+serviceVariables.prot>", "did you mean `port`?"),
        (SEE, "<+infra.regoin>", "did you mean `region`?"),
        (SEE, "<+manifests.saam.type>", "did you mean `sam`?"),
        (
            SEE,
            "<+fileStore.getAsString(\"/gone\")>",
            "the file store has no `/gone`",
        ),
        (
            SEE,
            "<+configFile.getAsString(\"gone\")>",
            "the service has no config file `gone`",
        ),
        (
            SEE,
            "<+exportedVariables.getValue(\"stage.made.GONE\")>",
            "gave no `GONE`",
        ),
        (
            AGAIN,
            "<+exportedVariables.getValue(\"stage.made.TAG\")>",
            "no step here exports under the alias `made`",
        ),
        (
            SEE,
            "<+exportedVariables.getValue(\"made\")>",
            "is not `scope.key.variable`",
        ),
    ] {
        let said = shown(step, command);
        assert!(said.contains(wanted), "{command}: {said}");
    }
}
