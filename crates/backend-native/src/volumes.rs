//! Volumes, as far as the driver prepares them: directories and their checks.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use driver::backend::{Failure, FailureKind};
use pipeline::pod::{Source, Spec, Volume as Wanted, WORKSPACE};

use crate::control::Volume;

/// Makes every volume of a pod; what cannot be kept exactly is named in `warnings`.
pub(crate) fn prepare(
    spec: &Spec,
    dir: &Path,
    state: &Path,
    entities: Option<&Path>,
    warnings: &mut Vec<String>,
) -> Result<Vec<Volume>, Failure> {
    let mut volumes = Vec::new();
    if !spec.volumes.iter().any(|v| v.mount_path == WORKSPACE) {
        let source = dir.join("volumes").join("harness");
        open_dir(&source).map_err(|e| failed(WORKSPACE, &e))?;
        volumes.push(Volume {
            source,
            target: WORKSPACE.to_owned(),
            read_only: false,
            memory: None,
            image: None,
        });
    }
    for volume in &spec.volumes {
        volumes.push(prepare_one(volume, dir, state, entities, warnings)?);
    }
    // A mount below another's path has to come after it.
    volumes.sort_by_key(|v| v.target.matches('/').count());
    Ok(volumes)
}

fn prepare_one(
    wanted: &Wanted,
    dir: &Path,
    state: &Path,
    entities: Option<&Path>,
    warnings: &mut Vec<String>,
) -> Result<Volume, Failure> {
    let path = &wanted.mount_path;
    let mut volume = Volume {
        source: dir.join("volumes").join(&wanted.name),
        target: path.clone(),
        read_only: false,
        memory: None,
        image: None,
    };
    match &wanted.source {
        Source::EmptyDir { memory, size_bytes } => {
            open_dir(&volume.source).map_err(|e| failed(path, &e))?;
            if *memory {
                volume.memory = Some(size_bytes.unwrap_or(0));
            } else if let Some(size) = size_bytes {
                match bounded(&volume.source, *size) {
                    Ok(image) => volume.image = Some(image),
                    Err(why) => warnings.push(unlimited(path, &why)),
                }
            }
        }
        Source::HostPath { path: host, kind } => {
            volume.source = PathBuf::from(host);
            host_path(Path::new(host), kind.as_deref().unwrap_or("")).map_err(|why| {
                refused(
                    format!("the volume at {path} cannot be mounted: {host} {why}"),
                    None,
                )
            })?;
        }
        Source::Claim { name, read_only } => {
            // A cluster has no such name, and here it would lead out of the claims.
            if name.contains('/') || name.starts_with('.') || name.is_empty() {
                return Err(refused(
                    format!("the volume at {path} cannot be made: `{name}` is no name of a claim"),
                    Some("name it with small letters, digits, `-` and `.`".to_owned()),
                ));
            }
            volume.source = state.join("claims").join(name);
            volume.read_only = *read_only;
            open_dir(&volume.source).map_err(|e| failed(path, &e))?;
        }
        Source::ConfigMap { name, optional } => {
            return local(volume, "configmaps", "ConfigMap", name, *optional, entities);
        }
        Source::Secret { name, optional } => {
            return local(volume, "secrets", "Secret", name, *optional, entities);
        }
    }
    Ok(volume)
}

/// What is said of a volume whose size cannot be held.
pub(crate) fn unlimited(path: &str, why: &str) -> String {
    format!(
        "the size of the volume at {path} is not limited here: {why} (a volume in memory, `medium: Memory`, has a bound everywhere)"
    )
}

/// Bytes for one inode: small files fit, and the tables take little.
const PER_INODE: u64 = 16 * 1024;

/// A file beside a volume's directory with a file system that holds this many bytes. `Err` says what is missing.
fn bounded(dir: &Path, size: u64) -> Result<PathBuf, String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("only root may mount a disk of its own size".to_owned());
    }
    let image = dir.with_extension("disk");
    // The tables of the file system come on top, so that what was asked for fits.
    let whole = size + size / 32 + (512 << 10);
    let made = fs::File::create(&image).and_then(|file| file.set_len(whole));
    made.map_err(|e| format!("{}: {e}", image.display()))?;
    let out = Command::new("mkfs.ext4")
        .args(["-q", "-F", "-m", "0", "-O", "^has_journal,^resize_inode"])
        .args(["-E", "lazy_itable_init=1,nodiscard", "-i"])
        .arg(PER_INODE.to_string())
        .arg(&image)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => {
                "mkfs.ext4 is not installed (apt-get install e2fsprogs)".to_owned()
            }
            _ => format!("mkfs.ext4 does not start ({e})"),
        })?;
    if out.status.success() {
        Ok(image)
    } else {
        let said = String::from_utf8_lossy(&out.stderr);
        Err(format!("mkfs.ext4 failed: {}", said.trim()))
    }
}

