//! An exec stream as a carrier of frames.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use driver::backend::{Failure, FailureKind};
use futures_util::FutureExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{AttachParams, AttachedProcess};
use kube::client::UpgradeConnectionError;
use kube::{Api, Client};
use pipeline::pod::{self, agent_binary};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::api::failure;

/// Bytes that an exec stream may hold back on this side: a few credits of a link.
const STREAM_BUFFER: usize = 1 << 20;

/// A connection to a socket in a container, through the API server.
pub(crate) async fn exec(
    pods: &Api<Pod>,
    pod: &str,
    container: &str,
    socket: &str,
) -> Result<ExecStream, Failure> {
    let params = AttachParams::default()
        .container(container)
        .stdin(true)
        .stdout(true)
        .stderr(false)
        .max_stdin_buf_size(STREAM_BUFFER)
        .max_stdout_buf_size(STREAM_BUFFER);
    let doing = || format!("exec into {container} of the pod {pod}");
    let command = [agent_binary().as_str(), "connect", "--socket", socket].map(str::to_owned);
    let process = pods
        .exec(pod, command, &params)
        .await
        .map_err(|e| refused(&doing(), &e))?;
    ExecStream::new(process).ok_or_else(|| {
        let error = kube::Error::Service("the answer has no streams".into());
        failure(&doing(), &error)
    })
}

/// A connection to lite-engine.
pub(crate) async fn enter(
    client: &Client,
    pod: &str,
    namespace: &str,
) -> Result<ExecStream, Failure> {
    let pods = Api::namespaced(client.clone(), namespace);
    exec(&pods, pod, pod::LITE_ENGINE, pod::LITE_ENGINE_SOCKET).await
}

/// The answer to an exec that is forbidden does not say what is missing: servers ask for its right apart.
fn refused(doing: &str, error: &kube::Error) -> Failure {
    let mut failure = failure(doing, error);
    let status = match error {
        kube::Error::Api(status) => status.code,
        kube::Error::UpgradeConnection(UpgradeConnectionError::ProtocolSwitch(status)) => {
            status.as_u16()
        }
        _ => 0,
    };
    if status == 403 && !failure.message.contains("cannot ") {
        failure.kind = FailureKind::Authorization;
        failure.message =
            format!("failed to {doing}: this user cannot create resource \"pods/exec\" there");
        failure.help = Some("bind the Role in deploy/kubernetes/role.yaml to this user".to_owned());
    }
    failure
}

/// The two directions of an exec. Dropping it ends the exec; what it led to goes on.
pub(crate) struct ExecStream {
    ends: Ends,
    process: AttachedProcess,
}

impl ExecStream {
    /// Takes the streams of an exec that was asked for stdin and stdout.
    fn new(mut process: AttachedProcess) -> Option<Self> {
        let ends = Ends {
            stdin: Box::pin(process.stdin()?),
            stdout: Box::pin(process.stdout()?),
            end: Box::pin(process.take_status()?.map(|status| status.is_some())),
            clean: None,
        };
        Some(Self { ends, process })
    }
}

impl Drop for ExecStream {
    fn drop(&mut self) {
        self.process.abort();
    }
}

impl AsyncRead for ExecStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.ends).poll_read(cx, buf)
    }
}

impl AsyncWrite for ExecStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.ends).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.ends).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.ends).poll_shutdown(cx)
    }
}

/// The streams of an exec with its end. The streams alone do not tell it: where the connection breaks, the client drops its sides of
/// them, which closes neither. Whoever waits for them then waits for ever. Both are used by one task.
struct Ends {
    stdin: Pin<Box<dyn AsyncWrite + Send>>,
    stdout: Pin<Box<dyn AsyncRead + Send>>,
    /// Whether the server told how the process ended; comes when nothing more does.
    end: Pin<Box<dyn Future<Output = bool> + Send>>,
    /// What it was.
    clean: Option<bool>,
}

impl Ends {
    /// Whether it has ended, and was told to.
    fn ended(&mut self, cx: &mut Context<'_>) -> Option<bool> {
        if self.clean.is_none()
            && let Poll::Ready(clean) = self.end.as_mut().poll(cx)
        {
            self.clean = Some(clean);
        }
        self.clean
    }
}

fn broken() -> io::Error {
    let why = "the connection to the API server broke";
    io::Error::new(io::ErrorKind::ConnectionReset, why)
}

impl AsyncRead for Ends {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Asked first: what came before the end is in the stream then.
        let ended = self.ended(cx);
        match (self.stdout.as_mut().poll_read(cx, buf), ended) {
            (Poll::Pending, Some(true)) => Poll::Ready(Ok(())),
            (Poll::Pending, Some(false)) => Poll::Ready(Err(broken())),
            (read, _) => read,
        }
    }
}

impl AsyncWrite for Ends {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.ended(cx).is_some() {
            return Poll::Ready(Err(broken()));
        }
        self.stdin.as_mut().poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stdin.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stdin.as_mut().poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::oneshot;

    /// The streams of a client, of which its own sides are dropped, not closed, once it has said so much and ended so.
    async fn left(said: &[u8], status: Option<()>) -> Ends {
        let (theirs_in, stdin) = tokio::io::simplex(4);
        let (stdout, mut theirs_out) = tokio::io::simplex(16);
        let (tell, told) = oneshot::channel();
        theirs_out.write_all(said).await.expect("room");
        drop((theirs_in, theirs_out));
        if let Some(status) = status {
            tell.send(status).expect("it listens");
        }
        Ends {
            stdin: Box::pin(stdin),
            stdout: Box::pin(stdout),
            end: Box::pin(told.map(|status: Result<(), _>| status.is_ok())),
            clean: None,
        }
    }

    #[tokio::test]
    async fn a_connection_that_broke_ends_both_directions() {
        let mut ends = left(b"before", None).await;
        let mut read = Vec::new();
        let error = ends.read_to_end(&mut read).await.expect_err("it broke");
        assert_eq!(
            (&read[..], error.kind()),
            (&b"before"[..], io::ErrorKind::ConnectionReset)
        );
        // More than the stream holds.
        let mut ends = left(b"", None).await;
        ends.write_all(b"much more").await.expect_err("it broke");
    }

    #[tokio::test]
    async fn a_process_that_ended_is_an_end() {
        let mut ends = left(b"last words", Some(())).await;
        let mut read = Vec::new();
        ends.read_to_end(&mut read).await.expect("an end");
        assert_eq!(read, b"last words");
    }
}
