//! Every diagnostic code, in one table.
//!
//! A code is stable: its number keeps its meaning for ever, and a code that is no longer given is not given again.
//! Each has a page `docs/diagnostics/SYnnnn.md` (meaning, example, mend) that `stepyard explain` prints; a code
//! without its page does not compile, a page without its code fails a test.
//!
//! | codes | of |
//! |---|---|
//! | `SY00xx` | the text and its YAML |
//! | `SY01xx` | structure: fields, types, identifiers, names |
//! | `SY02xx` | step groups and steps |
//! | `SY03xx` | references and entities |
//! | `SY04xx` | portability |
//! | `SY05xx` | expressions |
//! | `SY06xx` and up | planning and running |

use std::fmt;

/// A kind of problem: prints as `SY0102`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(&'static str);

/// A code with its page.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The code.
    pub code: Code,
    /// Its page: Markdown, whose first line is `# SYnnnn: <title>`.
    pub page: &'static str,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}

impl Code {
    /// As it is written, `SY0102`.
    pub const fn as_str(self) -> &'static str {
        self.0
    }

    /// The page that explains it.
    pub fn page(self) -> &'static str {
        find(self.0).map_or("", |entry| entry.page)
    }
}

/// The entry of a code as a person writes it: `SY0102`, `sy0102`, `102`.
pub fn find(text: &str) -> Option<&'static Entry> {
    let digits = text.trim().trim_start_matches(['S', 's', 'Y', 'y']);
    if digits.is_empty() || digits.len() > 4 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let wanted = format!("SY{digits:0>4}");
    ALL.iter().find(|entry| entry.code.0 == wanted)
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub const $name: Code = Code($text);)*

        /// Every code with its page, in the order of the table.
        pub const ALL: &[Entry] = &[$(Entry {
            code: $name,
            page: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/diagnostics/", $text, ".md")),
        },)*];
    };
}

codes! {
    /// The bytes are not UTF-8.
    NOT_UTF8 = "SY0001";
    /// The file holds no document.
    EMPTY = "SY0002";
    /// The text is not YAML.
    NOT_YAML = "SY0003";
    /// A tab where YAML wants spaces.
    TAB = "SY0004";
    /// A key twice in one mapping.
    DUPLICATE_KEY = "SY0005";
    /// An alias without its anchor.
    UNKNOWN_ANCHOR = "SY0006";
    /// Aliases that expand beyond the budget.
    ALIAS_BOMB = "SY0007";
    /// A key that is no text.
    KEY_NOT_TEXT = "SY0008";
    /// Nesting beyond the limit.
    TOO_DEEP = "SY0009";
    /// A text beyond the limit.
    TOO_LONG = "SY0010";
    /// A file that cannot be read.
    UNREADABLE = "SY0011";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_page_and_every_page_a_code() {
        for entry in ALL {
            let head = format!("# {}: ", entry.code);
            assert!(
                entry.page.starts_with(&head),
                "the page of {} begins `{head}<title>`",
                entry.code
            );
            assert!(
                entry.page.contains("\n## The mend\n"),
                "{} says how it is mended",
                entry.code
            );
        }
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/diagnostics");
        let mut pages: Vec<_> = std::fs::read_dir(folder)
            .expect("the pages are beside the crates")
            .map(|file| {
                file.expect("a file")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .filter(|name| name.starts_with("SY"))
            .collect();
        pages.sort();
        let codes: Vec<_> = ALL
            .iter()
            .map(|entry| format!("{}.md", entry.code))
            .collect();
        assert_eq!(
            codes, pages,
            "the table is in order, each code once, no page left over"
        );
    }

    #[test]
    fn a_code_is_found_however_it_is_written() {
        for text in ["SY0002", "sy0002", "2", "0002", " SY2 "] {
            assert_eq!(find(text).map(|entry| entry.code), Some(EMPTY), "{text}");
        }
        assert!(find("SY9999").is_none() && find("SY").is_none() && find("SY00002").is_none());
    }
}
