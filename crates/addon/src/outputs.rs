//! A step's program as it is really started, and what it leaves behind as outputs.
//!
//! Output variables of a script are written by the script's own shell when it ends: from a trap set before the user's
//! first line, so that an early `exit 0` exports too, and again after the last line, for a user who sets a trap of
//! their own. Values are separated by NUL, so that lines within them survive.

use std::fmt::Write as _;

use crate::frame::{Output, OutputVar, Program, Shell, Start};

/// Characters a value may have: what fits an environment variable of the step that reads it.
pub const LONGEST: usize = 131_072;

/// What a person calls [`Files::dotenv`].
pub const DOTENV: &str = "$HARNESS_OUTPUT_FILE ($DRONE_OUTPUT)";
/// What a person calls [`Files::secret`].
pub const SECRET: &str = "$HARNESS_OUTPUT_SECRET_FILE";

/// Where a step's files are, in the container. All are made, empty, before the step starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// Written by the wrapped script.
    pub exported: String,
    /// `$DRONE_OUTPUT` and `$HARNESS_OUTPUT_FILE`.
    pub dotenv: String,
    /// `$HARNESS_OUTPUT_SECRET_FILE`.
    pub secret: String,
    /// `$HARNESS_SCRATCH_DIR`.
    pub scratch: String,
}

/// Their contents when the step has ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Left {
    /// Of [`Files::exported`].
    pub exported: Vec<u8>,
    /// Of [`Files::dotenv`].
    pub dotenv: Vec<u8>,
    /// Of [`Files::secret`].
    pub secret: Vec<u8>,
    /// What could not be read, for the record.
    pub warnings: Vec<String>,
}

/// The program and arguments to execute.
pub fn argv(start: &Start, files: &Files) -> Vec<String> {
    match &start.program {
        Program::Exec { argv, before: None } => argv.clone(),
        Program::Exec {
            argv,
            before: Some(before),
        } => {
            let words: Vec<String> = argv.iter().map(|word| quote(word)).collect();
            let script = format!("set -e\n{before}\n\nexec {}", words.join(" "));
            words_of(&["sh", "-c", &script])
        }
        Program::Script { shell, text } => {
            let vars: Vec<&OutputVar> = start
                .outputs
                .iter()
                .filter(|var| readable(*shell, &var.source))
                .collect();
            match shell {
                Shell::Sh => words_of(&["sh", "-c", &posix(text, &vars, files)]),
                Shell::Bash => words_of(&["bash", "-c", &posix(text, &vars, files)]),
                Shell::Pwsh => words_of(&["pwsh", "-Command", &pwsh(text, &vars, files)]),
                Shell::Python => words_of(&["python3", "-c", &python(text, &vars, files)]),
            }
        }
    }
}

/// The step's own variables, to be set over everything else.
pub fn env(files: &Files) -> Vec<(String, String)> {
    [
        ("DRONE_OUTPUT", &files.dotenv),
        ("HARNESS_OUTPUT_FILE", &files.dotenv),
        ("HARNESS_OUTPUT_SECRET_FILE", &files.secret),
        ("HARNESS_SCRATCH_DIR", &files.scratch),
    ]
    .map(|(name, path)| (name.to_owned(), path.clone()))
    .to_vec()
}

