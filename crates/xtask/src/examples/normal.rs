//! What an example printed, as far as every run of it prints the same.
//!
//! * Steps side by side print in turns that nobody foresees: the lines of each `[path]` stand together, in the order of the paths. Within a
//!   path their order is kept.
//! * What is drawn, measured or a matter of the machine has a word in its place: `RUN`, `POD`, `TIME`, `SIZE`, `DIGEST`.
//!   Times that the pipeline says, as the pause before a retry, stay.
//! * What `Initialize` tells of images, of containers and of what the machine cannot give is left out: images may be there already, and
//!   containers are made ahead of their steps as far as the time allows.
//! * Of the table at the end, the mark, the name and the words beside it stay; figures and bars go.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use regex_lite::Regex;

/// What differs from run to run, and what stands for it: times and amounts only with the words around them that say what was measured.
const DRAWN: &[(&str, &str)] = &[
    (
        r"\bharnesscd-([a-z0-9-]+)-[a-z0-9]{8}\b",
        "harnesscd-$1-POD",
    ),
    (r"\bsha256:[0-9a-f]{64}\b", "sha256:DIGEST"),
    // How long something took, at the end of what is told of it. Not `retry 1 of 2 in 1.0s by …`, which the pipeline says.
    (
        r"(?m)\bin ([0-9]+[dhm] )?[0-9.]+(s|ms|m|h)($|: |  run | =)",
        "in TIME$3",
    ),
    (r"\bafter [0-9]+ ms\b", "after TIME"),
    // The sum of a step's tests.
    (
        r"(?m)^(\S+: [0-9,]+ tests?, .*), ([0-9]+[dhm] )?[0-9.]+(s|ms|m|h)$",
        "$1, TIME",
    ),
    // Of an archive, which holds times itself.
    (
        r"\b[0-9]+ bytes, sha256 [0-9a-f]{64}\b",
        "SIZE, sha256 DIGEST",
    ),
    (
        r"\b(taken over:|used|a limit of) [0-9.]+ (B|KiB|MiB|GiB)\b",
        "$1 SIZE",
    ),
];

/// Begins of lines of an `Initialize` that tell of the machine, its caches and its haste, not of the pipeline.
const OF_THE_MACHINE: [&str; 6] = [
    "Container image ",
    "Pulling image ",
    "Successfully pulled image ",
    "Created container ",
    "Started container ",
    "warning: ",
];

/// The text as it is compared. `own` are names that only this run has, and what stands for each; what the steps of the paths `silent` print
/// themselves is left out.
pub(crate) fn normal(text: &str, own: &[(String, String)], silent: &[String]) -> Result<String> {
    let mut text = text.to_owned();
    let run = Regex::new(r"(?m)^\[pipeline\] run ([a-z0-9]{10})\b")?;
    let run = run.captures(&text).map(|found| found[1].to_owned());
    if let Some(run) = run {
        text = text.replace(&run, "RUN");
    }
    for (pattern, word) in DRAWN {
        let pattern = Regex::new(pattern).with_context(|| (*pattern).to_owned())?;
        text = pattern.replace_all(&text, *word).into_owned();
    }
    for (name, word) in own {
        text = text.replace(name, word);
    }
    let mut paths: BTreeMap<Vec<&str>, Vec<&str>> = BTreeMap::new();
    let mut others = Vec::new();
    for line in text.lines().map(str::trim_end) {
        match line.strip_prefix('[').and_then(|l| l.split_once(']')) {
            Some((path, said)) => {
                let path = path.split('/').collect();
                let said = said.strip_prefix(' ').unwrap_or(said);
                paths.entry(path).or_default().push(said);
            }
            None => others.push(line),
        }
    }
    let mut screen = String::new();
    // The run's own line is the first, wherever its word stands in the alphabet.
    if let Some(lines) = paths.remove(["pipeline"].as_slice()) {
        say(&mut screen, "pipeline", lines)?;
    }
    for (path, mut lines) in paths {
        let shown = path.join("/");
        if shown.ends_with("/Initialize") {
            lines.retain(|l| !OF_THE_MACHINE.iter().any(|start| l.starts_with(start)));
        }
        if silent.contains(&shown) {
            lines.retain(|l| began(l) || *l == "ready" || ended(l));
        }
        ready_first(&mut lines);
        say(&mut screen, &shown, lines)?;
    }
    for line in table(&others) {
        writeln!(screen, "{line}")?;
    }
    Ok(screen)
}

fn say(screen: &mut String, path: &str, lines: Vec<&str>) -> Result<()> {
    for line in lines {
        writeln!(screen, "{}", format!("[{path}] {line}").trim_end())?;
    }
    Ok(())
}

