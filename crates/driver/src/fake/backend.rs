//! The backend around pods in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use addon::attempt::Now;
use addon::link::{self, Decoder};
use async_trait::async_trait;
use pipeline::pod;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::Notify;

use super::Pod;
use crate::backend::{
    Access, Backend, Carrier, Created, Deleted, EventKind, Events, Failure, FailureKind,
    ImageFacts, PodEvent, PodRef,
};

/// Bytes that one carrier holds in each direction.
const CARRIER: usize = 256 * 1024;

/// Pods in memory. They outlive the driver that made them, as those of a real backend do.
#[derive(Clone)]
pub struct Fake {
    pods: Arc<Mutex<BTreeMap<String, Arc<Running>>>>,
    /// Containers of these names have images that cannot be had.
    bad_images: Vec<String>,
    started: Instant,
}

struct Running {
    pod: PodRef,
    world: Mutex<World>,
    /// Something may have moved.
    moved: Notify,
    gone: Notify,
}

struct World {
    pod: Pod,
    drivers: u32,
    gone: bool,
}

impl Default for Fake {
    fn default() -> Self {
        Self::new()
    }
}

impl Fake {
    /// No pods.
    pub fn new() -> Self {
        Self {
            pods: Arc::default(),
            bad_images: Vec::new(),
            started: Instant::now(),
        }
    }

    /// The image of this container cannot be had.
    #[must_use]
    pub fn bad_image(mut self, container: &str) -> Self {
        self.bad_images.push(container.to_owned());
        self
    }

    /// Ends a pod from outside, as a node that dies does.
    pub fn lose(&self, name: &str) {
        if let Some(running) = lock(&self.pods).remove(name) {
            running.end();
        }
    }

    /// Kills the first process of a container of every pod that has it, as the kernel does when memory is out.
    pub fn kill(&self, container: &str) {
        for running in lock(&self.pods).values() {
            lock(&running.world).pod.kill(container);
            running.moved.notify_waiters();
        }
    }

    /// The pods that are there.
    pub fn pods(&self) -> Vec<PodRef> {
        let pods = lock(&self.pods);
        pods.values().map(|running| running.pod.clone()).collect()
    }

    fn running(&self, pod: &str) -> Option<Arc<Running>> {
        lock(&self.pods).get(pod).cloned()
    }

    fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        Now {
            mono_ms: self.started.elapsed().as_millis() as u64,
            wall_ms: wall.map_or(0, |wall| wall.as_millis() as u64),
        }
    }
}

impl Running {
    fn end(&self) {
        lock(&self.world).gone = true;
        self.gone.notify_waiters();
        self.gone.notify_one();
        self.moved.notify_waiters();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn gone(pod: &str) -> Failure {
    Failure {
        kind: FailureKind::Gone,
        container: None,
        message: format!("the pod {pod} is not there"),
        help: None,
    }
}

fn dead_container(name: &str) -> Failure {
    Failure {
        kind: FailureKind::Gone,
        container: Some(name.to_owned()),
        message: format!("the container {name} ended: its first process was killed by SIGKILL"),
        help: None,
    }
}

fn say(events: &Events, container: Option<&str>, reason: &str, message: String) {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH);
    // Whoever listened may have gone.
    let _ = events.send(PodEvent {
        at_ms: wall.map_or(0, |wall| wall.as_millis() as u64),
        container: container.map(str::to_owned),
        kind: EventKind::Normal,
        reason: reason.to_owned(),
        message,
    });
}

#[async_trait]
impl Backend for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    async fn preflight(
        &self,
        spec: &pod::Spec,
        _: &Access,
    ) -> BTreeMap<String, Result<ImageFacts, Failure>> {
        let answer = |container: &pod::Container| {
            let name = container.name.clone();
            let facts = if self.bad_images.contains(&name) {
                Err(Failure {
                    kind: FailureKind::Image,
                    container: Some(name.clone()),
                    message: format!("no such image: {}", container.image.reference),
                    help: None,
                })
            } else {
                Ok(ImageFacts::default())
            };
            (name, facts)
        };
        spec.containers.iter().map(answer).collect()
    }

