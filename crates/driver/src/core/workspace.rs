//! Workspaces on their way from one pod to the next, by the agent's `pack` and `unpack`.
//!
//! Either is an attached process of a container: what it writes, or takes, goes through this driver into, or out of, an archive in the
//! run's directory. A channel that breaks ends the process; it is begun anew on the next one.

use addon::frame::{Exit, Request};
use addon::workspace::STEP;
use engine::Input;
use engine::workspace::{Source, source, to_give};
use pipeline::plan::NodeId;
use pipeline::pod;

use crate::backend::ImageFacts;

use super::group::Group;
use super::{Action, Core};

/// The largest archive that is kept.
pub const MOST: u64 = 4 << 30;
/// Bytes that may be under way to an agent: an addon holds no more for an attached process.
const WINDOW: u64 = 256 * 1024;
/// Bytes that are read at once.
const CHUNK: u64 = 64 * 1024;
/// Without a sign of the process for so long it is given up.
const SILENCE_MS: u64 = 120_000;
/// Bytes at the end of what a process wrote: there stands why it failed.
const LAST: usize = 2048;

/// How an agent ends that does not know the command.
const MISUSED: i32 = 2;

/// A workspace that is on its way.
pub(super) struct Moving {
    /// Of the attached process.
    id: u32,
    pub(super) until_ms: u64,
    way: Way,
    /// The end of what the process wrote.
    last: Vec<u8>,
}

enum Way {
    /// From the pod; so many bytes are here.
    Out { received: u64 },
    /// Into the pod.
    In {
        run: String,
        of: NodeId,
        sent: u64,
        taken: u64,
        /// More is being read.
        asked: bool,
        /// All is sent.
        end: bool,
    },
}

/// What is under way for a pod.
enum Progress {
    None,
    Moves,
    /// It was, and nothing came of it.
    Stands(String),
}

impl Moving {
    fn new(id: u32, way: Way, now_ms: u64) -> Self {
        Self {
            id,
            until_ms: now_ms + SILENCE_MS,
            way,
            last: Vec::new(),
        }
    }
}

/// What the process said of its failure, behind a NUL byte.
fn reason(last: &[u8], exit: &Exit) -> String {
    let said = last.iter().rposition(|byte| *byte == 0);
    let said = said.map(|at| String::from_utf8_lossy(&last[at + 1..]).trim().to_owned());
    match (said.filter(|text| !text.is_empty()), exit) {
        (Some(said), Exit::Code(_)) => said,
        (_, Exit::NotStarted(why)) => why.clone(),
        (_, Exit::Code(MISUSED)) => {
            "the agent in its pod is of an older release and does not know how".to_owned()
        }
        (_, Exit::Code(code)) => format!("the agent ended with exit code {code}"),
        (_, Exit::Signal(signal)) => format!("the agent was killed by signal {signal}"),
    }
}