/// What the step exported; warnings are in words for the user.
pub fn collect(start: &Start, left: &Left) -> (Vec<Output>, Vec<String>) {
    let mut found: Vec<Output> = Vec::new();
    let mut warnings = left.warnings.clone();
    let mut put = |name: &str, value: String, secret: bool| {
        let long = value.chars().count();
        if long > LONGEST {
            warnings.push(format!(
                "output variable {name} has {long} characters; the limit is {LONGEST}. It is left out: write it to a file in /harness instead"
            ));
            return;
        }
        let secret = secret
            || found
                .iter()
                .any(|output| output.name == name && output.secret);
        found.retain(|output| output.name != name);
        found.push(Output {
            name: name.to_owned(),
            value,
            secret,
        });
    };
    let mut odd = Vec::new();
    for (bytes, secret) in [(&left.dotenv, false), (&left.secret, true)] {
        let (read, lines) = dotenv_lines(&String::from_utf8_lossy(bytes));
        odd.push(lines);
        for (name, value) in read {
            let secret = secret
                || start
                    .outputs
                    .iter()
                    .any(|var| var.name == name && var.secret);
            put(&name, value, secret);
        }
    }
    for entry in left.exported.split(|&b| b == 0) {
        let text = String::from_utf8_lossy(entry);
        let Some((name, value)) = text.split_once('=') else {
            continue;
        };
        if let Some(var) = start.outputs.iter().find(|var| var.name == name) {
            put(name, value.to_owned(), var.secret);
        }
    }
    if let Program::Script { shell, .. } = start.program {
        for var in start
            .outputs
            .iter()
            .filter(|var| !readable(shell, &var.source))
        {
            warnings.push(format!(
                "output variable {}: {:?} is not a name that a variable of a shell can have",
                var.name, var.source
            ));
        }
    }
    for (lines, file) in odd.iter().zip([DOTENV, SECRET]) {
        warnings.extend(no_output(lines, file));
    }
    (found, warnings)
}

/// What is said of lines that hold no output. Never what is in them: it may be part of a secret.
fn no_output(lines: &[usize], file: &str) -> Option<String> {
    let first = lines.first()?;
    let more = match lines.len() - 1 {
        0 => String::new(),
        1 => ", and one more line,".to_owned(),
        more => format!(", and {more} more lines,"),
    };
    let (is, are) = if lines.len() == 1 {
        ("is no", "is")
    } else {
        ("are no", "are")
    };
    Some(format!(
        "line {first} of {file}{more} {is} NAME=value and {are} left out: write a value of several lines in quotes, or between NAME<<END and END"
    ))
}

/// `KEY=value` lines: quoted, `KEY=__B64__…`, or `KEY<<END` … `END`.
pub fn dotenv(text: &str) -> Vec<(String, String)> {
    dotenv_lines(text).0
}

/// Also the numbers of the lines that are nothing of it: neither blank nor a comment.
fn dotenv_lines(text: &str) -> (Vec<(String, String)>, Vec<usize>) {
    let (mut found, mut odd) = (Vec::new(), Vec::new());
    let number = core::cell::Cell::new(0);
    let mut lines = text.split('\n').map(|line| {
        number.set(number.get() + 1);
        line.strip_suffix('\r').unwrap_or(line)
    });
    while let Some(line) = lines.next() {
        let here = number.get();
        let line = line.trim_start();
        let blank = line.is_empty() || line.starts_with('#');
        let line = line.strip_prefix("export ").unwrap_or(line);
        let key_end = line
            .find(|c: char| !(c.is_alphanumeric() || "_.-".contains(c)))
            .unwrap_or(line.len());
        let (key, rest) = line.split_at(key_end);
        if key.is_empty() {
            if !blank {
                odd.push(here);
            }
            continue;
        }
        if let Some(end) = rest.strip_prefix("<<") {
            let mut value = Vec::new();
            for line in lines.by_ref() {
                if line == end {
                    break;
                }
                value.push(line);
            }
            found.push((key.to_owned(), value.join("\n")));
        } else if let Some(value) = rest.trim_start().strip_prefix('=') {
            let value = value.trim_start();
            let value = match value.chars().next() {
                Some(mark @ ('"' | '\'')) => quoted(&value[1..], mark, &mut lines),
                _ => plain(value),
            };
            found.push((key.to_owned(), value));
        } else {
            odd.push(here);
        }
    }
    (found, odd)
}

fn plain(value: &str) -> String {
    let value = value.trim_end();
    value
        .strip_prefix("__B64__")
        .and_then(|text| {
            use base64::Engine as _;
            base64::engine::general_purpose::STANDARD.decode(text).ok()
        })
        .map_or_else(
            || value.to_owned(),
            |bytes| String::from_utf8_lossy(&bytes).into_owned(),
        )
}

