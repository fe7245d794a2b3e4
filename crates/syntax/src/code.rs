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

    /// A key that must be there is not.
    MISSING_FIELD = "SY0101";
    /// A value of another kind than its key wants.
    WRONG_TYPE = "SY0102";
    /// A key that nothing reads.
    UNKNOWN_FIELD = "SY0103";
    /// A word that is not in its list.
    UNKNOWN_VALUE = "SY0104";
    /// A text that is no identifier.
    BAD_IDENTIFIER = "SY0105";
    /// A text that is no name.
    BAD_NAME = "SY0106";
    /// An identifier twice.
    DUPLICATE_IDENTIFIER = "SY0107";
    /// A text that is no duration.
    BAD_DURATION = "SY0108";
    /// A text that is no amount.
    BAD_QUANTITY = "SY0109";
    /// A document with another root.
    UNKNOWN_ROOT = "SY0110";
    /// More than one pipeline.
    SECOND_PIPELINE = "SY0111";
    /// A runtime input that is not understood.
    BAD_INPUT = "SY0112";
    /// Several or none where exactly one belongs.
    ONE_OF = "SY0113";
    /// A list that needs an entry.
    EMPTY_LIST = "SY0114";
    /// A text that names no variable.
    BAD_VARIABLE = "SY0115";
    /// A variable twice.
    DUPLICATE_VARIABLE = "SY0116";
    /// A stage type that the format does not know.
    UNKNOWN_STAGE_TYPE = "SY0117";
    /// No pipeline among the documents.
    NO_PIPELINE = "SY0118";
    /// A failure strategy that an earlier one leaves nothing to.
    UNUSED_STRATEGY = "SY0119";
    /// A deadline that is no time, names no zone, or is over.
    BAD_DEADLINE = "SY0120";
    /// A failure strategy that cannot be done where it stands, or that follows itself.
    CONTRADICTION = "SY0121";

    /// A step type that the format does not know.
    UNKNOWN_STEP_TYPE = "SY0201";
    /// A step that no containerized group may hold.
    NOT_IN_CONTAINER = "SY0202";
    /// A step that runs outside the pod of its group.
    DELEGATE_IN_GROUP = "SY0203";
    /// A group inside a containerized group.
    NESTED_GROUP = "SY0204";
    /// A container step outside a containerized group.
    NEEDS_CONTAINER = "SY0205";
    /// A container step without an image.
    NEEDS_IMAGE = "SY0206";
    /// A path that is ours.
    RESERVED_PATH = "SY0207";
    /// A mount path twice.
    MOUNTED_TWICE = "SY0208";
    /// A path that cannot be a mount path.
    BAD_MOUNT_PATH = "SY0209";
    /// A volume type that the format does not know.
    UNKNOWN_VOLUME_TYPE = "SY0210";
    /// A toleration that no cluster takes.
    BAD_TOLERATION = "SY0211";
    /// A name where true or false belongs.
    SERVICE_ACCOUNT_MEANT = "SY0212";
    /// User 0 where it is refused.
    ROOT_REFUSED = "SY0213";
    /// Port bindings in a pod.
    PORT_BINDINGS = "SY0214";
    /// A step that has a successor.
    DEPRECATED_STEP = "SY0215";
    /// A request above its limit.
    REQUEST_OVER_LIMIT = "SY0216";
    /// A workspace that cannot be taken over.
    WORKSPACE_FROM = "SY0217";
    /// A setting that no container takes.
    BAD_SETTING = "SY0218";

    /// A text that is no reference.
    BAD_REFERENCE = "SY0301";
    /// A connector that no document declares.
    UNKNOWN_CONNECTOR = "SY0302";
    /// A secret without a value.
    UNKNOWN_SECRET = "SY0303";
    /// A step that is not there, or not yet.
    UNKNOWN_STEP = "SY0304";
    /// An expression where a secret's reference belongs.
    SECRET_EXPRESSION = "SY0305";
    /// An entity twice.
    DUPLICATE_ENTITY = "SY0306";
    /// A connector type that the format does not know.
    UNKNOWN_CONNECTOR_TYPE = "SY0307";
    /// A template, or a version of one, that no document declares.
    UNKNOWN_TEMPLATE = "SY0308";
    /// Templates that never end.
    TEMPLATE_CYCLE = "SY0309";
    /// An input too many or too few.
    TEMPLATE_INPUT = "SY0310";
    /// A template of another kind.
    WRONG_TEMPLATE = "SY0311";
    /// An entity that does not fit.
    WRONG_ENTITY = "SY0312";
    /// An input set that does not fit.
    WRONG_INPUT_SET = "SY0313";
    /// An output alias twice.
    DUPLICATE_ALIAS = "SY0314";

    /// A containerized group where older servers take none.
    GROUP_PLACE = "SY0401";
    /// What other servers require.
    REQUIRED_ELSEWHERE = "SY0402";
    /// An extension of ours.
    EXTENSION = "SY0403";
    /// A failure type that older servers do not know.
    NEWER_FAILURE = "SY0404";

    /// An expression that cannot be read.
    BAD_EXPRESSION = "SY0501";
    /// An expression that names nothing.
    UNKNOWN_EXPRESSION = "SY0502";
    /// An expression that fails when it is evaluated.
    EXPRESSION_FAILED = "SY0503";
    /// A secret where none may be.
    SECRET_PLACE = "SY0504";

    /// A runtime input without a value.
    MISSING_INPUT = "SY0601";
    /// A value that its runtime input does not allow.
    BAD_INPUT_VALUE = "SY0602";

    /// A step type that is not run.
    STEP_NOT_RUN = "SY0611";
    /// An infrastructure that is not run.
    INFRA_NOT_RUN = "SY0615";
    /// Windows and macOS.
    OS_NOT_RUN = "SY0616";
    /// A stage type that is not run.
    STAGE_NOT_RUN = "SY0617";
    /// A setting that is not acted on.
    SETTING_NOT_RUN = "SY0621";
    /// A loop that cannot be run.
    BAD_LOOP = "SY0622";

    /// A barrier at which a run would stand for ever.
    BARRIER = "SY0631";
    /// An approval that nobody can give.
    NOBODY_APPROVES = "SY0632";
    /// A process of the delegate where none may be.
    NO_DELEGATE_PROCESS = "SY0633";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "a test looks at the repository's own pages"
    )]
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
