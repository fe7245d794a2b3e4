//! The only part of the screen with a thread and a clock: it takes what is seen, and paints.

use std::io::{self, BufWriter, IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use driver::{Notice, OBSERVER_DEPTH, Observer};
use tokio::sync::mpsc::{Receiver, UnboundedReceiver, UnboundedSender, channel, unbounded_channel};
use tokio::time::Instant;

use super::json::Json;
use super::live::Live;
use super::plain::Plain;
use super::summary::{self, Extras};
use super::view::{Seen, View};
use super::{question, scroll, tree, words};
use crate::out;

/// The shortest time between two frames.
const FRAME: Duration = Duration::from_millis(50);

/// How a run is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A tree that is painted in place.
    Live,
    /// Lines.
    Plain {
        /// Each with the time of day.
        times: bool,
    },
    /// JSON lines.
    Json,
}

/// What standard output is, as far as a screen minds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terminal {
    /// Colours may be written.
    pub(crate) colour: bool,
    /// It can move its cursor.
    pub(crate) live: bool,
}

impl Terminal {
    /// Standard output and the environment's wishes about it.
    pub(crate) fn stdout() -> Self {
        let var = |name: &str| std::env::var_os(name).is_some_and(|v| !v.is_empty());
        let terminal = io::stdout().is_terminal();
        let dumb = std::env::var_os("TERM").is_none_or(|t| t == "dumb" || t.is_empty());
        let forced = std::env::var_os("CLICOLOR_FORCE").is_some_and(|v| !v.is_empty() && v != "0");
        Self {
            colour: !var("NO_COLOR") && (forced || (terminal && !dumb)),
            live: terminal && !dumb,
        }
    }

    /// Columns and rows now; of what is not a terminal, 80 by 24.
    pub(crate) fn size() -> (usize, usize) {
        match rustix::termios::tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
                (size.ws_col.into(), size.ws_row.into())
            }
            _ => (80, 24),
        }
    }
}

enum Message {
    Seen(Seen),
    /// A line to stay, from the command itself.
    Say(String),
    /// What a person has typed of an answer.
    Typed(String),
}

/// What the command itself has to show.
enum Said {
    Line(String),
    Typed(String),
}

impl From<Said> for Message {
    fn from(said: Said) -> Self {
        match said {
            Said::Line(text) => Self::Say(text),
            Said::Typed(text) => Self::Typed(text),
        }
    }
}

/// A screen that runs. It ends when its observer is dropped; then the summary is there.
pub(crate) struct Show {
    thread: JoinHandle<io::Result<View>>,
}

/// The command's own voice among what a screen shows; may be cloned.
#[derive(Clone)]
pub(crate) struct Voice(UnboundedSender<Said>);

impl Voice {
    /// Says this to the person, in its own line.
    pub(crate) fn say(&self, text: impl Into<String>) {
        // A screen that is over shows nothing more.
        let text = text.into();
        if self.0.send(Said::Line(text.clone())).is_err() {
            out::tell(text);
        }
    }

    /// Shows what a person has typed so far.
    pub(crate) fn typed(&self, text: String) {
        // Where the screen is over nothing is asked any more.
        let _ = self.0.send(Said::Typed(text));
    }
}

/// What a screen hears: the driver, and the command itself.
struct Ears {
    notices: Receiver<Notice>,
    said: UnboundedReceiver<Said>,
}

impl Ears {
    /// The next message; none when the run is over.
    async fn hear(&mut self) -> Option<Message> {
        tokio::select! {
            biased;
            Some(said) = self.said.recv() => Some(said.into()),
            notice = self.notices.recv() => notice.map(message),
        }
    }

    /// The next message, if it is there already.
    fn now(&mut self) -> Option<Message> {
        if let Ok(said) = self.said.try_recv() {
            return Some(said.into());
        }
        self.notices.try_recv().ok().map(message)
    }
}

fn message(notice: Notice) -> Message {
    match notice {
        Notice::Event(stamped) => Message::Seen(Seen::Event(Box::new(stamped))),
        Notice::Pod { group, event } => Message::Seen(Seen::Pod { group, event }),
        Notice::Output {
            step, at_ms, bytes, ..
        } => Message::Seen(Seen::Output { step, at_ms, bytes }),
        Notice::Gap { step, bytes, .. } => Message::Seen(Seen::Output {
            step,
            at_ms: now_ms(),
            bytes: format!(
                "\n[{} of output were lost here]\n",
                words::count(bytes, "byte")
            )
            .into_bytes(),
        }),
        Notice::Warning(text) => Message::Say(format!("warning: {text}")),
    }
}

