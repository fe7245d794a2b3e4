//! Speaks with one addon: its frames to the router, those of the router to it, and a look now and then whether it still answers.

use std::time::Duration;

use addon::link::{Decoder, Frame, encode};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};

use super::{FRAMES, READ};

/// An addon is asked for a sign of life this often, and is to give it in the same time. What the driver asks for one is the router,
/// which knows nothing of a way beyond it that carries no more and says nothing of it.
const PULSE: Duration = Duration::from_secs(10);
/// Bytes of a read, at first.
const FIRST_READ: usize = 4 * 1024;

/// What who speaks with an addon tells the router.
pub(super) enum Told {
    Linked(u32, mpsc::Sender<Frame>),
    Frame(u32, Frame),
    Unlinked(u32, String),
    /// Nobody answers, whatever the container: the driver is to come again.
    Away,
}

/// Speaks with an addon until that ends; why it did. One that is `far` is to give signs of life. It reads on while what it has to write does not go out: an addon that waits to be
/// read takes nothing. `taken` is told of each frame for the addon that has left the queue.
pub(super) async fn talk(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    far: bool,
    container: &str,
    link: u32,
    tell: &mpsc::Sender<Told>,
    taken: &Notify,
) -> String {
    let (mut from, mut to) = tokio::io::split(stream);
    let (sender, mut frames) = mpsc::channel::<Frame>(FRAMES);
    if tell.send(Told::Linked(link, sender)).await.is_err() {
        return String::new();
    }
    let mut decoder = Decoder::default();
    // Most addons have little to say; what fills it gets more.
    let mut chunk = vec![0; FIRST_READ];
    // One frame, how much of it has gone, and until when more of it has to go.
    let (mut out, mut gone) = (Vec::new(), 0);
    let mut stuck = Instant::now();
    let mut until = Instant::now() + PULSE;
    let mut asked = false;
    loop {
        let writes = gone < out.len();
        tokio::select! {
            biased;
            read = from.read(&mut chunk) => {
                (until, asked) = (Instant::now() + PULSE, false);
                match read {
                    Ok(0) => return format!("the addon of {container} is gone"),
                    Ok(count) => {
                        decoder.push(&chunk[..count]);
                        if count == chunk.len() {
                            chunk.resize(READ, 0);
                        }
                    }
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
            written = to.write(&out[gone..]), if writes => {
                stuck = Instant::now() + PULSE;
                let flushed = match written {
                    Ok(0) => Err(std::io::ErrorKind::WriteZero.into()),
                    Ok(count) => {
                        gone += count;
                        if gone == out.len() { to.flush().await } else { Ok(()) }
                    }
                    Err(error) => Err(error),
                };
                if let Err(error) = flushed {
                    return format!("the way to the addon of {container} broke: {error}");
                }
            }
            () = sleep_until(until), if asked => {
                return format!("the addon of {container} gives no sign of life");
            }
            () = sleep_until(stuck), if writes && far => {
                return format!("the addon of {container} takes nothing any more");
            }
            frame = next(&mut frames, until, asked || !far), if !writes => {
                let Some(frame) = frame else { return String::new() };
                taken.notify_one();
                if frame == Frame::Ping {
                    (until, asked) = (Instant::now() + PULSE, true);
                }
                stuck = Instant::now() + PULSE;
                (out, gone) = (Vec::new(), 0);
                if let Err(error) = encode(0, &frame, &mut out) {
                    return error.to_string();
                }
            }
        }
    }
}

/// The next frame for an addon: one that waits, else, when it is time, a ping, unless it is to be `quiet`.
async fn next(frames: &mut mpsc::Receiver<Frame>, until: Instant, quiet: bool) -> Option<Frame> {
    tokio::select! {
        frame = frames.recv() => frame,
        () = sleep_until(until), if !quiet => Some(Frame::Ping),
    }
}
