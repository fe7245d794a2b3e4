//! Makes images: layers from directories or tar streams, a config, an OCI layout or archive, a registry.
//!
//! The same files give the same digests: entries are sorted and, where [`Builder::epoch`] is set, no newer than that.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};

use crate::manifest::{
    self, Descriptor, Document, RawConfig, RawPlatform, RawRootfs, RawRun, digest_text,
};
use crate::registry::{Ask, Registry};
use crate::store::hex;
use crate::{Error, Facts, Name, Platform, Settings};

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

/// How a layer's blob is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compress {
    /// Not at all.
    None,
    /// What every engine reads.
    #[default]
    Gzip,
    /// Smaller and faster; engines since about 2021.
    Zstd,
}

/// Builds one image as an OCI layout directory.
#[derive(Debug)]
pub struct Builder {
    dir: PathBuf,
    facts: Facts,
    layers: Vec<(Descriptor, String)>,
    /// Seconds since the Unix epoch that no file is newer than; none: as they are.
    pub epoch: Option<u64>,
    /// How the layers that follow are compressed.
    pub compress: Compress,
    /// Files belong to root, whoever owns them here: on, unless the owners here are the image's.
    pub owned_by_root: bool,
}

/// An image that was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// The layout's directory.
    pub dir: PathBuf,
    /// `sha256:…` of its manifest.
    pub digest: String,
    /// Bytes of all blobs.
    pub size: u64,
}

impl Builder {
    /// Begins a layout in a directory, which is made; one that is there is added to.
    pub fn new(dir: impl Into<PathBuf>, platform: Platform) -> Result<Self, Error> {
        let dir = dir.into();
        let blobs = dir.join("blobs/sha256");
        fs::create_dir_all(&blobs).map_err(|source| Error::File {
            path: blobs,
            source,
        })?;
        let facts = Facts {
            entrypoint: Vec::new(),
            cmd: Vec::new(),
            env: vec![(
                "PATH".into(),
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into(),
            )],
            user: None,
            workdir: None,
            platform,
        };
        Ok(Self {
            dir,
            facts,
            layers: Vec::new(),
            epoch: None,
            compress: Compress::default(),
            owned_by_root: true,
        })
    }

    /// What the image is to say of itself.
    pub fn facts(&mut self) -> &mut Facts {
        &mut self.facts
    }

    /// Adds a layer: the content of a directory, at the image's root.
    pub fn layer_from_dir(&mut self, from: &Path) -> Result<(), Error> {
        let (epoch, root) = (self.epoch, self.owned_by_root);
        self.add(from, |out| {
            let mut tar = tar::Builder::new(out);
            tar.follow_symlinks(false);
            let mut links = BTreeMap::new();
            append(&mut tar, from, Path::new(""), epoch, root, &mut links)?;
            tar.finish()
        })
    }

    /// Adds a layer: an uncompressed tar stream as it is.
    pub fn layer_from_tar(&mut self, tar: &mut dyn Read) -> Result<(), Error> {
        self.add(Path::new("the tar stream"), |mut out| {
            io::copy(tar, &mut out).map(drop)
        })
    }

    fn add(
        &mut self,
        from: &Path,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), Error> {
        let temp = self.dir.join("blobs/.layer");
        let done = compress(self.compress, &temp, write);
        let (digest, diff, size) = done.map_err(|source| {
            let _ = fs::remove_file(&temp);
            Error::File {
                path: from.to_owned(),
                source,
            }
        })?;
        let path = self.dir.join("blobs/sha256").join(hex(&digest));
        fs::rename(&temp, &path).map_err(|source| Error::File { path, source })?;
        let media_type = match self.compress {
            Compress::None => LAYER,
            Compress::Gzip => LAYER_GZIP,
            Compress::Zstd => LAYER_ZSTD,
        };
        let mut layer = Descriptor::of(media_type, b"");
        (layer.digest, layer.size) = (digest, size);
        self.layers.push((layer, diff));
        Ok(())
    }

