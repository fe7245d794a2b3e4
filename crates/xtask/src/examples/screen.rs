//! The golden screen of an example: what `stepyard run --output plain` prints, whole, in `NAME.screen` beside `NAME.expected`.
//!
//! With `STEPYARD_SCREENS=write` screens are written anew. They are read in their difference, as documentation is.

use std::path::Path;

use anyhow::{Context as _, Result};
use similar::TextDiff;

/// Set to `write`, screens are written and not compared.
const VARIABLE: &str = "STEPYARD_SCREENS";
/// Lines that are shown around one that differs.
const AROUND: usize = 3;

/// Compares `screen` with the golden file, or writes that. `name` is how `cargo xtask examples` is told of the example alone. What is wrong
/// is a text for a person.
pub(crate) fn check(golden: &Path, name: &str, screen: &str) -> Result<Option<String>> {
    let shown = golden.file_name().unwrap_or_default().to_string_lossy();
    if std::env::var_os(VARIABLE).is_some_and(|v| v == "write") {
        if std::fs::read_to_string(golden).ok().as_deref() != Some(screen) {
            std::fs::write(golden, screen).with_context(|| golden.display().to_string())?;
            println!("wrote {}", golden.display());
        }
        return Ok(None);
    }
    let how = format!("{VARIABLE}=write cargo xtask examples {name}");
    if !golden.is_file() {
        return Ok(Some(format!("there is no {shown}; `{how}` makes it")));
    }
    let was = std::fs::read_to_string(golden).with_context(|| golden.display().to_string())?;
    Ok(difference(&was, screen, &shown).map(|difference| {
        format!("it printed something else than {shown}:\n{difference}where that is right: `{how}`")
    }))
}

/// Lines that went and came, with some around them; none where both are the same.
fn difference(was: &str, is: &str, shown: &str) -> Option<String> {
    (was != is).then(|| {
        TextDiff::from_lines(was, is)
            .unified_diff()
            .context_radius(AROUND)
            .header(shown, "what it printed now")
            .to_string()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_shown_with_what_stands_around_it() {
        assert_eq!(difference("a\nb\n", "a\nb\n", "x.screen"), None);
        let was = "1\n2\n3\n4\n5\n6\n";
        let is = "1\n2\n3\n4\nfive\n6\n";
        assert_eq!(
            difference(was, is, "x.screen").unwrap(),
            "--- x.screen\n+++ what it printed now\n@@ -2,5 +2,5 @@\n 2\n 3\n 4\n-5\n+five\n 6\n"
        );
    }

    #[test]
    fn a_screen_that_is_missing_or_differs_is_told_with_the_mend() {
        let folder = tempfile::tempdir().unwrap();
        let golden = folder.path().join("x.screen");
        let missing = check(&golden, "examples/x", "a\n").unwrap().unwrap();
        assert_eq!(
            missing,
            "there is no x.screen; `STEPYARD_SCREENS=write cargo xtask examples examples/x` makes it"
        );
        std::fs::write(&golden, "a\n").unwrap();
        assert_eq!(check(&golden, "examples/x", "a\n").unwrap(), None);
        let differs = check(&golden, "examples/x", "b\n").unwrap().unwrap();
        assert!(differs.contains("-a\n+b\n"), "{differs}");
        assert!(
            differs.ends_with("`STEPYARD_SCREENS=write cargo xtask examples examples/x`"),
            "{differs}"
        );
    }
}
