//! An exec stream as a carrier of frames.

use std::pin::Pin;
use std::task::{Context, Poll};

use driver::backend::{Failure, FailureKind};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{AttachParams, AttachedProcess};
use kube::client::UpgradeConnectionError;
use pipeline::pod::agent_binary;
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
    stdin: Pin<Box<dyn AsyncWrite + Send>>,
    stdout: Pin<Box<dyn AsyncRead + Send>>,
    process: AttachedProcess,
}

impl ExecStream {
    /// Takes the streams of an exec that was asked for stdin and stdout.
    fn new(mut process: AttachedProcess) -> Option<Self> {
        let stdin = Box::pin(process.stdin()?);
        let stdout = Box::pin(process.stdout()?);
        Some(Self {
            stdin,
            stdout,
            process,
        })
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
    ) -> Poll<std::io::Result<()>> {
        self.stdout.as_mut().poll_read(cx, buf)
    }
}

impl AsyncWrite for ExecStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.stdin.as_mut().poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.stdin.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.stdin.as_mut().poll_shutdown(cx)
    }
}