    /// Writes config, manifest and index. With a tag, the image takes that tag's place in the layout.
    pub fn finish(self, tag: Option<&str>) -> Result<Built, Error> {
        let f = &self.facts;
        let some = |v: &Vec<String>| (!v.is_empty()).then(|| v.clone());
        let config = RawConfig {
            architecture: f.platform.architecture.clone(),
            os: f.platform.os.clone(),
            variant: f.platform.variant.clone(),
            config: Some(RawRun {
                user: f.user.clone(),
                env: Some(f.env.iter().map(|(k, v)| format!("{k}={v}")).collect()),
                entrypoint: some(&f.entrypoint),
                cmd: some(&f.cmd),
                working_dir: f.workdir.clone(),
            }),
            rootfs: RawRootfs {
                kind: "layers".into(),
                diff_ids: self.layers.iter().map(|l| l.1.clone()).collect(),
            },
        };
        let config = self.blob(manifest::OCI_CONFIG, &config)?;
        let layers: Vec<Descriptor> = self.layers.iter().map(|l| l.0.clone()).collect();
        let mut size = config.size + layers.iter().map(|l| l.size).sum::<u64>();
        let document = Document {
            schema_version: 2,
            media_type: manifest::OCI_MANIFEST.into(),
            config: Some(config),
            layers: Some(layers),
            manifests: None,
        };
        let mut entry = self.blob(manifest::OCI_MANIFEST, &document)?;
        size += entry.size;
        let digest = entry.digest.clone();
        let p = &f.platform;
        entry.platform = Some(RawPlatform {
            os: p.os.clone(),
            architecture: p.architecture.clone(),
            variant: p.variant.clone(),
        });
        let name = "org.opencontainers.image.ref.name";
        entry.annotations = tag.map(|tag| BTreeMap::from([(name.to_owned(), tag.to_owned())]));
        let path = self.dir.join("index.json");
        let mut manifests = Vec::new();
        if let (Some(tag), Ok(bytes)) = (tag, fs::read(&path)) {
            let old: Document = serde_json::from_slice(&bytes).map_err(|e| Error::Broken {
                image: format!("oci:{}", self.dir.display()),
                why: format!("its index.json cannot be read: {e}"),
            })?;
            let mine = |d: &Descriptor| {
                d.annotations
                    .as_ref()
                    .and_then(|a| a.get(name))
                    .is_some_and(|t| t == tag)
            };
            manifests = old.manifests.unwrap_or_default();
            manifests.retain(|d| !mine(d));
        }
        manifests.push(entry);
        let index = Document {
            schema_version: 2,
            media_type: manifest::OCI_INDEX.into(),
            config: None,
            layers: None,
            manifests: Some(manifests),
        };
        self.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        self.file(
            "index.json",
            &serde_json::to_vec(&index).unwrap_or_default(),
        )?;
        Ok(Built {
            dir: self.dir,
            digest,
            size,
        })
    }

    fn blob(&self, kind: &str, what: &impl serde::Serialize) -> Result<Descriptor, Error> {
        let bytes = serde_json::to_vec(what).unwrap_or_default();
        let descriptor = Descriptor::of(kind, &bytes);
        self.file(&format!("blobs/sha256/{}", hex(&descriptor.digest)), &bytes)?;
        Ok(descriptor)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.dir.join(name);
        fs::write(&path, bytes).map_err(|source| Error::File { path, source })
    }
}

impl Built {
    /// Packs the layout into one plain tar file: what `oci-archive:` names.
    pub fn archive(&self, to: &Path) -> Result<(), Error> {
        let pack = || {
            let mut tar = tar::Builder::new(BufWriter::new(File::create(to)?));
            append(
                &mut tar,
                &self.dir,
                Path::new(""),
                Some(0),
                true,
                &mut BTreeMap::new(),
            )?;
            tar.into_inner()?.flush()
        };
        pack().map_err(|source| Error::File {
            path: to.to_owned(),
            source,
        })
    }

    /// Uploads the image; what the registry has is not sent again. Returns the bytes sent.
    pub async fn push(
        &self,
        to: &Name,
        login: Option<&crate::Login>,
        settings: Settings,
    ) -> Result<u64, Error> {
        let registry = Registry::new(settings);
        let ask = Ask {
            name: to,
            login: login.filter(|l| l.is_for(&to.registry)),
            actions: "pull,push",
        };
        let at = registry.origin(&to.registry);
        let blobs = self.dir.join("blobs/sha256");
        let path = blobs.join(hex(&self.digest));
        let bytes = fs::read(&path).map_err(|source| Error::File { path, source })?;
        let manifest::Parsed::Manifest(m) = manifest::parse(&ask.image(), &bytes)? else {
            return Err(Error::Broken {
                image: ask.image(),
                why: "what was built is not a manifest".into(),
            });
        };
        let mut sent = 0;
        for blob in m.layers.iter().chain([&m.config]) {
            if registry
                .push_blob(&ask, &at, &blob.digest, &blobs.join(hex(&blob.digest)))
                .await?
            {
                sent += blob.size;
            }
        }
        let tag = to.tag.as_deref().unwrap_or(&self.digest);
        registry
            .push_manifest(&ask, &at, tag, manifest::OCI_MANIFEST, &bytes)
            .await?;
        Ok(sent)
    }
}

