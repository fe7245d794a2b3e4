//! A workspace is packed and unpacked: nothing of it is lost, and nothing gets outside of it.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use agent::workspace::{STEP, pack, unpack};

const MOST: u64 = 1 << 30;

fn packed(dir: &Path) -> Vec<u8> {
    let mut archive = Vec::new();
    pack(dir, MOST, &mut archive).expect("it can be packed");
    archive
}

/// Every path below with all that is kept of it.
fn listing(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(at) = open.pop() {
        for entry in fs::read_dir(&at).expect("it can be read") {
            let path = entry.expect("an entry").path();
            let meta = path.symlink_metadata().expect("it is there");
            let what = if meta.is_symlink() {
                format!("-> {}", fs::read_link(&path).expect("a link").display())
            } else if meta.is_dir() {
                open.push(path.clone());
                "/".to_owned()
            } else {
                let bytes = fs::read(&path).expect("it can be read");
                format!(
                    "{} {:?}",
                    bytes.len(),
                    bytes.iter().take(8).collect::<Vec<_>>()
                )
            };
            // Of a link the mode means nothing.
            let mode = if meta.is_symlink() {
                0
            } else {
                meta.mode() & 0o7777
            };
            let name = path.strip_prefix(dir).expect("below").display();
            found.push(format!(
                "{name} {what} {mode:o} {}.{}",
                meta.mtime(),
                meta.mtime_nsec()
            ));
        }
    }
    found.sort();
    found
}

fn a_tree() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let at = |name: &str| dir.path().join(name);
    fs::create_dir_all(at("a/b/empty")).expect("made");
    fs::write(at("a/script"), "#!/bin/sh\n").expect("written");
    fs::set_permissions(at("a/script"), Permissions::from_mode(0o755)).expect("set");
    fs::write(at("a/nothing"), "").expect("written");
    fs::write(at("a/block"), [7; 512]).expect("written");
    fs::write(at("large"), vec![9; 700_001]).expect("written");
    let long = format!("a/{}/{}", "d".repeat(120), "e".repeat(200));
    fs::create_dir_all(at(&long)).expect("made");
    fs::write(at(&long).join("f"), "far down").expect("written");
    symlink("a/script", at("link")).expect("linked");
    symlink("/nowhere/".repeat(30), at("dangling")).expect("linked");
    fs::hard_link(at("large"), at("a/same")).expect("linked");
    fs::write(at("a/b/old"), "old").expect("written");
    let old = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
    let file = fs::File::options()
        .append(true)
        .open(at("a/b/old"))
        .expect("open");
    file.set_modified(old).expect("set");
    fs::create_dir(at("closed")).expect("made");
    fs::write(at("closed/in it"), "there").expect("written");
    fs::set_permissions(at("closed"), Permissions::from_mode(0o555)).expect("set");
    dir
}

#[test]
fn what_is_unpacked_is_what_was_packed() {
    let (from, to) = (a_tree(), tempfile::tempdir().expect("a directory"));
    let archive = packed(from.path());
    unpack(to.path(), &mut &archive[..]).expect("it can be unpacked");
    assert_eq!(listing(to.path()), listing(from.path()));
    let number = |name| fs::metadata(to.path().join(name)).expect("there").ino();
    assert_eq!(number("large"), number("a/same"), "one file with two names");
    assert_eq!(packed(to.path()), archive, "packed again it is the same");
    // Again into the same place: whoever was interrupted begins anew.
    unpack(to.path(), &mut &archive[..]).expect("it can be unpacked again");
    assert_eq!(listing(to.path()), listing(from.path()));
}

#[test]
fn an_archive_is_one_that_tar_reads() {
    if Command::new("tar").arg("--version").output().is_err() {
        eprintln!("there is no tar here: not tested");
        return;
    }
    let (from, to) = (a_tree(), tempfile::tempdir().expect("a directory"));
    let archive = to.path().join("archive");
    fs::write(&archive, packed(from.path())).expect("written");
    let out = tempfile::tempdir().expect("a directory");
    let tar = Command::new("tar")
        .args(["--extract", "--preserve-permissions", "--file"])
        .arg(&archive)
        .current_dir(out.path())
        .output()
        .expect("tar runs");
    assert!(
        tar.status.success(),
        "{}",
        String::from_utf8_lossy(&tar.stderr)
    );
    let whole = |dir: &Path| -> Vec<String> {
        let cut = |line: String| line.rsplit_once('.').map(|(all, _)| all.to_owned());
        listing(dir).into_iter().filter_map(cut).collect()
    };
    // It knows whole seconds only, and not those of links.
    let plain = |dir: &Path| {
        let mut lines = whole(dir);
        lines.retain(|line| !line.contains("->"));
        lines
    };
    assert_eq!(plain(out.path()), plain(from.path()));
}

#[test]
fn what_is_there_makes_room() {
    let (from, to) = (a_tree(), tempfile::tempdir().expect("a directory"));
    let at = |name: &str| to.path().join(name);
    // A directory where a file comes, a file where a directory does, a link out of it where a directory does.
    fs::create_dir_all(at("large/inside")).expect("made");
    fs::write(at("closed"), "a file").expect("written");
    let outside = tempfile::tempdir().expect("a directory");
    symlink(outside.path(), at("a")).expect("linked");
    unpack(to.path(), &mut &packed(from.path())[..]).expect("it can be unpacked");
    assert_eq!(listing(to.path()), listing(from.path()));
    assert_eq!(listing(outside.path()), Vec::<String>::new());
}

