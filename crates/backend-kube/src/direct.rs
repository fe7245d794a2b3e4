//! The way into a pod whose lite-engine is gone: its router runs here instead, and reaches each addon by an exec in the step's own
//! container. The driver notices nothing but the time it takes.

pub(crate) mod early;
mod talk;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use addon::link::{Decoder, Frame, encode};
use addon::router::{Action, Event, Router};
use driver::backend::{Carrier, Failure, FailureKind};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use crate::api::failure;
use crate::{carrier, watch};
use talk::{Told, talk};

/// The one driver of such a router.
const DRIVER: u32 = 0;
/// Bytes that the driver's end may hold: what the credit of a channel lets come at once.
const BUFFER: usize = 256 * 1024;
/// Bytes of one read.
const READ: usize = 64 * 1024;
/// Frames that wait between the router and one that speaks with an addon, in each direction: a few reads.
const FRAMES: usize = 64;

/// How the addons of a pod are reached.
trait Way: Clone + Send + Sync + 'static {
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// A connection to the addon of a container.
    fn enter(&self, container: &str) -> impl Future<Output = Result<Self::Stream, Failure>> + Send;

    /// Nobody answers, whatever the container.
    fn is_away(&self) -> impl Future<Output = bool> + Send;
}

/// By execs in a pod, through the API server.
#[derive(Clone)]
struct Execs {
    pods: Api<Pod>,
    pod: String,
}

impl Way for Execs {
    type Stream = carrier::ExecStream;

    async fn enter(&self, container: &str) -> Result<Self::Stream, Failure> {
        carrier::exec(
            &self.pods,
            &self.pod,
            container,
            pipeline::pod::SLICE_SOCKET,
        )
        .await
    }

    async fn is_away(&self) -> bool {
        matches!(self.reach().await, Err(f) if f.kind == FailureKind::Connectivity)
    }
}

impl Execs {
    /// Whether the API server answers, and has this pod. By a list: a run may not `get`.
    async fn reach(&self) -> Result<(), Failure> {
        let by_name = ListParams::default().fields(&format!("metadata.name={}", self.pod));
        let found = self.pods.list_metadata(&by_name).await;
        let found = found.map_err(|e| failure(&format!("look for the pod {}", self.pod), &e))?;
        if found.items.is_empty() {
            return Err(watch::deleted(&self.pod));
        }
        Ok(())
    }
}

/// A carrier to the addons of the pod. What it stands on ends when it is dropped.
///
/// # Errors
/// The API server does not answer, or knows of no such pod.
pub(crate) async fn open(pods: Api<Pod>, pod: String) -> Result<Box<dyn Carrier>, Failure> {
    let way = Execs { pods, pod };
    way.reach().await?;
    let (ours, theirs) = tokio::io::duplex(BUFFER);
    tokio::spawn(serve(way, ours));
    Ok(Box::new(theirs))
}

/// Routes until the driver hangs up. It never waits for who speaks with an addon: that one waits for it, with what the addon says.
async fn serve(way: impl Way, stream: DuplexStream) {
    let (mut from, mut to) = tokio::io::split(stream);
    let (tell, mut told) = mpsc::channel(FRAMES);
    // A frame was taken from the queue towards an addon.
    let taken = Arc::new(Notify::new());
    let mut router = Router::new();
    router.handle(Event::Connected(DRIVER));
    let mut links: BTreeMap<u32, mpsc::Sender<Frame>> = BTreeMap::new();
    let mut tasks = JoinSet::new();
    let mut aborts = BTreeMap::new();
    let mut decoder = Decoder::default();
    let mut chunk = vec![0; READ];
    loop {
        while let Some(action) = router.poll_action() {
            match action {
                Action::Connect(link, container) => {
                    let (way, tell, taken) = (way.clone(), tell.clone(), taken.clone());
                    let task = tasks.spawn(async move {
                        let why = match way.enter(&container).await {
                            Ok(stream) => talk(stream, &container, link, &tell, &taken).await,
                            Err(failure) => failure.message,
                        };
                        // A container that is gone and a way that is cut look alike from here.
                        let last = if way.is_away().await {
                            Told::Away
                        } else {
                            Told::Unlinked(link, why)
                        };
                        let _ = tell.send(last).await;
                    });
                    aborts.insert(link, task);
                }
                Action::Drop(link) => {
                    links.remove(&link);
                    if let Some(task) = aborts.remove(&link) {
                        task.abort();
                    }
                }
                Action::Hang(_) => return,
            }
        }
        let mut out = Vec::new();
        while let Some((channel, frame)) = router.poll_driver(DRIVER) {
            if encode(channel, &frame, &mut out).is_err() {
                return;
            }
        }
        if !out.is_empty() && to.write_all(&out).await.is_err() {
            return;
        }
        for (&link, towards) in &links {
            // What finds no room stays with the router, which reads no more of the driver when that is too much. An exec that has
            // ended says so by itself.
            while let Ok(room) = towards.try_reserve() {
                let Some(frame) = router.poll_addon(link) else {
                    break;
                };
                room.send(frame);
            }
        }
        tokio::select! {
            read = from.read(&mut chunk), if router.wants_driver(DRIVER) => {
                let Ok(count @ 1..) = read else { return };
                decoder.push(&chunk[..count]);
                loop {
                    match decoder.take() {
                        Ok(Some((channel, frame))) => router.handle(Event::FromDriver(DRIVER, channel, frame)),
                        Ok(None) => break,
                        Err(_) => return,
                    }
                }
            }
            Some(next) = told.recv() => match next {
                Told::Linked(link, towards) => {
                    links.insert(link, towards);
                    router.handle(Event::Linked(link));
                }
                Told::Frame(link, frame) => router.handle(Event::FromAddon(link, frame)),
                Told::Unlinked(link, why) => {
                    links.remove(&link);
                    if aborts.remove(&link).is_some() {
                        router.handle(Event::Unlinked(link, why));
                    }
                }
                Told::Away => return,
            },
            () = taken.notified() => {}
        }
    }
}
