//! What can go wrong between a reference and unpacked layers, each with its own words.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Sorts of trouble, named as a backend names them: it maps them one to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The image is not there, not for this platform, or broken.
    Image,
    /// A login was refused or is missing.
    Authentication,
    /// This user may not.
    Authorization,
    /// A registry did not answer, or not as a registry does.
    Connectivity,
    /// No room on the disk.
    Resources,
    /// A reference or a setting is wrong.
    Configuration,
    /// It took longer than it may.
    Timeout,
    /// This machine's disk or kernel refused.
    Infrastructure,
}

/// Why an image cannot be had. The message names the image and the place; [`Error::help`] names the mend.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text is no image reference.
    #[error("`{text}` is not an image reference: {why}")]
    Reference {
        /// As written.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// A setting (mirror, platform) cannot be used.
    #[error("{what} `{text}` cannot be used: {why}")]
    Setting {
        /// Which one.
        what: &'static str,
        /// As written.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// 404: no such repository, tag or digest.
    #[error("registry {registry} has no image {image}")]
    NotFound {
        /// The image as asked for.
        image: String,
        /// Host and port.
        registry: String,
    },
    /// 401 without credentials.
    #[error(
        "registry {registry} does not give image {image} to anonymous users: it needs a login, or it does not exist"
    )]
    LoginNeeded {
        /// The image as asked for.
        image: String,
        /// Host and port.
        registry: String,
    },
    /// 401 with credentials.
    #[error("registry {registry} refused the login of `{user}` for image {image}")]
    LoginRefused {
        /// The image as asked for.
        image: String,
        /// Host and port.
        registry: String,
        /// The user that was refused.
        user: String,
    },
    /// 403.
    #[error("registry {registry} forbids {who} access to image {image}")]
    Forbidden {
        /// The image as asked for.
        image: String,
        /// Host and port.
        registry: String,
        /// The user, or `anonymous users`.
        who: String,
    },
    /// 429.
    #[error("registry {registry} limits how often it may be asked, and refused image {image}{}", after(.retry_after.as_ref()))]
    RateLimited {
        /// The image as asked for.
        image: String,
        /// Host and port.
        registry: String,
        /// `Retry-After` in seconds, where it was given.
        retry_after: Option<u64>,
    },
    /// No connection, no TLS, or cut too often.
    #[error("registry {registry} cannot be reached for image {image}: {why}")]
    Unreachable {
        /// The image as asked for.
        image: String,
        /// Host and port.
        registry: String,
        /// The chain of causes.
        why: String,
    },
    /// It is there but does not answer in time.
    #[error("registry {registry} did not answer within {} s for image {image}", .after.as_secs_f32())]
    TimedOut {
        /// The image as asked for.
        image: String,
        /// Host and port.
        registry: String,
        /// How long was waited without a byte.
        after: Duration,
    },
    /// Any other answer.
    #[error("registry {registry} answered {status} for image {image}: {why}")]
    Registry {
        /// The image as asked for.
        image: String,
        /// Host and port.
        registry: String,
        /// The HTTP status.
        status: u16,
        /// Its own words, shortened.
        why: String,
    },
    /// What came is not what was asked for.
    #[error("image {image} is damaged: {what} has digest {got}, not {want}")]
    Digest {
        /// The image as asked for.
        image: String,
        /// `its manifest`, `layer 2`, …
        what: String,
        /// As the reference or manifest has it.
        want: String,
        /// As it came.
        got: String,
    },
    /// The image is for other platforms only.
    #[error("image {image} is not for {want}, only for {}", .has.join(", "))]
    Platform {
        /// The image as asked for.
        image: String,
        /// The platform wanted.
        want: String,
        /// The platforms it is for.
        has: Vec<String>,
    },
    /// A manifest, config or archive that is not one.
    #[error("image {image} is broken: {why}")]
    Broken {
        /// The image as asked for.
        image: String,
        /// What is wrong.
        why: String,
    },
    /// A layer that cannot be unpacked, or that tries to leave its directory.
    #[error("layer {layer} of image {image} cannot be unpacked: {why}")]
    Layer {
        /// The image as asked for.
        image: String,
        /// Its digest, shortened.
        layer: String,
        /// What is wrong, with the entry's name.
        why: String,
    },
    /// Pull policy Never, and the image is not here.
    #[error("image {image} is not on this machine, and its pull policy is Never")]
    NotHere {
        /// The image as asked for.
        image: String,
    },
    /// The disk is full.
    #[error("no space left in {path} for image {image}")]
    NoSpace {
        /// The image as asked for.
        image: String,
        /// The store's directory.
        path: PathBuf,
    },
    /// A file of this machine could not be used.
    #[error("cannot use {path}: {source}")]
    File {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn after(seconds: Option<&u64>) -> String {
    seconds.map_or_else(String::new, |s| format!("; it may be asked again in {s} s"))
}

fn is_lasting(error: &io::Error) -> bool {
    use std::io::ErrorKind as K;
    let kind = error.kind();
    matches!(
        kind,
        K::NotFound | K::PermissionDenied | K::IsADirectory | K::NotADirectory
    )
}

impl Error {
    /// The sort of trouble.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Reference { .. } | Self::Setting { .. } => Kind::Configuration,
            Self::NotFound { .. }
            | Self::Digest { .. }
            | Self::Platform { .. }
            | Self::Broken { .. }
            | Self::Layer { .. }
            | Self::NotHere { .. } => Kind::Image,
            Self::LoginNeeded { .. } | Self::LoginRefused { .. } => Kind::Authentication,
            Self::Forbidden { .. } => Kind::Authorization,
            Self::RateLimited { .. } | Self::Unreachable { .. } | Self::Registry { .. } => {
                Kind::Connectivity
            }
            Self::TimedOut { .. } => Kind::Timeout,
            Self::NoSpace { .. } => Kind::Resources,
            // A file that somebody named: it is as little there for the next pod.
            Self::File { source, .. } if is_lasting(source) => Kind::Image,
            Self::File { .. } => Kind::Infrastructure,
        }
    }

    /// How to mend it, one sentence, where that is known.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Reference { .. } => "write [registry[:port]/]repository[:tag][@sha256:…], host:/, oci:PATH[:TAG], oci-archive:PATH or docker-archive:PATH".into(),
            Self::Setting { .. } | Self::Broken { .. } | Self::Layer { .. } | Self::File { .. } | Self::Registry { .. } => return None,
            Self::NotFound { .. } => "check the repository and the tag, or push the image".into(),
            Self::LoginNeeded { .. } => "check the name, or give the step a connectorRef with credentials for this registry".into(),
            Self::LoginRefused { registry, .. } => format!("check user name and password of the connector for {registry}"),
            Self::Forbidden { .. } => "grant this account pull access to the repository".into(),
            Self::RateLimited { .. } => "log in through a connector, set a mirror, or use imagePullPolicy: IfNotPresent".into(),
            Self::Unreachable { registry, .. } => format!("check that {registry} is up and can be reached from here; a registry without TLS must be on loopback or set as insecure"),
            Self::TimedOut { .. } => "check the registry and the network between, or set a mirror".into(),
            Self::Digest { .. } => "what the registry, a proxy or a mirror serves is not the image that was asked for: push it again".into(),
            Self::Platform { .. } => "use an image for this platform, or build the image for it".into(),
            Self::NotHere { .. } => "set imagePullPolicy to IfNotPresent, or pull it beforehand".into(),
            Self::NoSpace { .. } => "free some space, or remove unused images with `stepyard sweep`".into(),
        })
    }
}

/// A failure of this machine's disk, told apart from one of the image.
pub(crate) fn disk(
    image: &str,
    root: &std::path::Path,
    path: impl Into<PathBuf>,
    source: io::Error,
) -> Error {
    if full(&source) {
        Error::NoSpace {
            image: image.to_owned(),
            path: root.to_owned(),
        }
    } else {
        Error::File {
            path: path.into(),
            source,
        }
    }
}

pub(crate) fn full(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// An error with its causes, in one line.
pub(crate) fn chain(e: &dyn std::error::Error) -> String {
    let mut text = e.to_string();
    let mut next = e.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        next = cause.source();
    }
    text
}
