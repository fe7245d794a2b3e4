//! The forms in which a secret may turn up in a log.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

/// Pieces up to this many bytes are not masked: they would blacken every log and hide nothing.
const TOO_SHORT: usize = 2;

/// All forms of a secret that are looked for. None contains a line end, none is shorter than three bytes.
pub(crate) fn of(secret: &str) -> Vec<Vec<u8>> {
    let mut forms: Vec<Vec<u8>> = Vec::new();
    let trimmed = secret.trim_end_matches(['\n', '\r']);
    let whole = [secret, trimmed];
    for text in whole
        .into_iter()
        .chain(secret.lines())
        .chain([secret.trim()])
    {
        if text.len() <= TOO_SHORT {
            continue;
        }
        forms.push(text.as_bytes().to_vec());
        forms.extend(base64(text.as_bytes()));
        forms.push(percent(text, false));
        forms.push(percent(text, true));
        forms.push(json(text));
        forms.push(shell(text));
        forms.push(ansi_c(text));
        forms.push(backslash(text));
    }
    let mut pieces: Vec<Vec<u8>> = forms
        .iter()
        .flat_map(|form| form.split(|&b| b == b'\n'))
        .map(|piece| piece.strip_suffix(b"\r").unwrap_or(piece))
        .filter(|piece| piece.len() > TOO_SHORT)
        .map(<[u8]>::to_vec)
        .collect();
    pieces.sort();
    pieces.dedup();
    pieces
}

/// Base64 of the secret alone (as it is, and in the lines that `base64` and PEM write), and of it at each of the three
/// places that it may have inside a longer text: there only the characters that nothing but the secret decides.
fn base64(secret: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = Vec::new();
    for engine in [&STANDARD, &URL_SAFE] {
        let alone = engine.encode(secret).into_bytes();
        for width in [76, 64] {
            if alone.len() > width {
                forms.extend(alone.chunks(width).map(<[u8]>::to_vec));
            }
        }
        for before in 0..3 {
            let mut text = vec![0; before];
            text.extend_from_slice(secret);
            let encoded = engine.encode(&text).into_bytes();
            let first = (before * 8).div_ceil(6);
            let end = (before + secret.len()) * 8 / 6;
            if first < end {
                forms.push(encoded[first..end].to_vec());
            }
        }
        forms.push(alone);
    }
    forms
}

/// URL encoding: all but the unreserved characters; `form` writes a space as `+`.
fn percent(text: &str, form: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() * 3);
    for &byte in text.as_bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte),
            b' ' if form => out.push(b'+'),
            _ => out.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
    out
}

/// The inside of a JSON string.
fn json(text: &str) -> Vec<u8> {
    let quoted = serde_json::to_string(text).expect("a string is JSON");
    quoted.as_bytes()[1..quoted.len() - 1].to_vec()
}

/// The inside of a single-quoted shell word.
fn shell(text: &str) -> Vec<u8> {
    text.replace('\'', r"'\''").into_bytes()
}

/// The inside of `$'…'`, as bash's `%q` and `set -x` write what has control characters.
fn ansi_c(text: &str) -> Vec<u8> {
    text.replace('\\', r"\\")
        .replace('\'', r"\'")
        .replace('\n', r"\n")
        .replace('\t', r"\t")
        .replace('\r', r"\r")
        .into_bytes()
}

/// A backslash before each character that a shell minds, as `%q` writes it.
fn backslash(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() * 2);
    for c in text.chars() {
        if c.is_ascii() && !c.is_ascii_alphanumeric() && !"_-./:=@%+,\n".contains(c) {
            out.push(b'\\');
        }
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
    out
}
