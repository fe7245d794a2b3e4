//! What a step is told and what it tells: variables, shells, entrypoints, names, reports, outputs, pull policies.

use std::process::Command;

use crate::security::ann;
use crate::support::{Group, Home, Registry, busybox, quoted};

#[test]
fn environment_names_and_entrypoints() {
    let home = Home::new();
    let dir = tempfile::tempdir().expect("a directory");
    let image = ann(dir.path());
    let text = Group::new()
        .infra("hostNames: [db.local, cache.local]")
        .step(
            "env",
            &image,
            "envVariables: {PLAIN: words here, NUMBER: 42, FROM: <+pipeline.identifier>-<+stage.identifier>}",
            "echo \"$PLAIN|$NUMBER|$FROM\"; echo $HARNESS_WORKSPACE $HARNESS_PIPELINE_ID $HARNESS_STAGE_ID $HARNESS_PROJECT_ID $HARNESS_ORG_ID $HARNESS_ACCOUNT_ID $HARNESS_BUILD_ID; test -n \"$HARNESS_EXECUTION_ID\" && echo known; echo $DRONE_WORKSPACE $CI; echo home $HOME in $PWD; env | grep -c STEPYARD",
        )
        .step("names", "host:/", "", "getent hosts db.local cache.local; test \"$(hostname)\" = \"$HOSTNAME\" && echo host $(hostname)")
        .raw(&format!("step: {{identifier: plugin, name: plugin, type: Plugin, spec: {{image: {}, entrypoint: [/bin/sh, -c, 'env | grep ^PLUGIN_'], settings: {{first_key: text, list: [1, two], map: {{a: true}}, empty: ''}}}}}}", quoted(&image)))
        .text()
        // `grep -c` of nothing is exit 1.
        .replace("grep -c STEPYARD", "grep -c STEPYARD || true");
    home.run(&text).says(
        "environment",
        0,
        &[
            "[s/g/env] words here|42|p-s\n",
            "[s/g/env] /harness p s default default local 1\n",
            "[s/g/env] known\n",
            "[s/g/env] /harness true\n",
            "[s/g/env] home /home/ann in /harness\n",
            "[s/g/env] 0\n",
            "127.0.0.1       db.local",
            "127.0.0.1       cache.local",
            "[s/g/names] host harnesscd-g-",
            "[s/g/plugin] PLUGIN_FIRST_KEY=text\n",
            "[s/g/plugin] PLUGIN_LIST=[1,\"two\"]\n",
            "[s/g/plugin] PLUGIN_MAP={\"a\":true}\n",
            "[s/g/plugin] PLUGIN_EMPTY=\n",
        ],
    );
    // The image's own entrypoint and command, in the workspace.
    let own = tempfile::tempdir().expect("a directory");
    let archive = own.path().join("own.tar");
    busybox(own.path(), |b| {
        b.facts().entrypoint = vec!["/bin/echo".into(), "entry".into()];
        b.facts().cmd = vec!["command".into()];
        b.facts().workdir = Some("/tmp".into());
    })
    .archive(&archive)
    .expect("an archive");
    let text = Group::new().raw(&format!(
        "step: {{identifier: a, name: a, type: Plugin, spec: {{image: 'oci-archive:{}'}}}}",
        archive.display()
    ));
    home.run(&text.text())
        .says("entrypoint", 0, &["[s/g/a] entry command\n"]);
}

