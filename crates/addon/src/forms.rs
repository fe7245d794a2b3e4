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
        for kept in KEPT {
            forms.extend(percent(text, kept));
        }
        for inside in [json(text), json_of_ascii(text)] {
            forms.push(json(&inside).into_bytes());
            forms.push(inside.replace('/', r"\/").into_bytes());
            forms.push(inside.into_bytes());
        }
        for quotes in ENTITIES {
            forms.push(xml(text, quotes));
        }
        forms.push(shell(text, r"'\''"));
        forms.push(shell(text, r#"'"'"'"#));
        forms.push(double_quoted(text));
        forms.push(ansi_c(text));
        forms.push(octal(&ansi_c(text)));
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

/// What writers of URLs leave as it is besides letters, digits and `-._~`: nothing (RFC 3986), `/` (Python's `quote`), what JavaScript's
/// `encodeURIComponent` and its `encodeURI` do.
const KEPT: [&str; 4] = ["", "/", "!'()*", ";,/?:@&=+$#!'()*"];

/// URL encoding, with upper and lower hexadecimal digits, and as forms have it: a space is `+`.
fn percent(text: &str, kept: &str) -> [Vec<u8>; 3] {
    let (mut upper, mut lower) = (String::new(), String::new());
    for &byte in text.as_bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if plain || kept.as_bytes().contains(&byte) {
            upper.push(char::from(byte));
            lower.push(char::from(byte));
        } else {
            upper.extend(["%", &format!("{byte:02X}")]);
            lower.extend(["%", &format!("{byte:02x}")]);
        }
    }
    // A percent sign of the text itself is `%25` by now.
    let form = upper.replace("%20", "+");
    [upper, lower, form].map(String::into_bytes)
}

/// The inside of a JSON string.
fn json(text: &str) -> String {
    let quoted = serde_json::to_string(text).expect("a string is JSON");
    quoted[1..quoted.len() - 1].to_owned()
}

/// The same by a writer that keeps to ASCII, as Python's `json.dumps` does.
fn json_of_ascii(text: &str) -> String {
    let mut out = String::new();
    for unit in json(text).encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii() => out.push(char::from(byte)),
            _ => out.extend(["\\u", &format!("{unit:04x}")]),
        }
    }
    out
}

/// How writers of XML and HTML write `"` and `'`: as they are between tags, by name, and by number as Go, Python and others do.
const ENTITIES: [[&str; 2]; 6] = [
    ["\"", "'"],
    ["&quot;", "'"],
    ["&quot;", "&apos;"],
    ["&quot;", "&#39;"],
    ["&quot;", "&#x27;"],
    ["&#34;", "&#39;"],
];

/// The text of an XML element or attribute, as the reports of tests are.
fn xml(text: &str, [double, single]: [&str; 2]) -> Vec<u8> {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', double)
        .replace('\'', single)
        .into_bytes()
}

/// The inside of a single-quoted shell word, a quote in it written so.
fn shell(text: &str, quote: &str) -> Vec<u8> {
    text.replace('\'', quote).into_bytes()
}

/// The inside of a double-quoted shell word, as bash's `declare -p` writes it.
fn double_quoted(text: &str) -> Vec<u8> {
    let mut out = String::with_capacity(text.len() * 2);
    for c in text.chars() {
        if "\"\\$`".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out.into_bytes()
}

/// Bytes beyond ASCII in octal, as bash writes them in `$'…'` where its locale does not know them.
fn octal(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for &byte in text {
        if byte.is_ascii() {
            out.push(byte);
        } else {
            out.extend_from_slice(format!("\\{byte:03o}").as_bytes());
        }
    }
    out
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

#[cfg(test)]
mod tests {
    use super::*;

    /// As Python, JavaScript, bash and dash print this one.
    #[test]
    fn writers_of_other_languages_are_known() {
        let secret = "p@ss wörd/it's \"$1\"!";
        let forms = of(secret);
        for written in [
            r"p%40ss%20w%C3%B6rd/it%27s%20%22%241%22%21",
            r"p%40ss%20w%c3%b6rd%2fit%27s%20%22%241%22%21",
            r"p%40ss%20w%C3%B6rd%2Fit's%20%22%241%22!",
            r"p%40ss+w%C3%B6rd%2Fit%27s+%22%241%22%21",
            r#"p@ss w\u00f6rd/it's \"$1\"!"#,
            r#"p@ss wörd/it's \\\"$1\\\"!"#,
            r#"p@ss w\\u00f6rd/it's \\\"$1\\\"!"#,
            r#"p@ss wörd/it'\''s "$1"!"#,
            r#"p@ss wörd/it'"'"'s "$1"!"#,
            r#"p@ss wörd/it's \"\$1\"!"#,
            r#"p@ss w\303\266rd/it\'s "$1"!"#,
            r#"p@ss wörd\/it's \"$1\"!"#,
            "p@ss wörd/it's &quot;$1&quot;!",
            "p@ss wörd/it&#39;s &#34;$1&#34;!",
            "p@ss wörd/it&#x27;s &quot;$1&quot;!",
        ] {
            assert!(forms.contains(&written.as_bytes().to_vec()), "{written}");
        }
    }

    /// Most secrets look alike in most of them.
    #[test]
    fn forms_that_are_the_same_are_looked_for_once() {
        assert_eq!(
            of("tokenOf32Letters").len(),
            1 + base64(b"tokenOf32Letters")
                .iter()
                .collect::<std::collections::BTreeSet<_>>()
                .len()
        );
    }
}
