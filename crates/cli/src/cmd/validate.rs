//! `stepyard validate`: every error of every file at once, and of a folder, what of it would run here.

mod report;

use std::path::PathBuf;

use pipeline::model::{self, Options};
use pipeline::plan::{self, Place};
use serde::Serialize;
use syntax::diagnostic::Report as Told;
use syntax::{Diagnostic, Sources};

use crate::args::{Output, Validate};
use crate::folder;
use crate::out;
use crate::problem::{Exit, Problem};
use crate::screen::show::now_ms;
use crate::screen::words;
use crate::texts;
use report::{Judged, Lack};

/// What `--output json` writes.
#[derive(Serialize)]
struct Json {
    valid: bool,
    files: usize,
    errors: usize,
    warnings: usize,
    diagnostics: Vec<Told>,
    /// Every pipeline, and whether it would run here.
    pipelines: Vec<Judged>,
    /// What is missing, the most often first.
    missing: Vec<Lack>,
}

/// A file with what was read from it.
struct Read {
    name: String,
    documents: folder::Documents,
    /// The text is YAML.
    whole: bool,
}

/// Validates the files, and those of the directories.
pub(crate) fn run(args: &Validate, output: Output) -> Result<Exit, Problem> {
    let files = files(&args.files)?;
    let mut sources = Sources::new();
    let mut diagnostics = Vec::new();
    let mut read = |file: &PathBuf, told: &mut Vec<Diagnostic>| -> Result<Read, Problem> {
        let name = file.display().to_string();
        let (mut documents, mut whole) = (Vec::new(), false);
        match texts::read(file, &mut sources)? {
            Ok(id) => {
                let parsed = syntax::yaml::parse(&sources, id);
                whole = !parsed.diagnostics.iter().any(Diagnostic::is_error);
                documents = parsed.documents;
                told.extend(parsed.diagnostics);
            }
            Err(diagnostic) => told.push(diagnostic),
        }
        Ok(Read {
            name,
            documents,
            whole,
        })
    };
    let mut all = Vec::new();
    for file in &files {
        all.push(read(file, &mut diagnostics)?);
    }
    // Those beside are only looked things up in.
    let mut beside = Vec::new();
    for dir in &args.entities {
        for file in texts::yaml_files(dir)? {
            beside.push(read(&file, &mut Vec::new())?);
        }
    }
    let options = Options {
        portable: args.portable,
    };
    let mut judged = Vec::new();
    for (at, file) in all.iter().enumerate() {
        let is_pipeline = folder::is_pipeline(&file.documents);
        let documents = if is_pipeline {
            let others = all.iter().enumerate().filter(|(n, _)| *n != at);
            let others = others.map(|(_, own)| own).chain(&beside);
            folder::with_entities(&file.documents, others.map(|own| &own.documents))
        } else {
            file.documents.clone()
        };
        let (documents, mut told) = model::expand(documents);
        let loaded = model::load(&documents, options);
        told.extend(loaded.diagnostics);
        if let Some(pipeline) = &loaded.pipeline {
            let all = Place::all(pipeline);
            told.extend(all.iter().filter_map(|place| plan::over(place, now_ms())));
        }
        if is_pipeline {
            judged.push(Judged::new(
                &file.name,
                loaded.pipeline.as_ref(),
                &told,
                file.whole,
            ));
        }
        diagnostics.extend(told);
    }
    syntax::diagnostic::sort(&mut diagnostics);
    diagnostics.dedup();
    let errors = diagnostics.iter().filter(|d| d.is_error()).count();
    let warnings = diagnostics.len() - errors;
    let missing = report::missing(&judged);
    if output == Output::Json {
        out::json(&Json {
            valid: errors == 0,
            files: files.len(),
            errors,
            warnings,
            diagnostics: texts::reports(&diagnostics, &sources),
            pipelines: judged,
            missing,
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
            out::tell(format_args!(
                "{}{warned} in {what}",
                words::count(errors as u64, "error")
            ));
        }
        // Of one file its own diagnostics say it.
        if judged.len() > 1 || judged.iter().any(|own| !own.runs && own.errors == 0) {
            out::text(&report::text(&judged, &missing))?;
        }
    }
    Ok(if errors == 0 {
        Exit::Success
    } else {
        Exit::Invalid
    })
}

fn files(given: &[PathBuf]) -> Result<Vec<PathBuf>, Problem> {
    let mut files: Vec<PathBuf> = Vec::new();
    for path in given {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let found = texts::yaml_files(path)?;
        if found.is_empty() {
            return Err(
                Problem::invalid(format!("{} holds no YAML file", path.display()))
                    .help("files end in .yaml or .yml"),
            );
        }
        files.extend(found);
    }
    Ok(files)
}