#[test]
fn shells_and_outputs() {
    let home = Home::new();
    let out = |id: &str, name: &str| format!("<+steps.{id}.output.outputVariables.{name}>");
    let text = Group::new()
        .step("sh", "host:/", "shell: Sh, outputVariables: [{name: LINES}, {name: OTHER, type: String, value: SOURCE}]", "export LINES='one\ntwo  \"three\" $four\n'; SOURCE=renamed; echo $0; exit 0; echo never")
        .step("bash", "host:/", "shell: Bash, outputVariables: [{name: A}]", "set -euo pipefail; words=(x y); A=${words[1]}; [[ $BASH_VERSION ]] && echo bash")
        .step("python", "host:/", "shell: Python, outputVariables: [{name: P}]", "import os, sys\nos.environ['P'] = 'from python'\nprint('python', sys.version_info[0])\nsys.exit(0)")
        .step(
            "see",
            "host:/",
            &format!("envVariables: {{L: {}, O: {}, A: {}, P: {}}}", quoted(&out("sh", "LINES")), quoted(&out("sh", "OTHER")), quoted(&out("bash", "A")), quoted(&out("python", "P"))),
            "printf '%s\\n' \"$L\" \"O=$O\" \"A=$A\" \"P=$P\"",
        )
        .text();
    let seen = home.run(&text);
    seen.says(
        "outputs",
        0,
        &[
            "[s/g/bash] bash\n",
            "[s/g/python] python 3\n",
            "[s/g/see] one\n",
            "[s/g/see] two  \"three\" $four\n",
            "[s/g/see] O=renamed\n",
            "[s/g/see] A=y\n",
            "[s/g/see] P=from python\n",
        ],
    );
    assert!(!seen.out.contains("] never"), "{}", seen.out);
    home.run(
        &Group::new()
            .step("a", "host:/", "shell: Powershell", "x")
            .text(),
    )
    .says("powershell", 2, &["Powershell", "Pwsh"]);
}