/// One entry with this path, as an archive.
fn entry(kind: u8, path: &str, target: &str) -> Vec<u8> {
    let mut block = [0; 512];
    block[..path.len()].copy_from_slice(path.as_bytes());
    for (at, digits) in [(100, "0000644"), (124, "00000000000"), (136, "00000000000")] {
        block[at..at + digits.len()].copy_from_slice(digits.as_bytes());
    }
    block[156] = kind;
    block[157..157 + target.len()].copy_from_slice(target.as_bytes());
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    block.to_vec()
}

#[test]
fn no_path_leads_outside() {
    let end = [0; 1024];
    for (name, entries) in [
        ("upwards", vec![entry(b'0', "../outside", "")]),
        (
            "between",
            vec![entry(b'5', "a/", ""), entry(b'0', "a/../../outside", "")],
        ),
        ("absolute", vec![entry(b'0', "/tmp/outside", "")]),
        (
            "through a link",
            vec![entry(b'2', "way", "/tmp"), entry(b'0', "way/outside", "")],
        ),
        ("a hard link", vec![entry(b'1', "own", "../outside")]),
        ("a device", vec![entry(b'3', "null", "")]),
    ] {
        let around = tempfile::tempdir().expect("a directory");
        let dir = around.path().join("harness");
        fs::create_dir(&dir).expect("made");
        fs::write(around.path().join("secret"), "s").expect("written");
        let archive = [entries.concat(), end.to_vec()].concat();
        let error = unpack(&dir, &mut &archive[..]).expect_err(name).to_string();
        assert!(error.contains("did not arrive whole"), "{name}: {error}");
        assert!(!around.path().join("outside").exists(), "{name}");
        assert!(!Path::new("/tmp/outside").exists(), "{name}");
    }
}

#[test]
fn an_archive_that_is_cut_or_broken_is_refused() {
    let from = a_tree();
    let archive = packed(from.path());
    for cut in [0, 100, 512, 1024, archive.len() / 2, archive.len() - 1024] {
        let to = tempfile::tempdir().expect("a directory");
        let error = unpack(to.path(), &mut &archive[..cut]).expect_err("it is cut");
        assert!(
            error.to_string().contains("it ends early"),
            "{cut}: {error}"
        );
    }
    let mut broken = archive;
    broken[3] ^= 1;
    let to = tempfile::tempdir().expect("a directory");
    let error = unpack(to.path(), &mut &broken[..]).expect_err("a sum is wrong");
    assert!(error.to_string().contains("sum"), "{error}");
}

#[test]
fn what_is_too_large_is_not_packed() {
    let from = a_tree();
    fs::write(from.path().join("more"), vec![1; 1 << 20]).expect("written");
    let error = pack(from.path(), 1 << 20, &mut io::sink()).expect_err("it is larger");
    assert_eq!(
        error.to_string(),
        "it is larger than 1 MiB, which is the most that is handed over"
    );
}

#[test]
fn the_commands_say_how_far_they_are_and_why_they_fail() {
    let agent = || Command::new(env!("CARGO_BIN_EXE_stepyard-agent"));
    let (from, to) = (a_tree(), tempfile::tempdir().expect("a directory"));
    let out = agent()
        .arg("pack")
        .arg(from.path())
        .arg(MOST.to_string())
        .output()
        .expect("it runs");
    assert!(out.status.success() && out.stderr.is_empty());
    assert_eq!(out.stdout, packed(from.path()));
    let archive = to.path().join("archive");
    fs::write(&archive, &out.stdout).expect("written");
    let dir = to.path().join("dir");
    fs::create_dir(&dir).expect("made");
    let unpack = |archive: &Path, dir: &Path| {
        agent()
            .arg("unpack")
            .arg(dir)
            .stdin(fs::File::open(archive).expect("open"))
            .stderr(Stdio::piped())
            .output()
            .expect("it runs")
    };
    let told = unpack(&archive, &dir);
    assert!(told.status.success());
    let dots = out.stdout.len() as u64 / STEP;
    assert_eq!(told.stdout, vec![b'.'; dots as usize]);
    assert_eq!(listing(&dir), listing(from.path()));

    let failed = unpack(&archive, Path::new("/no/such/directory"));
    assert_eq!(failed.status.code(), Some(1));
    assert!(failed.stderr.is_empty());
    let said = String::from_utf8_lossy(&failed.stdout).into_owned();
    let (_, why) = said.split_once('\0').expect("a reason behind a NUL");
    assert!(why.contains("/no/such/directory"), "{why}");
    let failed = agent()
        .args(["pack", "/no/such/directory", "1"])
        .output()
        .expect("it runs");
    assert_eq!(failed.status.code(), Some(1));
    assert!(
        failed
            .stdout
            .starts_with(b"\0failed to read /no/such/directory")
    );
}
