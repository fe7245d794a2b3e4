//! The in-pod agent as bytes: what `stepyard` carries along and puts into pods.
//!
//! The build script builds it from `crates/agent` with its own profile, whatever the profile of the program that carries it:
//! its size is what makes it fit. `STEPYARD_AGENT=<path>` names a ready one instead (a release's, one for another platform).
//! A program for another system than Linux carries the agent for Linux on the same processor: that of its engine's machine.

use std::fmt::Write as _;
use std::sync::LazyLock;

use sha2::{Digest as _, Sha256};

/// The agent, an executable for Linux.
pub static AGENT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/stepyard-agent"));

/// The target it was built for (`x86_64-unknown-linux-musl`), or `STEPYARD_AGENT` where a ready one was named.
pub const TARGET: &str = env!("STEPYARD_AGENT_TARGET");

/// SHA-256 of [`AGENT`], hexadecimal: the name of its ConfigMap, and what is compared before it is used.
pub fn digest() -> &'static str {
    static DIGEST: LazyLock<String> = LazyLock::new(|| {
        let mut text = String::new();
        for byte in Sha256::digest(AGENT) {
            write!(text, "{byte:02x}").expect("a string takes all");
        }
        text
    });
    &DIGEST
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_agent_is_a_program_that_fits_a_config_map() {
        assert_eq!(&super::AGENT[..4], b"\x7fELF");
        assert_eq!(super::digest().len(), 64);
        if super::TARGET.ends_with("musl") {
            assert!(
                super::AGENT.len() <= 1_000_000,
                "{} bytes",
                super::AGENT.len()
            );
        }
    }
}
