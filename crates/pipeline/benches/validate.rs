//! How long `validate` takes over 10,000 lines of YAML: parsing, lowering and every check, in this process.
//!
//! `cargo bench -p pipeline --bench validate` prints one line: the median and the worst of 50 rounds.

#![expect(clippy::disallowed_methods, reason = "it measures")]

use std::time::{Duration, Instant};

use pipeline::model::{Options, read};
use syntax::Sources;

const LINES: usize = 10_000;
const ROUNDS: usize = 50;

const HEAD: &str = "pipeline:
  name: long
  identifier: long
  stages:
    - stage:
        name: s
        identifier: s
        type: Custom
        spec:
          execution:
            steps:
";

/// `@` is its number.
const GROUP: &str = "              - stepGroup:
                  name: group @
                  identifier: g@
                  sharedPaths: [/var/run, /cache]
                  stepGroupInfra:
                    type: KubernetesDirect
                    spec:
                      connectorRef: account.k8s
                      namespace: builds
                  steps:
";

/// `@` is its number.
const STEP: &str = "                    - step:
                        type: Run
                        name: step @
                        identifier: s@
                        timeout: 10m
                        spec:
                          connectorRef: account.docker
                          image: alpine:3.20
                          shell: Sh
                          command: |-
                            echo \"<+pipeline.name> <+execution.steps.g0.steps.s0.output.outputVariables.X>\"
                            make test
                          envVariables:
                            CI: true
                            WHERE: <+input>.default(here)
                          resources:
                            limits: {cpu: 500m, memory: 1Gi}
                        failureStrategies:
                          - onFailure:
                              errors: [Timeout]
                              action: {type: Ignore}
";

/// A pipeline of groups with twenty steps each, as long as asked for.
fn text() -> String {
    let mut text = HEAD.to_owned();
    let mut group = 0;
    while text.lines().count() < LINES {
        text += &GROUP.replace('@', &group.to_string());
        for step in 0..20 {
            text += &STEP.replace('@', &step.to_string());
        }
        group += 1;
    }
    text
}

fn main() {
    let text = text();
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            let mut sources = Sources::new();
            let id = sources.add("long.yaml", text.clone());
            let loaded = read(&sources, [id], Options::default());
            let took = start.elapsed();
            assert!(!loaded.has_errors(), "{:?}", loaded.diagnostics.first());
            took
        })
        .collect();
    times.sort();
    println!(
        "validate {} lines ({} kB): median {:.1} ms, worst {:.1} ms of {ROUNDS}",
        text.lines().count(),
        text.len() / 1000,
        times[ROUNDS / 2].as_secs_f64() * 1e3,
        times[ROUNDS - 1].as_secs_f64() * 1e3,
    );
}
