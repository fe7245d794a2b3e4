//! Names of images: Docker's, and the ones that need no registry.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::Error;

/// Where a reference without a registry points.
pub const DEFAULT_REGISTRY: &str = "docker.io";
/// Longest repository name Docker accepts.
const LONGEST_NAME: usize = 255;
/// Longest tag Docker accepts.
const LONGEST_TAG: usize = 128;

/// An image as a pipeline names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reference {
    /// In a registry.
    Registry(Name),
    /// `host:/`: this machine's own root filesystem.
    Host,
    /// `oci:PATH[:TAG]`: an OCI layout directory.
    Layout {
        /// The directory.
        path: PathBuf,
        /// `org.opencontainers.image.ref.name`; none: the only image there.
        tag: Option<String>,
    },
    /// `oci-archive:PATH[:TAG]`: such a layout in a tar file, plain, gzip or zstd.
    OciArchive {
        /// The file.
        path: PathBuf,
        /// As for a layout.
        tag: Option<String>,
    },
    /// `docker-archive:PATH[:TAG]`: what `docker save` writes, plain, gzip or zstd.
    DockerArchive {
        /// The file.
        path: PathBuf,
        /// One of its `RepoTags`; none: the only image there.
        tag: Option<String>,
    },
}

/// A name in a registry, complete: what Docker leaves out is filled in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    /// Host and port; `docker.io` where none was written.
    pub registry: String,
    /// `library/alpine`.
    pub repository: String,
    /// The tag; `latest` where neither tag nor digest was written.
    pub tag: Option<String>,
    /// `sha256:…`; it wins over the tag.
    pub digest: Option<String>,
}

impl Name {
    /// What is asked of the registry: the digest, else the tag.
    pub fn wanted(&self) -> &str {
        self.digest
            .as_deref()
            .or(self.tag.as_deref())
            .unwrap_or("latest")
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, path, tag) = match self {
            Self::Registry(name) => return name.fmt(f),
            Self::Host => return f.write_str("host:/"),
            Self::Layout { path, tag } => ("oci", path, tag),
            Self::OciArchive { path, tag } => ("oci-archive", path, tag),
            Self::DockerArchive { path, tag } => ("docker-archive", path, tag),
        };
        write!(f, "{scheme}:{}", path.display())?;
        tag.as_ref().map_or(Ok(()), |tag| write!(f, ":{tag}"))
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = |why: &str| Error::Reference {
            text: text.to_owned(),
            why: why.to_owned(),
        };
        if text.is_empty() {
            return Err(bad("it is empty"));
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(bad("it contains white space"));
        }
        if text == "host:/" {
            return Ok(Self::Host);
        }
        for (scheme, make) in [
            (
                "oci:",
                (|path, tag| Self::Layout { path, tag }) as fn(PathBuf, Option<String>) -> Self,
            ),
            ("oci-archive:", |path, tag| Self::OciArchive { path, tag }),
            ("docker-archive:", |path, tag| Self::DockerArchive {
                path,
                tag,
            }),
        ] {
            // `oci:5` could be a repository called `oci`; nobody has one, and skopeo reads it this way too.
            if let Some(rest) = text.strip_prefix(scheme) {
                let (path, tag) = match rest.split_once(':') {
                    Some((path, tag)) => (path, Some(tag)),
                    None => (rest, None),
                };
                if path.is_empty() {
                    return Err(bad("a path is missing"));
                }
                if tag == Some("") {
                    return Err(bad("the tag is empty"));
                }
                return Ok(make(path.into(), tag.map(str::to_owned)));
            }
        }
        if text.starts_with("host:") {
            return Err(bad("only the whole root filesystem can be used: host:/"));
        }
        if text.contains("://") {
            return Err(bad("it has a URL scheme; leave that out"));
        }
        name(text).map(Self::Registry).map_err(|why| bad(&why))
    }
}

fn name(text: &str) -> Result<Name, String> {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    if let Some(digest) = digest {
        check_digest(digest)?;
    }
    let (first, after) = rest.split_once('/').unwrap_or(("", rest));
    let is_host = first.contains(['.', ':'])
        || first == "localhost"
        || first.chars().any(|c| c.is_ascii_uppercase());
    let (registry, rest) = if is_host {
        (first, after)
    } else {
        (DEFAULT_REGISTRY, rest)
    };
    let registry = if registry == "index.docker.io" {
        DEFAULT_REGISTRY
    } else {
        registry
    };
    check_host(registry)?;
    let (repository, tag) = match rest.split_once(':') {
        Some((repository, tag)) => (repository, Some(tag)),
        None => (rest, None),
    };
    if let Some(tag) = tag {
        check_tag(tag)?;
    }
    check_repository(repository)?;
    let repository = if registry == DEFAULT_REGISTRY && !repository.contains('/') {
        format!("library/{repository}")
    } else {
        repository.to_owned()
    };
    let tag = tag
        .map(str::to_owned)
        .or_else(|| digest.is_none().then(|| "latest".to_owned()));
    Ok(Name {
        registry: registry.to_owned(),
        repository,
        tag,
        digest: digest.map(str::to_owned),
    })
}

