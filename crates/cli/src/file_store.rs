//! The file store of a server, as a directory of this machine: what `fileStore` and `configFile` read.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use crate::problem::Problem;

/// The longest file that is read: the format's own bound on texts.
const LONGEST: u64 = 1 << 20;
/// All of them together, so that a wrong directory is told and not read whole.
const MOST: u64 = 64 << 20;

/// The files of a store, by their paths in it.
pub(crate) type Files = Arc<BTreeMap<String, Arc<[u8]>>>;

/// Reads a directory. `org:/p` and `account:/p` are `DIR/org/p` and `DIR/account/p`, and `DIR/p` where those are not there:
/// on one machine there is one scope.
pub(crate) fn read(dir: Option<&Path>) -> Result<Files, Problem> {
    let Some(dir) = dir else {
        return Ok(Files::default());
    };
    let mut found: BTreeMap<String, Arc<[u8]>> = BTreeMap::new();
    let mut total = 0;
    let mut open = vec![dir.to_owned()];
    while let Some(at) = open.pop() {
        let entries = fs::read_dir(&at)
            .map_err(|e| Problem::system(format_args!("list {}", at.display()), &e))?;
        for entry in entries {
            let entry =
                entry.map_err(|e| Problem::system(format_args!("list {}", at.display()), &e))?;
            let path = entry.path();
            let facts = fs::metadata(&path)
                .map_err(|e| Problem::system(format_args!("look at {}", path.display()), &e))?;
            if facts.is_dir() {
                // A link may lead back to where it is.
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    open.push(path);
                }
                continue;
            }
            if !facts.is_file() || facts.len() > LONGEST {
                continue;
            }
            total += facts.len();
            if total > MOST {
                return Err(Problem::invalid(format!(
                    "--file-store {}: it holds more than 64 MiB of files",
                    dir.display()
                ))
                .help("give the directory that is the store, not one around it"));
            }
            let bytes = fs::read(&path)
                .map_err(|e| Problem::system(format_args!("read {}", path.display()), &e))?;
            let name = path
                .strip_prefix(dir)
                .unwrap_or(&path)
                .display()
                .to_string();
            found.insert(name, Arc::from(bytes));
        }
    }
    let mut files: BTreeMap<String, Arc<[u8]>> = BTreeMap::new();
    for (name, bytes) in &found {
        for scope in ["", "org:", "account:"] {
            files
                .entry(format!("{scope}/{name}"))
                .or_insert_with(|| bytes.clone());
        }
    }
    for scope in ["org", "account"] {
        for (name, bytes) in &found {
            if let Some(inner) = name
                .strip_prefix(scope)
                .and_then(|own| own.strip_prefix('/'))
            {
                files.insert(format!("{scope}:/{inner}"), bytes.clone());
            }
        }
    }
    Ok(Arc::new(files))
}

/// Who runs the command, as the system says.
pub(crate) fn user() -> Option<String> {
    ["USER", "LOGNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|own| !own.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_in_their_scope_or_without_one() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(dir.path().join("org/deep")).expect("made");
        fs::write(dir.path().join("a.txt"), "a").expect("written");
        fs::write(dir.path().join("org/a.txt"), "of the org").expect("written");
        fs::write(dir.path().join("org/deep/b"), "b").expect("written");
        fs::write(dir.path().join("long"), vec![0; (LONGEST + 1) as usize]).expect("written");
        let files = read(Some(dir.path())).expect("read");
        let text = |path: &str| {
            files
                .get(path)
                .map(|own| String::from_utf8_lossy(own).into_owned())
        };
        assert_eq!(text("/a.txt").as_deref(), Some("a"));
        assert_eq!(text("org:/a.txt").as_deref(), Some("of the org"));
        assert_eq!(text("account:/a.txt").as_deref(), Some("a"));
        assert_eq!(text("org:/deep/b").as_deref(), Some("b"));
        assert_eq!(text("/long"), None);
        assert!(read(Some(&dir.path().join("gone"))).is_err());
    }
}
