//! From an image's name to layers on the disk.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use driver::backend::{Access, EventKind, Events, Failure, ImageFacts};
use image::backend::{facts, want};
use image::{Client, Reference, Settings, Store};
use pipeline::pod::{self, Container, Pull};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::OnceCell;
use tokio::task::JoinSet;

use crate::backend::event;
use crate::control::Root;
use crate::keeper::failed;

/// The image that is this machine itself.
const HOST: &str = "host:/";

/// An image that is here.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    pub(crate) facts: ImageFacts,
    pub(crate) root: Root,
    /// The container whose turn it was to pull it; none where it was here.
    pub(crate) pulled_for: Option<String>,
}

/// What makes two containers' images the same one: reference, connector, pull policy.
type Key = (String, Option<String>, &'static str);
/// An image of a pod, got here once for all of its containers.
type Cell = Arc<OnceCell<Result<Resolved, Failure>>>;

/// The images of this process's pods.
pub(crate) struct Images {
    store: PathBuf,
    settings: Settings,
    client: OnceLock<Result<Client, Failure>>,
    /// By pod.
    cells: Mutex<HashMap<String, HashMap<Key, Cell>>>,
    workers: Workers,
}

/// Threads that fetch and unpack: not the one that hands over from step to step. Started for the first image that is not this machine.
#[derive(Default)]
struct Workers(OnceLock<Runtime>);

impl Workers {
    /// Runs it there. It ends early when the future that waits for it is dropped.
    async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<T, Failure> {
        let mut tasks = JoinSet::new();
        tasks.spawn_on(work, &self.start()?);
        match tasks.join_next().await {
            Some(Ok(done)) => done,
            Some(Err(error)) => Err(failed("get an image", &error)),
            None => Err(failed("get an image", "nobody did it")),
        }
    }

    fn start(&self) -> Result<Handle, Failure> {
        if self.0.get().is_none() {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .thread_name("images")
                .enable_all()
                .build()
                .map_err(|e| failed("start the threads that get images", &e))?;
            if let Err(second) = self.0.set(runtime) {
                second.shutdown_background();
            }
        }
        let started = self.0.get().expect("it was set just now");
        Ok(started.handle().clone())
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Perhaps by a thread that must not wait.
            runtime.shutdown_background();
        }
    }
}

impl Images {
    pub(crate) fn new(store: PathBuf, settings: Settings) -> Self {
        Self {
            store,
            settings,
            client: OnceLock::new(),
            cells: Mutex::default(),
            workers: Workers::default(),
        }
    }

    /// The client, made when the first image is asked for that is not this machine.
    fn client(&self) -> Result<&Client, Failure> {
        let made = self.client.get_or_init(|| {
            let store = Store::open(&self.store).map_err(|e| Failure::from(&e))?;
            Ok(Client::new(store, self.settings.clone()))
        });
        made.as_ref().map_err(Clone::clone)
    }

    /// What an image is, without fetching it.
    pub(crate) async fn inspect(
        self: &Arc<Self>,
        image: &pod::Image,
        access: &Access,
    ) -> Result<ImageFacts, Failure> {
        if image.reference == HOST {
            return Ok(host().facts);
        }
        let (this, image, access) = (Arc::clone(self), image.clone(), access.clone());
        let work = async move {
            let name = reference(&image.reference)?;
            let client = this.client()?;
            let found = client.inspect(&name, &want(&image, &access)).await;
            let found = found.map_err(|e| Failure::from(&e))?;
            Ok(facts(found.digest, found.facts))
        };
        self.workers.run(work).await
    }

    /// Begins to fetch every image of a pod, beside what its caller does next.
    pub(crate) fn begin(self: &Arc<Self>, spec: &pod::Spec, access: &Access, events: &Events) {
        for container in &spec.containers {
            if container.image.reference == HOST {
                continue;
            }
            let (this, pod, events) = (Arc::clone(self), spec.name.clone(), events.clone());
            let (container, access) = (container.clone(), access.clone());
            tokio::spawn(async move {
                // Who needs it is told what went wrong.
                let _ = this.ensure(&pod, &container, &access, &events).await;
            });
        }
    }

