//! `stepyard validate`: every error of every file at once.

use std::path::PathBuf;

use pipeline::model::{self, Options};
use serde::Serialize;
use syntax::Sources;
use syntax::diagnostic::Report;

use crate::args::{Output, Validate};
use crate::out;
use crate::problem::{Exit, Problem};
use crate::screen::words;
use crate::texts;

/// What `--output json` writes.
#[derive(Serialize)]
struct Json {
    valid: bool,
    files: usize,
    errors: usize,
    warnings: usize,
    diagnostics: Vec<Report>,
}

/// Validates the files, and those of the directories.
pub(crate) fn run(args: &Validate, output: Output) -> Result<Exit, Problem> {
    let mut files: Vec<PathBuf> = Vec::new();
    for path in &args.files {
        if path.is_dir() {
            let found = texts::yaml_files(path)?;
            if found.is_empty() {
                return Err(
                    Problem::invalid(format!("{} holds no YAML file", path.display()))
                        .help("files end in .yaml or .yml"),
                );
            }
            files.extend(found);
        } else {
            files.push(path.clone());
        }
    }
    let mut sources = Sources::new();
    let mut diagnostics = Vec::new();
    let options = Options {
        portable: args.portable,
    };
    for file in &files {
        match texts::read(file, &mut sources)? {
            Ok(id) => diagnostics.extend(model::read(&sources, [id], options).diagnostics),
            Err(diagnostic) => diagnostics.push(diagnostic),
        }
    }
    syntax::diagnostic::sort(&mut diagnostics);
    let errors = diagnostics.iter().filter(|d| d.is_error()).count();
    let warnings = diagnostics.len() - errors;
    if output == Output::Json {
        out::json(&Json {
            valid: errors == 0,
            files: files.len(),
            errors,
            warnings,
            diagnostics: texts::reports(&diagnostics, &sources),
        })?;
    } else {
        texts::tell(&diagnostics, &sources);
        let what = words::count(files.len() as u64, "file");
        let warned = if warnings == 0 {
            String::new()
        } else {
            format!(", {}", words::count(warnings as u64, "warning"))
        };
        if errors == 0 {
            out::text(&format!("{what} valid{warned}\n"))?;
        } else {
            eprintln!("{}{warned} in {what}", words::count(errors as u64, "error"));
        }
    }
    Ok(if errors == 0 {
        Exit::Success
    } else {
        Exit::Invalid
    })
}
