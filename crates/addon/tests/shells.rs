//! How each shell is called, and the script that it gets: goldens, for shells that a machine may not have.

use std::fmt::Write as _;

use addon::frame::{Attempt, OutputVar, Program, Shell, Start};
use addon::outputs::{Files, argv};

const SHELLS: [Shell; 4] = [Shell::Sh, Shell::Bash, Shell::Pwsh, Shell::Python];

/// The call of every shell with these output variables, word by word.
fn calls(text: &str, outputs: &[OutputVar]) -> String {
    let files = Files {
        exported: "/addon/tmp/it's/exported".to_owned(),
        dotenv: "/addon/tmp/dotenv".to_owned(),
        secret: "/addon/tmp/secret".to_owned(),
        scratch: "/addon/tmp/scratch".to_owned(),
    };
    let mut told = String::new();
    for shell in SHELLS {
        let start = Start {
            attempt: Attempt {
                run: "r".to_owned(),
                step: "s".to_owned(),
                number: 0,
            },
            program: Program::Script {
                shell,
                text: text.to_owned(),
            },
            env: Vec::new(),
            workdir: "/harness".to_owned(),
            secrets: Vec::new(),
            outputs: outputs.to_vec(),
            background: false,
            readiness: None,
            timeout_ms: 0,
        };
        let _ = writeln!(told, "--- {shell:?}");
        for (at, word) in argv(&start, &files).iter().enumerate() {
            let _ = writeln!(told, "{at}: {word}");
        }
    }
    told
}

#[test]
fn a_script_without_outputs() {
    insta::assert_snapshot!(calls("echo 'one'\nexit 3", &[]));
}

#[test]
fn a_script_with_outputs() {
    let var = |name: &str, source: &str| OutputVar {
        name: name.to_owned(),
        source: source.to_owned(),
        secret: false,
    };
    insta::assert_snapshot!(calls(
        "VERSION=1.2",
        &[var("VERSION", "VERSION"), var("it's", "OTHER")]
    ));
}
