//! JUnit reports: sums, the failed cases and the slowest.
//!
//! There is no standard, only writers: suites nest or stand alone, counts are missing or wrong, times have commas, files are cut. So cases are
//! counted as they stand and attributes of suites are not believed. What cannot be read is a warning beside what could.
//!
//! What xUnit.net writes by itself (`assemblies`, `assembly`, `test`) is read as well: it is JUnit by other names.

use std::collections::BTreeSet;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// Characters of a failure's message that are kept: enough to know it by.
const MESSAGE: usize = 400;

/// What the reports of a step say.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Summary {
    /// Test cases.
    pub tests: u64,
    /// Of them: an assertion did not hold.
    pub failed: u64,
    /// Of them: something else went wrong.
    pub errors: u64,
    /// Of them: not run.
    pub skipped: u64,
    /// Milliseconds of all cases.
    pub time_ms: u64,
    /// Every case, in the order of the files.
    pub cases: Vec<Case>,
    /// What could not be read, by file.
    pub warnings: Vec<String>,
}

/// One test case.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Case {
    /// Its suite's name, where it has none of its own class.
    pub class: String,
    /// Its name.
    pub name: String,
    /// Milliseconds.
    pub time_ms: u64,
    /// How it ended.
    pub result: Verdict,
    /// The first lines of what a failed one says.
    pub message: String,
}

/// How a test case ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    #[default]
    Passed,
    /// An assertion did not hold.
    Failed,
    /// Something else went wrong.
    Error,
    /// It was not run.
    Skipped,
}

impl Summary {
    /// Adds a file. A file that is not JUnit adds a warning, a cut one its whole cases and a warning.
    pub fn add(&mut self, file: &str, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        let mut reader = Reader::from_str(&text);
        let config = reader.config_mut();
        config.check_end_names = false;
        config.allow_unmatched_ends = true;
        config.allow_dangling_amp = true;
        let mut suites: Vec<String> = Vec::new();
        let mut case: Option<Case> = None;
        let mut inside = false;
        let mut text_of = String::new();
        let mut known = false;
        let mut roots = 0_u32;
        let mut open: BTreeSet<&'static str> = BTreeSet::new();
        let mut xunit = false;
        loop {
            match reader.read_event() {
                Ok(Event::Start(tag)) => match named(&local(&tag), &mut xunit) {
                    "testsuites" => {
                        known = true;
                        roots += 1;
                    }
                    "testsuite" => {
                        known = true;
                        suites.push(attribute(&tag, "name"));
                    }
                    "testcase" => {
                        self.end(case.take());
                        case = Some(begin(&tag, suites.last()));
                        open.insert("testcase");
                    }
                    // Of an assembly as a whole: its fixtures, its clean-up.
                    "error" if xunit && case.is_none() => {
                        case = Some(Case {
                            name: attribute(&tag, "type"),
                            result: Verdict::Error,
                            ..begin(&tag, suites.last())
                        });
                        open.insert("testcase");
                    }
                    "message" | "stack-trace" if xunit => {
                        inside = case.as_ref().is_some_and(said);
                    }
                    name => {
                        inside = verdict(name, &tag, case.as_mut());
                    }
                },
                Ok(Event::Empty(tag)) => match named(&local(&tag), &mut xunit) {
                    "testsuites" | "testsuite" => known = true,
                    "testcase" => {
                        self.end(case.take());
                        self.end(Some(begin(&tag, suites.last())));
                    }
                    name => {
                        verdict(name, &tag, case.as_mut());
                    }
                },
                Ok(Event::End(tag)) => {
                    if inside {
                        add_text(case.as_mut(), &std::mem::take(&mut text_of));
                    }
                    match named(tag.local_name().as_ref(), &mut xunit) {
                        "error"
                            if xunit
                                && case
                                    .as_ref()
                                    .is_some_and(|own| own.result == Verdict::Error) =>
                        {
                            open.remove("testcase");
                            self.end(case.take());
                        }
                        "testsuites" => roots = roots.saturating_sub(1),
                        "testsuite" => {
                            suites.pop();
                        }
                        "testcase" => {
                            open.remove("testcase");
                            self.end(case.take());
                        }
                        _ => {}
                    }
                    inside = false;
                }
                Ok(Event::Text(words)) if inside => {
                    text_of.push_str(&words);
                }
                // Entities stand between pieces of a text.
                Ok(Event::GeneralRef(name)) if inside => match name.resolve_char_ref() {
                    Ok(Some(character)) => text_of.push(character),
                    _ => text_of.push_str(match &*name {
                        "lt" => "<",
                        "gt" => ">",
                        "quot" => "\"",
                        "apos" => "'",
                        _ => "&",
                    }),
                },
                Ok(Event::CData(words)) if inside => {
                    text_of.push_str(&words);
                }
                Ok(Event::Eof) => break,
                Ok(_) => {}
                Err(error) => {
                    self.end(case.filter(said));
                    self.warnings.push(format!("{file}: {error}"));
                    return;
                }
            }
        }
        if !open.is_empty() || !suites.is_empty() || roots > 0 {
            self.warnings.push(format!("{file}: it ends too early"));
        }
        self.end(case.filter(said));
        if !known {
            self.warnings
                .push(format!("{file}: it is not a JUnit report"));
        }
    }

