//! Images in files: OCI layout directories, and tar archives of OCI's and Docker's form. They are read where they lie.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use crate::manifest::{self, Descriptor, Manifest, Parsed};
use crate::resolve::{Resolved, checked, join};
use crate::store::hex;
use crate::{Error, Platform, Reference};

/// Longest document read from an archive.
const LONGEST_DOCUMENT: u64 = 8 << 20;
/// An index may name an index (`skopeo copy --all` writes such layouts); deeper ones are nobody's.
const DEEPEST_INDEX: usize = 3;

/// Where the bytes of one layer lie.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    file: Arc<File>,
    path: PathBuf,
    offset: u64,
    len: u64,
    checked: bool,
}

impl Source {
    pub(crate) fn open(&self) -> Section {
        Section {
            file: self.file.clone(),
            at: self.offset,
            end: self.offset + self.len,
        }
    }

    /// Whether the manifest names the digest of these very bytes.
    pub(crate) fn checked(&self) -> bool {
        self.checked
    }
}

/// A part of a file as a stream.
#[derive(Debug)]
pub(crate) struct Section {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Read for Section {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.end - self.at)
            .unwrap_or(usize::MAX)
            .min(buf.len());
        let n = self.file.read_at(&mut buf[..most], self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

/// Files by name: of a directory, or of a tar that was read through once.
enum Files {
    Directory(PathBuf),
    Tar {
        path: PathBuf,
        file: Arc<File>,
        members: HashMap<String, Member>,
    },
}

#[derive(Clone)]
enum Member {
    At(u64, u64),
    /// Older `docker save` wrote a layer that it has twice as a link.
    Link(String),
}

impl Files {
    fn tar(image: &str, path: &Path, temp: &Path) -> Result<Self, Error> {
        let fail = |source| Error::File {
            path: path.to_owned(),
            source,
        };
        let mut file = File::open(path).map_err(fail)?;
        let mut magic = [0; 4];
        let n = file.read(&mut magic).map_err(fail)?;
        file.seek(SeekFrom::Start(0)).map_err(fail)?;
        if magic[..n].starts_with(&[0x1f, 0x8b]) {
            file = inflate(
                flate2::read::MultiGzDecoder::new(BufReader::new(file)),
                temp,
            )
            .map_err(fail)?;
        } else if magic[..n] == [0x28, 0xb5, 0x2f, 0xfd] {
            file = inflate(zstd::Decoder::new(file).map_err(fail)?, temp).map_err(fail)?;
        }
        let broken = |e: io::Error| Error::Broken {
            image: image.into(),
            why: format!("its archive cannot be read: {e}"),
        };
        let mut members = HashMap::new();
        let mut archive = tar::Archive::new(&file);
        for entry in archive.entries_with_seek().map_err(broken)? {
            let entry = entry.map_err(broken)?;
            let name = plain(&String::from_utf8_lossy(&entry.path_bytes()));
            if entry.header().entry_type().is_file() {
                members.insert(name, Member::At(entry.raw_file_position(), entry.size()));
            } else if let Some(target) = entry.link_name_bytes() {
                let target = String::from_utf8_lossy(&target).into_owned();
                let hard = entry.header().entry_type().is_hard_link();
                let base = name.rsplit_once('/').map_or("", |(dir, _)| dir);
                members.insert(
                    name.clone(),
                    Member::Link(if hard {
                        plain(&target)
                    } else {
                        beside(base, &target)
                    }),
                );
            }
        }
        Ok(Self::Tar {
            path: path.to_owned(),
            file: Arc::new(file),
            members,
        })
    }

    fn find(&self, image: &str, name: &str, checked: bool) -> Result<Source, Error> {
        let missing = || Error::Broken {
            image: image.into(),
            why: format!("`{name}` is missing in it"),
        };
        match self {
            Self::Directory(dir) => {
                let path = dir.join(name);
                let file = File::open(&path).map_err(|e| match e.kind() {
                    io::ErrorKind::NotFound => missing(),
                    _ => Error::File {
                        path: path.clone(),
                        source: e,
                    },
                })?;
                let len = file
                    .metadata()
                    .map_err(|source| Error::File {
                        path: path.clone(),
                        source,
                    })?
                    .len();
                Ok(Source {
                    file: Arc::new(file),
                    path,
                    offset: 0,
                    len,
                    checked,
                })
            }
            Self::Tar {
                path,
                file,
                members,
            } => {
                let mut member = members.get(&plain(name)).ok_or_else(missing)?;
                if let Member::Link(target) = member {
                    member = members.get(target).ok_or_else(missing)?;
                }
                let Member::At(offset, len) = *member else {
                    return Err(missing());
                };
                Ok(Source {
                    file: file.clone(),
                    path: path.clone(),
                    offset,
                    len,
                    checked,
                })
            }
        }
    }

    fn has(&self, name: &str) -> bool {
        match self {
            Self::Directory(dir) => dir.join(name).exists(),
            Self::Tar { members, .. } => members.contains_key(name),
        }
    }

    fn read(&self, image: &str, name: &str) -> Result<Vec<u8>, Error> {
        let source = self.find(image, name, false)?;
        let mut bytes = Vec::new();
        let read = source.open().take(LONGEST_DOCUMENT).read_to_end(&mut bytes);
        read.map_err(|e| Error::File {
            path: source.path,
            source: e,
        })?;
        Ok(bytes)
    }

    fn document(&self, image: &str, what: &str, digest: &str) -> Result<Vec<u8>, Error> {
        checked(image, what, digest, self.read(image, &blob_name(digest))?)
    }
}

fn blob_name(digest: &str) -> String {
    format!("blobs/sha256/{}", hex(digest))
}

/// A file without a name: it goes with its last reader.
fn inflate(mut from: impl Read, temp: &Path) -> io::Result<File> {
    let mut file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(temp)?;
    std::fs::remove_file(temp)?;
    io::copy(&mut from, &mut file)?;
    file.flush()?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

fn plain(name: &str) -> String {
    name.trim_start_matches("./")
        .trim_start_matches('/')
        .to_owned()
}

/// A relative link's target; `..` is taken off by name, as nothing is opened by it.
fn beside(dir: &str, target: &str) -> String {
    let mut parts: Vec<&str> = dir.split('/').filter(|p| !p.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// Opens an image in a file: what it is, and where each layer lies. Blocks; `temp` is free for a file while it does.
pub(crate) fn open(
    reference: &Reference,
    platform: &Platform,
    temp: &Path,
) -> Result<(Resolved, Vec<Source>), Error> {
    let image = reference.to_string();
    match reference {
        Reference::Layout { path, tag } => {
            let broken = |why: String| Error::Broken {
                image: image.clone(),
                why,
            };
            if !path.join("oci-layout").exists() {
                return Err(broken(format!(
                    "{} is not an OCI layout: it has no file `oci-layout`",
                    path.display()
                )));
            }
            layout(
                &image,
                &Files::Directory(path.clone()),
                tag.as_deref(),
                platform,
            )
        }
        Reference::OciArchive { path, tag } => layout(
            &image,
            &Files::tar(&image, path, temp)?,
            tag.as_deref(),
            platform,
        ),
        Reference::DockerArchive { path, tag } => saved(
            &image,
            &Files::tar(&image, path, temp)?,
            tag.as_deref(),
            platform,
        ),
        Reference::Host | Reference::Registry(_) => Err(Error::Broken {
            image,
            why: "it is not in a file".into(),
        }),
    }
}

fn layout(
    image: &str,
    files: &Files,
    tag: Option<&str>,
    platform: &Platform,
) -> Result<(Resolved, Vec<Source>), Error> {
    let broken = |why: String| Error::Broken {
        image: image.into(),
        why,
    };
    let Parsed::Index(list) = manifest::parse(image, &files.read(image, "index.json")?)? else {
        return Err(broken("its index.json is not an index".into()));
    };
    let named = |d: &Descriptor| {
        d.annotations
            .as_ref()?
            .get("org.opencontainers.image.ref.name")
            .cloned()
    };
    let mut list: Vec<Descriptor> = match tag {
        None => list,
        Some(tag) => {
            let has: Vec<_> = list.iter().filter_map(named).collect();
            let mine: Vec<_> = list
                .into_iter()
                .filter(|d| named(d).as_deref() == Some(tag))
                .collect();
            if mine.is_empty() {
                return Err(broken(format!("it has no tag `{tag}`, {}", only(&has))));
            }
            mine
        }
    };
    let top = list
        .first()
        .map(|d| d.digest.clone())
        .ok_or_else(|| broken("it is empty".into()))?;
    if list.len() > 1 && list.iter().any(|d| d.platform.is_none()) {
        let has: Vec<_> = list.iter().filter_map(named).collect();
        return Err(broken(format!(
            "it holds {} images: name one of the tags {}",
            list.len(),
            words(&has)
        )));
    }
    for _ in 0..DEEPEST_INDEX {
        let chosen = match &list[..] {
            [only] if only.platform.is_none() => only,
            list => manifest::choose(image, list, platform)?,
        };
        let digest = chosen.digest.clone();
        match manifest::parse(image, &files.document(image, "its manifest", &digest)?)? {
            Parsed::Index(next) => list = next,
            Parsed::Manifest(m) => {
                let config = files.document(image, "its config", &m.config.digest)?;
                let top = if list.len() > 1 { digest.clone() } else { top };
                let resolved = join(image, &top, &digest, m, &config, platform)?;
                let sources = resolved
                    .layers
                    .iter()
                    .map(|l| files.find(image, &blob_name(&l.digest), true));
                let sources = sources.collect::<Result<_, _>>()?;
                return Ok((resolved, sources));
            }
        }
    }
    Err(broken("its indexes name each other".into()))
}

fn saved(
    image: &str,
    files: &Files,
    tag: Option<&str>,
    platform: &Platform,
) -> Result<(Resolved, Vec<Source>), Error> {
    let broken = |why: String| Error::Broken {
        image: image.into(),
        why,
    };
    if !files.has("manifest.json") {
        return Err(broken(
            "it is not an archive that `docker save` wrote: it has no manifest.json".into(),
        ));
    }
    let all: Vec<Saved> = serde_json::from_slice(&files.read(image, "manifest.json")?)
        .map_err(|e| broken(format!("its manifest.json cannot be read: {e}")))?;
    let has: Vec<String> = all
        .iter()
        .flat_map(|s| s.repo_tags.iter().flatten().cloned())
        .collect();
    // `busybox:1` is kept by docker as it was tagged, by podman with its registry.
    let full = |t: &str| {
        t.parse::<Reference>()
            .map_or_else(|_| t.to_owned(), |r| r.to_string())
    };
    let one = match tag {
        Some(tag) => all
            .into_iter()
            .find(|s| {
                s.repo_tags
                    .iter()
                    .flatten()
                    .any(|t| t == tag || full(t) == full(tag))
            })
            .ok_or_else(|| broken(format!("it has no tag `{tag}`, {}", only(&has))))?,
        None if all.len() > 1 => {
            return Err(broken(format!(
                "it holds {} images: name one of the tags {}",
                all.len(),
                words(&has)
            )));
        }
        None => all
            .into_iter()
            .next()
            .ok_or_else(|| broken("it is empty".into()))?,
    };
    let config = files.read(image, &one.config)?;
    let sources = one
        .layers
        .iter()
        .map(|l| files.find(image, l, false))
        .collect::<Result<Vec<_>, _>>()?;
    let config_of = Descriptor::of(manifest::OCI_CONFIG, &config);
    let layers = sources
        .iter()
        .zip(&one.layers)
        .map(|(source, name)| Descriptor {
            media_type: "application/vnd.oci.image.layer.v1.tar".into(),
            digest: format!("file:{name}"),
            size: source.len,
            platform: None,
            annotations: None,
            urls: Vec::new(),
        });
    let m = Manifest {
        layers: layers.collect(),
        config: config_of.clone(),
    };
    let resolved = join(
        image,
        &config_of.digest,
        &config_of.digest,
        m,
        &config,
        platform,
    )?;
    Ok((resolved, sources))
}

fn words(tags: &[String]) -> String {
    if tags.is_empty() {
        "none".into()
    } else {
        tags.join(", ")
    }
}

/// What there is in place of a tag that is not.
fn only(tags: &[String]) -> String {
    match tags {
        [] => "and names none: leave the tag out".to_owned(),
        tags => format!("only {}", tags.join(", ")),
    }
}
