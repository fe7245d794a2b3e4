//! What an example is to come to.
//!
//! ```text
//! # comment
//! outcome: success            or: failure
//! args: --entities entities   more arguments of `stepyard run`
//! env: NAME=VALUE
//! pipeline: other.yaml        else the file of the same name
//! uses: servers
//! needs: root                 left out, and told so, for another user
//! line: text                  some line of the output holds it; lines are found in this order
//! anywhere: text              some line holds it, wherever: of steps that run side by side
//! never: text                 no line holds it
//! screen: not PATH, REASON    the lines that the step of that path prints are not in its `.screen` file
//! screen: none, REASON        it has no `.screen` file, as no two runs print the same
//! ```
//!
//! These are what matters most. The rest of what it prints is in the `.screen` file beside it (`screen.rs`).

use anyhow::{Result, bail};

/// An expectation.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Expected {
    success: bool,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) pipeline: Option<String>,
    pub(crate) uses_servers: bool,
    pub(crate) needs_root: bool,
    /// Whether what it prints is compared with its golden screen.
    pub(crate) screen: bool,
    /// Paths of steps whose own lines are not part of it.
    pub(crate) silent: Vec<String>,
    lines: Vec<String>,
    anywhere: Vec<String>,
    never: Vec<String>,
}

impl Expected {
    /// Reads it. An unknown word is an error: a check that is misspelt checks nothing.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut it = Self {
            screen: true,
            ..Self::default()
        };
        let mut outcome = None;
        for line in text
            .lines()
            .map(str::trim)
            .filter(|l| !l.is_empty() && !l.starts_with('#'))
        {
            let Some((word, rest)) = line.split_once(':') else {
                bail!("`{line}` has no colon")
            };
            let rest = rest.trim();
            match (word, rest) {
                ("outcome", "success") => outcome = Some(true),
                ("outcome", "failure") => outcome = Some(false),
                ("args", _) => it.args.extend(rest.split_whitespace().map(str::to_owned)),
                ("env", _) => {
                    let Some((name, value)) = rest.split_once('=') else {
                        bail!("`{line}` has no `=`")
                    };
                    it.env.push((name.to_owned(), value.to_owned()));
                }
                ("pipeline", _) => it.pipeline = Some(rest.to_owned()),
                ("uses", "servers") => it.uses_servers = true,
                ("needs", "root") => it.needs_root = true,
                ("screen", _) => match rest.split_once(',') {
                    Some((_, reason)) if reason.trim().is_empty() => {
                        bail!("`{line}` gives no reason")
                    }
                    Some(("none", _)) => it.screen = false,
                    Some((what, _)) if what.starts_with("not ") => {
                        it.silent.push(what["not ".len()..].trim().to_owned());
                    }
                    _ => bail!("`{line}` is neither `none, REASON` nor `not PATH, REASON`"),
                },
                ("line", _) => it.lines.push(rest.to_owned()),
                ("anywhere", _) => it.anywhere.push(rest.to_owned()),
                ("never", _) => it.never.push(rest.to_owned()),
                _ => bail!("`{line}` is not understood"),
            }
        }
        let Some(success) = outcome else {
            bail!("it says no outcome")
        };
        it.success = success;
        Ok(it)
    }

    /// A sentence for everything that is not as it should be.
    pub(crate) fn compare(&self, code: Option<i32>, text: &str) -> Vec<String> {
        let mut wrong = Vec::new();
        match (self.success, code) {
            (true, Some(0)) => {}
            (false, Some(c)) if c != 0 => {}
            (true, _) => wrong.push(format!("it should succeed, and ended with {code:?}")),
            (false, _) => wrong.push(format!("it should fail, and ended with {code:?}")),
        }
        let mut rest = text.lines();
        for line in &self.lines {
            let mut look = rest.clone();
            if look.any(|l| l.contains(line.as_str())) {
                rest = look;
            } else if text.contains(line.as_str()) {
                wrong.push(format!("`{line}` stands too early in its output"));
            } else {
                wrong.push(format!("no line of its output holds `{line}`"));
            }
        }
        let missing = |line: &&String| !text.contains(line.as_str());
        for line in self.anywhere.iter().filter(missing) {
            wrong.push(format!("no line of its output holds `{line}`"));
        }
        for never in self.never.iter().filter(|n| text.contains(n.as_str())) {
            wrong.push(format!("its output holds `{never}`"));
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_not_as_expected_is_told() {
        let expected =
            Expected::parse("outcome: success\nline: one\nline: two\nnever: secret\n").unwrap();
        assert_eq!(
            expected.compare(Some(0), "one\nmore\ntwo\n"),
            Vec::<String>::new()
        );
        assert_eq!(
            expected.compare(Some(1), "two\none secret\n"),
            [
                "it should succeed, and ended with Some(1)",
                "`two` stands too early in its output",
                "its output holds `secret`"
            ]
        );
        let beside = Expected::parse("outcome: success\nanywhere: one\nanywhere: two").unwrap();
        assert_eq!(beside.compare(Some(0), "two\none"), Vec::<String>::new());
        assert_eq!(
            beside.compare(Some(0), "two"),
            ["no line of its output holds `one`"]
        );
        // Killed by a signal is no expected failure.
        let failing = Expected::parse("outcome: failure").unwrap();
        assert_eq!(failing.compare(None, "").len(), 1);
        assert_eq!(failing.compare(Some(1), "").len(), 0);
    }

    #[test]
    fn a_screen_is_compared_unless_there_is_a_reason_not_to() {
        assert!(Expected::parse("outcome: success").unwrap().screen);
        let none = "outcome: success\nscreen: none, two shards race";
        assert!(!Expected::parse(none).unwrap().screen);
        let not = "outcome: success\nscreen: not build/pod/engine, its log";
        let not = Expected::parse(not).unwrap();
        assert!(not.screen);
        assert_eq!(not.silent, ["build/pod/engine"]);
    }

    #[test]
    fn a_misspelt_check_is_refused() {
        for text in [
            "outcome: good",
            "outcome: success\nlien: x",
            "line: x",
            "uses: magic\noutcome: success",
            "screen: none\noutcome: success",
            "screen: none, \noutcome: success",
            "screen: some, why\noutcome: success",
            "screen: not a/b\noutcome: success",
        ] {
            assert!(Expected::parse(text).is_err(), "{text}");
        }
    }
}
