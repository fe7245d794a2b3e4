//! Frames on one connection to a lite-engine: many channels, each to one container's addon.
//!
//! `len: u32 LE | channel: u32 LE | kind: u8 | body`, where `len` counts what follows it. The driver opens a
//! channel by container name; lite-engine connects it to that addon's socket and passes messages on without
//! reading them. An addon's own socket speaks the same frames on channel 0.
//!
//! Towards the driver each channel has a credit in bytes, so that a flood of log on one does not hold up
//! another: lite-engine (or the addon on its own socket) sends [`Frame::Message`]s only while the credit
//! lasts, and the driver grants more as it stores them. Towards the addon there is no credit: what the
//! driver sends is small.

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
