//! A stage that deploys several services, or to several places: what it becomes (`reference/entities.md` §6).

use std::collections::BTreeMap;

use pipeline::model::{Loaded, Options, read};
use pipeline::plan::{Kind, NodeId, Place, expand};
use pipeline::resolve::{Fact, Known, World};
use syntax::{Diagnostic, Sources, Spanned};

const ENTITIES: &str = r#"
---
service: {identifier: web, name: web, serviceDefinition: {type: AWS_SAM, spec: {variables: [{name: port, type: String, value: "80"}]}}}
---
service: {identifier: api, name: api, serviceDefinition: {type: AWS_SAM, spec: {variables: [{name: port, type: String, value: "90"}]}}}
---
environment: {identifier: dev, name: Dev, type: PreProduction, tags: {tier: low}}
---
environment: {identifier: prod, name: Prod, type: Production, tags: {tier: high}}
---
environmentGroup: {identifier: all, name: all, envIdentifiers: [dev, prod]}
---
infrastructureDefinition: {identifier: d1, name: d1, environmentRef: dev, deploymentType: AWS_SAM, type: AWS_SAM, spec: {connectorRef: aws, region: r1}, tags: {zone: a}}
---
infrastructureDefinition: {identifier: p1, name: p1, environmentRef: prod, deploymentType: AWS_SAM, type: AWS_SAM, spec: {connectorRef: aws, region: r2}, tags: {zone: a}}
---
infrastructureDefinition: {identifier: p2, name: p2, environmentRef: prod, deploymentType: AWS_SAM, type: AWS_SAM, spec: {connectorRef: aws, region: r3}, tags: {zone: b}}
"#;

fn loaded(what: &str) -> Loaded {
    let stage = r"
pipeline:
  identifier: p
  name: p
  stages:
    - stage:
        identifier: s
        name: s
        type: Deployment
        @STRATEGY@
        spec:
          deploymentType: AWS_SAM
          @WHAT@
          execution:
            steps:
              - step: {identifier: w, name: w, type: Wait, spec: {duration: 1m}}
        failureStrategies: [{onFailure: {errors: [AllErrors], action: {type: StageRollback}}}]
";
    let (what, strategy) = what
        .split_once(" with ")
        .unwrap_or((what, "description: none"));
    let text = stage
        .replace("@WHAT@", &what.replace("; ", "\n          "))
        .replace("@STRATEGY@", strategy);
    let mut sources = Sources::new();
    let id = sources.add("p.yaml", text + ENTITIES);
    read(&sources, [id], Options::default())
}

/// What is seen of a run of it in which nothing has happened yet.
fn in_world<R>(loaded: &Loaded, see: impl FnOnce(&World<'_>) -> R) -> R {
    let nodes: BTreeMap<NodeId, Fact> = BTreeMap::new();
    let known = Known::default();
    see(&World {
        pipeline: loaded.pipeline.as_ref().expect("a pipeline"),
        entities: &loaded.entities,
        known: &known,
        nodes: &nodes,
    })
}

/// The errors of it as it is written.
fn errors(loaded: &Loaded) -> Vec<String> {
    let all = loaded.diagnostics.iter().filter(|own| own.is_error());
    messages(all)
}

fn messages<'d>(all: impl IntoIterator<Item = &'d Diagnostic>) -> Vec<String> {
    all.into_iter().map(|own| own.message.clone()).collect()
}

/// The iterations with what each deploys where, then how many go on at once.
fn becomes(what: &str) -> String {
    let loaded = loaded(what);
    let errors = errors(&loaded);
    if !errors.is_empty() {
        return errors.join("; ");
    }
    in_world(&loaded, iterations)
}

fn iterations(world: &World<'_>) -> String {
    let told = |id: &NodeId| -> Result<String, Vec<Diagnostic>> {
        let all = expand(world, id)?;
        let each: Vec<String> = all
            .iter()
            .map(|node| {
                let place = Place::of(world, &node.id).expect("a place");
                let values = pipeline::resolve::Values::new(world, &place);
                let see = |text: &str| {
                    let text = pipeline::model::Param::Expr(Spanned::new(
                        text.to_owned(),
                        world.pipeline.span,
                    ));
                    values.get::<String>(Some(&text), "see").unwrap_or_default()
                };
                let (service, port) = (
                    see("<+service.identifier>"),
                    see("<+serviceVariables.port>"),
                );
                let (place, region) = (see("<+env.name>"), see("<+infra.region>"));
                format!("{} {service}:{port}>{place}/{region}", node.identifier)
            })
            .collect();
        Ok(each.join(", "))
    };
    let root = expand(world, &"pipeline".into()).expect("stages");
    if root[0].kind != Kind::Loop {
        return "no loop".to_owned();
    }
    match told(&"stages.s".into()) {
        Ok(all) => format!(
            "{all} at once: {}",
            root[0].limit.map_or("all".into(), |own| own.to_string())
        ),
        Err(errors) => messages(&errors).join("; "),
    }
}

const SERVICES: &str = "services: {values: [{serviceRef: web}, {serviceRef: api}]";
const ENVIRONMENTS: &str = "environments: {values: [{environmentRef: dev, infrastructureDefinitions: [{identifier: d1}]}, {environmentRef: prod, deployToAll: true}]";

