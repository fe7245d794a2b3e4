//! Reading what a person wrote, and telling them about it.

use std::fs;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};

use syntax::diagnostic::{self, Report};
use syntax::{Diagnostic, SourceId, Sources};

use crate::problem::Problem;

/// Reads a file into `sources`; `-` is standard input. A file that is not UTF-8 is a diagnostic, one that cannot be read
/// is a problem.
pub(crate) fn read(
    path: &Path,
    sources: &mut Sources,
) -> Result<Result<SourceId, Diagnostic>, Problem> {
    let (name, bytes) = if path == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin()
            .read_to_end(&mut bytes)
            .map_err(|e| Problem::system("read standard input", &e))?;
        ("<stdin>".to_owned(), bytes)
    } else {
        let bytes = fs::read(path).map_err(|e| unreadable(path, &e))?;
        (path.display().to_string(), bytes)
    };
    Ok(sources
        .add_bytes(name, bytes)
        .map_err(|(_, diagnostic)| diagnostic))
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    let name = path.display();
    match error.kind() {
        io::ErrorKind::NotFound => {
            let problem = Problem::invalid(format!("there is no file {name}"));
            match nearest(path) {
                Some(near) => problem.help(format!("did you mean {}?", near.display())),
                None => problem.help("give the path of a pipeline's YAML file"),
            }
        }
        io::ErrorKind::IsADirectory => Problem::invalid(format!("{name} is a directory"))
            .help("give a file; `stepyard validate` takes directories too"),
        io::ErrorKind::PermissionDenied => {
            Problem::invalid(format!("{name} cannot be read: permission denied"))
        }
        _ => Problem::system(format_args!("read {name}"), error),
    }
}

/// The YAML file beside a path that is not there whose name is like it.
fn nearest(path: &Path) -> Option<PathBuf> {
    let wanted = path.file_stem()?.to_str()?.to_owned();
    let dir = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut best: Option<(usize, PathBuf)> = None;
    for file in yaml_files(dir).ok()? {
        let stem = file.file_stem()?.to_str()?;
        let distance = strsim::damerau_levenshtein(&wanted, stem);
        if distance <= 1 + wanted.len() / 4 && best.as_ref().is_none_or(|(d, _)| distance < *d) {
            let shown = path
                .parent()
                .unwrap_or(Path::new(""))
                .join(file.file_name()?);
            best = Some((distance, shown));
        }
    }
    best.map(|(_, path)| path)
}

/// The YAML files of a directory and of those below it, in the order of their paths.
pub(crate) fn yaml_files(dir: &Path) -> Result<Vec<PathBuf>, Problem> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        let entries = fs::read_dir(&dir).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => {
                Problem::invalid(format!("there is no directory {}", dir.display()))
            }
            io::ErrorKind::NotADirectory => {
                Problem::invalid(format!("{} is not a directory", dir.display()))
            }
            _ => Problem::system(format_args!("list {}", dir.display()), &e),
        })?;
        for entry in entries {
            let entry =
                entry.map_err(|e| Problem::system(format_args!("list {}", dir.display()), &e))?;
            let path = entry.path();
            let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && !hidden => open.push(path),
                Ok(kind) if !kind.is_dir() && is_yaml(&path) => found.push(path),
                _ => {}
            }
        }
    }
    found.sort();
    Ok(found)
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "yaml" || e == "yml")
}

/// Writes diagnostics for people, to standard error.
pub(crate) fn tell(diagnostics: &[Diagnostic], sources: &Sources) {
    let style = style();
    let mut out = io::stderr().lock();
    for diagnostic in diagnostics {
        let text = diagnostic::render(diagnostic, sources, style);
        // Where standard error is closed there is nobody to tell.
        let _ = writeln!(out, "{}\n", text.trim_end());
    }
}

/// Diagnostics for machines.
pub(crate) fn reports(diagnostics: &[Diagnostic], sources: &Sources) -> Vec<Report> {
    diagnostics
        .iter()
        .map(|d| Report::new(d, sources))
        .collect()
}

fn style() -> diagnostic::Style {
    let stderr = io::stderr();
    let set = |name: &str| std::env::var_os(name).is_some_and(|v| !v.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|t| t == "dumb");
    let width = rustix::termios::tcgetwinsize(&stderr).map_or(0, |size| usize::from(size.ws_col));
    diagnostic::Style {
        colour: stderr.is_terminal() && !set("NO_COLOR") && !dumb,
        width: if width == 0 {
            diagnostic::Style::PLAIN.width
        } else {
            width.min(140)
        },
    }
}
