//! The driver's machine by itself: every action is answered at once, but for what a test holds back.

use std::collections::BTreeMap;
use std::sync::Arc;

use addon::attempt::Now;
use addon::frame::Request;
use addon::link::Frame;
use driver::backend::{Created, ImageFacts};
use driver::clock::Begun;
use driver::core::{Action, Core, Event};
use driver::fake::{Pod, Script, group, step};
use engine::event::Status;

const CONNECTION: u32 = 1;
const WALL_MS: u64 = 1_800_000_000_000;

/// One pod and its driver. Time passes by a millisecond a turn.
struct Desk {
    core: Core,
    pod: Pod,
    now: u64,
    /// The connection that stands.
    connection: u32,
    /// Answers of the log store that are held back.
    stored: Vec<Event>,
    hold: bool,
    /// What was sent on each channel of each connection.
    sent: BTreeMap<(u32, u32), Vec<Frame>>,
    end: Option<Status>,
}

impl Desk {
    fn new(script: Script) -> Self {
        Self {
            core: Core::create("r1", Arc::new(script), 1, &Begun::new(&[], WALL_MS, None)),
            pod: Pod::new(),
            now: 0,
            connection: 0,
            stored: Vec::new(),
            hold: false,
            sent: BTreeMap::new(),
            end: None,
        }
    }

    fn now(&self) -> Now {
        Now {
            mono_ms: self.now,
            wall_ms: WALL_MS + self.now,
        }
    }

    fn tell(&mut self, event: Event) {
        self.core.handle(event, WALL_MS + self.now);
    }

    /// Does what the machine wants, then hands one frame of the pod to it; false where nothing moved.
    fn turn(&mut self) -> bool {
        self.now += 1;
        let mut moved = false;
        while let Some(action) = self.core.poll() {
            moved = true;
            self.perform(action);
        }
        let now = self.now();
        self.pod.pump(now);
        if let Some((channel, frame)) = self.pod.to_driver(self.connection, now) {
            moved = true;
            let connection = self.connection;
            self.tell(Event::Frame {
                connection,
                channel,
                frame,
            });
        }
        moved
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Commit(number, _) => self.tell(Event::Committed(number)),
            Action::Preflight { group, spec } => {
                let fine =
                    |c: &pipeline::pod::Container| (c.name.clone(), Ok(ImageFacts::default()));
                self.tell(Event::Preflighted {
                    group,
                    pod: spec.name.clone(),
                    answers: spec.containers.iter().map(fine).collect(),
                });
            }
            Action::Create { group, spec } => self.tell(Event::Created {
                group,
                pod: spec.name.clone(),
                result: Ok(Created::Created),
            }),
            Action::Container {
                group,
                spec,
                container,
            } => {
                self.pod.container(&container);
                self.tell(Event::Container {
                    group,
                    pod: spec.name.clone(),
                    container,
                    result: Ok(()),
                });
            }
            Action::Connect { connection, .. } => {
                self.pod.connect(connection);
                self.connection = connection;
                let result = Ok(());
                self.tell(Event::Connected { connection, result });
            }
            Action::Send {
                connection,
                channel,
                frame,
            } => {
                self.sent
                    .entry((connection, channel))
                    .or_default()
                    .push(frame.clone());
                let now = self.now();
                self.pod.from_driver(connection, channel, frame, now);
            }
            Action::Store {
                step,
                attempt,
                offset,
                bytes,
                ..
            } => self.store(Event::Stored {
                step,
                attempt,
                offset: offset + bytes.len() as u64,
            }),
            Action::Flush {
                step,
                attempt,
                offset,
            } => self.store(Event::Stored {
                step,
                attempt,
                offset,
            }),
            Action::Delete { pod } => self.tell(Event::Deleted {
                group: pod.group.as_str().into(),
                pod: pod.name,
                result: Ok(driver::backend::Deleted::Deleted),
            }),
            Action::Finish(outcome) => self.end = Some(outcome.status),
            _ => {}
        }
    }

    fn store(&mut self, event: Event) {
        if self.hold {
            self.stored.push(event);
        } else {
            self.tell(event);
        }
    }
}

/// The connection is gone while output is being stored, and the disk answers while the next one is being set up: what is said of
/// it waits for the hello, else the addon refuses the driver and the attempt is lost.
#[test]
fn nothing_is_said_on_a_channel_before_the_hello() {
    let script = Script::new(vec![group("g", vec![step("a", "flood:900000")])]);
    let mut desk = Desk::new(script);
    desk.hold = true;
    // As much as the credit allows comes, and nothing of it is stored.
    while desk.turn() {}
    assert!(desk.stored.len() > 1, "{:?}", desk.stored);
    let cut = desk.connection;
    assert_eq!(cut, CONNECTION);
    let now = desk.now();
    desk.pod.disconnect(cut, now);
    desk.tell(Event::Disconnected { connection: cut });
    // The channel is opened, and not answered yet.
    while let Some(action) = desk.core.poll() {
        desk.perform(action);
    }
    assert!(desk.connection > cut);
    desk.hold = false;
    for event in std::mem::take(&mut desk.stored) {
        desk.tell(event);
    }
    while desk.end.is_none() {
        assert!(desk.turn(), "nothing moves any more");
    }
    assert_eq!(desk.end, Some(Status::Success));
    for (channel, frames) in &desk.sent {
        let first = frames.iter().find_map(|frame| match frame {
            Frame::Message(body) => Some(Request::from_bytes(body).expect("a request")),
            _ => None,
        });
        assert!(
            matches!(first, None | Some(Request::Hello(_))),
            "channel {channel:?} begins with {first:?}"
        );
    }
}
