use std::fmt::Write;

use proptest::prelude::*;

use super::*;
use crate::diagnostic::{Style as Paint, render};

fn read(text: &str) -> (Sources, Parsed) {
    let mut sources = Sources::new();
    let id = sources.add("p.yaml", text);
    let parsed = parse(&sources, id);
    (sources, parsed)
}

#[test]
fn every_node_has_its_place() {
    let (sources, parsed) = read("a: x\nlist:\n  - one\n  - {k: 'v', n: 1.20}\nempty:\n");
    assert_eq!(parsed.diagnostics, []);
    let root = parsed.documents[0].as_mapping().unwrap();
    let list = root.get("list").unwrap();
    assert_eq!(sources.slice(list.span), "- one\n  - {k: 'v', n: 1.20}");
    let flow = &list.as_sequence().unwrap()[1];
    assert_eq!(sources.slice(flow.span), "{k: 'v', n: 1.20}");
    let n = flow.as_mapping().unwrap().get("n").unwrap();
    assert_eq!((sources.slice(n.span), n.as_text()), ("1.20", Some("1.20")));
    assert!(root.get("empty").unwrap().is_null());
    assert_eq!(sources.slice(root.entries[1].key.span), "list");
}

#[test]
fn parts_of_a_text_have_their_place() {
    let texts = [
        "a: one <x> two\n",
        "a: 'one <x>'\n",
        "a: \"one <x>\"\n",
        "a:\n  b: |-\n    one\n\n      two <x>\n    three\n\n  c: 1\n",
        "a: |\n  <x>\n  y\n",
        "a: |\n  y\n  <x>",
        "a: |\r\n  y\r\n  <x>\r\n",
        "\u{feff}a: <x>\n",
    ];
    for text in texts {
        let (sources, parsed) = read(text);
        let mut node = &parsed.documents[0];
        while let Some(mapping) = node.as_mapping() {
            node = &mapping.entries[0].value;
        }
        let at = node.as_text().unwrap().find("<x>").unwrap();
        let place = node
            .place(at..at + 3)
            .unwrap_or_else(|| panic!("no place in {text:?}"));
        assert_eq!(sources.slice(place), "<x>", "{text:?}");
    }
    for text in ["a: \"\\n<x>\"\n", "a: >\n  y\n  <x>\n", "a: y\n  <x>\n"] {
        let (_, parsed) = read(text);
        let node = &parsed.documents[0].as_mapping().unwrap().entries[0].value;
        assert_eq!(node.place(1..2), None, "{text:?}");
    }
}

#[test]
fn windows_files_are_read_as_any_other() {
    let (sources, parsed) = read("\u{feff}a: |\r\n  x\r\n  y\r\nb: 1\r\nb: 2\r\n");
    let root = parsed.documents[0].as_mapping().unwrap();
    assert_eq!(root.get("a").unwrap().as_text(), Some("x\ny\n"));
    let shown = render(&parsed.diagnostics[0], &sources, Paint::PLAIN);
    assert!(
        shown.contains("5 | b: 2") && !shown.contains('\r'),
        "{shown}"
    );
}

#[test]
fn documents_after_a_broken_one_are_read() {
    let (_, parsed) = read("a: [1\n---\nb: 2\n---\n---\nc: 3\n");
    assert_eq!(parsed.diagnostics.len(), 1, "{:?}", parsed.diagnostics);
    assert_eq!(parsed.documents.len(), 2);
}

#[test]
fn aliases_stand_for_their_values_and_merges_add_what_is_missing() {
    let (_, parsed) = read("base: &b {x: 1, y: 2}\nuse:\n  <<: *b\n  y: 3\n");
    assert_eq!(parsed.diagnostics, []);
    let root = parsed.documents[0].as_mapping().unwrap();
    let used = root.get("use").unwrap().as_mapping().unwrap();
    assert_eq!(used.get("x").unwrap().as_text(), Some("1"));
    assert_eq!(used.get("y").unwrap().as_text(), Some("3"));
}

/// Every way in which a text is no YAML that we read, as a person sees it.
#[test]
fn bad_texts() {
    let mut bomb = String::from("a: &a [x, x, x, x, x, x, x, x, x, x]\n");
    for (name, before) in ["b", "c", "d", "e", "f", "g"]
        .iter()
        .zip(["a", "b", "c", "d", "e", "f"])
    {
        let aliases = vec![format!("*{before}"); 10].join(", ");
        writeln!(bomb, "{name}: &{name} [{aliases}]").expect("a string takes all");
    }
    let deep = "[".repeat(1000);
    let cases = [
        ("empty", ""),
        ("only a comment", "# nothing\n"),
        ("twice", "a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n"),
        ("tab", "a:\n\tb: 1\n"),
        ("bracket", "a: [1, 2\nb: 3\n"),
        ("indent", "a: 1\n  b: 2\n"),
        ("colon", "name: build: all\n"),
        ("quote", "a: \"x\nb: 1\n"),
        ("alias", "a: *nowhere\n"),
        ("loop", "a: &a [*a]\n"),
        ("key", "{{template}}: 1\n"),
        ("at", "a: @b\n"),
        ("bomb", &bomb),
        ("deep", &deep),
    ];
    let mut out = String::new();
    for (name, text) in cases {
        let (sources, parsed) = read(text);
        assert!(!parsed.diagnostics.is_empty(), "{name} was read");
        writeln!(out, "== {name}").expect("a string takes all");
        for diagnostic in &parsed.diagnostics {
            out += &render(diagnostic, &sources, Paint::PLAIN);
            out += "\n\n";
        }
    }
    insta::assert_snapshot!(out);
}

#[test]
fn ten_thousand_doubled_keys_are_found_in_linear_time() {
    let text: String = (0..10_000).fold(String::new(), |text, n| {
        text + "k" + &(n % 5000).to_string() + ": 1\n"
    });
    assert_eq!(read(&text).1.diagnostics.len(), 5000);
}

proptest! {
    #[test]
    fn no_text_panics(text in "[\\PC\n\t]{0,200}") {
        let (sources, parsed) = read(&text);
        for diagnostic in &parsed.diagnostics {
            render(diagnostic, &sources, Paint::PLAIN);
        }
    }

    #[test]
    fn no_text_of_yaml_characters_panics(text in "[-a:?&*!|>'\"%@\\[\\]{},# \n\t<é]{0,120}") {
        let (sources, parsed) = read(&text);
        for diagnostic in &parsed.diagnostics {
            render(diagnostic, &sources, Paint::PLAIN);
        }
    }
}
