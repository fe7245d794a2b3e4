//! The directory of a process of the delegate, and its environment.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::Process;
use super::left::MARK;
use super::user::Taken;

/// Variables that a process of another user takes over from the driver.
const KEPT: [&str; 14] = [
    "PATH",
    "LANG",
    "LANGUAGE",
    "TZ",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// Where things are below a process's files.
pub(super) struct Files {
    /// The slice of its container: there is one.
    pub(super) slice: PathBuf,
    /// Where it begins.
    pub(super) work: PathBuf,
    tmp: PathBuf,
}

/// Makes them, for the user that will write there.
pub(super) fn make(process: &Process, user: Option<&Taken>) -> io::Result<Files> {
    let root = &process.files;
    let slices = root.join("addon");
    let files = Files {
        slice: slices.join(pipeline::pod::PROCESS),
        work: root.join("work"),
        tmp: root.join("tmp"),
    };
    // Not there before: nobody else can have made it theirs.
    let pass = |path: &Path| fs::DirBuilder::new().mode(0o711).create(path);
    pass(root)?;
    pass(&slices)?;
    for path in [&files.slice, &files.work, &files.tmp] {
        fs::DirBuilder::new().mode(0o700).create(path)?;
        if let Some(user) = user {
            std::os::unix::fs::chown(path, Some(user.uid), Some(user.gid))?;
        }
    }
    Ok(files)
}

/// Its environment: the driver's, without what is the driver's alone; of another user only what every program needs.
pub(super) fn environment(process: &Process, files: &Files, user: Option<&Taken>) -> Vec<CString> {
    let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = std::env::vars_os()
        .filter(|(name, _)| {
            let name = name.to_string_lossy();
            match user {
                None => !name.starts_with("STEPYARD_"),
                Some(_) => KEPT.contains(&&*name) || name.starts_with("LC_"),
            }
        })
        .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
        .collect();
    let mut set = |name: &str, value: &[u8]| {
        pairs.retain(|(own, _)| own != name.as_bytes());
        pairs.push((name.as_bytes().to_vec(), value.to_vec()));
    };
    let work = files.work.as_os_str().as_bytes();
    set(MARK, process.name.as_bytes());
    set("HARNESS_WORKSPACE", work);
    set("DRONE_WORKSPACE", work);
    set("TMPDIR", files.tmp.as_os_str().as_bytes());
    if let Some(user) = user {
        let uid = user.uid.to_string();
        let known = nix::unistd::User::from_uid(user.uid.into()).ok().flatten();
        let name = known.as_ref().map_or(&*uid, |own| &*own.name);
        let home = known
            .as_ref()
            .map_or(work, |own| own.dir.as_os_str().as_bytes());
        set("HOME", home);
        set("USER", name.as_bytes());
        set("LOGNAME", name.as_bytes());
        set("SHELL", b"/bin/sh");
    }
    pairs
        .into_iter()
        .filter_map(|(mut pair, value)| {
            pair.push(b'=');
            pair.extend(value);
            CString::new(pair).ok()
        })
        .collect()
}
