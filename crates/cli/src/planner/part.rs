//! What `--only` and `--from` name: a step, a group or a stage as it is written, and the iterations that are meant where it is in a
//! loop. Loops are known only when they are entered, so an iteration is looked for by its identifier then.

use pipeline::model::{Pipeline, StepSpec};
use pipeline::plan::{Body, NodeId, Place, What, Written};

use crate::problem::Problem;
use crate::screen::words;

/// What is wanted of a pipeline.
#[derive(Debug, Clone)]
pub(crate) enum Part {
    /// All of it.
    All,
    /// One step, group or stage.
    Only(Target),
    /// What is from it on.
    From(Target),
}

/// Loops, by the place of what is repeated as it is written, and the identifier of an iteration of each.
type Iterations = Vec<(NodeId, String)>;

/// What a word of the command line means.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// As it is written.
    pub(crate) id: NodeId,
    /// The loops around it, or of it, whose iteration is named: the place of what is repeated, as written, and the iteration's
    /// identifier.
    pub(crate) iterations: Iterations,
    /// How a person is told of it.
    name: String,
}

impl Part {
    /// By the words of the command line. A step that is not there is the caller's problem.
    pub(crate) fn of(
        pipeline: &Pipeline,
        only: Option<&str>,
        from: Option<&str>,
    ) -> Result<Self, Problem> {
        Ok(match (only, from) {
            (Some(word), _) => Self::Only(find(pipeline, word, "--only")?),
            (_, Some(word)) => Self::From(find(pipeline, word, "--from")?),
            _ => Self::All,
        })
    }

    /// What is named, and by which option.
    pub(super) fn target(&self) -> Option<(&Target, &'static str)> {
        match self {
            Self::All => None,
            Self::Only(target) => Some((target, "--only")),
            Self::From(target) => Some((target, "--from")),
        }
    }

