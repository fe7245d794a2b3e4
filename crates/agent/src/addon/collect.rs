//! Sending the files that patterns match, a piece at a time.

use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use ::addon::frame::Report;

/// Directory entries looked at for one collection: a pattern like `/**` ends before the pod does.
const LOOKED_AT: usize = 200_000;

/// A collection under way.
#[derive(Debug)]
pub(super) struct Collection {
    pub(super) connection: u32,
    id: u32,
    waiting: VecDeque<PathBuf>,
    sending: Option<(String, File, u64, u64)>,
    budget: u64,
    files: u32,
    left: Vec<(String, String)>,
    done: bool,
}

impl Collection {
    /// Finds what matches.
    pub(super) fn find(
        connection: u32,
        id: u32,
        workspace: &Path,
        globs: &[String],
        max_bytes: u64,
    ) -> Self {
        let mut found = BTreeSet::new();
        let mut left = Vec::new();
        for glob in globs {
            let mut own = BTreeSet::new();
            let mut walk = Walk {
                found: &mut own,
                budget: LOOKED_AT,
            };
            walk.pattern(workspace, glob);
            if walk.budget == 0 {
                left.push((
                    glob.clone(),
                    format!("looked at {LOOKED_AT} files and stopped: make the pattern narrower"),
                ));
            } else if own.is_empty() {
                left.push((glob.clone(), "no file matches it".to_owned()));
            }
            found.append(&mut own);
        }
        Collection {
            connection,
            id,
            waiting: found.into_iter().collect(),
            sending: None,
            budget: max_bytes,
            files: 0,
            left,
            done: false,
        }
    }

    /// The next report, the last of which says that it is complete.
    pub(super) fn next(&mut self, buffer: &mut [u8]) -> Option<Report> {
        loop {
            if let Some((path, file, at, size)) = &mut self.sending {
                let count = file.read_at(buffer, *at).unwrap_or(0);
                // A file that grows meanwhile is sent as long as it was.
                let count = count.min((*size - *at) as usize);
                if count > 0 || *at == 0 {
                    let report = Report::File {
                        id: self.id,
                        path: path.clone(),
                        offset: *at,
                        bytes: buffer[..count].to_vec(),
                    };
                    *at += count as u64;
                    if *at >= *size || count == 0 {
                        self.sending = None;
                    }
                    return Some(report);
                }
                self.sending = None;
            }
            let Some(path) = self.waiting.pop_front() else {
                if self.done {
                    return None;
                }
                self.done = true;
                return Some(Report::Collected {
                    id: self.id,
                    files: self.files,
                    left: std::mem::take(&mut self.left),
                });
            };
            let name = path.display().to_string();
            match open(&path) {
                Ok((_, size)) if size > self.budget => self.left.push((
                    name,
                    format!("{size} bytes, more than is left of the limit of this collection"),
                )),
                Ok((file, size)) => {
                    self.budget -= size;
                    self.files += 1;
                    self.sending = Some((name, file, 0, size));
                }
                Err(why) => self.left.push((name, why)),
            }
        }
    }
}

fn open(path: &Path) -> Result<(File, u64), String> {
    let file = std::fs::OpenOptions::new()
        .read(true)
        // A pipe must not make the addon wait.
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
        .map_err(|error| error.to_string())?;
    let meta = file.metadata().map_err(|error| error.to_string())?;
    if !meta.is_file() {
        return Err("it is not a plain file".to_owned());
    }
    Ok((file, meta.len()))
}

struct Walk<'a> {
    found: &'a mut BTreeSet<PathBuf>,
    budget: usize,
}

