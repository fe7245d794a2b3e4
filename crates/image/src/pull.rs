//! From a reference to unpacked layers.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::try_join_all;
use rustix::fs::FlockOperation;
use tokio::sync::{Semaphore, oneshot};

use crate::archive::{self, Source};
use crate::error::{Kind, disk};
use crate::manifest::Descriptor;
use crate::reference::Name;
use crate::registry::blob::{Download, flow};
use crate::registry::{Ask, Registry};
use crate::resolve::Resolved;
use crate::store::{Pin, Store, hex};
use crate::{Error, Facts, Platform, Reference, Settings};

/// Layers fetched and unpacked at once, over all images of a client. Each takes a connection and inflates on a core: more
/// than a few slow each other down on a laptop, and registries limit connections.
const PARALLEL_LAYERS: usize = 4;

/// When to ask the registry, as Kubernetes means it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pull {
    /// For the digest, at every start; what is not here is pulled.
    Always,
    /// Only where the image is not here.
    IfNotPresent,
    /// Never: an image that is not here is an error.
    Never,
}

/// A login at one registry. Holds a secret: it is not printed.
#[derive(Clone)]
pub struct Login {
    /// Host (and port) it is for, or its URL as connectors have it; none: whatever registry the image names.
    pub server: Option<String>,
    /// The user.
    pub username: String,
    /// The password or token.
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login")
            .field("server", &self.server)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

impl Login {
    /// User and password, unless both are empty.
    pub(crate) fn pair(&self) -> Option<(&str, &str)> {
        (!self.username.is_empty() || !self.password.is_empty())
            .then_some((&*self.username, &*self.password))
    }

    /// Whether it may be sent to this registry.
    pub(crate) fn is_for(&self, registry: &str) -> bool {
        let Some(server) = &self.server else {
            return true;
        };
        let host = server
            .split_once("://")
            .map_or(server.as_str(), |(_, rest)| rest);
        let host = host.split('/').next().unwrap_or(host);
        let hub = |h: &str| {
            matches!(
                h,
                "docker.io"
                    | "index.docker.io"
                    | "registry-1.docker.io"
                    | "registry.hub.docker.com"
            )
        };
        host.eq_ignore_ascii_case(registry) || hub(host) && hub(registry)
    }
}

/// How an image is wanted.
#[derive(Debug, Clone)]
pub struct Want {
    /// When to ask.
    pub pull: Pull,
    /// For what.
    pub platform: Platform,
    /// With which login; never sent to mirrors or to another registry than its own.
    pub login: Option<Login>,
}

impl Default for Want {
    /// What is not here, for this machine, without a login.
    fn default() -> Self {
        Self {
            pull: Pull::IfNotPresent,
            platform: Platform::here(),
            login: None,
        }
    }
}

/// How far a pull is, in bytes of compressed layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that came.
    pub done: u64,
    /// Bytes that were to come when the pull began.
    pub total: u64,
}

/// What an image is, without its layers.
#[derive(Debug, Clone)]
pub struct Inspected {
    /// Of the manifest for this platform; of the config in a docker-archive; none for `host:/`.
    pub digest: Option<String>,
    /// What the reference leads to, where that is an index: the digest Kubernetes shows as `imageID`.
    pub index: Option<String>,
    /// What the image says of itself.
    pub facts: Facts,
    /// It is on this machine, layers and all.
    pub here: bool,
    /// Worth a line of the Initialize log: a mirror that failed, a login not used.
    pub notes: Vec<String>,
}

