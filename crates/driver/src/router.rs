//! lite-engine's router in the driver itself, where that reaches the addons: on its own machine, and in a pod whose lite-engine is gone
//! or not there yet. What comes out is a carrier like one to a lite-engine.

mod talk;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use addon::link::{Decoder, Frame, encode};
use addon::router::{Action, Event, Router};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use crate::backend::{Carrier, Failure};
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
pub trait Way: Clone + Send + Sync + 'static {
    /// A connection to an addon.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// A connection may carry nothing any more and not say so: the addon is asked for signs of life.
    const FAR: bool;

    /// A connection to the addon of a container. Waits while that is being made.
    fn enter(&self, container: &str) -> impl Future<Output = Result<Self::Stream, Failure>> + Send;

    /// Nobody answers, whatever the container.
    fn is_away(&self) -> impl Future<Output = bool> + Send;
}

/// A carrier to the addons at the end of this way. What it stands on ends when it is dropped. Must be called in a runtime.
pub fn open(way: impl Way) -> Box<dyn Carrier> {
    open_until(way, std::future::pending())
}

/// A carrier that hangs up at the end of `until`.
pub fn open_until(
    way: impl Way,
    until: impl Future<Output = ()> + Send + 'static,
) -> Box<dyn Carrier> {
    let (ours, theirs) = tokio::io::duplex(BUFFER);
    tokio::spawn(async move {
        tokio::select! {
            () = serve(way, ours) => {}
            () = until => {}
        }
    });
    Box::new(theirs)
}

/// Routes until the driver hangs up. It never waits for who speaks with an addon: that one waits for it, with what the addon says.
async fn serve<W: Way>(way: W, stream: DuplexStream) {
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
                            Ok(stream) => {
                                talk(stream, W::FAR, &container, link, &tell, &taken).await
                            }
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
        // The newest first: a step that starts is waited for more than the settling of the one before it.
        for (&link, towards) in links.iter().rev() {
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
