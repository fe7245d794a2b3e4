//! The way into a pod whose lite-engine is gone: its router runs here instead, and reaches each addon by an exec in the step's own
//! container. The driver notices nothing but the time it takes.

use std::collections::BTreeMap;
use std::time::Duration;

use addon::link::{Decoder, Frame, encode};
use addon::router::{Action, Event, Router};
use driver::backend::{Carrier, Failure, FailureKind};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::api::failure;
use crate::{carrier, watch};

/// The one driver of such a router.
const DRIVER: u32 = 0;
/// Bytes that the driver's end may hold: what the credit of a channel lets come at once.
const BUFFER: usize = 256 * 1024;
/// Bytes of one read.
const READ: usize = 64 * 1024;
/// Frames of addons that wait for the router: a few reads.
const FRAMES: usize = 64;
/// An addon is asked for a sign of life this often, and is to give it in the same time. What the driver asks for one is this router,
/// which knows nothing of a way beyond it that carries no more and says nothing of it.
const PULSE: Duration = Duration::from_secs(10);

/// What an exec in a container tells.
enum Told {
    Linked(u32, mpsc::Sender<Frame>),
    Frame(u32, Frame),
    Unlinked(u32, String),
    /// Nobody answers, whatever the container: the driver is to come again.
    Away,
}

/// A carrier to the addons of the pod. What it stands on ends when it is dropped.
///
/// # Errors
/// The API server does not answer, or knows of no such pod.
pub(crate) async fn open(pods: Api<Pod>, pod: String) -> Result<Box<dyn Carrier>, Failure> {
    reach(&pods, &pod).await?;
    let (ours, theirs) = tokio::io::duplex(BUFFER);
    tokio::spawn(serve(pods, pod, ours));
    Ok(Box::new(theirs))
}

/// Whether the API server answers, and has this pod. By a list: a run may not `get`.
async fn reach(pods: &Api<Pod>, pod: &str) -> Result<(), Failure> {
    let by_name = ListParams::default().fields(&format!("metadata.name={pod}"));
    let found = pods.list_metadata(&by_name).await;
    let found = found.map_err(|e| failure(&format!("look for the pod {pod}"), &e))?;
    if found.items.is_empty() {
        return Err(watch::deleted(pod));
    }
    Ok(())
}

/// Routes until the driver hangs up.
async fn serve(pods: Api<Pod>, pod: String, stream: DuplexStream) {
    let (mut from, mut to) = tokio::io::split(stream);
    let (tell, mut told) = mpsc::channel(FRAMES);
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
                    let (pods, pod, tell) = (pods.clone(), pod.clone(), tell.clone());
                    let task = tasks.spawn(async move {
                        let why = talk(&pods, &pod, &container, link, &tell).await;
                        // A container that is gone and a way that is cut look alike from here.
                        let away = matches!(reach(&pods, &pod).await, Err(f) if f.kind == FailureKind::Connectivity);
                        let last = if away { Told::Away } else { Told::Unlinked(link, why) };
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
        for (&link, sender) in &links {
            while let Some(frame) = router.poll_addon(link) {
                // An exec that has ended says so by itself.
                let _ = sender.send(frame).await;
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
                Told::Linked(link, sender) => {
                    links.insert(link, sender);
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
        }
    }
}

/// Speaks with one addon until that ends; why it did.
async fn talk(
    pods: &Api<Pod>,
    pod: &str,
    container: &str,
    link: u32,
    tell: &mpsc::Sender<Told>,
) -> String {
    let stream = match carrier::exec(pods, pod, container, pipeline::pod::SLICE_SOCKET).await {
        Ok(stream) => stream,
        Err(failure) => return failure.message,
    };
    let (mut from, mut to) = tokio::io::split(stream);
    let (sender, mut frames) = mpsc::channel::<Frame>(FRAMES);
    if tell.send(Told::Linked(link, sender)).await.is_err() {
        return String::new();
    }
    let mut decoder = Decoder::default();
    let mut chunk = vec![0; READ];
    let mut until = Instant::now() + PULSE;
    let mut asked = false;
    loop {
        tokio::select! {
            biased;
            read = from.read(&mut chunk) => {
                (until, asked) = (Instant::now() + PULSE, false);
                match read {
                    Ok(0) => return format!("the addon of {container} is gone"),
                    Ok(count) => decoder.push(&chunk[..count]),
                    Err(error) => return format!("the way to the addon of {container} broke: {error}"),
                }
                loop {
                    match decoder.take() {
                        Ok(Some((_, frame))) => {
                            if tell.send(Told::Frame(link, frame)).await.is_err() {
                                return String::new();
                            }
                        }
                        Ok(None) => break,
                        Err(error) => return error.to_string(),
                    }
                }
            }
            () = sleep_until(until), if asked => {
                return format!("the addon of {container} gives no sign of life");
            }
            frame = next(&mut frames, until, asked) => {
                let Some(frame) = frame else { return String::new() };
                if frame == Frame::Ping {
                    (until, asked) = (Instant::now() + PULSE, true);
                }
                let mut out = Vec::new();
                if let Err(error) = encode(0, &frame, &mut out) {
                    return error.to_string();
                }
                let sent = async { to.write_all(&out).await?; to.flush().await };
                if let Err(error) = sent.await {
                    return format!("the way to the addon of {container} broke: {error}");
                }
            }
        }
    }
}

/// The next frame for an addon: one that waits, else, when it is time, a ping.
async fn next(frames: &mut mpsc::Receiver<Frame>, until: Instant, asked: bool) -> Option<Frame> {
    tokio::select! {
        frame = frames.recv() => frame,
        () = sleep_until(until), if !asked => Some(Frame::Ping),
    }
}
