//! Masking: no secret gets through, whatever the borders.

use addon::mask::{MASK, Masker};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use proptest::prelude::*;

fn masked(secrets: &[&str], chunks: &[&[u8]]) -> Vec<u8> {
    let mut masker = Masker::new(secrets);
    let mut out = Vec::new();
    for chunk in chunks {
        masker.push(chunk, &mut out);
    }
    masker.finish(&mut out);
    out
}

fn text(secrets: &[&str], log: &str) -> String {
    String::from_utf8(masked(secrets, &[log.as_bytes()])).expect("text")
}

#[test]
fn every_form_is_masked() {
    let secret = "pa$$ w/ord'1\"é";
    for form in [
        secret.to_owned(),
        STANDARD.encode(secret),
        URL_SAFE.encode(secret),
        "pa%24%24%20w%2Ford%271%22%C3%A9".to_owned(),
        "pa%24%24+w%2Ford%271%22%C3%A9".to_owned(),
        serde_json::to_string(secret)
            .expect("JSON")
            .trim_matches('"')
            .to_owned(),
        r#"pa$$ w/ord'\''1"é"#.to_owned(),
        r#"pa\$\$\ w/ord\'1\"é"#.to_owned(),
    ] {
        let out = text(&[secret], &format!("<{form}>\n"));
        assert_eq!(out, format!("<{MASK}>\n"), "{form}");
    }
}

#[test]
fn base64_of_a_longer_text_is_masked_at_each_alignment() {
    let secret = "correct horse battery";
    for before in ["", "u", "us", "use", "user"] {
        let encoded = STANDARD.encode(format!("{before}{secret}:x"));
        let out = text(&[secret], &encoded);
        assert!(out.contains(MASK), "{before}: {out}");
        let core = &encoded[encoded.len() / 2 - 6..encoded.len() / 2 + 6];
        assert!(!out.contains(core), "{before}: {out}");
    }
}

#[test]
fn each_line_of_a_secret_is_masked_and_short_pieces_are_not() {
    let key = "-----BEGIN KEY-----\nabcdefgh\nij\n-----END KEY-----\n";
    assert_eq!(text(&[key], "x abcdefgh y\n"), format!("x {MASK} y\n"));
    assert_eq!(text(&[key], "hijk\n"), "hijk\n");
    let json = serde_json::to_string(key).expect("JSON");
    assert_eq!(text(&[key], &json), format!("\"{MASK}\""));
    assert_eq!(text(&["", "ab"], "ab cd\n"), "ab cd\n");
}

#[test]
fn the_longest_secret_wins_and_a_beginning_is_held_back() {
    assert_eq!(
        text(&["secret", "secret-longer"], "secret-longer secret-long"),
        format!("{MASK} {MASK}-long")
    );
    let mut masker = Masker::new(&["hunter2"]);
    let mut out = Vec::new();
    masker.push(b"hello\nhun", &mut out);
    assert_eq!(out, b"hello\n", "the beginning of a secret waits");
    masker.push(b"t a fox\n", &mut out);
    assert_eq!(out, b"hello\nhunt a fox\n");
}

#[test]
fn what_is_no_secret_passes_unchanged() {
    let mut log = b"\xff\xfe\0 bar 10%\r bar 20%\r\n\x1b[31mred\x1b[0m\n".to_vec();
    log.extend(std::iter::repeat_n(b'x', 1 << 20));
    let chunks: Vec<&[u8]> = log.chunks(4093).collect();
    assert_eq!(masked(&["hunter2"], &chunks), log);
    assert_eq!(masked(&[], &chunks), log);
}

proptest! {
    // A small alphabet makes overlaps, repetitions and near misses.
    #[test]
    fn any_chunking_gives_the_same_and_no_secret_gets_through(
        secrets in proptest::collection::vec("[abc\n]{1,8}", 1..4),
        log in "[abcd\n]{0,200}",
        cuts in proptest::collection::vec(0usize..200, 0..20),
    ) {
        let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
        let whole = masked(&secrets, &[log.as_bytes()]);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(log.len())).collect();
        cuts.extend([0, log.len()]);
        cuts.sort_unstable();
        let chunks: Vec<&[u8]> = cuts.windows(2).map(|cut| &log.as_bytes()[cut[0]..cut[1]]).collect();
        prop_assert_eq!(&masked(&secrets, &chunks), &whole);
        let whole = String::from_utf8(whole).expect("text");
        for line in secrets.iter().flat_map(|secret| secret.lines()).filter(|line| line.len() > 2) {
            prop_assert!(!whole.contains(line), "{:?} in {:?}", line, whole);
        }
    }

    #[test]
    fn what_was_given_out_never_holds_a_secret(
        secret in "[ab]{3,9}",
        log in "[abc]{0,100}",
        at in 0usize..100,
    ) {
        // At any moment, not only at the end: a reader sees each chunk as it comes.
        let mut masker = Masker::new(&[&secret]);
        let mut out = Vec::new();
        let at = at.min(log.len());
        masker.push(&log.as_bytes()[..at], &mut out);
        let early = String::from_utf8(out.clone()).expect("text");
        prop_assert!(!early.contains(&secret));
        masker.push(&log.as_bytes()[at..], &mut out);
        masker.finish(&mut out);
        prop_assert!(out.starts_with(early.as_bytes()));
    }
}