    /// The cases that failed or went wrong.
    pub fn bad(&self) -> impl Iterator<Item = &Case> {
        self.cases
            .iter()
            .filter(|case| matches!(case.result, Verdict::Failed | Verdict::Error))
    }

    /// The slowest cases, the slowest first.
    pub fn slowest(&self, count: usize) -> Vec<&Case> {
        let mut all: Vec<_> = self.cases.iter().filter(|case| case.time_ms > 0).collect();
        all.sort_by_key(|case| std::cmp::Reverse(case.time_ms));
        all.truncate(count);
        all
    }

    fn end(&mut self, case: Option<Case>) {
        let Some(case) = case else {
            return;
        };
        self.tests += 1;
        // A report may claim any time, as often as it likes.
        self.time_ms = self.time_ms.saturating_add(case.time_ms);
        match case.result {
            Verdict::Passed => {}
            Verdict::Failed => self.failed += 1,
            Verdict::Error => self.errors += 1,
            Verdict::Skipped => self.skipped += 1,
        }
        self.cases.push(case);
    }
}

/// An element's name as JUnit has it; `xunit`: the file is one of xUnit.net.
fn named<'n>(name: &'n str, xunit: &mut bool) -> &'n str {
    match name {
        "assemblies" => {
            *xunit = true;
            "testsuites"
        }
        "assembly" => {
            *xunit = true;
            "testsuite"
        }
        "test" if *xunit => "testcase",
        name => name,
    }
}

/// Whether a case that was cut off says how it went: one that only began did not pass.
fn said(case: &Case) -> bool {
    case.result != Verdict::Passed
}

fn begin(tag: &BytesStart<'_>, suite: Option<&String>) -> Case {
    let mut class = attribute(tag, "classname");
    let name = attribute(tag, "name");
    let mut short = name.as_str();
    // xUnit.net's own: the name holds the class, and the end is an attribute.
    let result = match attribute(tag, "result").as_str() {
        "Fail" => Verdict::Failed,
        "Skip" | "NotRun" => Verdict::Skipped,
        _ => Verdict::Passed,
    };
    if class.is_empty() && local(tag) == "test" {
        class = attribute(tag, "type");
        let method = name.strip_prefix(&class);
        short = method
            .and_then(|own| own.strip_prefix('.'))
            .unwrap_or(short);
    }
    Case {
        class: if class.is_empty() {
            suite.cloned().unwrap_or_default()
        } else {
            class
        },
        name: short.to_owned(),
        time_ms: seconds(&attribute(tag, "time")),
        result,
        message: String::new(),
    }
}

/// Notes what a child of a case says of it; whether its text is part of the message.
fn verdict(name: &str, tag: &BytesStart<'_>, case: Option<&mut Case>) -> bool {
    let result = match name {
        "failure" => Verdict::Failed,
        "error" => Verdict::Error,
        "skipped" => Verdict::Skipped,
        _ => return false,
    };
    let Some(case) = case else {
        return false;
    };
    // A case that failed and was cleaned up with an error stays a failure.
    if case.result == Verdict::Passed {
        case.result = result;
    }
    add_text(Some(case), &attribute(tag, "message"));
    result != Verdict::Skipped
}

fn add_text(case: Option<&mut Case>, text: &str) {
    let (Some(case), text) = (case, text.trim()) else {
        return;
    };
    let room = MESSAGE.saturating_sub(case.message.chars().count());
    if text.is_empty() || room == 0 {
        return;
    }
    if !case.message.is_empty() {
        case.message.push('\n');
    }
    case.message.extend(text.chars().take(room));
}

fn local(tag: &BytesStart<'_>) -> String {
    tag.local_name().as_ref().to_owned()
}

fn attribute(tag: &BytesStart<'_>, name: &str) -> String {
    let found = tag
        .html_attributes()
        .with_checks(false)
        .flatten()
        .find(|attribute| attribute.key.local_name().as_ref() == name);
    let Some(found) = found else {
        return String::new();
    };
    let raw = &found.value;
    quick_xml::escape::unescape(raw).map_or(raw.to_string(), std::borrow::Cow::into_owned)
}