/// Writes a blob and returns its digest, the digest before compression, and its size.
fn compress(
    how: Compress,
    to: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<(String, String, u64)> {
    let file = Hashing::new(BufWriter::new(File::create(to)?));
    let (mut file, diff) = match how {
        Compress::None => {
            let mut out = Hashing::new(file);
            write(&mut out)?;
            (out.inner, out.hasher)
        }
        Compress::Gzip => {
            let mut out = Hashing::new(GzEncoder::new(file, Compression::default()));
            write(&mut out)?;
            (out.inner.finish()?, out.hasher)
        }
        Compress::Zstd => {
            let mut out = Hashing::new(zstd::Encoder::new(file, zstd::DEFAULT_COMPRESSION_LEVEL)?);
            write(&mut out)?;
            (out.inner.finish()?, out.hasher)
        }
    };
    file.flush()?;
    Ok((digest_text(file.hasher), digest_text(diff), file.len))
}

struct Hashing<W> {
    inner: W,
    hasher: Sha256,
    len: u64,
}

impl<W> Hashing<W> {
    fn new(inner: W) -> Self {
        Self {
            inner,
            hasher: Sha256::new(),
            len: 0,
        }
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(buf)?;
        self.hasher.update(&buf[..n]);
        self.len += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Appends a directory's content, sorted. Whiteouts are written as they stand (`.wh.…`); sockets are left out.
fn append<W: Write>(
    tar: &mut tar::Builder<W>,
    root: &Path,
    dir: &Path,
    epoch: Option<u64>,
    owned_by_root: bool,
    links: &mut BTreeMap<(u64, u64), PathBuf>,
) -> io::Result<()> {
    let mut names = fs::read_dir(root.join(dir))?
        .map(|e| e.map(|e| e.file_name()))
        .collect::<Result<Vec<_>, _>>()?;
    names.sort();
    for name in names {
        let inside = dir.join(name);
        let path = root.join(&inside);
        let about = fs::symlink_metadata(&path)?;
        let mut header = tar::Header::new_gnu();
        header.set_mode(about.mode() & 0o7777);
        header.set_mtime(
            epoch
                .map_or(about.mtime(), |e| about.mtime().min(e.cast_signed()))
                .max(0)
                .cast_unsigned(),
        );
        let (uid, gid) = if owned_by_root {
            (0, 0)
        } else {
            (about.uid(), about.gid())
        };
        header.set_uid(uid.into());
        header.set_gid(gid.into());
        header.set_size(0);
        let kind = about.file_type();
        if kind.is_dir() {
            header.set_entry_type(tar::EntryType::Directory);
            tar.append_data(&mut header, &inside, io::empty())?;
            append(tar, root, &inside, epoch, owned_by_root, links)?;
        } else if kind.is_symlink() {
            header.set_entry_type(tar::EntryType::Symlink);
            tar.append_link(&mut header, &inside, fs::read_link(&path)?)?;
        } else if kind.is_file() {
            let key = (about.dev(), about.ino());
            if about.nlink() > 1
                && let Some(first) = links.get(&key)
            {
                header.set_entry_type(tar::EntryType::Link);
                tar.append_link(&mut header, &inside, first)?;
                continue;
            }
            links.insert(key, inside.clone());
            header.set_size(about.len());
            xattrs(tar, &path)?;
            tar.append_data(&mut header, &inside, File::open(&path)?.take(about.len()))?;
        } else if kind.is_char_device() || kind.is_block_device() || kind.is_fifo() {
            header.set_entry_type(if kind.is_fifo() {
                tar::EntryType::Fifo
            } else if kind.is_char_device() {
                tar::EntryType::Char
            } else {
                tar::EntryType::Block
            });
            // Its width differs from system to system.
            let rdev = about.rdev() as rustix::fs::Dev;
            header.set_device_major(rustix::fs::major(rdev))?;
            header.set_device_minor(rustix::fs::minor(rdev))?;
            tar.append_data(&mut header, &inside, io::empty())?;
        }
    }
    Ok(())
}

/// File capabilities and users' attributes go in front of the entry, as other packers write them.
fn xattrs<W: Write>(tar: &mut tar::Builder<W>, path: &Path) -> io::Result<()> {
    let mut names = [0; 4096];
    let n = match rustix::fs::llistxattr(path, &mut names) {
        Ok(0) | Err(rustix::io::Errno::OPNOTSUPP) => return Ok(()),
        Ok(n) => n,
        Err(e) => return Err(e.into()),
    };
    let mut found = Vec::new();
    for name in names[..n].split(|b| *b == 0) {
        let Ok(name) = std::str::from_utf8(name) else {
            continue;
        };
        if name != "security.capability" && !name.starts_with("user.") {
            continue;
        }
        let mut value = vec![0; 65536];
        let n = rustix::fs::lgetxattr(
            path,
            std::ffi::OsStr::from_bytes(name.as_bytes()),
            &mut value,
        )?;
        value.truncate(n);
        found.push((format!("SCHILY.xattr.{name}"), value));
    }
    if found.is_empty() {
        return Ok(());
    }
    tar.append_pax_extensions(found.iter().map(|(k, v)| (k.as_str(), v.as_slice())))
}
