//! One connection to the addon's socket.

use std::collections::VecDeque;

use crate::link::{Frame, INITIAL_CREDIT};

/// Answers waiting before no more requests are read from a connection: each request has a bounded answer, and a peer
/// that does not take them must not fill memory. What is sent unasked is bounded by its bytes: it waits for credit, and credit is read.
const WAITING: usize = 64;
/// Bytes waiting before attached processes and collections are held up.
const WAITING_BYTES: usize = 256 * 1024;

#[derive(Debug)]
pub(super) struct Connection {
    /// Of its hello, once that came.
    pub(super) epoch: Option<u64>,
    /// Bytes of messages that may be sent; below zero after a message that was larger than what was left.
    pub(super) credit: i64,
    /// The next byte of the attempt's output to send.
    pub(super) cursor: u64,
    /// The record was sent.
    pub(super) finished: bool,
    /// What waits, and whether it answers a request.
    messages: VecDeque<(Vec<u8>, bool)>,
    answers: usize,
    waiting: usize,
    frames: VecDeque<Frame>,
    closed: Option<String>,
}

impl Default for Connection {
    fn default() -> Self {
        Connection {
            epoch: None,
            credit: i64::from(INITIAL_CREDIT),
            cursor: 0,
            finished: false,
            messages: VecDeque::new(),
            answers: 0,
            waiting: 0,
            frames: VecDeque::new(),
            closed: None,
        }
    }
}

impl Connection {
    pub(super) fn grant(&mut self, bytes: u32) {
        // A peer that grants for ever must not overflow it.
        self.credit = self
            .credit
            .saturating_add(i64::from(bytes))
            .min(i64::MAX / 2);
    }

    /// An answer to a request.
    pub(super) fn say(&mut self, body: Vec<u8>) {
        self.queue(body, true);
    }

    /// A piece of what an attached process writes, or of a collected file.
    pub(super) fn piece(&mut self, body: Vec<u8>) {
        self.queue(body, false);
    }

    fn queue(&mut self, body: Vec<u8>, answer: bool) {
        if self.closed.is_none() {
            self.waiting += body.len();
            self.answers += usize::from(answer);
            self.messages.push_back((body, answer));
        }
    }

    pub(super) fn answer(&mut self, frame: Frame) {
        self.frames.push_back(frame);
    }

    pub(super) fn close(&mut self, why: &str) {
        self.closed.get_or_insert_with(|| why.to_owned());
    }

    pub(super) fn calm(&self) -> bool {
        self.closed.is_none() && self.answers + self.frames.len() < WAITING
    }

    pub(super) fn roomy(&self) -> bool {
        self.waiting < WAITING_BYTES
    }

    /// The next frame that waits here, output of the attempt aside.
    pub(super) fn next(&mut self) -> Option<Frame> {
        if let Some(frame) = self.frames.pop_front() {
            return Some(frame);
        }
        // The last words of a connection that is closed do not wait for credit.
        if (self.credit > 0 || self.closed.is_some())
            && let Some((body, answer)) = self.messages.pop_front()
        {
            self.waiting -= body.len();
            self.answers -= usize::from(answer);
            return Some(self.message(body));
        }
        if self.messages.is_empty()
            && let Some(why) = &mut self.closed
            && !why.is_empty()
        {
            return Some(Frame::Close(std::mem::take(why)));
        }
        None
    }

    pub(super) fn message(&mut self, body: Vec<u8>) -> Frame {
        self.credit -= body.len() as i64;
        Frame::Message(body)
    }
}
