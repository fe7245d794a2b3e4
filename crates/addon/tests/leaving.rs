//! What a step leaves: the files of its outputs, read back.

use addon::frame::{Attempt, OutputVar, Program, Shell, Start};
use addon::outputs::{LONGEST, Left, collect, dotenv};

fn start(vars: &[(&str, &str, bool)]) -> Start {
    Start {
        attempt: Attempt {
            run: String::new(),
            step: String::new(),
            number: 0,
        },
        program: Program::Script {
            shell: Shell::Sh,
            text: String::new(),
        },
        env: Vec::new(),
        workdir: String::new(),
        secrets: Vec::new(),
        outputs: vars
            .iter()
            .map(|&(name, source, secret)| OutputVar {
                name: name.to_owned(),
                source: source.to_owned(),
                secret,
            })
            .collect(),
        background: false,
        readiness: None,
        timeout_ms: 0,
    }
}

#[test]
fn lines_that_are_no_outputs_are_told_by_number() {
    let warned = |dotenv: &str, secret: &str| {
        let left = Left {
            dotenv: dotenv.into(),
            secret: secret.into(),
            ..Left::default()
        };
        collect(&start(&[]), &left).1
    };
    let good = "# comment\n\nA=1\nB=\"x\nno equals\"\nC<<END\nno equals\nEND\n";
    assert_eq!(warned(good, good), Vec::<String>::new());
    let told = warned("A=1\r\nB=\"x\ny\"\nno equals\n", "hunter2 \n=x\nz\n");
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with(
        "line 4 of $HARNESS_OUTPUT_FILE ($DRONE_OUTPUT) is no NAME=value and is left out"
    ));
    assert!(
        told[1].starts_with("line 1 of $HARNESS_OUTPUT_SECRET_FILE, and 2 more lines, are no ")
    );
    assert!(!told.concat().contains("hunter2"));
}

#[test]
fn dotenv_forms() {
    for (text, expected) in [
        ("A=1\nB=two words \n", vec![("A", "1"), ("B", "two words")]),
        (
            "A=\"x\\ny\\\"\" # no\nB='a\\n'\n",
            vec![("A", "x\ny\""), ("B", "a\\n")],
        ),
        ("A=\"l1\nl2\"\nB=3", vec![("A", "l1\nl2"), ("B", "3")]),
        ("A=__B64__bDEKbDI=\n", vec![("A", "l1\nl2")]),
        ("A=__B64__not base64\n", vec![("A", "__B64__not base64")]),
        (
            "A<<END\nl1\nl2\nEND\nB=1\n",
            vec![("A", "l1\nl2"), ("B", "1")],
        ),
        ("A<<END\nnever ends", vec![("A", "never ends")]),
        (
            "# comment\n\nexport A=1\r\n=x\nno equals\n",
            vec![("A", "1")],
        ),
        ("A=a=b=c\nB=", vec![("A", "a=b=c"), ("B", "")]),
        ("my.key-1 = v", vec![("my.key-1", "v")]),
    ] {
        let found = dotenv(text);
        let found: Vec<_> = found
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        assert_eq!(found, expected, "{text:?}");
    }
}

#[test]
fn declared_names_win_and_what_is_too_long_is_told() {
    let start = start(&[
        ("A", "SRC", false),
        ("S", "S", true),
        ("BAD", "no-name", false),
    ]);
    let left = Left {
        exported: format!("A=l1\nl2\0S=token\0NOT_DECLARED=1\0B={}\0", "x".repeat(3)).into_bytes(),
        dotenv: format!("A=earlier\nBIG={}\nS=shown?\n", "x".repeat(LONGEST + 1)).into_bytes(),
        ..Left::default()
    };
    let (outputs, warnings) = collect(&start, &left);
    let outputs: Vec<_> = outputs
        .iter()
        .map(|o| (o.name.as_str(), o.value.as_str(), o.secret))
        .collect();
    assert_eq!(outputs, [("A", "l1\nl2", false), ("S", "token", true)]);
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("BIG") && warnings[0].contains("131072"));
    assert!(warnings[1].contains("BAD"));
}
