//! How fast the masker is by itself: lines of 100 bytes in chunks of 64 KiB, with so many secrets.

#![allow(clippy::print_stdout, reason = "its output is its purpose")]

use std::time::Instant;

use addon::mask::Masker;

fn main() {
    let line = |i: usize| {
        format!(
            "{i:08} {}\n",
            "the quick brown fox jumps over the lazy dog; ".repeat(2)
        )
    };
    let log: String = (0..1_000_000)
        .map(line)
        .fold(String::new(), |text, line| text + &line);
    for count in [0, 3, 100] {
        let secrets: Vec<String> = (0..count)
            .map(|i| format!("s3cret-{i}-value/{}", i * 7919))
            .collect();
        let mut masker = Masker::new(&secrets);
        let mut out = Vec::with_capacity(128 * 1024);
        let begun = Instant::now();
        for chunk in log.as_bytes().chunks(64 * 1024) {
            out.clear();
            masker.push(chunk, &mut out);
        }
        let rate = log.len() as f64 / 1e6 / begun.elapsed().as_secs_f64();
        println!("{count} secrets: {rate:.0} MB/s");
    }
}
