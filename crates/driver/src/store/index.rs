//! The records of an index.

/// Bytes of a record.
pub(super) const SIZE: usize = 32;

/// Where one piece ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Entry {
    /// In the file.
    pub(super) end: u64,
    /// In the addon's count.
    pub(super) source: u64,
    /// When it was read, milliseconds since the Unix epoch.
    pub(super) at_ms: u64,
    /// Bytes that are missing here; 0: the piece is output.
    pub(super) gap: u64,
}

impl Entry {
    pub(super) fn encode(self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        for (place, number) in
            bytes
                .chunks_exact_mut(8)
                .zip([self.end, self.source, self.at_ms, self.gap])
        {
            place.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    pub(super) fn decode(bytes: &[u8; SIZE]) -> Self {
        let number = |at: usize| {
            let mut eight = [0; 8];
            eight.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(eight)
        };
        Self {
            end: number(0),
            source: number(8),
            at_ms: number(16),
            gap: number(24),
        }
    }
}
