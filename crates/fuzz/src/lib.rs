//! What strangers write, read by what reads it: each target takes any bytes and panics where a promise does not hold.
//!
//! `cargo xtask fuzz` feeds them with mutated inputs, led by coverage; the corpus in `corpus/TARGET` is where it begins, and a test
//! of this crate gives every one of its files to its target. An input that once broke something is kept in there.

mod expressions;
mod frames;
mod junit;
mod lowering;
mod yaml;

/// A target: its name, which is that of its folder in the corpus, and its function.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 5] = [
    ("yaml", yaml::check),
    ("lowering", lowering::check),
    ("expressions", expressions::check),
    ("junit", junit::check),
    ("frames", frames::check),
];

/// The function of a target.
pub fn target(name: &str) -> Option<fn(&[u8])> {
    TARGETS
        .iter()
        .find(|(own, _)| *own == name)
        .map(|(_, check)| *check)
}