/// `sha256:` and 64 lowercase hexadecimal digits: the one algorithm registries use.
pub(crate) fn check_digest(digest: &str) -> Result<(), String> {
    let hex = digest
        .strip_prefix("sha256:")
        .ok_or_else(|| format!("digest `{digest}` does not begin with sha256:"))?;
    if hex.len() != 64
        || !hex
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    {
        return Err(format!(
            "digest `{digest}` does not have 64 lowercase hexadecimal digits"
        ));
    }
    Ok(())
}

fn check_host(host: &str) -> Result<(), String> {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    };
    if let Some(port) = port
        && port.parse::<u16>().is_err()
    {
        return Err(format!("`{port}` is not a port of registry `{name}`"));
    }
    let v6 = name.strip_prefix('[').and_then(|n| n.strip_suffix(']'));
    let ok = match v6 {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => name.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        }),
    };
    if ok {
        Ok(())
    } else {
        Err(format!("`{name}` is not a host name"))
    }
}

fn check_tag(tag: &str) -> Result<(), String> {
    let first = tag.bytes().next().ok_or("the tag is empty")?;
    if tag.len() > LONGEST_TAG {
        return Err(format!("the tag is longer than {LONGEST_TAG} characters"));
    }
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if !word(first) || !tag.bytes().all(|b| word(b) || b == b'.' || b == b'-') {
        return Err(format!(
            "tag `{tag}` may hold letters, digits, `_`, `.` and `-` only, and begins with neither of the last two"
        ));
    }
    Ok(())
}

fn check_repository(repository: &str) -> Result<(), String> {
    if repository.is_empty() {
        return Err("the repository is missing".into());
    }
    if repository.len() > LONGEST_NAME {
        return Err(format!(
            "the repository is longer than {LONGEST_NAME} characters"
        ));
    }
    if repository.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(format!("repository `{repository}` must be lowercase"));
    }
    repository.split('/').try_for_each(|part| {
        if component(part) {
            Ok(())
        } else {
            Err(format!("`{part}` cannot be part of a repository's name"))
        }
    })
}

/// Lowercase letters and digits, in groups joined by `.`, `_`, `__` or any number of `-`.
fn component(part: &str) -> bool {
    let alnum = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = part.as_bytes();
    if !bytes.first().copied().is_some_and(alnum) || !bytes.last().copied().is_some_and(alnum) {
        return false;
    }
    bytes
        .split(|b| alnum(*b))
        .all(|joint| matches!(joint, b"" | b"." | b"_" | b"__") || joint.iter().all(|b| *b == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed_as_docker_does() {
        let d = format!("sha256:{}", "ab".repeat(32));
        for (text, full) in [
            ("alpine", "docker.io/library/alpine:latest".to_owned()),
            ("alpine:3.20", "docker.io/library/alpine:3.20".into()),
            ("grafana/k6", "docker.io/grafana/k6:latest".into()),
            ("docker.io/alpine", "docker.io/library/alpine:latest".into()),
            ("index.docker.io/a/b:c", "docker.io/a/b:c".into()),
            ("localhost/a", "localhost/a:latest".into()),
            ("localhost:5000/a/b:1", "localhost:5000/a/b:1".into()),
            (
                "127.0.0.1:5050/tc/busybox:1",
                "127.0.0.1:5050/tc/busybox:1".into(),
            ),
            ("[::1]:5050/x", "[::1]:5050/x:latest".into()),
            (
                "gcr.io/a/b__c/d---e.f",
                "gcr.io/a/b__c/d---e.f:latest".into(),
            ),
            (&format!("a@{d}"), format!("docker.io/library/a@{d}")),
            (&format!("q.io/a:1@{d}"), format!("q.io/a:1@{d}")),
            ("host:/", "host:/".into()),
            ("oci:/x/y:t", "oci:/x/y:t".into()),
            ("oci-archive:a.tar.gz", "oci-archive:a.tar.gz".into()),
            (
                "docker-archive:/a.tar:busybox:1",
                "docker-archive:/a.tar:busybox:1".into(),
            ),
        ] {
            let got: Reference = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(got.to_string(), full, "{text}");
        }
    }

    #[test]
    fn bad_names_say_why() {
        for (text, why) in [
            ("", "empty"),
            ("a b", "white space"),
            ("Alpine", "lowercase"),
            ("https://x.io/a", "URL scheme"),
            ("x.io/", "repository is missing"),
            ("x.io:port/a", "`port` is not a port"),
            ("x..io/a", "not a host name"),
            ("a:", "tag is empty"),
            ("a:-x", "tag `-x`"),
            ("a@md5:00", "does not begin with sha256:"),
            ("a@sha256:00", "64 lowercase"),
            ("x.io/a//b", "cannot be part"),
            ("x.io/a___b", "cannot be part"),
            ("x.io/../b", "cannot be part"),
            ("host:/etc", "host:/"),
            ("oci:", "path is missing"),
            ("oci:/x:", "tag is empty"),
        ] {
            let e = text.parse::<Reference>().expect_err(text).to_string();
            assert!(e.contains(why), "{text}: {e}");
        }
    }
}