/// Starts a screen on standard output. `extras` is read at the end.
pub(crate) fn start(
    mode: Mode,
    terminal: Terminal,
    extras: Arc<Mutex<Extras>>,
) -> io::Result<(Observer, Voice, Show)> {
    let (observer, notices) = channel(OBSERVER_DEPTH);
    let (voice, said) = unbounded_channel();
    let mut ears = Ears { notices, said };
    // A runtime of its own: a terminal that does not take what is written to it must not hold up the run.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let thread = std::thread::Builder::new()
        .name("screen".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                match mode {
                    Mode::Live => live(&mut ears, terminal, &extras).await,
                    Mode::Plain { times } => plain(&mut ears, terminal, &extras, times).await,
                    Mode::Json => json(&mut ears).await,
                }
            })
        })?;
    Ok((observer, Voice(voice), Show { thread }))
}

impl Show {
    /// Waits for the end: the run as it was seen.
    pub(crate) fn join(self) -> io::Result<View> {
        match self.thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

async fn live(ears: &mut Ears, terminal: Terminal, extras: &Mutex<Extras>) -> io::Result<View> {
    let mut view = View::default();
    let mut region = Live::new(io::stdout().lock(), terminal.colour);
    let mut above = Vec::new();
    let mut typed = String::new();
    let mut dirty = false;
    let mut painted = Instant::now();
    loop {
        // Woken by events; without any, once a second for the times of what runs.
        let wait = if dirty { FRAME } else { Duration::from_secs(1) };
        match tokio::time::timeout_at(painted + wait, ears.hear()).await {
            Ok(Some(message)) => {
                match message {
                    Message::Typed(text) => typed = text,
                    message => take(message, &mut view, &mut above, terminal),
                }
                dirty = true;
                // A burst becomes one frame.
                if painted.elapsed() < FRAME {
                    continue;
                }
            }
            Err(_) => {}
            Ok(None) => break,
        }
        view.now_ms = view.now_ms.max(now_ms());
        let (columns, rows) = Terminal::size();
        let question = question::rows(&view, &typed, columns.saturating_sub(1));
        // The last row is the cursor's, and one more keeps the line before the region in sight.
        let mut tree = tree::rows(
            &view,
            columns.saturating_sub(1),
            rows.saturating_sub(2 + question.len()).max(1),
        );
        tree.extend(question);
        region.paint(&above, &tree, columns)?;
        above.clear();
        painted = Instant::now();
        dirty = false;
    }
    let (columns, _) = Terminal::size();
    if view.root.is_some() {
        above.push(String::new());
        let summary = summed(&view, extras, columns.saturating_sub(1));
        above.extend(summary.iter().map(|line| line.render(terminal.colour)));
    }
    region.paint(&above, &[], columns)?;
    Ok(view)
}

fn take(message: Message, view: &mut View, above: &mut Vec<String>, terminal: Terminal) {
    match message {
        Message::Seen(seen) => {
            view.see(&seen);
            let (columns, _) = Terminal::size();
            above.extend(scroll::block(view, &seen, columns, terminal.colour));
        }
        Message::Say(text) => above.push(text),
        Message::Typed(_) => {}
    }
}

async fn plain(
    ears: &mut Ears,
    terminal: Terminal,
    extras: &Mutex<Extras>,
    times: bool,
) -> io::Result<View> {
    let mut view = View::default();
    let mut plain = Plain::new(times);
    let mut out = BufWriter::with_capacity(64 * 1024, io::stdout().lock());
    while let Some(message) = next(ears, &mut out).await? {
        match message {
            Message::Seen(seen) => {
                view.see(&seen);
                plain.write(&view, &seen, &mut out)?;
            }
            Message::Say(text) => {
                out.flush()?;
                out::tell(text);
            }
            // The terminal itself has shown it.
            Message::Typed(_) => {}
        }
    }
    if view.root.is_some() {
        let columns = if terminal.live {
            Terminal::size().0
        } else {
            100
        };
        writeln!(out)?;
        for line in summed(&view, extras, columns) {
            writeln!(out, "{}", line.render(terminal.colour))?;
        }
    }
    out.flush()?;
    Ok(view)
}

async fn json(ears: &mut Ears) -> io::Result<View> {
    let mut view = View::default();
    let mut json = Json::default();
    let mut out = BufWriter::with_capacity(64 * 1024, io::stdout().lock());
    while let Some(message) = next(ears, &mut out).await? {
        match message {
            Message::Seen(seen) => {
                view.see(&seen);
                json.write(&seen, &mut out)?;
            }
            Message::Say(text) => out::tell(text),
            Message::Typed(_) => {}
        }
    }
    out.flush()?;
    Ok(view)
}

/// The next message; what is written so far is flushed before waiting for one.
async fn next(ears: &mut Ears, out: &mut impl io::Write) -> io::Result<Option<Message>> {
    if let Some(message) = ears.now() {
        return Ok(Some(message));
    }
    out.flush()?;
    Ok(ears.hear().await)
}

/// The summary, with the tests that are known now.
fn summed(view: &View, extras: &Mutex<Extras>, columns: usize) -> Vec<super::line::Line> {
    let mut extras = extras.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(reports) = extras.reports.clone() {
        extras.tests = crate::extras::tests(&reports, view);
    }
    summary::lines(view, &extras, columns)
}

/// Milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_millis() as u64)
}