impl Walk<'_> {
    fn pattern(&mut self, workspace: &Path, glob: &str) {
        let home = std::env::var("HOME").ok();
        let expanded = match (glob.strip_prefix("~/"), home) {
            (Some(rest), Some(home)) => format!("{home}/{rest}"),
            _ => glob.to_owned(),
        };
        let from = if expanded.starts_with('/') {
            Path::new("/")
        } else {
            workspace
        };
        let parts: Vec<&str> = expanded
            .split('/')
            .filter(|part| !part.is_empty() && *part != ".")
            .collect();
        self.walk(from.to_owned(), &parts);
    }

    fn walk(&mut self, at: PathBuf, parts: &[&str]) {
        let Some((&part, rest)) = parts.split_first() else {
            if at.is_dir() {
                self.below(&at, &["**", "*.xml"]);
            } else if at.exists() {
                self.found.insert(at);
            }
            return;
        };
        if part == "**" {
            return self.below(&at, parts);
        }
        if !part.contains(['*', '?', '[']) {
            return self.walk(at.join(part), rest);
        }
        for (name, path, _) in self.entries(&at) {
            if matches(part, &name) {
                self.walk(path, rest);
            }
        }
    }

    /// `**`: here and in every directory below, links not followed.
    fn below(&mut self, at: &Path, parts: &[&str]) {
        let rest = &parts[1..];
        if rest.is_empty() {
            for (_, path, is_dir) in self.entries(at) {
                if is_dir {
                    self.below(&path, parts);
                } else {
                    self.found.insert(path);
                }
            }
            return;
        }
        self.walk(at.to_owned(), rest);
        for (_, path, is_dir) in self.entries(at) {
            if is_dir {
                self.below(&path, parts);
            }
        }
    }

    fn entries(&mut self, at: &Path) -> Vec<(String, PathBuf, bool)> {
        let Ok(entries) = std::fs::read_dir(at) else {
            return Vec::new();
        };
        let entries: Vec<_> = entries
            .take(self.budget)
            .flatten()
            .map(|entry| {
                let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
                (
                    entry.file_name().to_string_lossy().into_owned(),
                    entry.path(),
                    is_dir,
                )
            })
            .collect();
        self.budget -= entries.len();
        entries
    }
}

/// `*`, `?` and `[…]` in one name. A name with a leading dot needs one in the pattern.
fn matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    fits(&pattern, &name)
}

fn fits(pattern: &[char], name: &[char]) -> bool {
    // The last `*` and where it was tried: going back to it is all the backtracking there is.
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
                continue;
            }
            Some('[') => {
                if let Some((hit, len)) = class(&pattern[p..], name[n]) {
                    if hit {
                        p += len;
                        n += 1;
                        continue;
                    }
                } else if name[n] == '[' {
                    p += 1;
                    n += 1;
                    continue;
                }
            }
            Some(&c) if c == '?' || c == name[n] => {
                p += 1;
                n += 1;
                continue;
            }
            _ => {}
        }
        let Some((at, tried)) = star else {
            return false;
        };
        star = Some((at, tried + 1));
        p = at + 1;
        n = tried + 1;
    }
    pattern[p..].iter().all(|&c| c == '*')
}

/// Whether a class takes a character, and how long the class is; `None` where it is none.
fn class(pattern: &[char], c: char) -> Option<(bool, usize)> {
    let negated = matches!(pattern.get(1), Some('!' | '^'));
    let first = if negated { 2 } else { 1 };
    let end = pattern
        .iter()
        .skip(first + 1)
        .position(|&c| c == ']')
        .map(|at| at + first + 1)?;
    let set = &pattern[first..end];
    let mut hit = false;
    let mut at = 0;
    while at < set.len() {
        if at + 2 < set.len() && set[at + 1] == '-' {
            hit |= (set[at]..=set[at + 2]).contains(&c);
            at += 3;
        } else {
            hit |= set[at] == c;
            at += 1;
        }
    }
    Some((hit != negated, end + 1))
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn names_match_patterns() {
        for (pattern, name, expected) in [
            ("*.xml", "a.xml", true),
            ("*.xml", ".a.xml", false),
            ("TEST-*.xml", "TEST-a.b.xml", true),
            ("?.xml", "ab.xml", false),
            ("[a-c]?.txt", "bz.txt", true),
            ("[!a-c]?.txt", "bz.txt", false),
            ("*a*b*c", "xxaxxbxxc", true),
            ("*a*b*c", "xxaxxcxxb", false),
            ("[", "[", true),
            ("a*", "a", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