/// A ConfigMap or Secret as a directory of files beside the pipeline.
fn local(
    mut volume: Volume,
    folder: &str,
    kind: &str,
    name: &str,
    optional: bool,
    entities: Option<&Path>,
) -> Result<Volume, Failure> {
    let found = entities
        .map(|dir| dir.join(folder).join(name))
        .filter(|dir| dir.is_dir());
    match found.map(|dir| dir.canonicalize()) {
        Some(Ok(dir)) => {
            volume.source = dir;
            volume.read_only = true;
            Ok(volume)
        }
        // Empty, as in a cluster that has none of that name.
        _ if optional => {
            open_dir(&volume.source).map_err(|e| failed(&volume.target, &e))?;
            volume.read_only = true;
            Ok(volume)
        }
        _ => Err(refused(
            format!(
                "the {kind} {name} of the volume at {} is not here: no cluster is asked on this machine",
                volume.target
            ),
            Some(format!(
                "put its keys as files into {folder}/{name} of a directory and give that with --entities"
            )),
        )),
    }
}

/// A directory that every user of the pod may write, as a kubelet makes an emptyDir.
fn open_dir(dir: &Path) -> io::Result<()> {
    match fs::create_dir_all(dir.parent().unwrap_or(dir)).and_then(|()| fs::create_dir(dir)) {
        Ok(()) => fs::set_permissions(dir, fs::Permissions::from_mode(0o777)),
        // A claim that an earlier run left is as it left it.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(e),
    }
}

/// Why a path is not to be had.
fn absent(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound {
        "is not there on this machine".to_owned()
    } else {
        format!("cannot be looked at ({error})")
    }
}

/// What a hostPath type asks of the host; `Err` says what is wrong.
fn host_path(path: &Path, kind: &str) -> Result<(), String> {
    let found = fs::metadata(path);
    let is = |right: fn(&fs::FileType) -> bool, what: &str| match &found {
        Ok(meta) if right(&meta.file_type()) => Ok(()),
        Ok(_) => Err(format!("is not {what}")),
        Err(e) => Err(absent(e)),
    };
    let made = |done: io::Result<()>| done.map_err(|e| format!("cannot be created ({e})"));
    match kind {
        "" => found.as_ref().map(drop).map_err(absent),
        "DirectoryOrCreate" if found.is_err() => made(
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(path),
        ),
        "FileOrCreate" if found.is_err() => made(fs::File::create_new(path).map(drop)),
        "Directory" | "DirectoryOrCreate" => is(fs::FileType::is_dir, "a directory"),
        "File" | "FileOrCreate" => is(fs::FileType::is_file, "a file"),
        "Socket" => is(fs::FileType::is_socket, "a socket"),
        "CharDevice" => is(fs::FileType::is_char_device, "a character device"),
        "BlockDevice" => is(fs::FileType::is_block_device, "a block device"),
        other => Err(format!("has the unknown type `{other}`")),
    }
}

fn failed(path: &str, error: &io::Error) -> Failure {
    let mut failure = crate::keeper::failed(&format!("make the volume at {path}"), error);
    if error.kind() == io::ErrorKind::StorageFull {
        failure.kind = FailureKind::Resources;
    }
    failure
}

fn refused(message: String, help: Option<String>) -> Failure {
    Failure {
        kind: FailureKind::Configuration,
        container: None,
        message,
        help,
    }
}

#[cfg(test)]
mod tests {
    use super::host_path;

    #[test]
    fn host_paths_are_what_their_type_says() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("file"), "").unwrap();
        for (name, kind, fine) in [
            ("", "Directory", true),
            ("file", "Directory", false),
            ("file", "File", true),
            ("file", "", true),
            ("none", "", false),
            ("none", "Directory", false),
            ("a/b", "DirectoryOrCreate", true),
            ("new", "FileOrCreate", true),
            ("file", "Socket", false),
            ("file", "Sideways", false),
        ] {
            assert_eq!(host_path(&at(name), kind).is_ok(), fine, "{name} {kind}");
        }
        assert!(at("a/b").is_dir() && at("new").is_file());
    }
}
