//! A layer on its way: the download writes it to a file, the unpacker follows that file.
//!
//! The file is what makes a cut download resumable, in this process and in the next one, and it bounds memory: the network
//! is never more than the disk ahead of the unpacker.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{CONTENT_RANGE, HeaderValue, RANGE};
use reqwest::{Method, StatusCode};
use tokio::io::AsyncWriteExt;

use super::{Ask, Endpoint, Registry, Request};
use crate::Error;
use crate::error::Kind;
use crate::manifest::Descriptor;

/// Bytes collected before they are written: a write costs a thread hand-over.
const GATHERED: usize = 256 * 1024;
/// How often in a row a download may fail without a byte of progress.
const FRUITLESS: u32 = 3;
/// Between two such tries, times their number.
pub(super) const PAUSE: Duration = Duration::from_millis(250);

/// How far a download is.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Debug, Default)]
struct State {
    len: u64,
    end: Option<Result<(), Error>>,
}

impl Flow {
    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        let out = f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.moved.notify_all();
        out
    }
}

/// The downloading end: whatever becomes of it, the reading one is told.
pub(crate) struct Filling(Arc<Flow>);

impl Drop for Filling {
    fn drop(&mut self) {
        self.0.with(|s| {
            s.end.get_or_insert_with(|| Err(given_up()));
        });
    }
}

fn given_up() -> Error {
    Error::Broken {
        image: String::new(),
        why: "its pull was given up".into(),
    }
}

/// The reading end: blocks where the download is not yet.
pub(crate) struct Following {
    file: File,
    at: u64,
    flow: Arc<Flow>,
}

pub(crate) fn flow(file: File, len: u64) -> (Filling, Following) {
    let flow = Arc::new(Flow {
        state: Mutex::new(State { len, end: None }),
        moved: Condvar::new(),
    });
    (Filling(flow.clone()), Following { file, at: 0, flow })
}