#[test]
fn services_and_places_become_iterations() {
    let two = format!(
        "{SERVICES}}}; environment: {{environmentRef: dev, infrastructureDefinitions: [{{identifier: d1}}]}}"
    );
    let one_by_one = two.replace("}]}; ", "}], metadata: {parallel: false}}; ");
    let places = format!("service: {{serviceRef: web}}; {ENVIRONMENTS}}}");
    let places_one_by_one =
        format!("service: {{serviceRef: web}}; {ENVIRONMENTS}, metadata: {{parallel: false}}}}");
    let crossed = |one: &str, two: &str| format!("{SERVICES}{one}}}; {ENVIRONMENTS}{two}}}");
    let (yes, no) = (
        ", metadata: {parallel: true}",
        ", metadata: {parallel: false}",
    );
    let by_place = "s_0_0 web:80>Dev/r1, s_1_0 api:90>Dev/r1, s_0_1 web:80>Prod/r2, s_1_1 api:90>Prod/r2, s_0_2 web:80>Prod/r3, s_1_2 api:90>Prod/r3 at once: ";
    let by_service = "s_0_0 web:80>Dev/r1, s_0_1 web:80>Prod/r2, s_0_2 web:80>Prod/r3, s_1_0 api:90>Dev/r1, s_1_1 api:90>Prod/r2, s_1_2 api:90>Prod/r3 at once: ";
    let service = "service: {serviceRef: web}; ";
    let group = |rest: &str| format!("{service}environmentGroup: {{envGroupRef: all{rest}}}");
    let table = [
        (format!("{service}environment: {{environmentRef: dev, infrastructureDefinitions: [{{identifier: d1}}]}}"), "no loop".to_owned()),
        (two.clone(), "s_0 web:80>Dev/r1, s_1 api:90>Dev/r1 at once: all".to_owned()),
        (one_by_one.clone(), "s_0 web:80>Dev/r1, s_1 api:90>Dev/r1 at once: 1".to_owned()),
        (places.clone(), "s_0 web:80>Dev/r1, s_1 web:80>Prod/r2, s_2 web:80>Prod/r3 at once: all".to_owned()),
        (places_one_by_one, "s_0 web:80>Dev/r1, s_1 web:80>Prod/r2, s_2 web:80>Prod/r3 at once: 1".to_owned()),
        (crossed("", ""), format!("{by_place}all")),
        (crossed(yes, no), format!("{by_place}2")),
        (crossed(no, yes), format!("{by_service}3")),
        (crossed(no, no), format!("{by_place}1")),
        // `metadata` that does not say it, crossed: one by one.
        (crossed("", ", metadata: {}"), format!("{by_place}2")),
        (
            format!("{service}environment: {{environmentRef: prod, infrastructureDefinitions: [{{identifier: p2}}, {{identifier: p1}}]}}"),
            "s_0 web:80>Prod/r3, s_1 web:80>Prod/r2 at once: all".to_owned(),
        ),
        (
            format!("{service}environment: {{environmentRef: prod, deployToAll: true}}"),
            "s_0 web:80>Prod/r2, s_1 web:80>Prod/r3 at once: all".to_owned(),
        ),
        (group(", deployToAll: true"), "s_0 web:80>Dev/r1, s_1 web:80>Prod/r2, s_2 web:80>Prod/r3 at once: all".to_owned()),
        (
            group(", metadata: {parallel: false}, environments: [{environmentRef: prod, infrastructureDefinitions: [{identifier: p1}]}]"),
            "s_0 web:80>Prod/r2 at once: 1".to_owned(),
        ),
        (
            group(", filters: [{identifier: f, type: tags, entities: [environments], spec: {matchType: all, tags: {tier: high}}}, {identifier: g, type: tags, entities: [infrastructures], spec: {matchType: any, tags: {zone: b}}}]"),
            "s_0 web:80>Prod/r3 at once: all".to_owned(),
        ),
        (
            group(", filters: [{identifier: f, type: all, entities: [environments, infrastructures], spec: {}}]"),
            "s_0 web:80>Dev/r1, s_1 web:80>Prod/r2, s_2 web:80>Prod/r3 at once: all".to_owned(),
        ),
        (
            format!("{two} with strategy: {{repeat: {{items: [a, b], maxConcurrency: 1}}}}"),
            "s_0_0 web:80>Dev/r1, s_0_1 api:90>Dev/r1, s_1_0 web:80>Dev/r1, s_1_1 api:90>Dev/r1 at once: 2".to_owned(),
        ),
    ];
    for (what, wanted) in table {
        assert_eq!(becomes(&what), wanted, "{what}");
    }
}

#[test]
fn what_cannot_be_deployed_is_told_before() {
    let service = "service: {serviceRef: web}; ";
    let table = [
        (
            format!("{service}environmentGroup: {{envGroupRef: none, deployToAll: true}}"),
            "the environment group `none` is not among the documents, so its environments are not known",
        ),
        (
            format!(
                "{service}environmentGroup: {{envGroupRef: all, filters: [{{identifier: f, type: tags, entities: [environments], spec: {{matchType: any, tags: {{tier: none}}}}}}]}}"
            ),
            "the environment group names no infrastructure to deploy to",
        ),
        (
            format!("{service}environments: {{values: []}}"),
            "`environments` names no infrastructure to deploy to",
        ),
        (
            format!(
                "{service}environments: {{values: [{{environmentRef: dev, infrastructureDefinitions: [{{identifier: p1}}]}}]}}"
            ),
            "the infrastructure `p1` is in the environment `prod`, not in `dev`",
        ),
        (
            format!(
                "{SERVICES}, metadata: {{parallel: false}}}}; environment: {{environmentRef: dev}} with strategy: {{parallelism: 2}}"
            ),
            "`s` is repeated at once, and what it deploys is to go one after the other",
        ),
    ];
    for (what, wanted) in table {
        let loaded = loaded(&what);
        let mut said = errors(&loaded);
        if said.is_empty() {
            let expanded = in_world(&loaded, |world| expand(world, &"pipeline".into()));
            said = messages(&expanded.expect_err("a problem"));
        }
        assert_eq!(said, [wanted], "{what}");
    }
}