    async fn create(
        &self,
        spec: &pod::Spec,
        _: &Access,
        events: Events,
    ) -> Result<Created, Failure> {
        let mut pods = lock(&self.pods);
        if pods.contains_key(&spec.name) {
            return Ok(Created::AlreadyThere);
        }
        let running = Running {
            pod: PodRef {
                name: spec.name.clone(),
                namespace: None,
                run: spec.run.clone(),
                group: spec.group.clone(),
                connector: None,
            },
            world: Mutex::new(World {
                pod: Pod::new(),
                drivers: 0,
                gone: false,
            }),
            moved: Notify::new(),
            gone: Notify::new(),
        };
        pods.insert(spec.name.clone(), Arc::new(running));
        say(&events, None, "Scheduled", format!("Made {}", spec.name));
        Ok(Created::Created)
    }

    async fn container(
        &self,
        spec: &pod::Spec,
        _: &Access,
        container: &str,
        events: Events,
    ) -> Result<(), Failure> {
        let running = self.running(&spec.name).ok_or_else(|| gone(&spec.name))?;
        let made = lock(&running.world).pod.container(container);
        if !made {
            return Err(dead_container(container));
        }
        let text = format!("Started container {container}");
        say(&events, Some(container), "Started", text);
        Ok(())
    }

    async fn connect(&self, pod: &PodRef) -> Result<Box<dyn Carrier>, Failure> {
        let running = self.running(&pod.name).ok_or_else(|| gone(&pod.name))?;
        let driver = {
            let mut world = lock(&running.world);
            world.drivers += 1;
            let driver = world.drivers;
            world.pod.connect(driver);
            driver
        };
        let (near, far) = tokio::io::duplex(CARRIER);
        let fake = self.clone();
        tokio::spawn(async move { fake.serve(running, driver, far).await });
        Ok(Box::new(near))
    }

    async fn gone(&self, pod: &PodRef) -> Failure {
        if let Some(running) = self.running(&pod.name) {
            running.gone.notified().await;
        }
        gone(&pod.name)
    }

    async fn ended(&self, pod: &PodRef, container: &str) -> Option<Failure> {
        let running = self.running(&pod.name)?;
        let dead = lock(&running.world).pod.is_dead(container);
        dead.then(|| dead_container(container))
    }

    async fn delete(&self, pod: &PodRef, _: Duration) -> Result<Deleted, Failure> {
        match lock(&self.pods).remove(&pod.name) {
            Some(running) => {
                running.end();
                Ok(Deleted::Deleted)
            }
            None => Ok(Deleted::NotThere),
        }
    }

    async fn list(&self) -> Result<Vec<PodRef>, Failure> {
        Ok(self.pods())
    }
}

impl Fake {
    /// One connection to the pod's lite-engine.
    async fn serve(&self, running: Arc<Running>, driver: u32, carrier: DuplexStream) {
        let (mut from, mut to) = tokio::io::split(carrier);
        let mut decoder = Decoder::default();
        let mut buffer = vec![0; CARRIER];
        loop {
            // Registered before the look: what moves in between is not missed.
            let moved = running.moved.notified();
            let (bytes, next) = {
                let mut world = lock(&running.world);
                if world.gone {
                    return;
                }
                world.pod.pump(self.now());
                let mut bytes = Vec::new();
                while bytes.len() < CARRIER
                    && let Some((channel, frame)) = world.pod.to_driver(driver, self.now())
                {
                    if link::encode(channel, &frame, &mut bytes).is_err() {
                        return;
                    }
                }
                (bytes, world.pod.next_ms())
            };
            if !bytes.is_empty() {
                if to.write_all(&bytes).await.is_err() {
                    break;
                }
                continue;
            }
            let until = next.map(|at| self.started + Duration::from_millis(at));
            tokio::select! {
                read = from.read(&mut buffer) => match read {
                    Ok(read @ 1..) => {
                        decoder.push(&buffer[..read]);
                        let mut world = lock(&running.world);
                        while let Ok(Some((channel, frame))) = decoder.take() {
                            world.pod.from_driver(driver, channel, frame, self.now());
                        }
                    }
                    _ => break,
                },
                () = moved => {}
                () = async {
                    match until {
                        Some(at) => tokio::time::sleep_until(at.into()).await,
                        None => std::future::pending().await,
                    }
                } => {}
            }
        }
        lock(&running.world).pod.disconnect(driver, self.now());
        running.moved.notify_waiters();
    }
}
