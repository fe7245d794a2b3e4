//! XML texts, and paths into them: the part of XPath 1.0 that pipelines use.
//!
//! Steps (`a`, `*`, `@b`, `text()`, `.`, `..`) after `/` or `//`, with predicates (`[2]`, `[last()]`, `[@id='x']`, `[name]`,
//! `[text()='y']`), alone or in `count(…)` and `string(…)`. A name without a prefix matches the local name. No entity but XML's
//! own is expanded, so a text cannot grow.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::error::Problem;
use super::value::Value;
use super::{MAX_DEPTH, MAX_VALUE};

/// Elements that a path may pass in one step.
const MAX_FOUND: usize = 50_000;

/// An XML text as a tree: every element with its parent, in the order of the text. The first is the document itself.
struct Document {
    elements: Vec<Element>,
}

#[derive(Default)]
struct Element {
    name: String,
    attributes: Vec<(String, String)>,
    parent: usize,
    children: Vec<usize>,
    /// All text directly in it.
    own: String,
    /// All text in it and below it.
    whole: String,
}

/// Something that a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Element(usize),
    Attribute(usize, usize),
    Text(usize),
}

/// What a path selects, as text: that of the first match; nothing where there is none.
pub(super) fn select(path: &str, of: &Value) -> Result<Value, Problem> {
    let text = of
        .to_text()
        .ok_or_else(|| Problem::Secret("`xml.select()`".to_owned()))?;
    if text.len() > MAX_VALUE {
        return Err(Problem::TooLarge(MAX_VALUE));
    }
    let document = Document::parse(&text)?;
    let path = path.trim();
    let inner = |name: &str| path.strip_prefix(name)?.strip_suffix(')');
    if let Some(inner) = inner("count(") {
        let found = document.find(inner.trim(), path)?;
        return Ok(Value::Int(found.len() as i64));
    }
    let found = document.find(inner("string(").unwrap_or(path).trim(), path)?;
    Ok(Value::from(
        found.first().map_or("", |first| document.text(*first)),
    ))
}

fn bad(path: &str) -> Problem {
    Problem::Xml(format!("the path `{path}` cannot be read"))
}

impl Document {
    fn parse(text: &str) -> Result<Self, Problem> {
        let wrong = |says: String| Problem::Xml(says);
        let mut reader = Reader::from_str(text);
        let mut elements = vec![Element::default()];
        let mut open = vec![0_usize];
        loop {
            let event = reader
                .read_event()
                .map_err(|error| wrong(error.to_string()))?;
            let top = open.last().copied().unwrap_or(0);
            match event {
                Event::Start(tag) => {
                    if open.len() > MAX_DEPTH {
                        return Err(Problem::TooDeep);
                    }
                    open.push(begin(&mut elements, &tag, top)?);
                }
                Event::Empty(tag) => {
                    begin(&mut elements, &tag, top)?;
                }
                Event::End(_) => {
                    open.pop();
                }
                Event::Text(words) => add(&mut elements, &open, &words),
                Event::CData(words) => add(&mut elements, &open, &words),
                Event::GeneralRef(name) => {
                    if let Ok(Some(character)) = name.resolve_char_ref() {
                        add(&mut elements, &open, character.encode_utf8(&mut [0; 4]));
                    } else if let Some(known) = quick_xml::escape::resolve_predefined_entity(&name)
                    {
                        add(&mut elements, &open, known);
                    } else {
                        let name = &*name;
                        return Err(wrong(format!("the entity `&{name};` is not known")));
                    }
                }
                Event::Eof => break,
                _ => {}
            }
        }
        if open.len() != 1 {
            return Err(wrong("it ends too early".to_owned()));
        }
        if elements.len() == 1 {
            return Err(wrong("there is no element in it".to_owned()));
        }
        Ok(Self { elements })
    }

    fn text(&self, found: Found) -> &str {
        match found {
            Found::Element(at) => &self.elements[at].whole,
            Found::Text(at) => &self.elements[at].own,
            Found::Attribute(at, n) => &self.elements[at].attributes[n].1,
        }
    }

    /// Everything that a path leads to from the document, in the order of the text.
    fn find(&self, path: &str, whole: &str) -> Result<Vec<Found>, Problem> {
        let mut found = vec![Found::Element(0)];
        let mut rest = path;
        if rest.is_empty() {
            return Err(bad(whole));
        }
        // A path without a slash is looked for from the document too: there is no other place.
        let mut deep = rest.starts_with("//");
        rest = rest.trim_start_matches('/');
        while !rest.is_empty() {
            let end = step_end(rest).ok_or_else(|| bad(whole))?;
            let (step, after) = rest.split_at(end);
            found = self.step(&found, step, deep, whole)?;
            deep = after.starts_with("//");
            let next = after.trim_start_matches('/');
            if next.is_empty() && !after.is_empty() {
                return Err(bad(whole));
            }
            rest = next;
        }
        Ok(found)
    }