    /// For each child of a place, in order, why it is not run; none: it is.
    pub(super) fn skips(
        &self,
        parent: &Written<'_>,
        children: &[Written<'_>],
        names: bool,
    ) -> Vec<Option<String>> {
        let Some((target, option)) = self.target() else {
            return vec![None; children.len()];
        };
        // What is inside the target is whole.
        if parent.id == target.id || !leads_to(parent, target, names) {
            return vec![None; children.len()];
        }
        let on_way = children
            .iter()
            .position(|child| leads_to(child, target, names));
        let looped = matches!(parent.place.what, What::Loop(_));
        let body = children.first().filter(|_| looped && names);
        let named = body.is_some_and(|body| target.named(&body.id).is_some());
        let in_order = !parent.place.is_parallel() || named;
        let skip = |(at, child): (usize, &Written<'_>)| {
            let before = in_order && on_way.is_none_or(|way| at < way);
            let out = option == "--only" || before;
            (out && !leads_to(child, target, names) && !is_needed(&child.place))
                .then(|| format!("not run: {option} {}", target.name))
        };
        children.iter().enumerate().map(skip).collect()
    }

    /// The last place of a way is not run because it, or something that it is in, is skipped. Without `names` an iteration that
    /// is named stands for all of its loop.
    pub(super) fn leaves_out<'m>(
        &self,
        way: &[Written<'m>],
        children: impl Fn(&Written<'m>) -> Vec<Written<'m>>,
        names: bool,
    ) -> bool {
        let Some((target, _)) = self.target() else {
            return false;
        };
        way.windows(2).any(|pair| {
            let [parent, child] = pair else { return false };
            // The children of a large group are not made for nothing.
            if parent.id == target.id || !leads_to(parent, target, names) {
                return false;
            }
            let all = children(parent);
            let at = all.iter().position(|own| own.place.id == child.place.id);
            let skips = self.skips(parent, &all, names);
            at.is_some_and(|at| skips[at].is_some())
        })
    }
}

impl Target {
    /// The iteration that is named of the loop whose body is written here.
    fn named(&self, body: &NodeId) -> Option<&str> {
        let own = self.iterations.iter().find(|(id, _)| id == body);
        own.map(|(_, iteration)| iteration.as_str())
    }

    /// What is to be said of loops that it is in, and that no iteration is named of.
    pub(super) fn note(&self, pipeline: &Pipeline, option: &str) -> Option<String> {
        let way = Place::way(pipeline, &self.id)?;
        let open: Vec<_> = way
            .windows(2)
            .filter(|pair| matches!(pair[0].what, What::Loop(_)) && pair[1].id != self.id)
            .filter(|pair| self.named(&pair[1].id).is_none())
            .map(|pair| format!("`{}`", pair[1].identifier()))
            .collect();
        (!open.is_empty()).then(|| {
            format!(
                "{option} {} is about every iteration of {}; name one by its identifier to run it alone",
                self.name,
                open.join(" and ")
            )
        })
    }
}

/// Whether a place is the target, or holds it.
fn leads_to(place: &Written<'_>, target: &Target, names: bool) -> bool {
    if matches!(place.place.what, What::Pipeline(_)) {
        return true;
    }
    let around = target.id.0.strip_prefix(&place.id.0);
    let last = place.place.id.0.rsplit('.').next();
    around.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        && (!names || target.named(&place.id).is_none_or(|own| last == Some(own)))
}

/// It runs beside what is wanted, whatever that is.
fn is_needed(place: &Place<'_>) -> bool {
    match place.what {
        What::Initialize(_) | What::Rollback(_) => true,
        What::Step(step) | What::Loop(Body::Step(step)) => {
            matches!(step.spec, StepSpec::Background(_))
        }
        _ => false,
    }
}

/// A place that can be named.
struct Named<'m> {
    place: Place<'m>,
    /// Identifiers from the stage on, and what each of them is of, as written; loops have none of their own.
    path: Vec<(&'m str, NodeId, bool)>,
}

impl<'m> Named<'m> {
    fn of(pipeline: &'m Pipeline, place: Place<'m>) -> Self {
        let way = Place::way(pipeline, &place.id).unwrap_or_default();
        let pairs = way.windows(2).filter(|pair| {
            !matches!(pair[1].what, What::Loop(_)) && !pair[1].identifier().is_empty()
        });
        let path = pairs.map(|pair| {
            let looped = matches!(pair[0].what, What::Loop(_));
            (pair[1].identifier(), pair[1].id.clone(), looped)
        });
        Self {
            path: path.collect(),
            place,
        }
    }

    fn path(&self) -> String {
        let path: Vec<_> = self.path.iter().map(|(own, ..)| *own).collect();
        path.join("/")
    }

    /// The iterations that a word names of the loops on the way to this place; none: it does not mean it.
    fn iterations(&self, word: &str, whole: bool) -> Option<Iterations> {
        let parts: Vec<_> = word.split('/').collect();
        let skipped = self.path.len().checked_sub(parts.len())?;
        if whole && skipped > 0 {
            return None;
        }
        let mut named = Vec::new();
        for ((own, id, looped), part) in self.path[skipped..].iter().zip(parts) {
            if *own == part {
                continue;
            }
            let suffix = part.strip_prefix(own)?;
            if !looped || !suffix.starts_with('_') {
                return None;
            }
            named.push((id.clone(), part.to_owned()));
        }
        Some(named)
    }

    /// The same of the id that a node has in the run.
    fn iterations_of_id(&self, word: &str) -> Option<Iterations> {
        let (own, parts): (Vec<_>, Vec<_>) = (
            self.place.id.0.split('.').collect(),
            word.split('.').collect(),
        );
        if own.len() != parts.len() {
            return None;
        }
        let mut named = Vec::new();
        for (at, (own_part, part)) in own.iter().zip(&parts).enumerate() {
            if own_part == part {
                continue;
            }
            let id = NodeId(own[..=at].join("."));
            let looped = self.path.iter().any(|(_, of, looped)| *of == id && *looped);
            let suffix = part.strip_prefix(own_part)?;
            if !looped || !suffix.starts_with('_') {
                return None;
            }
            named.push((id, (*part).to_owned()));
        }
        Some(named)
    }
}

/// The step, group or stage that a word means.
fn find(pipeline: &Pipeline, word: &str, option: &str) -> Result<Target, Problem> {
    let places: Vec<_> = Place::all(pipeline)
        .into_iter()
        .filter(|p| matches!(p.what, What::Step(_) | What::Group(_) | What::Stage(_)))
        .map(|place| Named::of(pipeline, place))
        .collect();
    // As it is written goes before an iteration of that name, and the whole path before the end of one.
    let mut found: Vec<(&Named<'_>, Iterations)> = Vec::new();
    for (iterated, whole) in [(false, true), (false, false), (true, true), (true, false)] {
        if found.is_empty() {
            found = places
                .iter()
                .filter_map(|own| {
                    let by_id = own.iterations_of_id(word).filter(|_| whole);
                    let named = by_id.or_else(|| own.iterations(word, whole))?;
                    (named.is_empty() != iterated).then_some((own, named))
                })
                .collect();
        }
    }
    // A step goes before the group or stage of the same name.
    let is_step = |(own, _): &&(&Named<'_>, Iterations)| matches!(own.place.what, What::Step(_));
    let steps: Vec<_> = found.iter().filter(is_step).cloned().collect();
    let found = if steps.is_empty() { found } else { steps };
    match found.as_slice() {
        [(own, iterations)] => Ok(Target {
            id: own.place.id.clone(),
            iterations: iterations.clone(),
            name: word.rsplit(['/', '.']).next().unwrap_or(word).to_owned(),
        }),
        [] => Err(unknown(&places, word, option)),
        many => {
            let paths: Vec<_> = many.iter().map(|(own, _)| own.path()).collect();
            let count = words::count(many.len() as u64, "step");
            Err(
                Problem::invalid(format!("{option} {word} is the name of {count}"))
                    .help(format!("say which: {}", paths.join(", "))),
            )
        }
    }
}

fn unknown(places: &[Named<'_>], word: &str, option: &str) -> Problem {
    let near = places
        .iter()
        .map(|own| {
            let distance = strsim::damerau_levenshtein(own.place.identifier(), word);
            (distance, own.path())
        })
        .min()
        .filter(|(distance, _)| *distance <= 1 + word.len() / 4 && *distance < word.len());
    let problem = Problem::invalid(format!("{option} {word}: the pipeline has no such step"));
    if let Some((_, path)) = near {
        return problem.help(format!("did you mean `{path}`?"));
    }
    let steps = places
        .iter()
        .filter(|own| matches!(own.place.what, What::Step(_)));
    let paths: Vec<_> = steps.take(20).map(Named::path).collect();
    problem.help(format!("it has {}", paths.join(", ")))
}
