//! The way into a pod whose lite-engine is gone: its router runs here instead, and reaches each addon by an exec in the step's own
//! container. The driver notices nothing but the time it takes.

use std::collections::BTreeMap;

use addon::link::{Decoder, Frame, encode};
use addon::router::{Action, Event, Router};
use driver::backend::Carrier;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::carrier;

/// The one driver of such a router.
const DRIVER: u32 = 0;
/// Bytes that the driver's end may hold: what the credit of a channel lets come at once.
const BUFFER: usize = 256 * 1024;
/// Bytes of one read.
const READ: usize = 64 * 1024;
/// Frames of addons that wait for the router: a few reads.
const FRAMES: usize = 64;

/// What an exec in a container tells.
enum Told {
    Linked(u32, mpsc::Sender<Frame>),
    Frame(u32, Frame),
    Unlinked(u32, String),
}

/// A carrier to the addons of the pod. What it stands on ends when it is dropped.
pub(crate) fn open(pods: Api<Pod>, pod: String) -> Box<dyn Carrier> {
    let (ours, theirs) = tokio::io::duplex(BUFFER);
    tokio::spawn(serve(pods, pod, ours));
    Box::new(theirs)
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
                        let _ = tell.send(Told::Unlinked(link, why)).await;
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
    loop {
        tokio::select! {
            read = from.read(&mut chunk) => {
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
            frame = frames.recv() => {
                let Some(frame) = frame else { return String::new() };
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
