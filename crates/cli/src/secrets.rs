//! Where the values of secrets come from on this machine.
//!
//! In this order, the first that has it wins: `--secret`, `--secrets-file`, the environment (`STEPYARD_SECRET_<ID>`),
//! secret documents of the entities. A value is held in memory only; nothing here prints or stores one.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use syntax::Sources;

use crate::args::SecretArgs;
use crate::problem::Problem;

/// What the environment's variables begin with.
const PREFIX: &str = "STEPYARD_SECRET_";

/// The variables of the environment that hold secrets, by the words of the command line: `STEPYARD_SECRET_<ID>`, and those that a
/// `--secret NAME` takes.
#[cfg(target_os = "linux")]
pub(crate) fn variables(words: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let of_environment = std::env::vars_os().map(|(name, _)| name);
    let mut found: Vec<_> = of_environment
        .filter(|name| name.to_string_lossy().starts_with(PREFIX))
        .collect();
    let mut taken = false;
    for word in words {
        let text = word.to_string_lossy();
        let name = if std::mem::replace(&mut taken, text == "--secret") {
            Some(&*text)
        } else {
            text.strip_prefix("--secret=")
        };
        found.extend(name.filter(|name| !name.contains('=')).map(OsString::from));
    }
    found
}

/// The secrets of a command. Its values are not shown by `Debug`.
#[derive(Default, Clone)]
pub(crate) struct Secrets {
    given: BTreeMap<String, String>,
    environment: BTreeMap<String, String>,
    documents: BTreeMap<String, String>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set()
            .entries(self.given.keys())
            .entries(self.documents.keys())
            .finish()
    }
}

impl Secrets {
    /// What the command line and the environment give.
    pub(crate) fn read(
        args: &SecretArgs,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, Problem> {
        let mut secrets = Self::default();
        let mut all = BTreeMap::new();
        for (name, value) in environment {
            if let (Ok(name), Ok(value)) = (name.into_string(), value.into_string()) {
                if let Some(id) = name.strip_prefix(PREFIX) {
                    secrets.environment.insert(id.to_owned(), value.clone());
                }
                all.insert(name, value);
            }
        }
        if let Some(file) = &args.secrets_file {
            secrets.given.extend(file_of_secrets(file)?);
        }
        for text in &args.secrets {
            let (name, value) = one(text, &all)?;
            secrets.given.insert(name, value);
        }
        Ok(secrets)
    }

    /// Adds the value of a secret document.
    pub(crate) fn document(&mut self, id: String, value: String) {
        self.documents.insert(id, value);
    }

    /// The value of a reference as it is written: `id`, `org.id`, `account.id`. A reference with a scope is also found
    /// under its bare id: on one machine there is one scope.
    pub(crate) fn get(&self, reference: &str) -> Option<&str> {
        let bare = reference
            .strip_prefix("account.")
            .or_else(|| reference.strip_prefix("org."))
            .unwrap_or(reference);
        [reference, bare].iter().find_map(|id| {
            self.given
                .get(*id)
                .or_else(|| self.environment.get(*id))
                .or_else(|| self.environment.get(&variable(id)))
                .or_else(|| self.documents.get(*id))
                .map(String::as_str)
        })
    }

    /// Every value that is known, so that no log shows one.
    pub(crate) fn values(&self) -> Vec<String> {
        let all = self
            .given
            .values()
            .chain(self.environment.values())
            .chain(self.documents.values());
        let mut values: Vec<_> = all.filter(|value| !value.is_empty()).cloned().collect();
        values.sort();
        values.dedup();
        values
    }

    /// The problem of a secret that nothing gives.
    pub(crate) fn missing(reference: &str, wanted_by: &str) -> Problem {
        Problem::invalid(format!(
            "the secret `{reference}` has no value; {wanted_by} needs it"
        ))
        .help(Self::ways(reference))
    }

    /// The ways to give a secret.
    pub(crate) fn ways(reference: &str) -> String {
        let bare = reference.rsplit('.').next().unwrap_or(reference);
        format!(
            "give it by `--secret {bare}=…`, by `{bare}=…` in a `--secrets-file`, as `{PREFIX}{}`\n\
             in the environment, or as a `secret:` document of the pipeline's file or of `--entities`",
            variable(bare)
        )
    }
}

/// The part of an environment variable's name that stands for an id.
fn variable(id: &str) -> String {
    id.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_uppercase()
            } else {
                '_'
            }
        })
        .collect()
}

