//! What another command says to the driver of a run, and hears back.
//!
//! A driver listens on a Unix socket in its run's directory, which only the run's owner (and root) may enter. A caller sends
//! one [`Ask`] as a line of JSON and reads one [`Reply`] as another. What was asked is answered once it is decided and in
//! the journal. Who asks is what the kernel says of the other end, never what the caller says of itself.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};

use engine::event::Interrupt;
use pipeline::plan::NodeId;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

/// The name of the socket in a run's directory.
pub const SOCKET: &str = "control";
/// Bytes of a line: what a person types fits many times.
const LONGEST: u64 = 1024 * 1024;
/// How long the end of a run waits for its last replies to be written: those who asked are on this machine.
const LAST_REPLIES: std::time::Duration = std::time::Duration::from_secs(1);
/// Bytes of a path that an address of a socket takes.
const LONGEST_PATH: usize = 100;

/// What may be asked of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Ask {
    /// That it changes its course.
    Interrupt(Interrupt),
    /// That it takes an answer to an approval.
    Answer {
        /// The step.
        node: NodeId,
        /// Yes.
        approve: bool,
        /// Why, for others to read.
        comment: String,
        /// What is entered.
        inputs: BTreeMap<String, String>,
    },
}

/// What comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// It is decided, and in the journal.
    Done,
    /// It means nothing here, and why.
    Refused(String),
}

/// An ask that waits for its reply.
#[derive(Debug)]
pub(crate) struct Call {
    /// The user id of who asks, as the kernel says it.
    pub(crate) uid: u32,
    /// What.
    pub(crate) ask: Ask,
    /// Where the reply goes.
    pub(crate) reply: oneshot::Sender<Reply>,
}

/// Listens in a run's directory until the run is over; the socket of a driver before this one is replaced. The caller owns the run's
/// journal, so nobody else listens there.
pub(crate) fn listen(dir: &Path, calls: mpsc::Sender<Call>) -> io::Result<Listener> {
    let path = dir.join(SOCKET);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let (_dir, near) = near(dir)?;
    let socket = UnixListener::bind(near)?;
    let (answering, answered) = mpsc::channel(1);
    let holds = answering.downgrade();
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = socket.accept().await {
            let (calls, holds) = (calls.clone(), holds.clone());
            tokio::spawn(async move {
                // A caller that breaks off does not want its reply.
                let _ = serve(stream, &calls, &holds).await;
            });
        }
    });
    Ok(Listener {
        path,
        task,
        answering: Some(answering),
        answered,
    })
}

/// The socket goes with it.
pub(crate) struct Listener {
    path: PathBuf,
    task: tokio::task::JoinHandle<()>,
    /// Those who have asked hold one more of it until they have their reply.
    answering: Option<mpsc::Sender<()>>,
    answered: mpsc::Receiver<()>,
}

impl Listener {
    /// Takes no more asks, and ends once those who asked have their replies: the answer may be what ended the run.
    pub(crate) async fn end(mut self) {
        self.task.abort();
        self.answering = None;
        let _ = tokio::time::timeout(LAST_REPLIES, self.answered.recv()).await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn serve(
    mut stream: UnixStream,
    calls: &mpsc::Sender<Call>,
    holds: &mpsc::WeakSender<()>,
) -> io::Result<()> {
    let uid = stream.peer_cred()?.uid();
    let (from, mut to) = stream.split();
    let mut line = String::new();
    let mut from = tokio::io::BufReader::new(from.take(LONGEST));
    from.read_line(&mut line).await?;
    let _answering = holds.upgrade();
    let reply = match serde_json::from_str(&line) {
        Ok(ask) => {
            let (reply, answered) = oneshot::channel();
            let gone = || Reply::Refused("the run is over".to_owned());
            match calls.send(Call { uid, ask, reply }).await {
                Ok(()) => answered.await.unwrap_or_else(|_| gone()),
                Err(_) => gone(),
            }
        }
        Err(error) => Reply::Refused(format!("what was asked cannot be read: {error}")),
    };
    let mut line = serde_json::to_vec(&reply)?;
    line.push(b'\n');
    to.write_all(&line).await
}

/// Asks the driver of the run in this directory. An error of the kind [`io::ErrorKind::NotFound`] or
/// [`io::ErrorKind::ConnectionRefused`] means that no command drives it.
pub fn ask(dir: &Path, ask: &Ask) -> io::Result<Reply> {
    let (_dir, near) = near(dir)?;
    let mut stream = std::os::unix::net::UnixStream::connect(near)?;
    let mut line = serde_json::to_vec(ask)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut line = String::new();
    BufReader::new(stream.take(LONGEST)).read_line(&mut line)?;
    if line.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_str(&line)?)
}

/// The name of a user, from this machine's own list; else the number.
pub(crate) fn user(uid: u32) -> String {
    let list = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let found = list.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    found.unwrap_or_else(|| uid.to_string())
}

/// A path of the socket that fits its address, as long as the directory is kept open.
fn near(dir: &Path) -> io::Result<(Option<std::fs::File>, PathBuf)> {
    let path = dir.join(SOCKET);
    if path.as_os_str().len() <= LONGEST_PATH || !cfg!(target_os = "linux") {
        return Ok((None, path));
    }
    let open = std::fs::File::open(dir)?;
    let fd = std::os::fd::AsRawFd::as_raw_fd(&open);
    let near = PathBuf::from(format!("/proc/self/fd/{fd}/{SOCKET}"));
    Ok((Some(open), near))
}