impl Read for Following {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut state = self
            .flow
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        while state.len <= self.at {
            match state.end.take() {
                Some(Ok(())) => {
                    state.end = Some(Ok(()));
                    return Ok(0);
                }
                Some(Err(e)) => {
                    // Whoever reads on after an error (a decoder that looks for more) must hear one again, not wait.
                    state.end = Some(Err(given_up()));
                    return Err(io::Error::other(e));
                }
                None => {
                    state = self
                        .flow
                        .moved
                        .wait(state)
                        .unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
        let most = usize::try_from(state.len - self.at)
            .unwrap_or(usize::MAX)
            .min(buf.len());
        drop(state);
        let n = self.file.read_at(&mut buf[..most], self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

/// One blob to be downloaded.
pub(crate) struct Download<'a> {
    pub(crate) ask: Ask<'a>,
    pub(crate) endpoints: &'a [Endpoint],
    pub(crate) blob: &'a Descriptor,
    /// For appending; it holds `have` bytes.
    pub(crate) file: tokio::fs::File,
    pub(crate) have: u64,
    /// Told of every byte.
    pub(crate) progress: &'a (dyn Fn(u64) + Send + Sync),
}

impl Registry {
    /// Downloads a blob from the first endpoint that gives it, going on from where it was cut, and ends the flow.
    pub(crate) async fn download(&self, mut d: Download<'_>, filling: Filling) {
        let mut fruitless = 0;
        let mut endpoints = d.endpoints.iter();
        let mut at = endpoints.next();
        let end = loop {
            let Some(endpoint) = at else { break Ok(()) };
            let before = d.have;
            let e = match self.stretch(&mut d, endpoint, &filling.0).await {
                Ok(()) => break Ok(()),
                Err(e) => e,
            };
            fruitless = if d.have > before { 0 } else { fruitless + 1 };
            let pause = match e {
                // Nothing tells when a registry is well again; one that just cut a connection gets a moment.
                Error::Unreachable { .. }
                | Error::TimedOut { .. }
                | Error::Registry { status: 500.., .. } => Some(PAUSE * fruitless),
                Error::RateLimited { retry_after, .. } => {
                    Some(retry_after.map_or(PAUSE * fruitless, Duration::from_secs))
                }
                _ => None,
            };
            if let Some(pause) = pause.filter(|own| *own <= super::LONGEST_PAUSE)
                && fruitless < FRUITLESS
            {
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
                continue;
            }
            // A full disk is full for every mirror.
            let next = if matches!(e.kind(), Kind::Resources | Kind::Infrastructure) {
                None
            } else {
                endpoints.next()
            };
            match next {
                Some(next) => (at, fruitless) = (Some(next), 0),
                None => break Err(e),
            }
        };
        filling.0.with(|s| s.end = Some(end));
    }

    /// One response's worth.
    async fn stretch(&self, d: &mut Download<'_>, at: &Endpoint, flow: &Flow) -> Result<(), Error> {
        let size = d.blob.size;
        if d.have == size {
            return Ok(());
        }
        let path = format!("blobs/{}", d.blob.digest);
        let mut request = Request::new(Method::GET, &path);
        // A download counts its own tries: what comes of them is kept.
        request.patient = false;
        if d.have > 0
            && let Ok(range) = HeaderValue::from_str(&format!("bytes={}-", d.have))
        {
            request.headers.insert(RANGE, range);
        }
        let mut response = self.send(&d.ask, at, request).await?;
        let from = response
            .headers()
            .get(CONTENT_RANGE)
            .and_then(|v| v.to_str().ok());
        let from = from.and_then(|v| {
            v.strip_prefix("bytes ")?
                .split('-')
                .next()?
                .parse::<u64>()
                .ok()
        });
        // A server without ranges begins again; so do we, silently skipping what is here.
        let mut skip = if response.status() == StatusCode::PARTIAL_CONTENT && from == Some(d.have) {
            0
        } else {
            d.have
        };
        let disk = |source: io::Error| {
            if crate::error::full(&source) {
                return Error::NoSpace {
                    image: d.ask.image(),
                    path: "the image store".into(),
                };
            }
            Error::File {
                path: "the image store".into(),
                source,
            }
        };
        let mut gathered = Vec::with_capacity(GATHERED);
        loop {
            let chunk = response.chunk().await;
            let (done, failed) = match &chunk {
                Ok(Some(bytes)) => {
                    let drop = usize::try_from(skip).unwrap_or(usize::MAX).min(bytes.len());
                    skip -= drop as u64;
                    gathered.extend_from_slice(&bytes[drop..]);
                    (false, None)
                }
                Ok(None) => (true, None),
                Err(e) => (true, Some(e)),
            };
            if d.have + gathered.len() as u64 > size {
                return Err(Error::Digest {
                    image: d.ask.image(),
                    what: "a layer longer than its manifest says".into(),
                    want: d.blob.digest.clone(),
                    got: "another one".into(),
                });
            }
            if done || gathered.len() >= GATHERED {
                d.file.write_all(&gathered).await.map_err(disk)?;
                d.file.flush().await.map_err(disk)?;
                d.have += gathered.len() as u64;
                flow.with(|s| s.len = d.have);
                (d.progress)(gathered.len() as u64);
                gathered.clear();
            }
            if let Some(e) = failed {
                return Err(self.failed(&d.ask, at, e));
            }
            if done && d.have < size {
                let why = format!("the connection ended after {} of {size} bytes", d.have);
                return Err(Error::Unreachable {
                    image: d.ask.image(),
                    registry: at.host.clone(),
                    why,
                });
            }
            if done {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_hears_the_end_of_a_failed_download_as_often_as_it_asks() {
        let mut file = tempfile::tempfile().expect("a file");
        io::Write::write_all(&mut file, b"abc").expect("room");
        let (filling, mut following) = flow(file, 3);
        drop(filling);
        let mut buf = [0; 8];
        assert_eq!(following.read(&mut buf).expect("what came"), 3);
        for _ in 0..2 {
            let e = following.read(&mut buf).expect_err("no more comes");
            assert!(e.to_string().contains("given up"), "{e}");
        }
    }
}
