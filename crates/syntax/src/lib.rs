//! From text to trees: source texts and spans, the one diagnostic type, YAML, and the `<+…>` language.