#[test]
fn pwsh_is_called_as_the_format_says() {
    let home = Home::new();
    let dir = tempfile::tempdir().expect("a directory");
    let archive = dir.path().join("pwsh.tar");
    // A stand-in that shows how it is called, and leaves an output as PowerShell would.
    let own = dir.path().join("own");
    std::fs::create_dir_all(own.join("bin")).expect("a directory");
    let stub = "#!/bin/sh\necho \"called with $# words, $1\"\nprintf '%s\\n' \"$2\"\nfile=$(printf '%s' \"$2\" | grep -o \"WriteAllText('[^']*'\" | cut -d\"'\" -f2)\nprintf 'V=1.2\\000' > \"$file\"\n";
    std::fs::write(own.join("bin/pwsh"), stub).expect("a file");
    std::fs::set_permissions(
        own.join("bin/pwsh"),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .expect("a mode");
    busybox(dir.path(), |b| b.layer_from_dir(&own).expect("a layer"))
        .archive(&archive)
        .expect("an archive");
    let image = format!("oci-archive:{}", archive.display());
    let text = Group::new()
        .step(
            "a",
            &image,
            "shell: Pwsh, outputVariables: [{name: V}]",
            "$env:V = '1.2'\nWrite-Host hello",
        )
        .run("b", "echo V is <+steps.a.output.outputVariables.V>")
        .text();
    home.run(&text).says(
        "pwsh",
        0,
        &[
            "[s/g/a] called with 2 words, -Command\n",
            "[s/g/a] $ErrorActionPreference = 'Stop'\n",
            "[s/g/a] Write-Host hello\n",
            "[s/g/b] V is 1.2\n",
        ],
    );
}

#[test]
fn background_steps_are_awaited_by_their_probes() {
    let home = Home::new();
    let background = |id: &str, readiness: &str, command: &str| {
        format!(
            "step: {{identifier: {id}, name: {id}, type: Background, spec: {{image: 'host:/', shell: Sh, command: {}, readiness: {{{readiness}, period: 1s}}}}}}",
            quoted(command)
        )
    };
    let web = "mkdir /tmp/web && cd /tmp/web && sleep 0.3 && exec python3 -m http.server 8099";
    let socket = "sleep 0.3; exec python3 -c 'import socket as s, time; x = s.socket(s.AF_UNIX); x.bind(\"/harness/s.sock\"); x.listen(); time.sleep(1000)'";
    let text = Group::new()
        .raw(&background("web", "http: {port: 8099, path: /}", web))
        .raw(&background("port", "tcp: {port: 8099}", "exec sleep 1000"))
        .raw(&background(
            "socket",
            "unix: {path: /harness/s.sock}",
            socket,
        ))
        .raw(&background(
            "file",
            "exec: {command: [test, -e, /harness/there]}",
            "sleep 0.3; touch /harness/there; exec sleep 1000",
        ))
        .run("a", "test -S s.sock && test -e there && echo all are ready")
        .text();
    let seen = home.run(&text);
    seen.says("ready", 0, &["[s/g/a] all are ready\n"]);
    for id in ["web", "port", "socket", "file"] {
        seen.says(id, 0, &[&format!("[s/g/{id}] ready\n")]);
    }
    // One that does not come up is waited for as long as is said: a warning, or a failure.
    let late = |more: &str| {
        Group::new()
            .raw(&background(
                "late",
                &format!("tcp: {{port: 8098}}, timeout: 1s{more}"),
                "exec sleep 1000",
            ))
            .run("a", "echo went on")
            .text()
    };
    home.run(&late(", required: false"))
        .says("a warning", 0, &["not ready", "[s/g/a] went on\n"]);
    let seen = home.run(&late(""));
    seen.says("required", 1, &["[s/g/late] failed", "not ready"]);
    assert_eq!(seen.times("went on"), 0, "{}", seen.out);
}

#[test]
fn reports_are_summed_and_kept() {
    let home = Home::new();
    let suite = "<testsuite name='u' tests='3' failures='1' skipped='1'><testcase classname='u' name='adds' time='0.2'/><testcase classname='u' name='divides' time='2.5'><failure message='by zero'/></testcase><testcase classname='u' name='waits'><skipped/></testcase></testsuite>";
    let text = Group::new()
        .step(
            "tests",
            "host:/",
            "reports: {type: JUnit, spec: {paths: ['out/**/*.xml', '/harness/notes/*.txt']}}",
            &format!("mkdir -p out/deep notes; echo \"{suite}\" > out/deep/u.xml; echo noted > notes/n.txt; exit 1"),
        )
        .text();
    home.run(&text).says(
        "reports",
        1,
        &[
            "3 tests, 1 passed, 1 failed, 1 skipped",
            "divides",
            "by zero",
            "exit code 1",
        ],
    );
    home.call(&["inspect", "--reports"])
        .says("kept", 0, &["u.xml", "n.txt"]);
}

#[test]
fn a_secret_is_in_no_report_and_in_no_output_that_is_kept() {
    let home = Home::new();
    let suite = "<testsuite><testcase name='t'><failure message='got $S'/></testcase></testsuite>";
    let text = Group::new()
        .step(
            "a",
            "host:/",
            "envVariables: {S: '<+secrets.getValue(\"tok\")>'}, outputVariables: [{name: URL}], reports: {type: JUnit, spec: {paths: [r.xml]}}",
            &format!("echo \"{suite}\" > r.xml; URL=https://$S@here"),
        )
        .run("b", "echo it is <+steps.a.output.outputVariables.URL>")
        .text();
    home.write("p.yaml", text);
    let seen = home.call(&["run", "p.yaml", "--secret", "tok=hunter22xyz"]);
    let mask = "**************";
    seen.says(
        "masked",
        0,
        &[
            &format!("got {mask}"),
            "output variable URL holds a secret",
            &format!("it is {mask}"),
        ],
    );
    let found = Command::new("grep")
        .args(["-rl", "hunter22xyz", "state"])
        .current_dir(home.path())
        .output()
        .expect("grep");
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
}

#[test]
fn pull_policies() {
    let home = Home::new();
    let registry = Registry::start(false);
    let dir = tempfile::tempdir().expect("a directory");
    let image = registry.push(&busybox(&dir.path().join("one"), |_| ()), "box:1");
    let with = |policy: &str| {
        Group::new()
            .step(
                "a",
                &image,
                &format!("imagePullPolicy: {policy}"),
                "echo $MARK is here",
            )
            .text()
    };
    home.run(&with("Never")).says(
        "never, not here",
        1,
        &[
            "is not on this machine, and its pull policy is Never",
            "set imagePullPolicy",
        ],
    );
    home.run(&with("IfNotPresent")).says(
        "first",
        0,
        &["Pulling image", "Successfully pulled image", "is here"],
    );
    let again = home.run(&with("IfNotPresent"));
    again.says("again", 0, &["already present on machine"]);
    assert_eq!(again.times("Pulling image"), 0, "{}", again.out);
    home.run(&with("Never"))
        .says("never, here", 0, &["is here"]);
    // The tag moves: only Always sees it.
    registry.push(
        &busybox(&dir.path().join("two"), |b| {
            b.facts().env.push(("MARK".into(), "second".into()));
        }),
        "box:1",
    );
    home.run(&with("IfNotPresent"))
        .says("old", 0, &["[s/g/a] is here"]);
    home.run(&with("Always"))
        .says("new", 0, &["[s/g/a] second is here"]);
    drop(registry);
    home.run(&with("IfNotPresent"))
        .says("no registry needed", 0, &["second is here"]);
    home.run(&with("Always"))
        .says("asked always", 1, &["cannot be reached"]);
}
