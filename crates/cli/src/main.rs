//! stepyard: run the containerized step groups of Harness pipelines
//!
//! This crate is what a person meets: the commands, the screen, the places where runs are kept.

mod screen;

fn main() {}