/// `NAME=VALUE`, `NAME=@FILE`, `NAME`.
fn one(text: &str, environment: &BTreeMap<String, String>) -> Result<(String, String), Problem> {
    let Some((name, value)) = text.split_once('=') else {
        // What stands here may be a value that somebody forgot to name: it is not repeated.
        let known = environment.get(text).filter(|_| is_name(text));
        return match known {
            Some(value) => Ok((text.to_owned(), value.clone())),
            None if is_name(text) => Err(Problem::invalid(format!(
                "`--secret {text}` takes its value from the environment, where no variable `{text}` is set"
            ))
            .help(format!("export {text}, or give `--secret {text}=…` or `--secret {text}=@FILE`"))),
            None => Err(Problem::invalid("a `--secret` has no name").help("give `--secret NAME=VALUE`")),
        };
    };
    if !is_name(name) {
        return Err(
            Problem::invalid("a `--secret` has a name that no secret can have")
                .help("names are letters, digits, `_`, `-`, `$` and, before a scope's id, a dot"),
        );
    }
    let value = match value.strip_prefix('@') {
        Some(file) => {
            let text = fs::read_to_string(file).map_err(|e| {
                Problem::system(format_args!("read {file} for the secret `{name}`"), &e)
            })?;
            // Editors end files with a line end that is no part of a token.
            text.strip_suffix('\n').map_or(text.clone(), str::to_owned)
        }
        None => value.to_owned(),
    };
    Ok((name.to_owned(), value))
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_-.$".contains(&b))
}

fn file_of_secrets(path: &Path) -> Result<BTreeMap<String, String>, Problem> {
    let shown = path.display();
    let text = fs::read_to_string(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => {
            Problem::invalid(format!("there is no secrets file {shown}"))
        }
        _ => Problem::system(format_args!("read the secrets file {shown}"), &e),
    })?;
    if path.extension().is_some_and(|e| e == "yaml" || e == "yml") {
        yaml(&text, &shown.to_string())
    } else {
        dotenv(&text, &shown.to_string())
    }
}

fn yaml(text: &str, name: &str) -> Result<BTreeMap<String, String>, Problem> {
    let mut sources = Sources::new();
    let id = sources.add(name, text);
    let parsed = syntax::yaml::parse(&sources, id);
    if let Some(diagnostic) = parsed.diagnostics.iter().find(|d| d.is_error()) {
        // An excerpt would show secrets: only the place is told.
        let place = diagnostic
            .span()
            .map_or(String::new(), |s| format!(":{}", sources.start(s).line));
        return Err(Problem::invalid(format!(
            "{name}{place}: {}",
            diagnostic.message
        )));
    }
    let mut found = BTreeMap::new();
    for document in &parsed.documents {
        let Some(mapping) = document.as_mapping() else {
            return Err(Problem::invalid(format!(
                "{name} is not a mapping of names to values"
            )));
        };
        for entry in &mapping.entries {
            let Some(value) = entry.value.as_text() else {
                return Err(Problem::invalid(format!(
                    "{name}: the value of `{}` is not text",
                    entry.key.text
                )));
            };
            found.insert(entry.key.text.to_string(), value.to_owned());
        }
    }
    Ok(found)
}

