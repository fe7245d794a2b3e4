//! What the language cannot mean: each with its own message from `validate` and from `run`, and nothing is run.

use crate::support::Home;

/// A pipeline with these keys, and a Run step of these keys in a containerized group.
fn pipeline(keys: &str, step: &str) -> String {
    format!(
        "pipeline:
  identifier: p
  name: p
{keys}  stages:
    - stage:
        identifier: s
        name: s
        type: Custom
        spec:
          execution:
            steps:
              - stepGroup:
                  identifier: g
                  name: g
                  stepGroupInfra: {{type: KubernetesDirect, spec: {{connectorRef: c, namespace: n}}}}
                  steps:
                    - step: {{identifier: a, name: a, {step}}}
"
    )
}

fn command(text: &str) -> String {
    pipeline("", &says(text))
}

fn says(text: &str) -> String {
    format!("type: Run, spec: {{image: 'host:/', command: '{text}'}}")
}

fn with(key: &str) -> String {
    pipeline("", &format!("{key}, {}", says("true")))
}

fn template(inputs: &str) -> String {
    let link = format!(
        "template: {{templateRef: t, versionLabel: '1', templateInputs: {{type: Run, spec: {{{inputs}}}}}}}"
    );
    pipeline("", &link)
}

const TEMPLATE: &str = "---
template: {identifier: t, name: t, type: Step, versionLabel: '1', spec: {type: Run, spec: {image: 'host:/', command: <+input>}}}
";
const ITSELF: &str = "---
template: {identifier: t, name: t, type: Step, versionLabel: '1', spec: {template: {templateRef: t, versionLabel: '1'}}}
";
const ENV: &str =
    "  variables: [{name: env, type: String, value: '<+input>.allowedValues(dev,prod)'}]\n";
const OTHERS: &str = "---
inputSet: {identifier: others, name: others, pipeline: {identifier: q, variables: [{name: env, type: String, value: dev}]}}
";

fn stage(id: &str, step: &str) -> String {
    format!(
        "stage: {{identifier: {id}, name: {id}, type: Custom, spec: {{execution: {{steps: [{{step: {{identifier: w, name: w, {step}}}}}]}}}}}}"
    )
}

fn approval(approvers: &str) -> String {
    let step = format!(
        "type: HarnessApproval, spec: {{approvalMessage: go, includePipelineExecutionHistory: false, approvers: {{{approvers}, disallowPipelineExecutor: false}}}}"
    );
    format!(
        "pipeline: {{identifier: p, name: p, stages: [{{{}}}]}}\n",
        stage("x", &step)
    )
}

#[test]
fn each_has_its_own_message_before_anything_runs() {
    let million: Vec<String> = ('a'..='f')
        .map(|axis| format!("{axis}: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]"))
        .collect();
    let barrier = format!(
        "pipeline: {{identifier: p, name: p, flowControl: {{barriers: [{{identifier: b, name: b}}]}}, stages: [{{parallel: [{{{}}}, {{{}}}]}}]}}\n",
        stage("x", "type: Barrier, spec: {barrierRef: b}"),
        stage("y", "type: Wait, spec: {duration: 1s}"),
    );
    let circle = "  variables: [{name: a, type: String, value: <+pipeline.variables.b>}, {name: b, type: String, value: <+pipeline.variables.a>}]\n";
    let rows: Vec<(&str, String, &[&str])> = vec![
        (
            "it never closes",
            command("echo <+pipeline.name"),
            &["SY0501", "never closes"],
        ),
        (
            "it recurses",
            pipeline(circle, &says("echo <+pipeline.variables.a>")),
            &["SY0503", "leads back to itself"],
        ),
        (
            "an unknown path",
            command("echo <+pipeline.variables.nope>"),
            &["SY0502", "`pipeline.variables.nope`"],
        ),
        (
            "it divides by zero",
            command("echo <+1 / 0>"),
            &["SY0503", "division by zero"],
        ),
        (
            "it is 1 MB long",
            command(&format!("echo <+{}1>", "1+".repeat(524_288))),
            &["SY0501", "longer than 65536 bytes"],
        ),
        (
            "a million iterations",
            with("strategy: {repeat: {times: 1000000}}"),
            &["SY0622", "has 1000000 iterations; at most 10000 are run"],
        ),
        (
            "a million combinations",
            with(&format!(
                "strategy: {{matrix: {{{}, nodeName: x_<+matrix.a>}}}}",
                million.join(", ")
            )),
            &["SY0622", "has 1000000 iterations; at most 10000 are run"],
        ),
        (
            "nothing is left",
            with("strategy: {matrix: {os: [a, b], exclude: [{os: a}, {os: b}]}}"),
            &["SY0622", "`exclude` leaves no iteration of `a`"],
        ),
        (
            "a retry without an interval",
            with(
                "failureStrategies: [{onFailure: {errors: [AllErrors], action: {type: Retry, spec: {retryCount: 2}}}}]",
            ),
            &["SY0101", "lacks `retryIntervals`"],
        ),
        (
            "two kinds of loop",
            with("strategy: {matrix: {os: [a]}, repeat: {times: 2}}"),
            &["SY0113", "exactly one of"],
        ),
        (
            "a template in itself",
            template("") + ITSELF,
            &["SY0309", "includes itself: `t` → `t`"],
        ),
        (
            "no such template",
            template(""),
            &["SY0308", "there is no template `t`"],
        ),
        (
            "an input too many",
            template("command: x, shell: Sh") + TEMPLATE,
            &["SY0310", "asks for no `shell` here"],
        ),
        (
            "an input too few",
            template("") + TEMPLATE,
            &["SY0310", "asks for `spec.command`, which is not given"],
        ),
        (
            "a barrier for one",
            barrier,
            &["SY0631", "only one step reaches the barrier `b`"],
        ),
        (
            "an approval of three",
            approval("userGroups: [g], minimumCount: 3"),
            &["SY0632", "an approval of 3 people here"],
        ),
        (
            "an approval of nobody",
            approval("userGroups: [], minimumCount: 1"),
            &["SY0632", "names no approvers"],
        ),
        (
            "an approval of programs",
            approval("serviceAccounts: [ci], minimumCount: 1"),
            &["SY0632", "for service accounts alone"],
        ),
    ];
    let home = Home::new();
    for (name, text, parts) in rows {
        home.write("p.yaml", text);
        for verb in ["validate", "run"] {
            // What a machine cannot do is no fault of the file.
            if verb == "validate" && parts[0] == "SY0632" {
                continue;
            }
            let seen = home.call(&[verb, "p.yaml"]);
            assert_eq!(seen.code, Some(2), "{verb} {name}: {}", seen.err);
            let said = format!("{}{}", seen.out, seen.err);
            for part in parts {
                assert!(
                    said.contains(part),
                    "{verb} {name}: `{part}` is not in:\n{said}"
                );
            }
        }
    }
    assert!(!home.path().join("state/runs").exists(), "nothing was run");
}

