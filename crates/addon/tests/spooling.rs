//! The spool's index: what is acknowledged goes, what does not fit is told.

use std::collections::BTreeMap;

use addon::spool::{Piece, RECENT, SEGMENTS, Spool, Store};
use proptest::prelude::*;

#[derive(Default)]
struct Memory {
    segments: BTreeMap<u32, Vec<u8>>,
    full: bool,
    most: usize,
}

impl Store for Memory {
    fn write(&mut self, segment: u32, at: u64, bytes: &[u8]) -> bool {
        if self.full {
            return false;
        }
        let file = self.segments.entry(segment).or_default();
        file.resize(at as usize, 0);
        file.extend_from_slice(bytes);
        self.most = self.most.max(self.segments.values().map(Vec::len).sum());
        true
    }
    fn read(&mut self, segment: u32, at: u64, into: &mut [u8]) -> bool {
        let Some(bytes) = self
            .segments
            .get(&segment)
            .and_then(|file| file.get(at as usize..at as usize + into.len()))
        else {
            return false;
        };
        into.copy_from_slice(bytes);
        true
    }
    fn remove(&mut self, segment: u32) {
        self.segments.remove(&segment);
    }
}

/// Bytes after which the log repeats: prime, so that no piece stands in for another of a round length.
const PERIOD: u64 = 1_000_003;

/// Two periods of the log: any piece of up to one is a slice of it.
static LOG: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| {
    let byte = |i: u64| ((i % PERIOD).wrapping_mul(2_654_435_761) >> 13) as u8;
    (0..2 * PERIOD).map(byte).collect()
});

fn slice(from: u64, len: usize) -> &'static [u8] {
    let from = (from % PERIOD) as usize;
    &LOG[from..from + len]
}

fn log(mut from: u64, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        let piece = (len - bytes.len()).min(PERIOD as usize);
        bytes.extend_from_slice(slice(from, piece));
        from += piece as u64;
    }
    bytes
}

/// Reads all from `cursor`; the gaps, and that every byte is the right one.
fn read(spool: &Spool, store: &mut Memory, mut cursor: u64) -> Vec<(u64, u64)> {
    let mut gaps = Vec::new();
    while let Some(piece) = spool.read(cursor, store) {
        match piece {
            Piece::Bytes { offset, bytes, .. } => {
                assert_eq!(offset, cursor);
                assert!(!bytes.is_empty() && bytes.len() <= 64 * 1024);
                assert!(*bytes == *slice(offset, bytes.len()), "at {offset}");
                cursor += bytes.len() as u64;
            }
            Piece::Gap { offset, bytes } => {
                assert_eq!(offset, cursor);
                assert!(bytes > 0);
                gaps.push((offset, bytes));
                cursor += bytes;
            }
        }
    }
    assert_eq!(cursor, spool.end());
    gaps
}

#[test]
fn head_and_tail_are_kept_within_the_bound() {
    let (mut spool, mut store) = (Spool::default(), Memory::default());
    for _ in 0..200 {
        let bytes = log(spool.end(), 1 << 20);
        spool.append(&bytes, 0, &mut store);
    }
    assert!(spool.full());
    assert!(store.most + RECENT <= 64 << 20, "{}", store.most);
    assert!(store.segments.len() <= SEGMENTS);
    let gaps = read(&spool, &mut store, 0);
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    let (from, len) = gaps[0];
    assert!(from >= 20 << 20, "the head is kept: {from}");
    assert!(from + len <= spool.end() - (20 << 20), "the tail is kept");
    spool.ack(spool.end(), &mut store);
    assert!(store.segments.is_empty(), "what is stored elsewhere goes");
    assert!(!spool.full());
}

#[test]
fn a_full_disk_is_a_gap_and_not_the_end() {
    let (mut spool, mut store) = (Spool::default(), Memory::default());
    spool.append(&log(0, 8 << 20), 0, &mut store);
    store.full = true;
    let bytes = log(spool.end(), 8 << 20);
    spool.append(&bytes, 0, &mut store);
    store.full = false;
    let bytes = log(spool.end(), 8 << 20);
    spool.append(&bytes, 0, &mut store);
    let gaps = read(&spool, &mut store, 0);
    let missing: u64 = gaps.iter().map(|(_, len)| len).sum();
    assert!(missing > 0 && missing <= 8 << 20, "{gaps:?}");
}

#[test]
fn times_are_those_of_the_reading() {
    let (mut spool, mut store) = (Spool::default(), Memory::default());
    for second in 0..40u64 {
        let bytes = log(spool.end(), 100_000);
        spool.append(&bytes, second * 1000, &mut store);
    }
    let mut cursor = 0;
    while let Some(Piece::Bytes { at_ms, bytes, .. }) = spool.read(cursor, &mut store) {
        assert!(
            at_ms.abs_diff(cursor / 100_000 * 1000) <= 1000,
            "{cursor}: {at_ms}"
        );
        cursor += bytes.len() as u64;
    }
    assert_eq!(cursor, 4_000_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn every_byte_is_there_once_or_told(
        steps in proptest::collection::vec((0usize..3_000_000, 0u64..100, any::<bool>()), 1..40),
    ) {
        let (mut spool, mut store) = (Spool::default(), Memory::default());
        for (at, (len, acked, full)) in steps.into_iter().enumerate() {
            store.full = full && at % 5 == 0;
            let bytes = log(spool.end(), len);
            spool.append(&bytes, at as u64, &mut store);
            if at % 4 == 0 {
                spool.ack(spool.end() * acked / 100, &mut store);
            }
            read(&spool, &mut store, spool.acked());
        }
    }
}