/// An image on this machine. Its layers stay at least as long as this value (or a clone) lives; see [`Store::pin`].
#[derive(Debug, Clone)]
pub struct Image {
    /// As asked for.
    pub reference: Reference,
    /// As in [`Inspected`].
    pub digest: Option<String>,
    /// As in [`Inspected`].
    pub index: Option<String>,
    /// What it says of itself.
    pub facts: Facts,
    /// Unpacked layers, bottom first, each once: overlay refuses the same one twice. Empty for `host:/`.
    pub layers: Vec<PathBuf>,
    /// Bytes that were fetched for it now; none: it was here.
    pub fetched: Option<u64>,
    /// As in [`Inspected`], and what unpacking could not keep.
    pub notes: Vec<String>,
    pub(crate) diffs: Vec<String>,
    pub(crate) blobs: Vec<String>,
    pub(crate) _pin: Option<Arc<Pin>>,
}

/// Gets images into a store. Cheap to share behind an `Arc`; it keeps connections and tokens.
#[derive(Debug)]
pub struct Client {
    pub(crate) store: Store,
    pub(crate) registry: Registry,
    permits: Semaphore,
}

/// Where an image's layers come from.
#[derive(Clone, Copy)]
enum From<'a> {
    Registry(Ask<'a>, &'a [crate::registry::Endpoint]),
    Files(&'a [Source]),
}