fn began(line: &str) -> bool {
    line == "started" || line.starts_with("started, try ")
}

fn ended(line: &str) -> bool {
    let word = line.split_once(" in TIME").map_or("", |(word, _)| word);
    !word.is_empty()
        && word
            .chars()
            .all(|c| c.is_ascii_lowercase() || ", ".contains(c))
}

/// A Background step is asked whether it is ready while it prints: that stands where it began.
fn ready_first(lines: &mut [&str]) {
    let Some(ready) = lines.iter().position(|l| *l == "ready") else {
        return;
    };
    if let Some(start) = lines[..ready].iter().rposition(|l| began(l)) {
        lines[start + 1..=ready].rotate_right(1);
    }
}

/// Cuts the figures and bars of the table, whose head says where they begin, and leaves out which tests were slow.
fn table<'t>(lines: &[&'t str]) -> Vec<&'t str> {
    let mut figures = None;
    let mut cut = Vec::new();
    for line in lines {
        if let Some(at) = line
            .find("·queued")
            .filter(|at| line[..*at].trim().is_empty())
        {
            // The head is of spaces up to there, and the column has one space before it.
            figures = Some(at.saturating_sub(1));
        } else if let (Some(at), false) = (figures, line.is_empty()) {
            let end = line.char_indices().nth(at).map_or(line.len(), |(i, _)| i);
            cut.push(line[..end].trim_end());
        } else {
            figures = None;
            if !slow(line) {
                cut.push(line);
            }
        }
    }
    cut
}

