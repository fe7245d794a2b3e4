//! What `validate` and `plan` show of every pipeline in `examples/`.
//!
//! Each is asked as its `.expected` file runs it, in its own folder, and both screens are one snapshot beside this file. A change of a
//! screen is read in the difference of its snapshot, and taken over with `INSTA_UPDATE=always`.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Seek as _};
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Arguments of `run` that say what the pipeline is, and have a value.
const OF_THE_PIPELINE: [&str; 5] = [
    "--entities",
    "--file-store",
    "--input-set",
    "--inputs",
    "--set",
];
/// Those that only say how it is run.
const OF_THE_RUN: [&str; 2] = ["--network", "--secret"];

/// A pipeline in a folder, and what `plan` has to be told of it.
struct Example {
    name: String,
    folder: PathBuf,
    pipeline: String,
    args: Vec<(String, String)>,
}

impl Example {
    fn read(examples: &Path, expected: &Path) -> Self {
        let text = fs::read_to_string(expected).expect("a text");
        let of = |word: &'static str| text.lines().filter_map(move |l| l.strip_prefix(word));
        let name = expected.with_extension("");
        let own = name.file_name().expect("a name").to_string_lossy();
        let mut args = Vec::new();
        let mut words = of("args:").flat_map(str::split_whitespace);
        while let Some(word) = words.next() {
            let value = words.next().expect("each has a value");
            if OF_THE_PIPELINE.contains(&word) {
                args.push((word.to_owned(), value.to_owned()));
            } else {
                let of_the_run = OF_THE_RUN.contains(&word);
                assert!(of_the_run, "{}: {word} is new here", expected.display());
            }
        }
        let shown = name.strip_prefix(examples).expect("below");
        Self {
            name: shown.to_string_lossy().replace('/', "-"),
            folder: expected.parent().expect("a folder").to_owned(),
            pipeline: of("pipeline:")
                .next()
                .map_or_else(|| format!("{own}.yaml"), |named| named.trim().to_owned()),
            args,
        }
    }

    /// The command as a person writes it, and what it shows.
    fn screen(&self, command: &str, options: &[&str]) -> String {
        let mut words = vec![command, self.pipeline.as_str()];
        for (option, value) in &self.args {
            if options.contains(&option.as_str()) {
                words.extend([option.as_str(), value.as_str()]);
            }
        }
        let mut asked = Command::new(env!("CARGO_BIN_EXE_stepyard"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("STEPYARD_") {
                asked.env_remove(name);
            }
        }
        let home = tempfile::tempdir().expect("a directory");
        // Both streams into one file, in the order in which a terminal gets them.
        let mut both = tempfile::tempfile().expect("a file");
        let stream = || both.try_clone().expect("one more");
        let ended = asked
            .args(&words)
            .current_dir(&self.folder)
            .env("STEPYARD_HOME", home.path())
            .env("COLUMNS", "80")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(stream())
            .stderr(stream())
            .status()
            .expect("the binary is built");
        let mut text = format!("$ stepyard {}\n", words.join(" "));
        both.rewind().expect("its begin");
        both.read_to_string(&mut text).expect("a text");
        if !ended.success() {
            text.push_str(&["[", &ended.to_string(), "]\n"].concat());
        }
        text
    }
}

fn find(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            find(&path, found);
        } else if path.extension().is_some_and(|e| e == "expected") {
            found.push(path);
        }
    }
}

#[test]
fn of_every_example() {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let examples = own.join("../../examples");
    let mut expected = Vec::new();
    find(&examples, &mut expected);
    expected.sort();
    let mut names = BTreeSet::new();
    let mut other = Vec::new();
    for file in &expected {
        let example = Example::read(&examples, file);
        names.insert(example.name.clone());
        let text = example.screen("validate", &["--entities"])
            + "\n"
            + &example.screen("plan", &OF_THE_PIPELINE);
        // All that differ are told, not the first alone.
        if catch_unwind(|| insta::assert_snapshot!(example.name.as_str(), text)).is_err() {
            other.push(example.name);
        }
    }
    assert!(other.is_empty(), "other screens of {}", other.join(", "));
    let stored = fs::read_dir(own.join("tests/snapshots")).expect("snapshots");
    let stored: BTreeSet<_> = stored
        .map(|entry| entry.expect("an entry").file_name())
        .filter_map(|name| {
            let name = name.to_str()?.strip_prefix("screens__")?;
            name.strip_suffix(".snap").map(str::to_owned)
        })
        .collect();
    assert_eq!(stored, names, "a snapshot for each example, and no more");
}
