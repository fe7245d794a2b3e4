//! What driver and agent agree on of a workspace that moves from one pod to the next.

/// `unpack` writes a dot for each so many bytes that it took: who sends waits for those, since nothing else holds him up.
pub const STEP: u64 = 32 * 1024;
