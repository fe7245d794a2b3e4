//! From parser events to the tree.
//!
//! The parser is a fork of a well-known one and its names stay inside this file and `error`. Its messages count places in
//! two ways, so only its byte offsets are used.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, options};

use super::node::{Entry, Key, Mapping, Node, Value};
use super::scalar::{Kind, Scalar, Style};
use super::{Parsed, error};
use crate::code;
use crate::diagnostic::Diagnostic;
use crate::source::{MAX_BYTES, SourceId, Sources};
use crate::span::Span;

/// How many nodes the aliases of one document may stand for. A pipeline that repeats a step through an
/// alias needs dozens; a bomb needs thousands of millions.
pub const MAX_ALIASED: usize = 100_000;

/// How deep collections may be nested. A real pipeline is some 40 deep; the bound keeps recursion over the tree safe.
pub const MAX_DEPTH: usize = 160;

/// The key that merges another mapping into this one.
const MERGE: &str = "<<";

pub(super) fn parse(sources: &Sources, id: SourceId) -> Parsed {
    let text = sources.get(id).text();
    let mut parsed = Parsed::default();
    if text.len() > MAX_BYTES {
        let message = format!("the text is longer than {} MiB", MAX_BYTES >> 20);
        let diagnostic = Diagnostic::error(code::TOO_LONG, message).at(Span::new(id, 0, 0), "");
        parsed
            .diagnostics
            .push(diagnostic.help("split it into several files"));
        return parsed;
    }
    let options = options! {
        emit_comments: false,
        emit_unresolved_aliases: true,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut build = Build {
        id,
        text,
        stack: Vec::new(),
        anchors: HashMap::new(),
        aliased: 0,
        diagnostics: Vec::new(),
    };
    loop {
        match parser.next_event() {
            None | Some(Ok((Event::StreamEnd, _))) => break,
            Some(Ok((event, span))) => {
                let range = span.byte_range().unwrap_or(0..0);
                let span = Span::new(id, range.start as u32, range.end as u32);
                match build.event(event, span) {
                    Ok(None) => {}
                    Ok(Some(root)) if root.is_null() => {}
                    Ok(Some(root)) => parsed.documents.push(root),
                    Err(diagnostic) => {
                        build.diagnostics.push(diagnostic);
                        build.reset();
                        if !matches!(parser.proceed_next_document(), Ok(true)) {
                            break;
                        }
                    }
                }
            }
            Some(Err(broken)) => {
                let diagnostic = error::of(id, text, &broken);
                build.diagnostics.push(diagnostic);
                build.reset();
                if !matches!(parser.proceed_next_document(), Ok(true)) {
                    break;
                }
            }
        }
    }
    parsed.diagnostics = build.diagnostics;
    if parsed.documents.is_empty() && parsed.diagnostics.is_empty() {
        let diagnostic =
            Diagnostic::error(code::EMPTY, "the file is empty").at(Span::new(id, 0, 0), "");
        parsed
            .diagnostics
            .push(diagnostic.help("write a document whose root is `pipeline:`"));
    }
    parsed
}

/// A document under construction.
struct Build<'t> {
    id: SourceId,
    text: &'t str,
    stack: Vec<Open>,
    anchors: HashMap<usize, Anchored>,
    aliased: usize,
    diagnostics: Vec<Diagnostic>,
}

/// A collection whose end has not come.
struct Open {
    span: Span,
    anchor: usize,
    /// Nodes inside, itself included.
    count: usize,
    /// Levels inside, its own included.
    height: usize,
    kind: OpenKind,
}

enum OpenKind {
    Sequence(Vec<Node>),
    Mapping {
        entries: Vec<Entry>,
        key: Pending,
        seen: HashMap<Box<str>, usize>,
        merges: Vec<Node>,
    },
}

/// What has come of an entry.
enum Pending {
    /// Nothing.
    None,
    /// Its key.
    Key(Key),
    /// A key that cannot be one; the value goes with it.
    Dropped,
}

/// What an anchor stands for.
struct Anchored {
    node: Node,
    count: usize,
    height: usize,
}

/// A mapping longer than this keeps an index of its keys, so that finding doubles stays linear.
const INDEXED: usize = 16;