/// The rest of a quoted value, over as many lines as it takes. In double quotes a backslash escapes.
fn quoted<'a>(first: &'a str, mark: char, lines: &mut impl Iterator<Item = &'a str>) -> String {
    let mut value = String::new();
    let mut line = first;
    loop {
        let mut chars = line.chars();
        while let Some(c) = chars.next() {
            if c == mark {
                return value;
            }
            if c == '\\' && mark == '"' {
                match chars.next() {
                    Some('n') => value.push('\n'),
                    Some('r') => value.push('\r'),
                    Some('t') => value.push('\t'),
                    Some(c @ ('"' | '\\' | '$' | '`')) => value.push(c),
                    Some(c) => value.extend(['\\', c]),
                    None => value.push('\\'),
                }
            } else {
                value.push(c);
            }
        }
        match lines.next() {
            Some(next) => {
                value.push('\n');
                line = next;
            }
            None => return value,
        }
    }
}

/// Whether a shell's variable can have this name.
fn readable(shell: Shell, name: &str) -> bool {
    let shell_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    match shell {
        Shell::Sh | Shell::Bash => shell_name,
        Shell::Pwsh | Shell::Python => {
            !name.is_empty() && !name.contains(['\'', '\0', '=', '\n', '\\'])
        }
    }
}

fn posix(text: &str, vars: &[&OutputVar], files: &Files) -> String {
    if vars.is_empty() {
        return format!("set -e\n{text}");
    }
    let mut write = String::new();
    for var in vars {
        let (source, name) = (&var.source, quote(&format!("{}=", var.name)));
        write!(
            write,
            "[ -z \"${{{source}+x}}\" ] || printf '%s%s\\000' {name} \"${{{source}}}\"; "
        )
        .expect("a string takes all");
    }
    let file = quote(&files.exported);
    // `set +x` in braces: a script that traces itself does not show our lines.
    format!(
        "__stepyard_export() {{ {{ {write}}} >{file} 2>/dev/null || :; }}\n\
         trap '{{ set +x; }} 2>/dev/null; __stepyard_export' EXIT\n\
         set -e\n\
         {text}\n\n\
         {{ __stepyard_code=$?; set +x; }} 2>/dev/null; __stepyard_export; exit \"$__stepyard_code\"\n"
    )
}

fn python(text: &str, vars: &[&OutputVar], files: &Files) -> String {
    if vars.is_empty() {
        return text.to_owned();
    }
    let pairs: Vec<(&str, &str)> = vars
        .iter()
        .map(|var| (var.name.as_str(), var.source.as_str()))
        .collect();
    format!(
        "import atexit as _stepyard_atexit\n\
         def _stepyard_export():\n\
         \x20   import os\n\
         \x20   with open({file}, 'wb') as out:\n\
         \x20       for name, source in {pairs}:\n\
         \x20           value = os.environ.get(source)\n\
         \x20           if value is not None:\n\
         \x20               out.write(os.fsencode(name + '=' + value) + b'\\0')\n\
         _stepyard_atexit.register(_stepyard_export)\n\
         exec(compile({text}, '<string>', 'exec', dont_inherit=True))\n",
        file = json(&files.exported),
        pairs = json(&pairs),
        text = json(&text),
    )
}

/// A value as JSON text, which for strings and lists of them is Python too.
fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("strings are JSON")
}

fn pwsh(text: &str, vars: &[&OutputVar], files: &Files) -> String {
    if vars.is_empty() {
        return format!("$ErrorActionPreference = 'Stop'\n{text}");
    }
    let mut write = String::new();
    for var in vars {
        let (name, source) = (var.name.replace('\'', "''"), &var.source);
        write!(
            write,
            "$v = [Environment]::GetEnvironmentVariable('{source}'); if ($null -ne $v) {{ $o += '{name}=' + $v + [char]0 }}; "
        )
        .expect("a string takes all");
    }
    let file = files.exported.replace('\'', "''");
    // Without the test a last command that failed would be covered by what follows it: `pwsh -Command` ends with 1 for it.
    format!(
        "$ErrorActionPreference = 'Stop'\n\
         try {{\n{text}\nif (-not $?) {{ exit 1 }}\n}} finally {{ & {{ $o = ''; {write}[IO.File]::WriteAllText('{file}', $o) }} }}\n"
    )
}

/// A word for a POSIX shell.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn words_of(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}