/// `NAME=VALUE` lines as shells and compose files have them: `export`, comments, single and double quotes.
fn dotenv(text: &str, file: &str) -> Result<BTreeMap<String, String>, Problem> {
    let mut found = BTreeMap::new();
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |what: &str| {
            Problem::invalid(format!("{file}:{}: {what}", at + 1))
                .help("each line is `NAME=VALUE`; the value may be quoted")
        };
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, value) = line
            .split_once('=')
            .ok_or_else(|| wrong("this line has no `=`"))?;
        let name = name.trim();
        if !is_name(name) {
            return Err(wrong("this line does not begin with a name"));
        }
        let value = value.trim_start();
        let value = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => {
                // A quoted value may go over several lines: keys in PEM form do.
                let mut body = value[1..].to_owned();
                let end = loop {
                    if let Some(end) = closing(&body, quote) {
                        break end;
                    }
                    let (_, more) = lines
                        .next()
                        .ok_or_else(|| wrong("the quote that begins here does not end"))?;
                    body.push('\n');
                    body.push_str(more);
                };
                body.truncate(end);
                if quote == '"' { unescape(&body) } else { body }
            }
            _ => value.split(" #").next().unwrap_or("").trim_end().to_owned(),
        };
        found.insert(name.to_owned(), value);
    }
    Ok(found)
}

fn closing(body: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in body.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote == '"' => escaped = true,
            c if c == quote => return Some(at),
            _ => {}
        }
    }
    None
}

fn unescape(body: &str) -> String {
    let mut out = String::with_capacity(body.len());
    let mut chars = body.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some('r') => out.push('\r'),
                Some(other) => out.push(other),
                None => out.push('\\'),
            },
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        pairs.iter().map(|(k, v)| (k.into(), v.into())).collect()
    }

    fn args(secrets: &[&str]) -> SecretArgs {
        SecretArgs {
            secrets: secrets.iter().map(|s| (*s).to_owned()).collect(),
            secrets_file: None,
        }
    }

    #[test]
    fn the_nearest_source_wins() {
        let environment = env(&[
            ("STEPYARD_SECRET_TOKEN", "e"),
            ("STEPYARD_SECRET_DB_PASSWORD", "db"),
            ("GH", "gh"),
        ]);
        let mut secrets = Secrets::read(&args(&["token=a=b", "GH"]), environment).expect("secrets");
        secrets.document("token".to_owned(), "d".to_owned());
        secrets.document("cert".to_owned(), "c".to_owned());
        for (reference, value) in [
            ("token", Some("a=b")),
            ("account.token", Some("a=b")),
            ("org.db-password", Some("db")),
            ("GH", Some("gh")),
            ("cert", Some("c")),
            ("other", None),
        ] {
            assert_eq!(secrets.get(reference), value, "{reference}");
        }
        assert!(!format!("{secrets:?}").contains("a=b"));
    }

    #[test]
    fn dotenv_files() {
        let text = "# comment\nA=1\nexport B = two words # not this\nC='$x \"y\"'\nD=\"a\\nb\"\nE=\nKEY=\"-----BEGIN\nxyz\n-----END\"\n";
        let found = dotenv(text, "f").expect("secrets");
        let found: Vec<_> = found.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(
            found,
            [
                "A=1",
                "B=two words",
                "C=$x \"y\"",
                "D=a\nb",
                "E=",
                "KEY=-----BEGIN\nxyz\n-----END"
            ]
        );
        assert!(
            dotenv("A=1\nhunter2\n", "f")
                .unwrap_err()
                .to_string()
                .starts_with("error: f:2: this line has no `=`")
        );
        assert!(
            dotenv("A=\"x\n", "f")
                .unwrap_err()
                .to_string()
                .contains("f:1: the quote")
        );
    }

    #[test]
    fn what_is_wrong_is_said_without_the_value() {
        let none = env(&[]);
        let problem = Secrets::read(&args(&["hunter 2!"]), none)
            .unwrap_err()
            .to_string();
        assert!(
            problem.contains("has no name") && !problem.contains("hunter"),
            "{problem}"
        );
        let problem = Secrets::read(&args(&["TOKEN"]), env(&[]))
            .unwrap_err()
            .to_string();
        assert!(problem.contains("no variable `TOKEN` is set"), "{problem}");
        let problem = yaml("a: hunter2\nb: [hunter3]\n", "s.yaml")
            .unwrap_err()
            .to_string();
        assert!(
            problem.contains("`b` is not text") && !problem.contains("hunter"),
            "{problem}"
        );
        let problem = Secrets::missing("account.npm-token", "step `publish`").to_string();
        assert!(
            problem.contains("--secret npm-token=")
                && problem.contains("STEPYARD_SECRET_NPM_TOKEN"),
            "{problem}"
        );
    }
}