impl Client {
    /// A client of a store.
    pub fn new(store: Store, settings: Settings) -> Self {
        Self {
            store,
            registry: Registry::new(settings),
            permits: Semaphore::new(PARALLEL_LAYERS),
        }
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Asks what an image is, without fetching its layers.
    pub async fn inspect(&self, reference: &Reference, want: &Want) -> Result<Inspected, Error> {
        let mut notes = Vec::new();
        let resolved = match reference {
            Reference::Host => {
                let facts = host_facts();
                return Ok(Inspected {
                    digest: None,
                    index: None,
                    facts,
                    here: true,
                    notes,
                });
            }
            Reference::Registry(name) => self.resolve(reference, name, want, &mut notes).await?,
            _ => self.open(reference, want).await?.0,
        };
        let here = resolved.diffs.iter().all(|d| self.store.layer(d).is_some());
        let (digest, index) = digests(&resolved);
        Ok(Inspected {
            digest,
            index,
            facts: resolved.facts,
            here,
            notes,
        })
    }

    /// Gets an image here by its pull policy, unpacked. Dropped, it stops; what came stays for the next time.
    pub async fn ensure(
        &self,
        reference: &Reference,
        want: &Want,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Image, Error> {
        let mut notes = Vec::new();
        if *reference == Reference::Host {
            return Ok(Image {
                reference: reference.clone(),
                digest: None,
                index: None,
                facts: host_facts(),
                layers: Vec::new(),
                fetched: None,
                notes,
                diffs: Vec::new(),
                blobs: Vec::new(),
                _pin: None,
            });
        }
        let name = reference.to_string();
        let store = self.store.clone();
        // Collectors wait until the image is pinned.
        let lock = aside(move || store.lock("gc", FlockOperation::LockShared)).await;
        let lock = Arc::new(lock.map_err(|e| self.store.err(&name, self.store.dir(), e))?);
        let (resolved, fetched) = if let Reference::Registry(n) = reference {
            self.pull(reference, n, want, progress, &lock, &mut notes)
                .await?
        } else {
            let (resolved, files) = self.open(reference, want).await?;
            let from = From::Files(&files);
            let fetched = self.layers(&name, &resolved, from, progress, &lock).await?;
            (resolved, fetched)
        };
        let mut seen = BTreeSet::new();
        let mut layers = Vec::new();
        // What a layer brings the second time covers the first.
        for diff in resolved
            .diffs
            .iter()
            .rev()
            .filter(|d| seen.insert(d.as_str()))
        {
            let gone = || Error::Broken {
                image: name.clone(),
                why: "one of its layers went while it was pulled".into(),
            };
            let layer = self.store.layer(diff).ok_or_else(gone)?;
            self.store.touch(diff);
            let r = layer.report;
            if r.owners > 0 {
                notes.push(format!(
                    "{name}: files and directories of other users ({}) belong to root here: only root can give them away, and a container of another user may not write them",
                    r.owners
                ));
            }
            for (n, what) in [
                (r.devices, "device nodes were left out"),
                (r.xattrs, "extended attributes were left out"),
            ] {
                if n > 0 {
                    notes.push(format!(
                        "{name}: {n} {what}: this user or filesystem may not have them"
                    ));
                }
            }
            layers.push(layer.fs);
        }
        layers.reverse();
        self.store.touch_documents(reference, &resolved.blobs);
        let pin = self.store.hold(&name, &resolved.diffs, &resolved.blobs)?;
        drop(lock);
        let (digest, index) = digests(&resolved);
        Ok(Image {
            reference: reference.clone(),
            digest,
            index,
            facts: resolved.facts,
            layers,
            fetched: (fetched > 0).then_some(fetched),
            notes,
            diffs: resolved.diffs,
            blobs: resolved.blobs,
            _pin: Some(pin),
        })
    }

    async fn pull(
        &self,
        reference: &Reference,
        name: &Name,
        want: &Want,
        progress: &(dyn Fn(Progress) + Send + Sync),
        lock: &Arc<crate::store::Lock>,
        notes: &mut Vec<String>,
    ) -> Result<(Resolved, u64), Error> {
        let resolved = self.resolve(reference, name, want, notes).await?;
        let endpoints = self.registry.endpoints(&name.registry)?;
        let login = want.login.as_ref().filter(|l| l.is_for(&name.registry));
        let from = From::Registry(
            Ask {
                name,
                login,
                actions: "pull",
            },
            &endpoints,
        );
        let fetched = self
            .layers(&reference.to_string(), &resolved, from, progress, lock)
            .await?;
        if self
            .store
            .known(reference)
            .is_none_or(|k| k.digest != resolved.top)
        {
            self.store.remember(reference, &resolved.top)?;
        }
        Ok((resolved, fetched))
    }

    async fn open(
        &self,
        reference: &Reference,
        want: &Want,
    ) -> Result<(Resolved, Vec<Source>), Error> {
        let (reference, platform, temp) =
            (reference.clone(), want.platform.clone(), self.store.temp());
        aside(move || archive::open(&reference, &platform, &temp)).await
    }

    async fn layers(
        &self,
        image: &str,
        resolved: &Resolved,
        from: From<'_>,
        progress: &(dyn Fn(Progress) + Send + Sync),
        lock: &Arc<crate::store::Lock>,
    ) -> Result<u64, Error> {
        let mut seen = BTreeSet::new();
        let missing: Vec<usize> = (0..resolved.diffs.len())
            .filter(|&i| {
                seen.insert(&resolved.diffs[i]) && self.store.layer(&resolved.diffs[i]).is_none()
            })
            .collect();
        let total = missing.iter().map(|&i| resolved.layers[i].size).sum();
        let done = AtomicU64::new(0);
        let told = |bytes: u64| {
            let done = done.fetch_add(bytes, Ordering::Relaxed) + bytes;
            progress(Progress { done, total });
        };
        if !missing.is_empty() {
            // It begins: a whole layer may pass before the first bytes of it are counted.
            told(0);
        }
        try_join_all(
            missing
                .iter()
                .map(|&i| self.one(image, resolved, i, from, &told, lock)),
        )
        .await?;
        Ok(done.into_inner())
    }

    async fn one(
        &self,
        image: &str,
        resolved: &Resolved,
        i: usize,
        from: From<'_>,
        told: &(dyn Fn(u64) + Send + Sync),
        lock: &Arc<crate::store::Lock>,
    ) -> Result<(), Error> {
        let (diff, blob) = (resolved.diffs[i].clone(), &resolved.layers[i]);
        let io = |e: io::Error| self.store.err(image, self.store.dir(), e);
        // The lock before the permit: those who hold permits never wait for locks.
        let (store, wanted) = (self.store.clone(), diff.clone());
        let layer_lock = aside(move || store.layer_lock(&wanted)).await.map_err(io)?;
        if self.store.layer(&diff).is_some() {
            return Ok(()); // another process had it
        }
        let _permit = self
            .permits
            .acquire()
            .await
            .map_err(|e| io(io::Error::other(e)))?;
        let add = {
            let (store, image, digest) =
                (self.store.clone(), image.to_owned(), blob.digest.clone());
            let lock = lock.clone();
            move |reader: Box<dyn io::Read + Send>, check: bool| {
                let blob = check.then_some(digest.as_str());
                let wanted = crate::store::Wanted {
                    image: &image,
                    number: i + 1,
                    diff: &diff,
                    blob,
                };
                let done = store.add_layer(&wanted, reader).map(drop);
                drop((lock, layer_lock)); // only now may others look at this layer
                done
            }
        };
        match from {
            From::Files(sources) => {
                let source = sources[i].clone();
                aside(move || add(Box::new(source.open()), source.checked())).await?;
                told(blob.size);
                Ok(())
            }
            From::Registry(ask, endpoints) => {
                let path = self.store.path("partial", hex(&blob.digest));
                let done = self
                    .fetch(&path, ask, endpoints, blob, told, |r| add(r, true))
                    .await;
                let keep = done
                    .as_ref()
                    .is_err_and(|e| matches!(e.kind(), Kind::Connectivity | Kind::Timeout));
                if !keep {
                    let _ = std::fs::remove_file(&path);
                }
                done.map_err(|e| match e {
                    Error::NoSpace { image, .. } => Error::NoSpace {
                        image,
                        path: self.store.dir().to_owned(),
                    },
                    e => e,
                })
            }
        }
    }

    async fn fetch(
        &self,
        path: &std::path::Path,
        ask: Ask<'_>,
        endpoints: &[crate::registry::Endpoint],
        blob: &Descriptor,
        told: &(dyn Fn(u64) + Send + Sync),
        add: impl FnOnce(Box<dyn io::Read + Send>) -> Result<(), Error> + Send + 'static,
    ) -> Result<(), Error> {
        let fail = |e| disk(&ask.image(), self.store.dir(), path, e);
        let file = std::fs::File::options()
            .create(true)
            .append(true)
            .read(true)
            .open(path)
            .map_err(fail)?;
        let mut have = file.metadata().map_err(fail)?.len();
        if have > blob.size {
            file.set_len(0).map_err(fail)?;
            have = 0;
        }
        told(have);
        let reading = std::fs::File::open(path).map_err(fail)?;
        let (filling, following) = flow(reading, have);
        let file = tokio::fs::File::from_std(file);
        let download = Download {
            ask,
            endpoints,
            blob,
            file,
            have,
            progress: told,
        };
        let mut unpacked = std::pin::pin!(aside(move || add(Box::new(following))));
        // The unpacker ends after the download, unless it refuses the layer before.
        tokio::select! {
            done = &mut unpacked => return done,
            () = self.registry.download(download, filling) => {}
        }
        unpacked.await
    }
}

fn digests(resolved: &Resolved) -> (Option<String>, Option<String>) {
    let index = (resolved.top != resolved.digest).then(|| resolved.top.clone());
    (Some(resolved.digest.clone()), index)
}

/// `host:/` has the environment of no image: a shell's own default path.
fn host_facts() -> Facts {
    Facts {
        entrypoint: Vec::new(),
        cmd: Vec::new(),
        env: vec![(
            "PATH".into(),
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into(),
        )],
        user: None,
        workdir: None,
        platform: Platform::here(),
    }
}

/// Runs what blocks on a thread of its own: tokio's would keep the process from ending while they wait for a lock.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (send, receive) = oneshot::channel();
    std::thread::Builder::new()
        .name("image".into())
        .spawn(move || {
            let _ = send.send(work());
        })
        .expect("a thread can be made");
    receive.await.expect("the work does not panic")
}
