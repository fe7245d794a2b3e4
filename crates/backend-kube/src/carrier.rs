//! An exec stream as a carrier of frames.

use std::pin::Pin;
use std::task::{Context, Poll};

use kube::api::AttachedProcess;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The two directions of an exec. Dropping it ends the exec; what it led to goes on.
pub(crate) struct ExecStream {
    stdin: Pin<Box<dyn AsyncWrite + Send>>,
    stdout: Pin<Box<dyn AsyncRead + Send>>,
    process: AttachedProcess,
}

impl ExecStream {
    /// Takes the streams of an exec that was asked for stdin and stdout.
    pub(crate) fn new(mut process: AttachedProcess) -> Option<Self> {
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
