//! `pack DIR MOST` and `unpack DIR`: a workspace as a stream, so that the driver can hand it from one pod to the next.
//!
//! The addon starts them beside the step, as attached processes: no image needs a `tar`. The stream is a tar archive (ustar, with pax
//! records for what does not fit), which any `tar` reads. What is mounted below the directory belongs to something else and is left
//! out, and so are sockets, pipes and devices. Owners are not kept: what is unpacked belongs to whoever unpacks it.
//!
//! Both say why they failed behind a NUL byte at the end of what they write, and nothing on standard error, and exit with 1. `unpack` writes a dot for each
//! [`STEP`] bytes it took: whoever sends waits for those, since nothing else holds him up.

mod header;
mod pack;
mod unpack;

use std::io::{self, Read, Write as _};
use std::path::Path;
use std::process::ExitCode;

pub use ::addon::workspace::STEP;
pub use pack::pack;
pub use unpack::unpack;

/// `pack`: writes the directory to standard output, at most this many bytes of it.
pub fn give(dir: &Path, most: u64) -> ExitCode {
    let mut output = io::BufWriter::with_capacity(crate::peer::READ, io::stdout());
    tell(pack(dir, most, &mut output).and_then(|()| output.flush()))
}

/// `unpack`: reads standard input into the directory.
pub fn take(dir: &Path) -> ExitCode {
    let mut input = io::BufReader::with_capacity(crate::peer::READ, Counted::new(io::stdin()));
    tell(unpack(dir, &mut input).and_then(|()| io::copy(&mut input, &mut io::sink()).map(|_| ())))
}

/// The reason goes the way of the data: there is no other.
fn tell(result: io::Result<()>) -> ExitCode {
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    let mut output = io::stdout();
    let _ = write!(output, "\0{error}").and_then(|()| output.flush());
    ExitCode::FAILURE
}

/// Standard input whose reader says how far it is.
struct Counted<R> {
    inner: R,
    seen: u64,
    told: u64,
}

impl<R> Counted<R> {
    fn new(inner: R) -> Self {
        Self {
            inner,
            seen: 0,
            told: 0,
        }
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(into)?;
        self.seen += count as u64;
        let dots = self.seen / STEP - self.told;
        if dots > 0 {
            self.told += dots;
            let mut output = io::stdout().lock();
            output.write_all(&vec![b'.'; dots as usize])?;
            output.flush()?;
        }
        Ok(count)
    }
}

/// An error that names the path, as it was named before in the archive or the directory.
fn at(path: &Path, what: &str, error: &io::Error) -> io::Error {
    io::Error::new(
        error.kind(),
        format!("failed to {what} {}: {error}", path.display()),
    )
}
