//! A script in which secrets stand: each becomes a reference to a variable of the script's own environment.
//!
//! The value itself is never part of the script, so nothing in it (quotes, newlines, `$(…)`) is interpreted, and no
//! listing of processes shows it. Where the secret stands decides how the variable is named there:
//!
//! | where | `sh`, `bash` | `pwsh` | `python` |
//! |---|---|---|---|
//! | in code | `"${N}"` | `${env:N}` | `__import__("os").environ["N"]` |
//! | in a string that expands | `${N}` | `${env:N}` | |
//! | in a string that does not | `'"${N}"'` | `('…N…').Replace('N', ${env:N})` | `"…N…".replace("N", …)` |
//! | in a here-document with a quoted word | the word unquoted, its body escaped | | |
//!
//! The scanners know as much of each language as this takes. Where they cannot know, the reference is quoted: a value is
//! then at worst one literal word.

mod posix;
mod pwsh;
mod python;

use syntax::expr::{Piece, SecretRef};

pub use super::step::Shell;

/// A script without secrets, and the variables that it names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Script {
    /// The text.
    pub text: String,
    /// Variables with the secrets that they hold.
    pub secrets: Vec<(String, SecretRef)>,
}

/// A piece of a script as its scanner sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::resolve) enum Unit {
    Char(char),
    /// The secret of this index.
    Secret(usize),
}

/// Replaces the secrets of a script. `taken` are names of the environment that are not ours to give.
pub fn place(pieces: &[Piece], shell: Shell, taken: &[&str]) -> Script {
    let mut secrets: Vec<(String, SecretRef)> = Vec::new();
    let whole: String = pieces
        .iter()
        .filter_map(|piece| match piece {
            Piece::Text(text) => Some(&**text),
            Piece::Secret(_) => None,
        })
        .collect();
    let mut units = Vec::with_capacity(whole.len());
    let mut number = 0;
    for piece in pieces {
        match piece {
            Piece::Text(text) => units.extend(text.chars().map(Unit::Char)),
            Piece::Secret(secret) => {
                let known = secrets.iter().position(|(_, own)| own == secret);
                let index = known.unwrap_or_else(|| {
                    let name = loop {
                        number += 1;
                        // The zero-padded number keeps one name from being the beginning of another.
                        let name = format!("HARNESS_SECRET_{number:03}");
                        if !whole.contains(&name) && !taken.contains(&name.as_str()) {
                            break name;
                        }
                    };
                    secrets.push((name, secret.clone()));
                    secrets.len() - 1
                });
                units.push(Unit::Secret(index));
            }
        }
    }
    if secrets.is_empty() {
        return Script {
            text: whole,
            secrets,
        };
    }
    let names: Vec<&str> = secrets.iter().map(|(name, _)| name.as_str()).collect();
    let text = match shell {
        Shell::Sh | Shell::Bash => posix::place(&units, &names),
        Shell::Pwsh => pwsh::place(&units, &names),
        Shell::Python => python::place(&units, &names),
    };
    Script { text, secrets }
}