/// Whether the line tells of a test that took long: `     1.3s  unit::divides`.
fn slow(line: &str) -> bool {
    let told = line.strip_prefix("  ").map(str::trim_start);
    told.and_then(|l| l.split_once("s  "))
        .is_some_and(|(took, _)| {
            !took.is_empty()
                && took
                    .chars()
                    .all(|c| c.is_ascii_digit() || ". m".contains(c))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Vec<(String, String)> {
        vec![
            ("/tmp/.tmpAb1".to_owned(), "HERE".to_owned()),
            ("127.0.0.1:41234".to_owned(), "127.0.0.1:5500".to_owned()),
        ]
    }

    const SCREEN: &str = "\
[pipeline] run srcbyckk7f of two
[build/pod/Initialize] Created container step-goon
[build/pod/Initialize] succeeded in 17ms
[build/pod/go_on] started
[build/pod/go_on] going on

             ·queued  ░pull ▒create   █run    memory    cpu
✓ build                                2.0s
  ✓ pod                                2.0s

✓ two succeeded in 2.0s  run srcbyckk7f
";

    #[test]
    fn what_every_run_prints_stays() {
        let screen = normal(SCREEN, &own(), &[]).unwrap();
        assert_eq!(
            screen,
            "\
[pipeline] run RUN of two
[build/pod/Initialize] succeeded in TIME
[build/pod/go_on] started
[build/pod/go_on] going on

✓ build
  ✓ pod

✓ two succeeded in TIME  run RUN
"
        );
        // Nothing is left to do in what is normal.
        assert_eq!(normal(&screen, &own(), &[]).unwrap(), screen);
    }

    #[test]
    fn what_is_drawn_measured_or_of_the_machine_is_not_seen() {
        let once = normal(SCREEN, &own(), &[]).unwrap();
        for (from, to) in [
            ("srcbyckk7f", "42qzmbvrsk"),
            ("succeeded in 17ms", "succeeded in 1m 05s"),
            ("2.0s", "4.1s"),
            ("  2.0s\n\n", " 2.0s  1ms    1.4 MiB  █···█\n\n"),
            (
                "·queued  ░pull ▒create   █run    memory    cpu",
                "·queued  ░pull ▒create   █run    memory",
            ),
            // What was made ahead, told late or not at all.
            ("[build/pod/Initialize] Created container step-goon\n", ""),
            (
                "[build/pod/go_on] going on\n",
                "[build/pod/go_on] going on\n[build/pod/Initialize] Created container step-later\n",
            ),
            (
                "[build/pod/Initialize] Created container step-goon\n",
                "[build/pod/Initialize] Pulling image \"a:1\"\n\
                 [build/pod/Initialize] Created container step-goon\n\
                 [build/pod/Initialize] warning: the pod has no way out\n",
            ),
            (
                "[build/pod/Initialize] succeeded in 17ms\n[build/pod/go_on] started\n",
                "[build/pod/go_on] started\n[build/pod/Initialize] succeeded in 17ms\n",
            ),
        ] {
            let text = SCREEN.replace(from, to);
            assert_ne!(text, SCREEN, "{from}");
            assert_eq!(normal(&text, &own(), &[]).unwrap(), once, "{from} -> {to}");
        }
    }

    #[test]
    fn what_a_change_of_stepyard_would_change_is_seen() {
        let once = normal(SCREEN, &own(), &[]).unwrap();
        for (from, to) in [
            ("going on", "going  on"),
            ("[build/pod/go_on] going on\n", ""),
            (
                "[build/pod/go_on] started\n[build/pod/go_on] going on",
                "[build/pod/go_on] going on\n[build/pod/go_on] started",
            ),
            ("pod/go_on]", "pod/go]"),
            ("of two", "of three"),
            ("  ✓ pod ", "  ✗ pod "),
            ("  ✓ pod           ", "  ✓ pod  failed   "),
            ("  ✓ pod ", "    ✓ pod "),
            (
                "Created container step-goon",
                "2 iterations of go_on take turns in 1 container",
            ),
            ("Initialize] succeeded", "Initialize] failed"),
            ("two succeeded", "two failed"),
            (
                "run srcbyckk7f\n",
                "run srcbyckk7f\nwarning[SY0203]: a step\n",
            ),
            ("✓ two", "  hint: a\n\n✓ two"),
        ] {
            let text = SCREEN.replace(from, to);
            assert_ne!(text, SCREEN, "{from}");
            assert_ne!(normal(&text, &own(), &[]).unwrap(), once, "{from} -> {to}");
        }
    }

    #[test]
    fn words_stand_for_what_is_drawn() {
        let digest = "5a".repeat(32);
        for (text, expected) in [
            (
                "I am harnesscd-my-pod-nrffvcjq.".to_owned(),
                "I am harnesscd-my-pod-POD.",
            ),
            (format!("a@sha256:{digest}"), "a@sha256:DIGEST"),
            (
                "failed in 3ms: exit code 1".to_owned(),
                "failed in TIME: exit code 1",
            ),
            (
                "== 6 passed in 0.05s ==".to_owned(),
                "== 6 passed in TIME ==",
            ),
            ("aborted in 2h 03m".to_owned(), "aborted in TIME"),
            (
                "200 after 12 ms, 35 bytes".to_owned(),
                "200 after TIME, 35 bytes",
            ),
            (
                "of group \"build\" taken over: 4.0 KiB".to_owned(),
                "of group \"build\" taken over: SIZE",
            ),
            ("see /tmp/.tmpAb1/state".to_owned(), "see HERE/state"),
            (
                "from 127.0.0.1:41234/app".to_owned(),
                "from 127.0.0.1:5500/app",
            ),
            // What the pipeline says itself.
            (
                "retry 1 of 2 in 1.0s by the failure strategy".to_owned(),
                "retry 1 of 2 in 1.0s by the failure strategy",
            ),
            ("waits 1.0s".to_owned(), "waits 1.0s"),
            (
                "t/pod: 2 tests, 1 passed, 1 failed, 260ms".to_owned(),
                "t/pod: 2 tests, 1 passed, 1 failed, TIME",
            ),
            (
                format!("packed a.tar.gz: 127 bytes, sha256 {digest}"),
                "packed a.tar.gz: SIZE, sha256 DIGEST",
            ),
            (
                "    1m 02s  slow\n     1.3s  unit\n  ✗ unit".to_owned(),
                "  ✗ unit",
            ),
        ] {
            assert_eq!(normal(&text, &own(), &[]).unwrap(), format!("{expected}\n"));
        }
    }

    #[test]
    fn paths_keep_their_lines_together() {
        let text = "\
[b/Initialize] succeeded in 1ms
[a-2/s] started
[a/s] started
[b/engine] started
[b/engine] it is up
[a/s]
[a-2/s] one
[b/engine] ready
[a/s] [x] two
[a/s] one
[pipeline] run abcdefghij of it
";
        assert_eq!(
            normal(text, &[], &[]).unwrap(),
            "\
[pipeline] run RUN of it
[a/s] started
[a/s]
[a/s] [x] two
[a/s] one
[a-2/s] started
[a-2/s] one
[b/Initialize] succeeded in TIME
[b/engine] started
[b/engine] ready
[b/engine] it is up
"
        );
    }

    #[test]
    fn of_a_silent_step_what_stepyard_tells_of_it_stays() {
        let text = "\
[b/engine] started
[b/engine] 22:44 up
[b/engine] ready
[b/engine] Failed in 2.0s
[b/engine] failed, ignored in 2.0s: exit code 1
[b/engines] up
";
        assert_eq!(
            normal(text, &[], &["b/engine".to_owned()]).unwrap(),
            "\
[b/engine] started
[b/engine] ready
[b/engine] failed, ignored in TIME: exit code 1
[b/engines] up
"
        );
    }
}
