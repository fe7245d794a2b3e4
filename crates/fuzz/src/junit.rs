//! Bytes as a JUnit report: sums that agree with the cases.

use engine::junit::{Summary, Verdict};

pub(crate) fn check(bytes: &[u8]) {
    let mut summary = Summary::default();
    // The second file is added to what the first one gave.
    summary.add("a.xml", bytes);
    let once = summary.tests;
    summary.add("b.xml", bytes);
    assert_eq!(summary.tests, once * 2);
    assert_eq!(summary.cases.len() as u64, summary.tests);
    let count = |wanted: Verdict| {
        let cases = summary.cases.iter();
        cases.filter(|case| case.result == wanted).count() as u64
    };
    assert_eq!(count(Verdict::Failed), summary.failed);
    assert_eq!(count(Verdict::Error), summary.errors);
    assert_eq!(count(Verdict::Skipped), summary.skipped);
    assert_eq!(
        summary.bad().count() as u64,
        summary.failed + summary.errors
    );
    assert!(summary.slowest(3).len() <= 3);
}
