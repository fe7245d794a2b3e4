//! Golden screens: what a person sees of recorded runs.

mod screens;
mod story;
mod terminal;
