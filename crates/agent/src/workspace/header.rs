//! One header of a tar archive: 512 bytes.

use std::io;

/// Archives are made of blocks of this.
pub(super) const BLOCK: usize = 512;

/// The longest path, or target of a link, that a header holds by itself.
pub(super) const NAME: usize = 100;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    /// The same file as an earlier entry.
    Again,
    Link,
    Dir,
    /// What did not fit the next header.
    More,
}

impl Kind {
    const ALL: [(Self, u8); 5] = [
        (Self::File, b'0'),
        (Self::Again, b'1'),
        (Self::Link, b'2'),
        (Self::Dir, b'5'),
        (Self::More, b'x'),
    ];
}

/// A header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) path: Vec<u8>,
    /// Of a link.
    pub(super) target: Vec<u8>,
    pub(super) mode: u32,
    pub(super) size: u64,
    /// Seconds and nanoseconds; the latter where ustar has nothing, and other readers see nothing.
    pub(super) modified: (u64, u32),
}

/// Where the fields are.
const MODE: usize = 100;
const SIZE: usize = 124;
const SECONDS: usize = 136;
const SUM: usize = 148;
const KIND: usize = 156;
const TARGET: usize = 157;
const MAGIC: usize = 257;
const NANOS: usize = 500;

impl Header {
    /// As it is written. A path or a target that is too long is cut: it stands in a [`Kind::More`] before it.
    pub(super) fn to_block(&self) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        put(&mut block[..NAME], &self.path);
        octal(&mut block[MODE..MODE + 8], u64::from(self.mode));
        // No owner: two zeros.
        octal(&mut block[108..116], 0);
        octal(&mut block[116..124], 0);
        octal(&mut block[SIZE..SIZE + 12], self.size);
        octal(&mut block[SECONDS..SECONDS + 12], self.modified.0);
        block[KIND] = Kind::ALL
            .iter()
            .find(|(kind, _)| *kind == self.kind)
            .map_or(b'0', |(_, flag)| *flag);
        put(&mut block[TARGET..TARGET + NAME], &self.target);
        block[MAGIC..MAGIC + 8].copy_from_slice(b"ustar\x0000");
        octal(&mut block[NANOS..], u64::from(self.modified.1));
        let sum = sum(&block);
        octal(&mut block[SUM..SUM + 7], sum);
        block[SUM + 7] = b' ';
        block
    }

    /// Reads one; none for the block of zeros that ends an archive.
    pub(super) fn of(block: &[u8; BLOCK]) -> io::Result<Option<Self>> {
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        if number(&block[SUM..SUM + 8]) != Some(sum(block)) {
            return Err(broken("a header's sum is wrong"));
        }
        let kind = Kind::ALL.iter().find(|(_, flag)| *flag == block[KIND]);
        let field = |at: usize, len: usize| {
            number(&block[at..at + len])
                .ok_or_else(|| broken("a header has no number where one is"))
        };
        Ok(Some(Self {
            kind: kind
                .ok_or_else(|| broken("it holds what no workspace does"))?
                .0,
            path: text(&block[..NAME]).to_vec(),
            target: text(&block[TARGET..TARGET + NAME]).to_vec(),
            mode: field(MODE, 8)? as u32 & 0o7777,
            size: field(SIZE, 12)?,
            modified: (
                field(SECONDS, 12)?,
                field(NANOS, 12)?.min(999_999_999) as u32,
            ),
        }))
    }
}

/// An archive that is not one of ours, or not whole.
pub(super) fn broken(why: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the workspace did not arrive whole: {why}"),
    )
}

/// One record of [`Kind::More`]: its length, which counts itself, its key, its value.
pub(super) fn record(key: &str, value: &[u8], into: &mut Vec<u8>) {
    // ` KEY=` and the line feed.
    let rest = key.len() + value.len() + 3;
    let mut len = rest + 1;
    while len != rest + len.to_string().len() {
        len = rest + len.to_string().len();
    }
    into.extend_from_slice(format!("{len} {key}=").as_bytes());
    into.extend_from_slice(value);
    into.push(b'\n');
}

/// The key and the value of the first record, and what follows it.
pub(super) fn first_record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().position(|byte| *byte == b' ')?;
    let len: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
    let (record, rest) = bytes.split_at_checked(len)?;
    let record = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some((&record[..equals], &record[equals + 1..], rest))
}

fn put(field: &mut [u8], text: &[u8]) {
    let len = text.len().min(field.len());
    field[..len].copy_from_slice(&text[..len]);
}

/// Digits to the end but one, which stays zero.
fn octal(field: &mut [u8], mut value: u64) {
    let last = field.len() - 1;
    for digit in field[..last].iter_mut().rev() {
        *digit = b'0' + (value & 7) as u8;
        value >>= 3;
    }
}

fn number(field: &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for byte in text(field) {
        match byte {
            b'0'..=b'7' => value = value.checked_mul(8)? + u64::from(byte - b'0'),
            b' ' => {}
            _ => return None,
        }
    }
    Some(value)
}

/// Up to the first zero.
fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0);
    &field[..end.unwrap_or(field.len())]
}

/// Of all bytes, its own field taken for spaces.
fn sum(block: &[u8; BLOCK]) -> u64 {
    let own = |at: usize| (SUM..SUM + 8).contains(&at);
    let byte = |(at, byte): (usize, &u8)| u64::from(if own(at) { b' ' } else { *byte });
    block.iter().enumerate().map(byte).sum()
}
