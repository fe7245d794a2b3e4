//! the static in-pod binary: addon, lite-engine, attach, copy

fn main() {}