#[test]
fn values_that_do_not_fit_what_asks_for_them() {
    let home = Home::new();
    home.write("p.yaml", pipeline(ENV, &says("true")) + OTHERS);
    for (args, parts) in [
        (
            ["--set", "env=test"],
            [
                "`test` is not a value that the runtime input `env` allows",
                "give one of dev, prod",
            ],
        ),
        (
            ["--set", "nev=dev"],
            [
                "has no variable or input of this name",
                "did you mean `env`?",
            ],
        ),
        (
            ["--input-set", "others"],
            [
                "is of the pipeline `q`, not of `p`",
                "name an input set of this pipeline",
            ],
        ),
        (
            ["--input-set", "other"],
            ["there is no such input set", "others"],
        ),
    ] {
        let seen = home.call(&[&["run", "p.yaml"], &args[..]].concat());
        assert_eq!(seen.code, Some(2), "{args:?}: {}", seen.err);
        for part in parts {
            assert!(
                seen.err.contains(part),
                "{args:?}: `{part}` is not in:\n{}",
                seen.err
            );
        }
    }
    assert!(!home.path().join("state/runs").exists(), "nothing was run");
}

/// Quotes of every kind, an expansion, commands, two lines, a backslash at the end.
const HOSTILE: &str = "a'b\"c $HOME $(echo x) `echo y` ${z} \\n*;\nsecond \\";

#[test]
fn a_hostile_secret_is_what_it_is_in_every_shell() {
    let home = Home::new();
    home.write("tok", HOSTILE);
    let secret = "<+secrets.getValue('tok')>";
    let secret = secret.replace('\'', "\\\"");
    let quoted = format!(
        "printf %s '{secret}' | cksum; printf %s \\\"{secret}\\\" | cksum; printf %s \\\"$E\\\" | cksum"
    );
    let python = format!(
        "import os, zlib\\nfor v in ('{secret}', \\\"\\\"\\\"{secret}\\\"\\\"\\\", os.environ['E']): print('sum', zlib.crc32(v.encode()), len(v))"
    );
    let cases = [("Sh", &quoted), ("Bash", &quoted), ("Python", &python)];
    for (shell, script) in cases {
        let env = format!("envVariables: {{E: \"{secret}\"}}");
        let step = format!(
            "type: Run, spec: {{image: 'host:/', shell: {shell}, {env}, command: \"{script}\"}}"
        );
        home.write("p.yaml", pipeline("", &step));
        let seen = home.call(&["run", "p.yaml", "--secret", "tok=@tok"]);
        if shell == "Python" && seen.out.contains("python3") {
            continue;
        }
        assert_eq!(seen.code, Some(0), "{shell}: {}", seen.out);
        let sums: Vec<&str> = seen
            .out
            .lines()
            .filter_map(|line| line.strip_prefix("[s/g/a] "))
            .filter(|line| line.ends_with(&format!(" {}", HOSTILE.len())))
            .collect();
        assert_eq!(sums.len(), 3, "{shell}: {}", seen.out);
        assert!(sums.iter().all(|sum| *sum == sums[0]), "{shell}: {sums:?}");
        for line in HOSTILE.lines() {
            assert!(!seen.out.contains(line), "{shell} shows it: {}", seen.out);
        }
    }
}