/// An amount for people: `12.3 MiB`.
fn amount(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut units = ["B", "KiB", "MiB", "GiB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    for next in units {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    let digits = usize::from(unit != "B");
    format!("{value:.digits$} {unit}")
}

/// `build` of `stages.ci.steps.build`.
fn name(group: &NodeId) -> &str {
    group.0.rsplit('.').next().unwrap_or_default()
}

impl Group {
    /// The container whose agent packs or unpacks: one that may read and write all files, and rather one that answers already.
    fn mover(&self) -> Option<String> {
        let root = |container: &pod::Container| {
            let written = container.security.run_as_user.as_ref();
            match written.or(self.spec.run_as_user.as_ref()) {
                Some(user) => *user == pod::User::Id(0),
                None => match self.images.get(&container.name) {
                    Some(Ok(ImageFacts {
                        user: Some(user), ..
                    })) => {
                        matches!(user.split(':').next(), Some("" | "0" | "root"))
                    }
                    _ => true,
                },
            }
        };
        let containers = self.spec.containers.iter().filter_map(|spec| {
            let container = self.containers.get(&spec.name)?;
            let gone = matches!(container.up, Some(Err(_)));
            let rank = (!root(spec), !container.session.welcomed);
            (!gone).then_some((rank, &spec.name))
        });
        containers
            .min_by_key(|(rank, _)| *rank)
            .map(|(_, name)| name.clone())
    }
}

impl Core {
    /// The steps of a group are over, and its workspace is wanted: its archive is made.
    pub(super) fn keep_workspace(&mut self, group: &NodeId, pod: &str, now_ms: u64) {
        let failed = match self.progress(group, now_ms) {
            Progress::Moves => None,
            Progress::Stands(why) => Some(why),
            Progress::None => {
                let argv = ["pack", pod::WORKSPACE, &MOST.to_string()].map(str::to_owned);
                let way = Way::Out { received: 0 };
                self.move_by(group, argv.to_vec(), way, now_ms).err()
            }
        };
        if let Some(why) = failed {
            self.kept(group, pod, Err(why), now_ms);
        }
    }

    fn kept(&mut self, group: &NodeId, pod: &str, result: Result<u64, String>, now_ms: u64) {
        let (group, pod) = (group.clone(), pod.to_owned());
        self.decide(Input::WorkspaceKept { group, pod, result }, now_ms);
    }

    /// A pod stands: whether it has what its group begins with. What is missing is on its way after this.
    pub(super) fn has_workspace(&mut self, group: &NodeId, pod: &str, now_ms: u64) -> bool {
        let Some(Source::Kept { run, of, .. }) = to_give(&self.state, group) else {
            return true;
        };
        let failed = match self.progress(group, now_ms) {
            Progress::Moves => None,
            Progress::Stands(why) => Some(why),
            Progress::None => {
                let argv = ["unpack", pod::WORKSPACE].map(str::to_owned);
                let way = Way::In {
                    run,
                    of,
                    sent: 0,
                    taken: 0,
                    asked: false,
                    end: false,
                };
                self.move_by(group, argv.to_vec(), way, now_ms).err()
            }
        };
        if let Some(why) = failed {
            self.given(group, pod, Err(why), now_ms);
        }
        false
    }

    fn given(&mut self, group: &NodeId, pod: &str, result: Result<u64, String>, now_ms: u64) {
        if let (Ok(bytes), Some(Source::Kept { of, .. })) = (&result, to_give(&self.state, group)) {
            self.tell(
                group,
                format!(
                    "Workspace of group \"{}\" taken over: {}",
                    name(&of),
                    amount(*bytes)
                ),
            );
        }
        let (group, pod) = (group.clone(), pod.to_owned());
        self.decide(Input::WorkspaceGiven { group, pod, result }, now_ms);
    }

    /// Says what a group begins with where that is nothing.
    pub(super) fn tell_empty(&mut self, group: &NodeId) {
        if let Some(Ok(Source::Empty { of })) = source(&self.state, group) {
            let text = format!(
                "Group \"{}\" was skipped: there is no workspace to take over, this one is empty",
                name(&of)
            );
            self.tell(group, text);
        }
    }

    fn tell(&mut self, group: &NodeId, message: String) {
        self.out.push_back(Action::Tell {
            group: group.clone(),
            message,
        });
    }

    /// Whether something is on its way from or to this group's pod. What stands still is given up.
    fn progress(&mut self, group: &NodeId, now_ms: u64) -> Progress {
        let entry = self.groups.get_mut(group);
        let containers = entry
            .into_iter()
            .flat_map(|own| own.containers.values_mut());
        for container in containers {
            let moving = &mut container.session.moving;
            if moving.take_if(|own| now_ms >= own.until_ms).is_some() {
                let seconds = SILENCE_MS / 1000;
                return Progress::Stands(format!("nothing was heard of it for {seconds} s"));
            }
            if moving.is_some() {
                return Progress::Moves;
            }
        }
        Progress::None
    }

    /// Starts the agent in a container, as soon as one answers.
    fn move_by(
        &mut self,
        group: &NodeId,
        mut argv: Vec<String>,
        way: Way,
        now_ms: u64,
    ) -> Result<(), String> {
        let Some(entry) = self.groups.get(group) else {
            return Ok(());
        };
        let container = entry
            .mover()
            .ok_or("its pod has no container that answers")?;
        self.need(group, &container);
        let id = self.collections + 1;
        let Some(session) = self.session(group, &container).filter(|own| own.welcomed) else {
            return Ok(());
        };
        session.moving = Some(Moving::new(id, way, now_ms));
        self.collections = id;
        // Whatever the image has: the program that holds the container.
        argv.insert(0, "/proc/self/exe".to_owned());
        let attach = Request::Attach {
            id,
            argv,
            tty: None,
            env: Vec::new(),
        };
        self.request(group, &container, &attach);
        self.feed(group, &container);
        Ok(())
    }

    /// The process wrote something: a piece of the archive, or how far it is.
    pub(super) fn moved(
        &mut self,
        group: &NodeId,
        container: &str,
        id: u32,
        bytes: Vec<u8>,
        now_ms: u64,
    ) {
        let Some(moving) = self.moving(group, container, id) else {
            return;
        };
        moving.until_ms = now_ms + SILENCE_MS;
        moving
            .last
            .extend_from_slice(&bytes[bytes.len().saturating_sub(LAST)..]);
        let over = moving.last.len().saturating_sub(LAST);
        moving.last.drain(..over);
        match &mut moving.way {
            Way::Out { received } => {
                let offset = *received;
                *received += bytes.len() as u64;
                self.out.push_back(Action::Keep {
                    group: group.clone(),
                    offset,
                    bytes,
                });
            }
            Way::In { taken, .. } => {
                let words = bytes.iter().take_while(|byte| **byte != 0);
                *taken += STEP * words.filter(|byte| **byte == b'.').count() as u64;
                self.feed(group, container);
            }
        }
    }

    /// Asks for the next piece of an archive, where there is room for it.
    fn feed(&mut self, group: &NodeId, container: &str) {
        let Some(session) = self.session(group, container) else {
            return;
        };
        if let Some(Moving {
            id,
            way:
                Way::In {
                    run,
                    of,
                    sent,
                    taken,
                    asked: asked @ false,
                    end: false,
                },
            ..
        }) = &mut session.moving
            && sent.saturating_sub(*taken) + CHUNK <= WINDOW
        {
            *asked = true;
            let fetch = Action::Fetch {
                group: group.clone(),
                container: container.to_owned(),
                id: *id,
                run: run.clone(),
                of: of.clone(),
                offset: *sent,
                most: CHUNK,
            };
            self.out.push_back(fetch);
        }
    }

    /// A piece of an archive was read; nothing is its end.
    pub(super) fn fetched(
        &mut self,
        group: &NodeId,
        container: &str,
        id: u32,
        result: Result<Vec<u8>, String>,
        now_ms: u64,
    ) {
        let Some(moving) = self.moving(group, container, id) else {
            return;
        };
        let Way::In {
            sent, asked, end, ..
        } = &mut moving.way
        else {
            return;
        };
        match result {
            Ok(bytes) => {
                *asked = false;
                *sent += bytes.len() as u64;
                *end = bytes.is_empty();
                self.request(group, container, &Request::Input { id, bytes });
                self.feed(group, container);
            }
            Err(why) => self.move_ended(group, container, id, Err(why), now_ms),
        }
    }

    /// A piece of an archive could not be kept.
    pub(super) fn unkept(&mut self, group: &NodeId, why: &str, now_ms: u64) {
        let Some(entry) = self.groups.get(group) else {
            return;
        };
        let moving = entry.containers.iter().find_map(|(name, container)| {
            let id = container.session.moving.as_ref()?.id;
            Some((name.clone(), id))
        });
        if let Some((container, id)) = moving {
            self.move_ended(group, &container, id, Err(why.to_owned()), now_ms);
        }
    }

    /// The process ended.
    pub(super) fn detached(
        &mut self,
        group: &NodeId,
        container: &str,
        id: u32,
        exit: &Exit,
        now_ms: u64,
    ) {
        let Some(moving) = self.moving(group, container, id) else {
            return;
        };
        let result = match (&moving.way, exit) {
            (Way::Out { received }, Exit::Code(0)) => Ok(*received),
            (
                Way::In {
                    sent, end: true, ..
                },
                Exit::Code(0),
            ) => Ok(*sent),
            _ => Err(reason(&moving.last, exit)),
        };
        self.move_ended(group, container, id, result, now_ms);
    }

    fn move_ended(
        &mut self,
        group: &NodeId,
        container: &str,
        id: u32,
        result: Result<u64, String>,
        now_ms: u64,
    ) {
        if self.moving(group, container, id).is_none() {
            return;
        }
        let Some(entry) = self.groups.get_mut(group) else {
            return;
        };
        let pod = entry.pod.name.clone();
        let Some(moving) = entry
            .containers
            .get_mut(container)
            .and_then(|own| own.session.moving.take())
        else {
            return;
        };
        match moving.way {
            Way::Out { .. } => self.kept(group, &pod, result, now_ms),
            Way::In { .. } => {
                self.given(group, &pod, result, now_ms);
                self.maybe_ready(group, &pod, now_ms);
            }
        }
    }

    fn moving(&mut self, group: &NodeId, container: &str, id: u32) -> Option<&mut Moving> {
        let session = self.session(group, container)?;
        session.moving.as_mut().filter(|own| own.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_stands_behind_the_last_nul_byte() {
        for (last, exit, wanted) in [
            (
                &b"\0\0data\0it is too large"[..],
                Exit::Code(1),
                "it is too large",
            ),
            (
                b"...\0failed to unpack a: b\n",
                Exit::Code(1),
                "failed to unpack a: b",
            ),
            (b"...", Exit::Code(1), "the agent ended with exit code 1"),
            (
                b"\0data",
                Exit::Signal(9),
                "the agent was killed by signal 9",
            ),
            (
                b"",
                Exit::NotStarted("no such file".to_owned()),
                "no such file",
            ),
        ] {
            assert_eq!(reason(last, &exit), wanted);
        }
    }

    #[test]
    fn amounts_are_read_by_people() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (10_240, "10.0 KiB"),
            (12_897_485, "12.3 MiB"),
            (4 << 30, "4.0 GiB"),
        ] {
            assert_eq!(amount(bytes), text);
        }
    }
}
