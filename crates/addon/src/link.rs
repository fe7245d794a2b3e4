//! Frames on one connection to a lite-engine: many channels, each to one container's addon.
//!
//! `len: u32 LE | channel: u32 LE | kind: u8 | body`, where `len` counts what follows it. The driver opens a
//! channel by container name; lite-engine connects it to that addon's socket and passes messages on without
//! reading them. An addon's own socket speaks the same frames on channel 0.
//!
//! Towards the driver each channel has a credit in bytes, so that a flood of log on one does not hold up
//! another: lite-engine (or the addon on its own socket) sends [`Frame::Message`]s only while the credit
//! lasts, and the driver grants more as it stores them. Each message takes the length of its body; one may be
//! sent as long as *any* credit is left, so that a message larger than the credit cannot hang (the debt is paid
//! by the next grants). lite-engine hands the driver's [`Frame::Credit`] on to the addon. Towards the addon
//! there is no credit: what the driver sends is small.
//!
//! A connection may be gone on one side only: a firewall that forgets, a node without power, a laptop in another network. The
//! driver pings lite-engine on channel 0 every 10 seconds, whatever else is said, and gives the connection up when nothing at all comes
//! for 10 seconds after a ping. lite-engine takes a driver that has pinged and then says nothing for
//! [`crate::router::SILENCE_MS`] for gone. Who never pings (a short `exec`) is not expected to.

/// Bytes of a channel that may be under way before the driver has granted more: enough for a fast log over a
/// slow link, small enough that a dozen channels do not fill memory.
pub const INITIAL_CREDIT: u32 = 256 * 1024;

/// The largest body of a frame. A script or a secret file fits; a hostile length does not exhaust memory.
pub const MAX_BODY: usize = 8 * 1024 * 1024;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Driver to lite-engine: connect `channel` to the addon of this container.
    Open(String),
    /// lite-engine to driver: it is connected.
    Opened,
    /// Either way: the channel is over, with a reason for people. From lite-engine it means that the addon's end is gone.
    Close(String),
    /// Driver to lite-engine or addon: this many more bytes of messages may be sent.
    Credit(u32),
    /// An encoded [`crate::frame::Request`] or [`crate::frame::Report`].
    Message(Vec<u8>),
    /// Either way, answered by [`Frame::Pong`].
    Ping,
    /// The answer.
    Pong,
}

/// What is wrong with bytes that should have been frames or messages. The connection is of no more use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A frame longer than [`MAX_BODY`], or too short to have a channel and a kind.
    #[error("a frame of {0} bytes; the limit is {MAX_BODY}")]
    Length(usize),
    /// A kind that this version does not know.
    #[error("frame kind {0} is unknown")]
    Kind(u8),
    /// The body is not what its kind says.
    #[error("the body of a {0} frame cannot be read")]
    Body(&'static str),
    /// A message that cannot be read.
    #[error("a message cannot be read: {0}")]
    Message(String),
}

const OPEN: u8 = 0;
const OPENED: u8 = 1;
const CLOSE: u8 = 2;
const CREDIT: u8 = 3;
const MESSAGE: u8 = 4;
const PING: u8 = 5;
const PONG: u8 = 6;

/// Bytes before a frame's body: length, channel, kind.
pub const HEADER: usize = 9;

/// Appends a frame to `into`.
///
/// A message above [`MAX_BODY`] is an error and nothing is appended; reasons and names are cut to fit.
pub fn encode(channel: u32, frame: &Frame, into: &mut Vec<u8>) -> Result<(), Error> {
    let credit;
    let (kind, body): (u8, &[u8]) = match frame {
        Frame::Open(name) => (OPEN, cut(name)),
        Frame::Opened => (OPENED, &[]),
        Frame::Close(why) => (CLOSE, cut(why)),
        Frame::Credit(bytes) => {
            credit = bytes.to_le_bytes();
            (CREDIT, &credit)
        }
        Frame::Message(bytes) => (MESSAGE, bytes),
        Frame::Ping => (PING, &[]),
        Frame::Pong => (PONG, &[]),
    };
    if body.len() > MAX_BODY {
        return Err(Error::Length(body.len()));
    }
    into.reserve(HEADER + body.len());
    into.extend_from_slice(&((body.len() + 5) as u32).to_le_bytes());
    into.extend_from_slice(&channel.to_le_bytes());
    into.push(kind);
    into.extend_from_slice(body);
    Ok(())
}

/// Names and reasons are short; a hostile or foolish one is cut at a character.
fn cut(text: &str) -> &[u8] {
    const LONGEST: usize = 4096;
    &text.as_bytes()[..text.floor_char_boundary(LONGEST)]
}

/// Frames out of bytes that come in any pieces.
///
/// It holds at most one incomplete frame beside what was pushed last, so its memory is bounded by [`MAX_BODY`]
/// as long as the caller takes all frames before it pushes more.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
    at: usize,
}

impl Decoder {
    /// Adds bytes as they were read.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.at == self.bytes.len() {
            self.bytes.clear();
            self.at = 0;
            // One large message must not keep its memory for the life of the connection.
            if self.bytes.capacity() > 4 * INITIAL_CREDIT as usize {
                self.bytes = Vec::new();
            }
        } else if self.at > 0 {
            self.bytes.drain(..self.at);
            self.at = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame with its channel, or `None` until more was pushed. After an error it must not be used.
    pub fn take(&mut self) -> Result<Option<(u32, Frame)>, Error> {
        let rest = &self.bytes[self.at..];
        let Some((len, _)) = rest.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let len = u32::from_le_bytes(*len) as usize;
        if len < 5 || len - 5 > MAX_BODY {
            return Err(Error::Length(len));
        }
        let Some(frame) = rest.get(4..4 + len) else {
            return Ok(None);
        };
        let channel = u32::from_le_bytes([frame[0], frame[1], frame[2], frame[3]]);
        let body = &frame[5..];
        let text = |kind| String::from_utf8(body.to_vec()).map_err(|_| Error::Body(kind));
        let frame = match frame[4] {
            OPEN => Frame::Open(text("open")?),
            OPENED => Frame::Opened,
            CLOSE => Frame::Close(text("close")?),
            CREDIT => Frame::Credit(u32::from_le_bytes(
                body.try_into().map_err(|_| Error::Body("credit"))?,
            )),
            MESSAGE => Frame::Message(body.to_vec()),
            PING => Frame::Ping,
            PONG => Frame::Pong,
            other => return Err(Error::Kind(other)),
        };
        self.at += 4 + len;
        Ok(Some((channel, frame)))
    }

    /// Bytes held that are not a whole frame yet.
    pub fn pending(&self) -> usize {
        self.bytes.len() - self.at
    }
}

/// Bytes as base64 text, for `serde(with)`.
pub mod b64 {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize as _, Deserializer, Serializer};

    /// Writes bytes as base64.
    pub fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }

    /// Reads base64.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        STANDARD.decode(text).map_err(serde::de::Error::custom)
    }
}
