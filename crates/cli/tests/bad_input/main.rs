//! What cannot be used, each with its own words: texts and arguments, images and registries, disks, and steps that misbehave.

#[path = "../support/mod.rs"]
mod support;

mod clock;
mod disk;
mod images;
mod language;
mod steps;
mod texts;
