//! A client that others wrote: Neovim's, without a screen, as `docs/editors.md` has it.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

const PIPELINE: &str = "pipeline:
  identifier: p
  name: p
  stages:
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
                  stepGroupInfra: {type: KubernetesDirect, spec: {connectorRef: k, namespace: n}}
                  steps:
                    - step:
                        identifier: a
                        name: a
                        type: Run
                        timeout: soon
                        spec:
                          image: alpine
                          shell: Sh
                          command: echo <+pipeline.name>
";

/// Whether Neovim is here; else that is told. In CI it has to be.
fn neovim() -> bool {
    let there = Command::new("nvim")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok();
    if there {
        return true;
    }
    let reason = "nvim is missing: apt-get install neovim";
    assert!(std::env::var_os("CI").is_none(), "{reason}");
    if let Some(path) = std::env::var_os("STEPYARD_TEST_SKIPS") {
        let mut file = OpenOptions::new().append(true).create(true).open(path);
        let file = file.as_mut().expect("the file of skips");
        writeln!(
            file,
            "neovim_shows_diagnostics_completion_and_hover: {reason}"
        )
        .expect("written");
    }
    eprintln!("skipped: {reason}");
    false
}

#[test]
fn neovim_shows_diagnostics_completion_and_hover() {
    if !neovim() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    fs::write(at("pipeline.yaml"), PIPELINE).expect("written");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/neovim/client.lua");
    let out = Command::new("nvim")
        .args(["--headless", "--clean", "-n", "pipeline.yaml", "-c"])
        .arg(format!("luafile {script}"))
        .current_dir(folder.path())
        .env("HOME", folder.path())
        .env("OUT", at("seen.json"))
        .env("STEPYARD", env!("CARGO_BIN_EXE_stepyard"))
        .env_remove("XDG_STATE_HOME")
        .stdin(Stdio::null())
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&out.stderr);
    let seen = fs::read(at("seen.json")).unwrap_or_else(|e| panic!("{e}: {said}"));
    let seen: Value = serde_json::from_slice(&seen).expect("JSON");
    assert!(out.status.success(), "{seen}\n{said}");

    let told = seen["diagnostics"].as_array().expect("a list");
    let soon = told
        .iter()
        .find(|own| own["severity"] == 1)
        .expect("an error");
    assert_eq!(
        (&soon["line"], &soon["column"]),
        (&21.into(), &34.into()),
        "{soon}"
    );
    let message = soon["message"].as_str().expect("text");
    assert!(message.contains("soon"), "{message}");

    let has = |list: &str, word: &str| {
        let list = seen[list].as_array().expect("a list");
        assert!(list.iter().any(|own| own == word), "{word}: {list:?}");
    };
    has("types", "Run");
    has("types", "Background");
    has("paths", "name");
    has("paths", "variables");

    let hover = seen["hover"].to_string();
    assert!(hover.contains("shell") && hover.len() > 40, "{hover}");
}