/// `1.5`, `1,234.5`, `0,5`, `1.2s`: milliseconds; anything else is 0.
fn seconds(text: &str) -> u64 {
    let text = text.trim().trim_end_matches('s');
    let text = if text.contains('.') {
        text.replace(',', "")
    } else {
        text.replace(',', ".")
    };
    let seconds: f64 = text.parse().unwrap_or(0.0);
    if seconds.is_finite() && seconds > 0.0 {
        (seconds * 1000.0).round() as u64
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Summary {
        let mut summary = Summary::default();
        summary.add("r.xml", text.as_bytes());
        summary
    }

    #[test]
    fn cases_are_counted_as_they_stand() {
        let summary = read(
            r#"<?xml version="1.0"?>
            <testsuites tests="99"><testsuite name="s">
              <testcase classname="a.B" name="one" time="0.25"/>
              <testcase name="two &lt;x&gt;" time="1,5"><failure message="1 != 2">at line 3</failure>
                <system-out>noise</system-out></testcase>
              <testcase name="three"><error><![CDATA[boom]]></error></testcase>
              <testcase name="four"><skipped/></testcase>
            </testsuite></testsuites>"#,
        );
        assert_eq!(
            (
                summary.tests,
                summary.failed,
                summary.errors,
                summary.skipped
            ),
            (4, 1, 1, 1)
        );
        assert_eq!(summary.time_ms, 1750);
        let bad: Vec<_> = summary.bad().collect();
        assert_eq!(bad[0].name, "two <x>");
        assert_eq!(bad[0].class, "s");
        assert_eq!(bad[0].message, "1 != 2\nat line 3");
        assert_eq!(bad[1].message, "boom");
        assert_eq!(summary.slowest(1)[0].name, "two <x>");
        assert_eq!(summary.warnings, Vec::<String>::new());
    }

    #[test]
    fn a_cut_report_keeps_its_whole_cases_and_says_so() {
        let summary = read("<testsuite><testcase name='a'/><testcase name='b'><failure>x");
        assert_eq!((summary.tests, summary.failed), (2, 1));
        assert_eq!(summary.warnings.len(), 1);
        for (cut, tests) in [
            ("<testsuite tests='3' failures='1'><testcase name='a'/>", 1),
            ("<testsuites><testsuite><testcase name='a'/></testsuite>", 1),
            (
                "<testsuite><testcase name='a'/><testcase name='b'><failure mess",
                1,
            ),
            ("<testsuite><testcase name='a'/><testcase name='b'>", 1),
        ] {
            let summary = read(cut);
            assert_eq!(summary.tests, tests, "{cut}");
            assert_eq!(summary.warnings.len(), 1, "{cut}");
        }
        assert_eq!(read("kind: Pipeline").warnings.len(), 1);
    }

    #[test]
    fn what_xunit_writes_by_itself_is_read() {
        let text = r#"<assemblies><assembly name="a.dll" total="3"><errors><error type="assembly-cleanup"><failure exception-type="E">
              <message><![CDATA[no disk]]></message></failure></error></errors>
              <collection name="c"><test name="N.Sums.Adds" type="N.Sums" method="Adds" time="0.25" result="Pass" />
              <test name="N.Sums.Carries(a: 1)" type="N.Sums" method="Carries" time="1.5" result="Fail">
                <output>noise</output><failure exception-type="E"><message><![CDATA[1 != 2]]></message><stack-trace>at line 3</stack-trace></failure></test>
              <test name="N.Sums.Later" type="N.Sums" time="0" result="Skip"><reason><![CDATA[later]]></reason></test>
            </collection></assembly></assemblies>"#;
        let summary = read(text);
        let counts = (
            summary.tests,
            summary.failed,
            summary.errors,
            summary.skipped,
        );
        assert_eq!(counts, (4, 1, 1, 1));
        assert_eq!(summary.time_ms, 1750);
        let bad: Vec<_> = summary
            .bad()
            .map(|own| (&*own.class, &*own.name, &*own.message))
            .collect();
        assert_eq!(
            bad,
            [
                ("a.dll", "assembly-cleanup", "no disk"),
                ("N.Sums", "Carries(a: 1)", "1 != 2\nat line 3"),
            ]
        );
        assert_eq!(summary.warnings, Vec::<String>::new());
        let (cut, _) = text.split_once("<stack-trace>").expect("its middle");
        let summary = read(cut);
        assert_eq!(
            (summary.tests, summary.failed, summary.warnings.len()),
            (3, 1, 1)
        );
    }

    #[test]
    fn times_beyond_all_bounds_have_a_sum() {
        let summary = read(
            "<testsuite><testcase name='a' time='1e30'/><testcase name='b' time='2.3'/></testsuite>",
        );
        assert_eq!(summary.time_ms, u64::MAX);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            Summary::default().add("x", &bytes);
        }

        #[test]
        fn no_soup_of_its_own_words_does(words in proptest::collection::vec(
            prop::sample::select(vec!["<testsuite>", "</testsuite>", "<testcase name='a' time='1'>", "</testcase>",
                "<failure message='&amp;&'>", "</failure>", "<skipped/>", "<![CDATA[", "]]>", "&", "x"]), 0..30)) {
            let mut summary = Summary::default();
            summary.add("x", words.concat().as_bytes());
            prop_assert_eq!(summary.tests as usize, summary.cases.len());
        }
    }
}