    fn step(
        &self,
        from: &[Found],
        step: &str,
        deep: bool,
        whole: &str,
    ) -> Result<Vec<Found>, Problem> {
        let (test, predicates) = step.split_at(step.find('[').unwrap_or(step.len()));
        let test = test.trim();
        let mut all: Vec<Found> = Vec::new();
        for found in from {
            let Found::Element(at) = *found else { continue };
            let mut bases = vec![at];
            if deep {
                self.below(at, &mut bases);
            }
            for base in bases {
                let mut these = self.test(base, test, whole)?;
                let mut rest = predicates;
                while let Some(inside) = rest.strip_prefix('[') {
                    let end = close(inside).ok_or_else(|| bad(whole))?;
                    these = self.filter(&these, inside[..end].trim(), whole)?;
                    rest = inside[end + 1..].trim_start();
                }
                if !rest.is_empty() {
                    return Err(bad(whole));
                }
                all.extend(these);
                if all.len() > MAX_FOUND {
                    return Err(Problem::TooManySteps);
                }
            }
        }
        let mut seen = std::collections::HashSet::new();
        all.retain(|found| {
            seen.insert(match *found {
                Found::Element(at) => (at, 0, 0),
                Found::Text(at) => (at, 1, 0),
                Found::Attribute(at, n) => (at, 2, n),
            })
        });
        Ok(all)
    }

    /// Every element below one, in the order of the text.
    fn below(&self, at: usize, into: &mut Vec<usize>) {
        for child in &self.elements[at].children {
            into.push(*child);
            self.below(*child, into);
        }
    }

    fn test(&self, at: usize, test: &str, whole: &str) -> Result<Vec<Found>, Problem> {
        let element = &self.elements[at];
        Ok(match test {
            "" => return Err(bad(whole)),
            "." => vec![Found::Element(at)],
            ".." => vec![Found::Element(element.parent)],
            "text()" if element.own.is_empty() => Vec::new(),
            "text()" => vec![Found::Text(at)],
            _ => {
                if let Some(name) = test.strip_prefix('@') {
                    let named = |(_, (own, _)): &(usize, &(String, String))| is(own, name);
                    return Ok(element
                        .attributes
                        .iter()
                        .enumerate()
                        .filter(named)
                        .map(|(n, _)| Found::Attribute(at, n))
                        .collect());
                }
                if !test
                    .chars()
                    .all(|c| c.is_alphanumeric() || "_-.:*".contains(c))
                {
                    return Err(bad(whole));
                }
                element
                    .children
                    .iter()
                    .filter(|child| is(&self.elements[**child].name, test))
                    .map(|child| Found::Element(*child))
                    .collect()
            }
        })
    }

    fn filter(&self, these: &[Found], predicate: &str, whole: &str) -> Result<Vec<Found>, Problem> {
        if let Ok(number) = predicate.parse::<usize>() {
            let at = number.checked_sub(1);
            return Ok(at
                .and_then(|at| these.get(at))
                .copied()
                .into_iter()
                .collect());
        }
        if predicate == "last()" {
            return Ok(these.last().copied().into_iter().collect());
        }
        let (test, wanted) = match predicate.split_once('=') {
            Some((test, value)) => {
                let value = value.trim();
                let quoted = ['\'', '"']
                    .iter()
                    .find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
                (test.trim(), Some(quoted.unwrap_or(value)))
            }
            None => (predicate, None),
        };
        let mut left = Vec::new();
        for found in these {
            let candidates = match *found {
                Found::Element(at) => self.test(at, test, whole)?,
                other if test == "." => vec![other],
                _ => Vec::new(),
            };
            if candidates
                .iter()
                .any(|candidate| wanted.is_none_or(|wanted| self.text(*candidate) == wanted))
            {
                left.push(*found);
            }
        }
        Ok(left)
    }
}

/// Whether a name is the one asked for: `*`, the whole name, or its part after the prefix.
fn is(own: &str, asked: &str) -> bool {
    asked == "*" || own == asked || own.split_once(':').is_some_and(|(_, local)| local == asked)
}

/// Where a step ends: at a `/` outside of brackets.
fn step_end(text: &str) -> Option<usize> {
    let mut at = 0;
    while let Some(next) = text[at..].find(['/', '[']) {
        at += next;
        if text.as_bytes()[at] == b'/' {
            return Some(at);
        }
        at += 1 + close(&text[at + 1..])? + 1;
    }
    Some(text.len())
}

/// Where the bracket that is open ends; brackets in quotes are text.
fn close(text: &str) -> Option<usize> {
    let mut quote = None;
    for (at, char) in text.char_indices() {
        match (quote, char) {
            (None, ']') => return Some(at),
            (None, '\'' | '"') => quote = Some(char),
            (Some(own), _) if own == char => quote = None,
            _ => {}
        }
    }
    None
}

fn begin(
    elements: &mut Vec<Element>,
    tag: &BytesStart<'_>,
    parent: usize,
) -> Result<usize, Problem> {
    if elements.len() > MAX_FOUND {
        return Err(Problem::TooManySteps);
    }
    let mut attributes = Vec::new();
    for attribute in tag.attributes() {
        let attribute = attribute.map_err(|error| Problem::Xml(error.to_string()))?;
        let raw = &attribute.value;
        let value = quick_xml::escape::unescape(raw)
            .map_err(|error| Problem::Xml(error.to_string()))?
            .into_owned();
        attributes.push((attribute.key.as_ref().to_owned(), value));
    }
    let at = elements.len();
    elements.push(Element {
        name: tag.name().as_ref().to_owned(),
        attributes,
        parent,
        ..Element::default()
    });
    elements[parent].children.push(at);
    Ok(at)
}

fn add(elements: &mut [Element], open: &[usize], words: &str) {
    if let Some(top) = open.last() {
        elements[*top].own.push_str(words);
    }
    for at in open {
        elements[*at].whole.push_str(words);
    }
}
