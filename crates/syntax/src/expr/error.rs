//! What is wrong with an expression, and where.

use std::ops::Range;

/// A problem with its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct Error {
    /// Bytes of the text that was parsed.
    pub span: Range<usize>,
    /// What it is.
    pub problem: Problem,
}

impl Error {
    pub(super) fn new(span: Range<usize>, problem: Problem) -> Self {
        Self { span, problem }
    }
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// No `>` closes it.
    #[error("the expression never closes: `>` is missing")]
    Unclosed,
    /// A string in it never ends.
    #[error("a string in the expression never ends")]
    UnclosedString,
    /// Nothing between `<+` and `>`.
    #[error("the expression is empty")]
    Empty,
    /// Something else was expected.
    #[error("expected {expected}, found {found}")]
    Expected {
        /// What may stand here.
        expected: &'static str,
        /// What stands here.
        found: String,
    },
    /// Beyond a bound on its text.
    #[error("the expression is longer than {0} bytes")]
    TooLong(usize),
    /// Beyond [`super::MAX_DEPTH`].
    #[error("the expression is nested too deeply")]
    TooDeep,
    /// Evaluation took too many steps.
    #[error("the expression takes too many steps to evaluate")]
    TooManySteps,
    /// A value beyond [`super::MAX_VALUE`].
    #[error("the expression makes a value of more than {0} bytes")]
    TooLarge(usize),
    /// A number that is none.
    #[error("`{0}` is not a number that can be held")]
    Number(String),
    /// A path that the scope does not know.
    #[error("unknown: `{path}`{}", did_you_mean(.near.as_deref()))]
    Unknown {
        /// As far as it was followed, the unknown part last.
        path: String,
        /// The known name that is near to the unknown part.
        near: Option<String>,
    },
    /// A member of something that has none.
    #[error("{of} has no `{name}`{}", did_you_mean(.near.as_deref()))]
    NoMember {
        /// Kind of the value.
        of: &'static str,
        /// What was asked for.
        name: String,
        /// What is near to it.
        near: Option<String>,
    },
    /// A function that does not exist.
    #[error("there is no function `{name}`{}", did_you_mean(.near.as_deref()))]
    NoFunction {
        /// What was called.
        name: String,
        /// What is near to it.
        near: Option<String>,
    },
    /// A call with the wrong number or kinds of arguments.
    #[error("`{name}` {wants}")]
    Arguments {
        /// What was called.
        name: String,
        /// What it wants, as the rest of a sentence.
        wants: &'static str,
    },
    /// An operator on values it does not take.
    #[error("`{operator}` does not take {value}")]
    Operand {
        /// The operator.
        operator: &'static str,
        /// Kind of the value.
        value: &'static str,
    },
    /// Division by zero.
    #[error("division by zero")]
    DivisionByZero,
    /// An index outside.
    #[error("the index {index} is outside of a {of} of {len}")]
    Index {
        /// What was asked for.
        index: i64,
        /// Kind of the value.
        of: &'static str,
        /// How many it has.
        len: usize,
    },
    /// A secret where none may be.
    #[error("{0} cannot look into a secret: its value is only known to the step's own process")]
    Secret(String),
    /// A regular expression that is none.
    #[error("not a regular expression: {0}")]
    Regex(String),
    /// JSON that is none.
    #[error("not JSON: {0}")]
    Json(String),
    /// XML that is none.
    #[error("not XML: {0}")]
    Xml(String),
    /// A functor that means nothing where it is evaluated.
    #[error("`{0}` is not known here")]
    NotHere(String),
    /// What a function of the scope said.
    #[error("{0}")]
    Function(String),
}

impl Problem {
    /// Nothing is there: what `empty()`, `??` and conditions take for null.
    pub const fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown { .. } | Self::NoMember { .. })
    }
}

fn did_you_mean(near: Option<&str>) -> String {
    near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"))
}

/// The candidate that is nearest to a name, if any is near.
pub(super) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate.to_owned())
}
