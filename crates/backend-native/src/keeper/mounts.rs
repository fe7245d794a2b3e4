//! What a pod has in memory, and its volumes of a fixed size.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::mount::{MsFlags, mount};

use crate::control::Pod;

/// Bytes of the filesystem of slices: records and outputs of a thousand steps fit, a step that fills it cannot fill memory.
const RUN_BYTES: u64 = 256 << 20;

/// Makes what of a pod is in memory.
pub(super) fn memory(pod: &Pod) -> io::Result<()> {
    tmpfs(&pod.run(), RUN_BYTES)?;
    // The pod's own directory is closed to other users; in here a container finds only what is mounted for it.
    for dir in [pod.run(), pod.slices(), pod.work(""), pod.etc_file("")] {
        fs::create_dir_all(&dir)?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755))?;
    }
    for (name, text) in &pod.etc {
        let path = pod.etc_file(name);
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
    }
    fs::create_dir(pod.shm())?;
    Ok(tmpfs(&pod.shm(), 64 << 20)?)
}

pub(super) fn tmpfs(at: &Path, size: u64) -> nix::Result<()> {
    let options = if size == 0 {
        "mode=1777".to_owned()
    } else {
        format!("mode=1777,size={size}")
    };
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(
        Some("tmpfs"),
        at,
        Some("tmpfs"),
        flags,
        Some(options.as_str()),
    )
}

/// Mounts a file system in a file; its device goes with the mount.
pub(super) fn disk(image: &Path, at: &Path) -> Result<(), String> {
    let out = Command::new("mount")
        .args(["-t", "ext4", "-o", "loop,nosuid,nodev"])
        .args([image, at])
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("mount does not start ({e})"))?;
    if !out.status.success() {
        return Err(String::from_utf8_lossy(&out.stderr).trim().to_owned());
    }
    // As an empty directory is, and as the kubelet opens it.
    let _ = fs::remove_dir(at.join("lost+found"));
    fs::set_permissions(at, fs::Permissions::from_mode(0o777)).map_err(|e| e.to_string())
}
