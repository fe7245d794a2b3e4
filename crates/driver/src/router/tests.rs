//! The router between a driver and an addon of the test.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{ReadHalf, WriteHalf, split};

use super::*;
use crate::backend::FailureKind;

/// Messages each way: far more than the queues between the two tasks hold.
const MANY: usize = 1000;
/// Of virtual time: it passes only when nothing else can go on.
const LONG: Duration = Duration::from_secs(5);

/// A pod of one container.
#[derive(Clone)]
struct Given(Arc<Mutex<Option<DuplexStream>>>);

impl Way for Given {
    type Stream = DuplexStream;

    const FAR: bool = true;

    async fn enter(&self, _container: &str) -> Result<Self::Stream, Failure> {
        let stream = self.0.lock().expect("no panic with it").take();
        stream.ok_or_else(|| Failure {
            kind: FailureKind::Gone,
            container: None,
            message: "it was entered before".to_owned(),
            help: None,
        })
    }

    async fn is_away(&self) -> bool {
        false
    }
}

/// One end of a conversation.
struct End {
    from: ReadHalf<Box<dyn Carrier>>,
    to: WriteHalf<Box<dyn Carrier>>,
    decoder: Decoder,
}

impl End {
    fn new(stream: Box<dyn Carrier>) -> Self {
        let (from, to) = split(stream);
        let decoder = Decoder::default();
        Self { from, to, decoder }
    }

    async fn say(&mut self, frames: &[Frame]) {
        let mut bytes = Vec::new();
        for frame in frames {
            encode(1, frame, &mut bytes).expect("small");
        }
        self.to.write_all(&bytes).await.expect("it is read");
    }

    /// The next frame that is no question for a sign of life.
    async fn hear(&mut self) -> Option<Frame> {
        let mut chunk = vec![0; READ];
        loop {
            match self.decoder.take().expect("frames") {
                Some((_, Frame::Ping)) => {}
                Some((_, frame)) => return Some(frame),
                None => match self.from.read(&mut chunk).await {
                    Ok(count @ 1..) => self.decoder.push(&chunk[..count]),
                    _ => return None,
                },
            }
        }
    }
}

/// A driver and an addon that are connected, of which the addon's way holds so many bytes.
async fn connected(room: usize) -> (End, End) {
    let (addon, theirs) = tokio::io::duplex(room);
    let way = Given(Arc::new(Mutex::new(Some(theirs))));
    let mut driver = End::new(open(way));
    driver.say(&[Frame::Open("step-a".to_owned())]).await;
    assert_eq!(driver.hear().await, Some(Frame::Opened));
    (driver, End::new(Box::new(addon)))
}

fn messages() -> Vec<Frame> {
    (0..MANY).map(message).collect()
}

fn message(n: usize) -> Frame {
    Frame::Message(n.to_string().into_bytes())
}

async fn hears_all(end: &mut End, who: &str) {
    for n in 0..MANY {
        let next = tokio::time::timeout(LONG, end.hear()).await;
        let next = next.unwrap_or_else(|_| panic!("{who} waits for message {n}"));
        assert_eq!(next, Some(message(n)), "{who}");
    }
}

#[tokio::test(start_paused = true)]
async fn both_ends_may_say_much_at_once() {
    let (mut driver, mut addon) = connected(BUFFER).await;
    addon.say(&messages()).await;
    driver.say(&messages()).await;
    hears_all(&mut addon, "the addon").await;
    hears_all(&mut driver, "the driver").await;
}

/// One that reads only once what it says itself is read.
#[tokio::test(start_paused = true)]
async fn an_addon_that_says_much_before_it_reads_is_heard() {
    let (mut driver, mut addon) = connected(64).await;
    driver.say(&messages()).await;
    let said = tokio::time::timeout(LONG, addon.say(&messages())).await;
    said.expect("it is heard");
    hears_all(&mut addon, "the addon").await;
    hears_all(&mut driver, "the driver").await;
}

/// The driver is told, and can go another way.
#[tokio::test(start_paused = true)]
async fn an_addon_that_takes_nothing_is_given_up() {
    let (mut driver, addon) = connected(64).await;
    driver.say(&messages()).await;
    let next = tokio::time::timeout(10 * LONG, driver.hear()).await;
    let why = "the addon of step-a takes nothing any more".to_owned();
    assert_eq!(next.expect("it is told"), Some(Frame::Close(why)));
    drop(addon);
}
