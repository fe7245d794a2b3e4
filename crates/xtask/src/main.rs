//! builds, images, clusters, checks

fn main() {}
