//! The way to the addons of a pod, or of a process of the delegate: a Unix socket of each, beside the control socket.
//!
//! No lite-engine stands between: the driver is on this machine as they are, and its own router reaches them. That is one process less
//! in every pod, and two wakes less between two steps.

mod stream;

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use driver::backend::{Carrier, Failure, FailureKind};
use driver::router::{self, Way};
use tokio::io::BufReader;
use tokio::net::UnixStream;

use crate::backend::{gone, read_answer, write_line};
use crate::control::{Answer, Call};
use crate::store;
use stream::Stream;

/// The directory of their sockets in that of the pod.
pub(crate) const DIR: &str = "addons";

/// Listens for drivers in the place of a container's addon: they wait in the queue until it is there.
pub(crate) fn listen(pod: &Path, container: &str) -> io::Result<UnixListener> {
    let (_dir, path) = store::near(&pod.join(DIR), container)?;
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// A connection to the keeper of this directory.
pub(crate) async fn control(pod: &str, dir: &Path) -> Result<BufReader<UnixStream>, Failure> {
    let near = store::near(dir, "control");
    let (_dir, path) = near.map_err(|_| gone(pod, "it is not there"))?;
    match UnixStream::connect(path).await {
        Ok(stream) => Ok(BufReader::new(stream)),
        Err(_) => Err(gone(pod, "its keeper is not there")),
    }
}

/// A carrier to the addons of the pod of this directory.
pub(crate) async fn connect(pod: &str, dir: PathBuf) -> Result<Box<dyn Carrier>, Failure> {
    control(pod, &dir).await?;
    let pod = pod.to_owned();
    Ok(router::open(Sockets { pod, dir }))
}

#[derive(Clone)]
struct Sockets {
    pod: String,
    dir: PathBuf,
}

impl Sockets {
    async fn dial(&self, container: &str) -> io::Result<Stream> {
        let (_dir, path) = store::near(&self.dir.join(DIR), container)?;
        Stream::new(UnixStream::connect(path).await?.into_std()?)
    }
}

impl Way for Sockets {
    type Stream = Stream;

    const FAR: bool = false;

    async fn enter(&self, container: &str) -> Result<Stream, Failure> {
        let failed = |why: String| Failure {
            kind: FailureKind::Gone,
            container: Some(container.to_owned()),
            message: why,
            help: None,
        };
        let mut dialled = self.dial(container).await;
        if matches!(&dialled, Err(error) if error.kind() == io::ErrorKind::NotFound) {
            // It waits to be made, or the pod is no more: its keeper knows.
            let mut keeper = control(&self.pod, &self.dir).await?;
            let call = Call::Reach {
                container: container.to_owned(),
            };
            let asked = write_line(keeper.get_mut(), &call).await;
            match read_answer(&mut keeper).await {
                Some(Answer::Ready { .. }) if asked.is_ok() => {}
                Some(Answer::Failed(failure)) => return Err(failure),
                _ => return Err(gone(&self.pod, "its keeper ended")),
            }
            dialled = self.dial(container).await;
        }
        dialled.map_err(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused => failed(format!("the addon of {container} is gone")),
            _ => failed(format!(
                "failed to connect to the addon of {container}: {error}"
            )),
        })
    }

    async fn is_away(&self) -> bool {
        control(&self.pod, &self.dir).await.is_err()
    }
}
