//! Manifests, indexes and configs: the parts of them that are needed, OCI's and Docker's alike.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::Error;

/// An OCI image manifest.
pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// An OCI index.
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// An OCI image config.
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// What a client accepts for a tag.
pub(crate) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// `linux/amd64`, or `linux/arm64/v8`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// As Go names it: `amd64`, `arm64`.
    pub architecture: String,
    /// `v8`; none: any.
    pub variant: Option<String>,
}

impl Platform {
    /// Linux on this machine's architecture.
    pub fn here() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Self {
            os: "linux".into(),
            architecture: architecture.into(),
            variant: None,
        }
    }

    fn takes(&self, other: &Self) -> bool {
        self.os == other.os
            && self.architecture == other.architecture
            && (self.variant.is_none() || self.variant == other.variant)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |v| write!(f, "/{v}"))
    }
}

impl FromStr for Platform {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let mut parts = text.split('/');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(os), Some(arch), variant, None) if !os.is_empty() && !arch.is_empty() => {
                Ok(Self {
                    os: os.into(),
                    architecture: arch.into(),
                    variant: variant.map(str::to_owned),
                })
            }
            _ => Err(Error::Setting {
                what: "platform",
                text: text.into(),
                why: "it is not of the form linux/amd64".into(),
            }),
        }
    }
}

/// A blob as a manifest names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) media_type: String,
    pub(crate) digest: String,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<RawPlatform>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) annotations: Option<std::collections::BTreeMap<String, String>>,
    /// Where a foreign layer lies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) urls: Vec<String>,
}

impl Descriptor {
    pub(crate) fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self {
            media_type: media_type.into(),
            digest: digest_of(bytes),
            size: bytes.len() as u64,
            platform: None,
            annotations: None,
            urls: Vec::new(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RawPlatform {
    pub(crate) os: String,
    pub(crate) architecture: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) variant: Option<String>,
}

impl RawPlatform {
    fn clean(&self) -> Platform {
        Platform {
            os: self.os.clone(),
            architecture: self.architecture.clone(),
            variant: self.variant.clone(),
        }
    }
}

/// A manifest or an index: told apart by what they hold.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Document {
    pub(crate) schema_version: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) media_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) config: Option<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) layers: Option<Vec<Descriptor>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) manifests: Option<Vec<Descriptor>>,
}

/// An image's manifest, checked.
#[derive(Debug, Clone)]
pub(crate) struct Manifest {
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
}

/// What a tag or digest led to.
#[derive(Debug)]
pub(crate) enum Parsed {
    Manifest(Manifest),
    Index(Vec<Descriptor>),
}

pub(crate) fn parse(image: &str, bytes: &[u8]) -> Result<Parsed, Error> {
    let broken = |why: String| Error::Broken {
        image: image.into(),
        why,
    };
    let doc: Document = serde_json::from_slice(bytes)
        .map_err(|e| broken(format!("its manifest cannot be read: {e}")))?;
    if doc.schema_version != 2 {
        return Err(broken(format!(
            "its manifest has schema version {}, which no registry serves any more",
            doc.schema_version
        )));
    }
    let all = doc
        .config
        .iter()
        .chain(doc.layers.iter().flatten())
        .chain(doc.manifests.iter().flatten());
    for d in all {
        crate::reference::check_digest(&d.digest).map_err(broken)?;
    }
    match doc {
        Document {
            manifests: Some(list),
            ..
        } => Ok(Parsed::Index(list)),
        Document {
            config: Some(config),
            layers: Some(layers),
            ..
        } => Ok(Parsed::Manifest(Manifest { config, layers })),
        _ => Err(broken(
            "its manifest names neither layers nor other manifests".into(),
        )),
    }
}

/// The manifest of an index for a platform. Attestations (`unknown/unknown`) are not platforms.
pub(crate) fn choose<'a>(
    image: &str,
    list: &'a [Descriptor],
    want: &Platform,
) -> Result<&'a Descriptor, Error> {
    let known = |d: &&Descriptor| d.platform.as_ref().is_none_or(|p| p.os != "unknown");
    let of: Vec<_> = list.iter().filter(known).collect();
    if let [only] = of[..]
        && only.platform.is_none()
    {
        return Ok(only); // its config says what it is for
    }
    of.iter()
        .find(|d| d.platform.as_ref().is_some_and(|p| want.takes(&p.clean())))
        .copied()
        .ok_or_else(|| Error::Platform {
            image: image.into(),
            want: want.to_string(),
            has: of
                .iter()
                .filter_map(|d| d.platform.as_ref())
                .map(|p| p.clean().to_string())
                .collect(),
        })
}

/// What an image says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// ENTRYPOINT.
    pub entrypoint: Vec<String>,
    /// CMD.
    pub cmd: Vec<String>,
    /// ENV, in order.
    pub env: Vec<(String, String)>,
    /// USER as written; none: root.
    pub user: Option<String>,
    /// WORKDIR; none: `/`.
    pub workdir: Option<String>,
    /// What it is for.
    pub platform: Platform,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct RawConfig {
    #[serde(default)]
    pub(crate) architecture: String,
    #[serde(default)]
    pub(crate) os: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) variant: Option<String>,
    #[serde(default)]
    pub(crate) config: Option<RawRun>,
    #[serde(default)]
    pub(crate) rootfs: RawRootfs,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct RawRun {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) env: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) entrypoint: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cmd: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) working_dir: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct RawRootfs {
    #[serde(rename = "type", default)]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) diff_ids: Vec<String>,
}

/// Reads a config; an image for another platform is refused here too, as single manifests name none.
pub(crate) fn config(
    image: &str,
    bytes: &[u8],
    want: &Platform,
) -> Result<(Facts, Vec<String>), Error> {
    let broken = |why: String| Error::Broken {
        image: image.into(),
        why,
    };
    let raw: RawConfig = serde_json::from_slice(bytes)
        .map_err(|e| broken(format!("its config cannot be read: {e}")))?;
    if raw.os.is_empty() || raw.architecture.is_empty() {
        return Err(broken(
            "its config names no platform: it is an artifact, not a container image".into(),
        ));
    }
    for d in &raw.rootfs.diff_ids {
        crate::reference::check_digest(d).map_err(broken)?;
    }
    let platform = Platform {
        os: raw.os,
        architecture: raw.architecture,
        variant: raw.variant,
    };
    if platform.os != want.os || platform.architecture != want.architecture {
        return Err(Error::Platform {
            image: image.into(),
            want: want.to_string(),
            has: vec![platform.to_string()],
        });
    }
    let run = raw.config.unwrap_or_default();
    let env = run
        .env
        .unwrap_or_default()
        .into_iter()
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => (pair, String::new()),
        });
    let facts = Facts {
        entrypoint: run.entrypoint.unwrap_or_default(),
        cmd: run.cmd.unwrap_or_default(),
        env: env.collect(),
        user: run.user.filter(|s| !s.is_empty()),
        workdir: run.working_dir.filter(|s| !s.is_empty()),
        platform,
    };
    Ok((facts, raw.rootfs.diff_ids))
}

/// `sha256:…` of some bytes.
pub(crate) fn digest_of(bytes: &[u8]) -> String {
    digest_text(Sha256::new_with_prefix(bytes))
}

pub(crate) fn digest_text(hasher: Sha256) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(71);
    text.push_str("sha256:");
    for b in hasher.finalize() {
        let _ = write!(text, "{b:02x}");
    }
    text
}
