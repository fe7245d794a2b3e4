//! Scripts with secrets, in the shells of this machine: what they see is what the author meant.

use std::sync::Arc;

use pipeline::resolve::script::{Shell, place};
use pipeline::resolve::{Piece, SecretRef};

/// Quotes of every kind, an expansion, a command, two lines, a backslash at the end.
const VALUE: &str = "a'b\"c $HOME $(echo x) `echo y` \\n*\nsecond \\";

/// A text in which `§` is the secret.
fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (at, part) in text.split('§').enumerate() {
        if at > 0 {
            pieces.push(Piece::Secret(SecretRef("s".into())));
        }
        if !part.is_empty() {
            pieces.push(Piece::Text(Arc::from(part)));
        }
    }
    pieces
}

#[expect(
    clippy::disallowed_types,
    reason = "only the shells themselves can say what they make of a script"
)]
fn output(program: &str, text: &str, shell: Shell) -> Option<String> {
    let script = place(&pieces(text), shell, &[]);
    assert!(!script.text.contains(VALUE), "{}", script.text);
    let made = std::process::Command::new(program)
        .args(["-c", &script.text])
        .envs(script.secrets.iter().map(|(name, _)| (name, VALUE)))
        .output();
    let made = match made {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        made => made.expect("the shell runs"),
    };
    assert!(
        made.status.success(),
        "{text}\n{}\n{}",
        script.text,
        String::from_utf8_lossy(&made.stderr)
    );
    Some(String::from_utf8(made.stdout).expect("text"))
}

#[test]
fn posix_shells_see_the_value_wherever_it_stands() {
    let table = [
        ("printf '[%s]' §", "[V]"),
        ("printf '[%s]' x§y", "[xVy]"),
        ("printf '[%s]' \"x §\"", "[x V]"),
        ("printf '[%s]' 'x § y'", "[x V y]"),
        ("printf '[%s]' '§'§\"§\"", "[VVV]"),
        ("X=§; printf '[%s]' \"$X\"", "[V]"),
        ("X=\"$(printf %s '§')\"; printf '[%s]' \"$X\"", "[V]"),
        ("X=`printf %s '§'`; printf '[%s]' \"$X\"", "[V]"),
        ("printf '[%s]' \"$(printf %s \"§\")\" ok", "[V][ok]"),
        ("printf '[%s]' \"${UNSET:-§}\"", "[V]"),
        ("# it's § \"here\nprintf '[%s]' '§'", "[V]"),
        ("cat <<EOF\n- §\nEOF\nprintf '[%s]' '§'", "- V\n[V]"),
        (
            "cat <<'EOF'\n$HOME `x` \\ §\nEOF\nprintf '[%s]' '§'",
            "$HOME `x` \\ V\n[V]",
        ),
        ("cat <<'A' <<\"B\"\n$ignored\nA\n§ $HOME\nB\n", "V $HOME\n"),
        ("cat <<-\"EOF\"\n\tx §\n\tEOF\n", "x V\n"),
        ("printf '[%s]' \\§", "[V]"),
        ("if true; then (printf '[%s]' '§'); fi", "[V]"),
        ("printf '[%s]' a#§ 'it'\\''s §'", "[a#V][it's V]"),
    ];
    for (program, shell) in [("sh", Shell::Sh), ("bash", Shell::Bash)] {
        for (text, wanted) in table {
            let made = output(program, text, shell).expect("every Unix has one");
            assert_eq!(made, wanted.replace('V', VALUE), "{program}: {text}");
        }
    }
    let made = output("bash", "printf '[%s]' $'x\\t§'", Shell::Bash).expect("bash is here");
    assert_eq!(made, format!("[x\t{VALUE}]"));
}

#[test]
fn python_sees_the_value_wherever_it_stands() {
    let table = [
        ("print(§, end='')", "V"),
        ("print('x § y', end='')", "x V y"),
        ("print(\"it's §\" % (), end='')", "it's V"),
        ("print('''a\n§''', end='')", "a\nV"),
        ("print('%s ' % 1 + 'n: §', end='')", "1 n: V"),
        ("print('a' \"§\" 'b', end='')", "aVb"),
        ("print(f'{1 + 1} §', end='')", "2 V"),
        ("print(r'\\d§', end='')", "\\dV"),
        ("import sys\nsys.stdout.buffer.write(b'§')", "V"),
        ("# don't §\nprint('§' + '', end='')", "V"),
        ("x = {'k': '§'}\nprint(x['k'], end='')", "V"),
    ];
    for (text, wanted) in table {
        let Some(made) = output("python3", text, Shell::Python) else {
            eprintln!("no python3 here");
            return;
        };
        let wanted = wanted.replace('V', VALUE);
        assert_eq!(made, wanted, "{text}");
    }
}

#[test]
fn powershell_names_the_variable_as_it_stands() {
    let table = [
        ("Write-Host §", "Write-Host ${env:N}"),
        ("\"x § `\" y\"", "\"x ${env:N} `\" y\""),
        ("'it''s §'", "('it''s N').Replace('N', ${env:N})"),
        ("@'\nx §\n'@", "(@'\nx N\n'@).Replace('N', ${env:N})"),
        ("@\"\nx §\n\"@", "@\"\nx ${env:N}\n\"@"),
        ("# don't §\n'a'", "# don't N\n'a'"),
    ];
    for (text, wanted) in table {
        let script = place(&pieces(text), Shell::Pwsh, &[]);
        assert_eq!(
            script.text,
            wanted.replace('N', "HARNESS_SECRET_001"),
            "{text}"
        );
    }
}

#[test]
fn names_are_free_and_one_a_secret() {
    let script = place(
        &[
            Piece::Text("echo $HARNESS_SECRET_001 ".into()),
            Piece::Secret(SecretRef("a".into())),
            Piece::Secret(SecretRef("b".into())),
            Piece::Secret(SecretRef("a".into())),
        ],
        Shell::Sh,
        &["HARNESS_SECRET_002"],
    );
    assert_eq!(
        script.text,
        "echo $HARNESS_SECRET_001 \"${HARNESS_SECRET_003}\"\"${HARNESS_SECRET_004}\"\"${HARNESS_SECRET_003}\""
    );
    assert_eq!(script.secrets.len(), 2);
}
