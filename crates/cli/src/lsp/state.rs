//! The texts that an editor has open, and those that lie beside them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use pipeline::model::Forms;
use serde_json::Value;

use crate::texts;

/// Files of a folder that are read: enough for any, and a bound where somebody opens `/`.
const MOST_FILES: usize = 500;
/// Bytes of one of them.
const LONGEST: u64 = 4 << 20;

/// What is known of the editor's texts.
#[derive(Debug)]
pub(super) struct State {
    folder: Option<PathBuf>,
    /// By URI, as they are in the editor.
    open: BTreeMap<String, String>,
    /// By URI, as they are on disk; those that are open are left out.
    beside: BTreeMap<String, String>,
    /// What may be written.
    pub(super) forms: Forms,
    /// The files that were told of something: they are told when it is over.
    pub(super) told: RefCell<BTreeSet<String>>,
}

impl State {
    /// By what an editor says when it begins.
    pub(super) fn new(params: &Value) -> Self {
        let folder = params["workspaceFolders"][0]["uri"]
            .as_str()
            .or_else(|| params["rootUri"].as_str())
            .and_then(to_path);
        let mut state = Self {
            folder,
            open: BTreeMap::new(),
            beside: BTreeMap::new(),
            forms: Forms::new(),
            told: RefCell::default(),
        };
        state.reread();
        state
    }

    /// Takes a text in.
    pub(super) fn open(&mut self, uri: &str, text: &str) {
        self.beside.remove(uri);
        self.open.insert(uri.to_owned(), text.to_owned());
    }

    /// A text is as it is on disk.
    pub(super) fn close(&mut self, uri: &str) {
        self.open.remove(uri);
        self.reread();
    }

    /// Reads the folder again.
    pub(super) fn reread(&mut self) {
        self.beside.clear();
        let Some(folder) = &self.folder else { return };
        let files = texts::yaml_files(folder).unwrap_or_default();
        for file in files.into_iter().take(MOST_FILES) {
            let uri = to_uri(&file);
            let short = fs::metadata(&file).is_ok_and(|facts| facts.len() <= LONGEST);
            if !short || self.open.contains_key(&uri) {
                continue;
            }
            if let Ok(text) = fs::read_to_string(&file) {
                self.beside.insert(uri, text);
            }
        }
    }

    /// An open text with its URI.
    pub(super) fn text(&self, uri: &str) -> Option<(&str, &str)> {
        self.open
            .get_key_value(uri)
            .map(|(uri, text)| (uri.as_str(), text.as_str()))
    }

    /// Every text by its URI; whether it is open.
    pub(super) fn texts(&self) -> impl Iterator<Item = (&str, &str, bool)> {
        let open = self.open.iter().map(|(uri, text)| (&**uri, &**text, true));
        let beside = self.beside.iter();
        open.chain(beside.map(|(uri, text)| (&**uri, &**text, false)))
    }
}

/// The path of a `file:` URI.
fn to_path(uri: &str) -> Option<PathBuf> {
    let rest = uri.strip_prefix("file://")?;
    let mut bytes = Vec::with_capacity(rest.len());
    let mut at = 0;
    let raw = rest.as_bytes();
    while at < raw.len() {
        let code = (raw[at] == b'%')
            .then(|| rest.get(at + 1..at + 3))
            .flatten()
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(code.unwrap_or(raw[at]));
        at += if code.is_some() { 3 } else { 1 };
    }
    String::from_utf8(bytes).ok().map(PathBuf::from)
}

/// The `file:` URI of a path.
fn to_uri(path: &Path) -> String {
    use std::fmt::Write as _;
    let mut uri = String::from("file://");
    for byte in path.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(byte) {
            uri.push(char::from(*byte));
        } else {
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri
}

/// The byte of a line that an editor's column means: editors count in halves of UTF-16.
pub(super) fn from_utf16(line: &str, character: usize) -> usize {
    let mut units = 0;
    for (at, char) in line.char_indices() {
        if units >= character {
            return at;
        }
        units += char.len_utf16();
    }
    line.len()
}

/// A byte of a text as an editor's line and column.
pub(super) fn to_position(text: &str, offset: usize) -> Value {
    let offset = text.floor_char_boundary(offset.min(text.len()));
    let before = &text[..offset];
    let line = before.matches('\n').count();
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    let character: usize = text[start..offset].chars().map(char::len_utf16).sum();
    serde_json::json!({"line": line, "character": character})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_as_editors_do() {
        let text = "a: ü😀x\nb: c\n";
        let at = |what: &str| to_position(text, text.find(what).expect("there"));
        assert_eq!(at("x"), serde_json::json!({"line": 0, "character": 6}));
        assert_eq!(at("c"), serde_json::json!({"line": 1, "character": 3}));
        assert_eq!(from_utf16("a: ü😀x", 6), "a: ü😀".len());
        let path = PathBuf::from("/a b/ü.yaml");
        assert_eq!(to_uri(&path), "file:///a%20b/%C3%BC.yaml");
        assert_eq!(to_path(&to_uri(&path)), Some(path));
    }
}