    /// Gets a container's image here, once for all containers of its pod that want the same one.
    pub(crate) async fn ensure(
        self: &Arc<Self>,
        pod: &str,
        container: &Container,
        access: &Access,
        events: &Events,
    ) -> Result<Resolved, Failure> {
        if container.image.reference == HOST {
            return Ok(host());
        }
        let (this, pod, container) = (Arc::clone(self), pod.to_owned(), container.clone());
        let (access, events) = (access.clone(), events.clone());
        let work = async move { this.once(&pod, &container, &access, &events).await };
        self.workers.run(work).await
    }

    async fn once(
        &self,
        pod: &str,
        container: &Container,
        access: &Access,
        events: &Events,
    ) -> Result<Resolved, Failure> {
        let image = &container.image;
        let policy = match image.pull {
            Pull::Always => "always",
            Pull::IfNotPresent => "if-not-present",
            Pull::Never => "never",
        };
        let key = (image.reference.clone(), image.connector.clone(), policy);
        let cell = {
            let mut cells = self.cells.lock().expect("nothing panics while it is held");
            Arc::clone(
                cells
                    .entry(pod.to_owned())
                    .or_default()
                    .entry(key)
                    .or_default(),
            )
        };
        cell.get_or_init(|| self.pull(pod, container, access, events))
            .await
            .clone()
    }

    async fn pull(
        &self,
        pod: &str,
        container: &Container,
        access: &Access,
        events: &Events,
    ) -> Result<Resolved, Failure> {
        let image = &container.image;
        let text = &image.reference;
        let name = reference(text)?;
        let client = self.client()?;
        let say = |kind, reason: &str, message| {
            event(events, Some(&container.name), kind, reason, message);
        };
        let start = Instant::now();
        let said = AtomicBool::new(false);
        let progress = |_| {
            if !said.swap(true, Ordering::Relaxed) {
                say(
                    EventKind::Normal,
                    "Pulling",
                    format!("Pulling image \"{text}\""),
                );
            }
        };
        let got = client.ensure(&name, &want(image, access), &progress).await;
        let got = got.map_err(|e| Failure::from(&e))?;
        client
            .store()
            .pin(pod, &[&got])
            .map_err(|e| Failure::from(&e))?;
        if let Some(bytes) = got.fetched {
            if !said.load(Ordering::Relaxed) {
                say(
                    EventKind::Normal,
                    "Pulling",
                    format!("Pulling image \"{text}\""),
                );
            }
            let took = start.elapsed().as_millis();
            let message = format!(
                "Successfully pulled image \"{text}\" in {took}ms. Image size: {bytes} bytes."
            );
            say(EventKind::Normal, "Pulled", message);
        }
        for note in &got.notes {
            say(EventKind::Warning, "Image", note.clone());
        }
        Ok(Resolved {
            facts: facts(got.digest, got.facts),
            root: Root::Layers(got.layers),
            pulled_for: got.fetched.map(|_| container.name.clone()),
        })
    }

    /// Lets go of a pod's images.
    pub(crate) fn forget(&self, pod: &str) {
        let mut cells = self.cells.lock().expect("nothing panics while it is held");
        cells.remove(pod);
        drop(cells);
        // A pin may be another process's work: the store is looked into where it is there.
        if self.store.join("pins").join(pod).exists()
            && let Ok(client) = self.client()
        {
            // What stays pinned is let go at the next boot.
            let _ = client.store().unpin(pod);
        }
    }
}

fn reference(text: &str) -> Result<Reference, Failure> {
    text.parse().map_err(|e: image::Error| Failure::from(&e))
}

fn host() -> Resolved {
    Resolved {
        facts: ImageFacts {
            platform: image::Platform::here().to_string(),
            ..ImageFacts::default()
        },
        root: Root::Host,
        pulled_for: None,
    }
}
