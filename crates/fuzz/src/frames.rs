//! Bytes of a carrier: whatever the pieces in which they come, the same frames are read; what is read can be written again.

use addon::frame::{Report, Request};
use addon::link::{Decoder, Error, Frame, encode};

pub(crate) fn check(bytes: &[u8]) {
    let whole = frames(bytes, usize::MAX);
    // The size of the pieces comes from the bytes too.
    let size = bytes
        .first()
        .map_or(1, |first| usize::from(*first % 17) + 1);
    assert_eq!(
        frames(bytes, size),
        whole,
        "the frames depend on the pieces"
    );
    let mut written = Vec::new();
    for (channel, frame) in &whole.0 {
        encode(*channel, frame, &mut written).expect("what was read can be written");
        if let Frame::Message(body) = frame {
            message(body);
        }
    }
    assert_eq!(
        frames(&written, usize::MAX).0,
        whole.0,
        "what is written is read as it was"
    );
    message(bytes);
}

fn frames(bytes: &[u8], size: usize) -> (Vec<(u32, Frame)>, Option<Error>) {
    let mut decoder = Decoder::default();
    let mut read = Vec::new();
    for piece in bytes.chunks(size.min(bytes.len().max(1))) {
        decoder.push(piece);
        loop {
            match decoder.take() {
                Ok(Some(frame)) => read.push(frame),
                Ok(None) => break,
                Err(error) => return (read, Some(error)),
            }
        }
    }
    (read, None)
}

fn message(body: &[u8]) {
    if let Ok(request) = Request::from_bytes(body) {
        assert_eq!(Request::from_bytes(&request.to_bytes()), Ok(request));
    }
    if let Ok(report) = Report::from_bytes(body) {
        assert_eq!(Report::from_bytes(&report.to_bytes()), Ok(report));
    }
}
