//! stepyard: run the containerized step groups of Harness pipelines

fn main() {}
