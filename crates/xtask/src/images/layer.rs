//! The files of packages and ours as one tar: sorted, with fixed times, owners as the packages have them.

use std::collections::BTreeMap;
use std::io::{Cursor, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use tar::{Archive, Builder, EntryType, Header};

use super::describe::{Description, mode};
use crate::command::Cmd;

/// The time of every file: 2026-01-01, so that a build today is the build of tomorrow.
const TIME: u64 = 1_767_225_600;

/// Documentation that no step reads; licences stay.
const LEFT_OUT: &[&str] = &[
    "usr/share/man/",
    "usr/share/info/",
    "usr/share/lintian/",
    "usr/share/locale/",
    "usr/share/doc-base/",
];

/// A file, directory or link.
struct Item {
    header: Header,
    link: Option<PathBuf>,
    data: Vec<u8>,
}

type Tree = BTreeMap<String, Item>;

/// The tar of an image's own layer.
pub(crate) fn build(folder: &Path, described: &Description, debs: &[PathBuf]) -> Result<Vec<u8>> {
    let mut tree = Tree::new();
    for deb in debs {
        unpack(&mut tree, deb).with_context(|| deb.display().to_string())?;
    }
    for (path, pattern) in &described.collect {
        let data = collect(&tree, pattern);
        if data.is_empty() {
            bail!("nothing in its packages matches `{pattern}`");
        }
        add(&mut tree, path, EntryType::Regular, 0o644, None, data);
    }
    for (path, text) in &described.directories {
        add(
            &mut tree,
            path,
            EntryType::Directory,
            mode(text)?,
            None,
            Vec::new(),
        );
    }
    for (path, file) in &described.files {
        let data = std::fs::read(folder.join(&file.from)).with_context(|| file.from.clone())?;
        add(
            &mut tree,
            path,
            EntryType::Regular,
            mode(&file.mode)?,
            None,
            data,
        );
    }
    for (path, to) in &described.links {
        add(
            &mut tree,
            path,
            EntryType::Symlink,
            0o777,
            Some(to.into()),
            Vec::new(),
        );
    }
    pack(tree)
}

fn unpack(tree: &mut Tree, deb: &Path) -> Result<()> {
    let tar = Cmd::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(deb)
        .bytes()?;
    for entry in Archive::new(Cursor::new(tar)).entries()? {
        let mut entry = entry?;
        let path = name(&entry.path()?);
        if path.is_empty() || LEFT_OUT.iter().any(|l| path.starts_with(l)) {
            continue;
        }
        let unread = path.starts_with("usr/share/doc/")
            && !path.ends_with("/copyright")
            && entry.header().entry_type().is_file();
        if unread {
            continue;
        }
        let link = entry
            .link_name()?
            .map(|l| match entry.header().entry_type() {
                EntryType::Link => PathBuf::from(name(&l)),
                _ => l.into_owned(),
            });
        let mut data = Vec::new();
        entry.read_to_end(&mut data)?;
        let old = entry.header();
        let mut header = plain(old.entry_type(), old.mode()?);
        header.set_uid(old.uid()?);
        header.set_gid(old.gid()?);
        tree.insert(path, Item { header, link, data });
    }
    Ok(())
}

/// A path without leading `./` or `/` and without a trailing `/`.
fn name(path: &Path) -> String {
    path.to_string_lossy()
        .trim_start_matches("./")
        .trim_matches('/')
        .trim_start_matches('.')
        .to_owned()
}

fn plain(kind: EntryType, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode & 0o7777);
    header.set_mtime(TIME);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    header
}

fn add(
    tree: &mut Tree,
    path: &str,
    kind: EntryType,
    mode: u32,
    link: Option<PathBuf>,
    data: Vec<u8>,
) {
    let path = path.trim_matches('/');
    // The directories above, where no package has them.
    for (at, _) in path.match_indices('/') {
        let above = path[..at].to_owned();
        let item = || Item {
            header: plain(EntryType::Directory, 0o755),
            link: None,
            data: Vec::new(),
        };
        tree.entry(above).or_insert_with(item);
    }
    tree.insert(
        path.to_owned(),
        Item {
            header: plain(kind, mode),
            link,
            data,
        },
    );
}

fn collect(tree: &Tree, pattern: &str) -> Vec<u8> {
    let pattern = pattern.trim_matches('/');
    let (head, tail) = pattern.split_once('*').unwrap_or((pattern, ""));
    let mut all = Vec::new();
    for (path, item) in tree {
        let fits = path.starts_with(head)
            && path.ends_with(tail)
            && (pattern.contains('*') || path == head);
        if fits && item.header.entry_type().is_file() {
            all.extend_from_slice(&item.data);
            if !all.ends_with(b"\n") {
                all.push(b'\n');
            }
        }
    }
    all
}

fn pack(tree: Tree) -> Result<Vec<u8>> {
    let mut out = Builder::new(Vec::new());
    // A hard link comes after what it names.
    let (links, others): (Vec<_>, Vec<_>) = tree
        .into_iter()
        .partition(|(_, i)| i.header.entry_type() == EntryType::Link);
    for (path, mut item) in others.into_iter().chain(links) {
        if let Some(to) = item.link {
            out.append_link(&mut item.header, &path, to)?;
            continue;
        }
        item.header.set_size(item.data.len() as u64);
        let path = if item.header.entry_type().is_dir() {
            format!("{path}/")
        } else {
            path
        };
        out.append_data(&mut item.header, path, item.data.as_slice())?;
    }
    Ok(out.into_inner()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_packages_are_relative_and_bare() {
        for (from, to) in [
            ("./", ""),
            ("./usr/bin/", "usr/bin"),
            ("/etc/x", "etc/x"),
            (".", ""),
            ("./etc/.hidden", "etc/.hidden"),
        ] {
            assert_eq!(name(Path::new(from)), to, "{from}");
        }
    }

    #[test]
    fn the_same_things_give_the_same_bytes_with_directories_before_files() {
        let make = || {
            let mut tree = Tree::new();
            add(
                &mut tree,
                "/usr/local/bin/x",
                EntryType::Regular,
                0o755,
                None,
                b"hi".to_vec(),
            );
            add(
                &mut tree,
                "/a",
                EntryType::Link,
                0o755,
                Some("usr/local/bin/x".into()),
                Vec::new(),
            );
            pack(tree).unwrap()
        };
        assert_eq!(make(), make());
        let tar = make();
        let mut archive = Archive::new(Cursor::new(&tar));
        let paths: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|e| e.unwrap().path().unwrap().display().to_string())
            .collect();
        assert_eq!(
            paths,
            [
                "usr/",
                "usr/local/",
                "usr/local/bin/",
                "usr/local/bin/x",
                "a"
            ]
        );
    }
}