impl Build<'_> {
    fn reset(&mut self) {
        self.stack.clear();
        self.anchors.clear();
        self.aliased = 0;
    }

    /// Takes in an event; the document's root when it is whole.
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<Option<Node>, Diagnostic> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let core = tag
                    .as_deref()
                    .filter(|tag| tag.handle().ends_with("yaml.org,2002:"));
                let string = tag.is_some() && core.is_none_or(|tag| tag.suffix() == "str");
                let style = match style {
                    ScalarStyle::Plain => Style::Plain,
                    ScalarStyle::SingleQuoted => Style::Single,
                    ScalarStyle::DoubleQuoted => Style::Double,
                    ScalarStyle::Literal => Style::Literal,
                    ScalarStyle::Folded => Style::Folded,
                };
                let kind = if style == Style::Plain && !string {
                    Kind::of_plain(&text)
                } else {
                    Kind::String
                };
                // A block's span runs to the next token: its white space belongs to nothing.
                let span = if matches!(style, Style::Literal | Style::Folded) {
                    let written = &self.text[span.start as usize..span.end as usize];
                    Span::new(
                        self.id,
                        span.start,
                        span.start + written.trim_end().len() as u32,
                    )
                } else {
                    span
                };
                let scalar = Scalar {
                    text: text.into(),
                    style,
                    kind,
                };
                self.close(
                    Node {
                        span,
                        value: Value::Scalar(scalar),
                    },
                    anchor,
                    1,
                    0,
                )
            }
            Event::SequenceStart(_, anchor, _) => {
                self.open(span, anchor, OpenKind::Sequence(Vec::new()))
            }
            Event::MappingStart(_, anchor, _) => self.open(
                span,
                anchor,
                OpenKind::Mapping {
                    entries: Vec::new(),
                    key: Pending::None,
                    seen: HashMap::new(),
                    merges: Vec::new(),
                },
            ),
            Event::SequenceEnd | Event::MappingEnd => self.end(span),
            Event::Alias(anchor) => self.alias(anchor, span),
            Event::UnresolvedAlias(name) => {
                let message = format!("the alias `*{name}` has no anchor before it");
                self.diagnostics.push(
                    Diagnostic::error(code::UNKNOWN_ANCHOR, message)
                        .at(span, "")
                        .help(format!("mark a value above with `&{name}`, or write the value here; quote a text that begins with `*`")),
                );
                self.close(null(span), 0, 1, 0)
            }
            Event::DocumentStart(..) => {
                self.reset();
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    fn open(
        &mut self,
        span: Span,
        anchor: usize,
        kind: OpenKind,
    ) -> Result<Option<Node>, Diagnostic> {
        if self.stack.len() >= MAX_DEPTH {
            return Err(error::too_deep(span));
        }
        self.stack.push(Open {
            span,
            anchor,
            count: 1,
            height: 1,
            kind,
        });
        Ok(None)
    }

    fn end(&mut self, span: Span) -> Result<Option<Node>, Diagnostic> {
        let Some(open) = self.stack.pop() else {
            return Ok(None);
        };
        let (value, last) = match open.kind {
            OpenKind::Sequence(items) => {
                let last = items.last().map(|item| item.span.end);
                (Value::Sequence(items), last)
            }
            OpenKind::Mapping {
                mut entries,
                merges,
                ..
            } => {
                let last = entries
                    .last()
                    .map(|entry| entry.value.span.end.max(entry.key.span.end));
                self.merge(&mut entries, merges);
                (Value::Mapping(Mapping { entries }), last)
            }
        };
        // The end of a flow collection is its bracket. Of a block it is wherever the next token came: take the last
        // entry instead.
        let end = if span.is_empty() {
            last.unwrap_or(open.span.end)
        } else {
            span.end
        };
        let node = Node {
            span: Span::new(self.id, open.span.start, end.max(open.span.start)),
            value,
        };
        self.close(node, open.anchor, open.count, open.height)
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<Option<Node>, Diagnostic> {
        let Some(anchored) = self.anchors.get(&anchor) else {
            return Err(Diagnostic::error(
                code::ALIAS_BOMB,
                "the alias stands for a value that it is part of",
            )
            .at(span, "would never end")
            .help("write the value out"));
        };
        let (count, height) = (anchored.count, anchored.height);
        self.aliased += count;
        if self.aliased > MAX_ALIASED {
            return Err(Diagnostic::error(
                code::ALIAS_BOMB,
                format!("the aliases of this document stand for more than {MAX_ALIASED} values"),
            )
            .at(span, "this one goes beyond")
            .help("use fewer aliases to aliases; a strategy repeats a step without them"));
        }
        if self.stack.len() + height > MAX_DEPTH {
            return Err(error::too_deep(span));
        }
        let node = anchored.node.clone();
        self.close(node, 0, count, height)
    }

    /// Puts a finished node where it belongs.
    fn close(
        &mut self,
        node: Node,
        anchor: usize,
        count: usize,
        height: usize,
    ) -> Result<Option<Node>, Diagnostic> {
        if anchor != 0 {
            self.anchors.insert(
                anchor,
                Anchored {
                    node: node.clone(),
                    count,
                    height,
                },
            );
            // A copy is kept, so an anchored value inside an anchored value costs its size once a level.
            self.aliased += count;
            if self.aliased > MAX_ALIASED.saturating_mul(4) {
                return Err(Diagnostic::error(
                    code::ALIAS_BOMB,
                    "the anchors of this document hold too many values",
                )
                .at(node.span.head(1), "")
                .help("use fewer anchors inside anchors"));
            }
        }
        let Some(open) = self.stack.last_mut() else {
            return Ok(Some(node));
        };
        open.count += count;
        open.height = open.height.max(height + 1);
        match &mut open.kind {
            OpenKind::Sequence(items) => items.push(node),
            OpenKind::Mapping {
                entries,
                key,
                seen,
                merges,
            } => match std::mem::replace(key, Pending::None) {
                Pending::None => *key = as_key(node, self.text, &mut self.diagnostics),
                Pending::Key(name) if &*name.text == MERGE => merges.push(node),
                Pending::Key(name) => {
                    if let Some(first) = find(entries, seen, &name.text) {
                        let first = entries[first].key.span;
                        self.diagnostics.push(
                            Diagnostic::error(
                                code::DUPLICATE_KEY,
                                format!("the key `{}` stands here twice", name.text),
                            )
                            .at(name.span, "again here")
                            .at(first, "first here")
                            .help("keep one of them"),
                        );
                    } else {
                        entries.push(Entry {
                            key: name,
                            value: node,
                        });
                        if entries.len() == INDEXED {
                            seen.extend(
                                entries
                                    .iter()
                                    .enumerate()
                                    .map(|(at, entry)| (entry.key.text.clone(), at)),
                            );
                        } else if entries.len() > INDEXED {
                            let at = entries.len() - 1;
                            seen.insert(entries[at].key.text.clone(), at);
                        }
                    }
                }
                Pending::Dropped => {}
            },
        }
        Ok(None)
    }

    /// Adds the entries of `<<` that the mapping does not have itself.
    fn merge(&mut self, entries: &mut Vec<Entry>, merges: Vec<Node>) {
        if merges.is_empty() {
            return;
        }
        let mut seen: std::collections::HashSet<Box<str>> =
            entries.iter().map(|entry| entry.key.text.clone()).collect();
        let mut add = |node: Node, diagnostics: &mut Vec<Diagnostic>| match node.value {
            Value::Mapping(mapping) => {
                for entry in mapping.entries {
                    if seen.insert(entry.key.text.clone()) {
                        entries.push(entry);
                    }
                }
            }
            _ => diagnostics.push(
                Diagnostic::error(
                    code::KEY_NOT_TEXT,
                    "`<<` merges a mapping or a list of mappings",
                )
                .at(node.span, "")
                .help("give it an alias of a mapping: `<<: *base`"),
            ),
        };
        for merge in merges {
            match merge.value {
                Value::Sequence(items) => items
                    .into_iter()
                    .for_each(|item| add(item, &mut self.diagnostics)),
                _ => add(merge, &mut self.diagnostics),
            }
        }
    }
}

/// A node as a key; none, with a diagnostic, where it cannot be one.
fn as_key(node: Node, text: &str, diagnostics: &mut Vec<Diagnostic>) -> Pending {
    let Value::Scalar(scalar) = node.value else {
        let mend = if text[node.span.start as usize..].starts_with('{') {
            "put quotes around it; an expression is written `<+…>` and needs none"
        } else {
            "write the key as text"
        };
        diagnostics.push(
            Diagnostic::error(
                code::KEY_NOT_TEXT,
                format!("a key must be text, this is {}", what(&node)),
            )
            .at(node.span, "")
            .help(mend),
        );
        return Pending::Dropped;
    };
    Pending::Key(Key {
        text: scalar.text,
        span: node.span,
    })
}

fn find(entries: &[Entry], seen: &HashMap<Box<str>, usize>, key: &str) -> Option<usize> {
    if seen.is_empty() {
        entries.iter().position(|entry| &*entry.key.text == key)
    } else {
        seen.get(key).copied()
    }
}

fn null(span: Span) -> Node {
    Node {
        span,
        value: Value::Scalar(Scalar {
            text: "".into(),
            style: Style::Plain,
            kind: Kind::Null,
        }),
    }
}

fn what(node: &Node) -> &'static str {
    match node.value {
        Value::Sequence(_) => "a list",
        _ => "a mapping",
    }
}
