//! Requests and reports as the bytes of a [`crate::link::Frame::Message`].
//!
//! The first byte says how the rest is written: 0 is JSON; what comes in bulk has a binary form, so that a
//! gigabyte of log costs no encoding.
//!
//! | tag | report | layout after the tag (integers little-endian) |
//! |---|---|---|
//! | 0 | any request, any other report | JSON |
//! | 1 | `Output` | `offset u64`, `at_ms u64`, bytes |
//! | 2 | `File` | `id u32`, `offset u64`, `path length u32`, path, bytes |
//! | 3 | `Attached` | `id u32`, bytes |

use crate::frame::{Report, Request};
use crate::link::Error;

const JSON: u8 = 0;
const OUTPUT: u8 = 1;
const FILE: u8 = 2;
const ATTACHED: u8 = 3;

/// The largest piece of output, of a file, or of an attached process that one message carries: large enough that the
/// costs of a message vanish, small enough that others get their turn between two.
pub const PIECE: usize = 64 * 1024;

impl Request {
    /// As the body of a message.
    pub fn to_bytes(&self) -> Vec<u8> {
        json(self)
    }

    /// From the body of a message.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        match bytes.split_first() {
            Some((&JSON, body)) => from_json(body),
            Some((tag, _)) => Err(Error::Message(format!("tag {tag} is not a request"))),
            None => Err(Error::Message("it is empty".to_owned())),
        }
    }
}

impl Report {
    /// As the body of a message.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Report::Output {
                offset,
                at_ms,
                bytes,
            } => output(*offset, *at_ms, bytes),
            Report::File {
                id,
                path,
                offset,
                bytes,
            } => {
                let mut to = Vec::with_capacity(17 + path.len() + bytes.len());
                to.push(FILE);
                to.extend_from_slice(&id.to_le_bytes());
                to.extend_from_slice(&offset.to_le_bytes());
                to.extend_from_slice(&(path.len() as u32).to_le_bytes());
                to.extend_from_slice(path.as_bytes());
                to.extend_from_slice(bytes);
                to
            }
            Report::Attached { id, bytes } => {
                let mut to = Vec::with_capacity(5 + bytes.len());
                to.push(ATTACHED);
                to.extend_from_slice(&id.to_le_bytes());
                to.extend_from_slice(bytes);
                to
            }
            other => json(other),
        }
    }

    /// From the body of a message.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let (&tag, mut body) = bytes
            .split_first()
            .ok_or_else(|| Error::Message("it is empty".to_owned()))?;
        match tag {
            JSON => from_json(body),
            OUTPUT => Ok(Report::Output {
                offset: long(&mut body)?,
                at_ms: long(&mut body)?,
                bytes: body.to_vec(),
            }),
            FILE => {
                let id = short(&mut body)?;
                let offset = long(&mut body)?;
                let len = short(&mut body)? as usize;
                let (path, bytes) = body.split_at_checked(len).ok_or_else(cut)?;
                Ok(Report::File {
                    id,
                    path: String::from_utf8_lossy(path).into_owned(),
                    offset,
                    bytes: bytes.to_vec(),
                })
            }
            ATTACHED => Ok(Report::Attached {
                id: short(&mut body)?,
                bytes: body.to_vec(),
            }),
            other => Err(Error::Message(format!("tag {other} is unknown"))),
        }
    }
}

/// The body of a [`Report::Output`], without owning the bytes first.
pub fn output(offset: u64, at_ms: u64, bytes: &[u8]) -> Vec<u8> {
    let mut to = Vec::with_capacity(17 + bytes.len());
    to.push(OUTPUT);
    to.extend_from_slice(&offset.to_le_bytes());
    to.extend_from_slice(&at_ms.to_le_bytes());
    to.extend_from_slice(bytes);
    to
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    let mut to = vec![JSON];
    serde_json::to_writer(&mut to, value).expect("messages have only string keys");
    to
}

fn from_json<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|e| Error::Message(e.to_string()))
}

fn short(body: &mut &[u8]) -> Result<u32, Error> {
    let (head, rest) = body.split_first_chunk::<4>().ok_or_else(cut)?;
    *body = rest;
    Ok(u32::from_le_bytes(*head))
}

fn long(body: &mut &[u8]) -> Result<u64, Error> {
    let (head, rest) = body.split_first_chunk::<8>().ok_or_else(cut)?;
    *body = rest;
    Ok(u64::from_le_bytes(*head))
}

fn cut() -> Error {
    Error::Message("it ends too early".to_owned())
}
