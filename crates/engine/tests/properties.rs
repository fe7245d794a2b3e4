//! Properties of any run: every interleaving ends, a fold of the events is the state, and nothing is illegal.

mod world;

use engine::event::{Event, Handling, Interrupt, Intervention, Stamped, Status};
use engine::{Effect, Input, State, Wishes, advance, decide, evolve, wanted};
use pipeline::plan::{Kind, NodeId, Runs};
use proptest::prelude::*;

use world::{answer, root, trees};

/// What a person may ask: of the run, or of one of its nodes.
fn interrupts() -> impl Strategy<Value = Vec<(usize, u8)>> {
    prop::collection::vec((0..200_usize, any::<u8>()), 0..4)
}

fn interrupt(state: &State, choice: u8) -> Interrupt {
    const ACTIONS: [Intervention; 9] = [
        Intervention::Abort,
        Intervention::MarkAsFailure,
        Intervention::MarkAsSuccess,
        Intervention::Ignore,
        Intervention::Retry,
        Intervention::RetryStepGroup,
        Intervention::StageRollback,
        Intervention::StepGroupRollback,
        Intervention::PipelineRollback,
    ];
    match choice {
        0..8 => Interrupt::Abort,
        8..12 => Interrupt::Kill,
        12..24 => Interrupt::Pause,
        24..48 => Interrupt::Resume,
        _ => {
            let all: Vec<&NodeId> = state.active.iter().collect();
            let node = all
                .get(usize::from(choice) % all.len().max(1))
                .map_or_else(|| NodeId::from("nowhere"), |id| (*id).clone());
            Interrupt::Node {
                node,
                action: ACTIONS[usize::from(choice) % ACTIONS.len()],
            }
        }
    }
}

/// A world that is only asked to keep what it holds, or for nothing, is one that is paused: somebody resumes it.
fn go_on(state: &mut State, journal: &mut Vec<Stamped>, now: u64) {
    let keeps = |own: &Effect| matches!(own, Effect::KeepPod { .. } | Effect::Queue { .. });
    if state.paused.is_some() && wanted(state).iter().all(keeps) {
        journal.extend(advance(state, Input::Interrupt(Interrupt::Resume), now).unwrap());
    }
}

fn begin(state: &mut State, now: u64) -> Vec<Stamped> {
    let create = Input::Create {
        run: "r".to_owned(),
        root: Box::new(root()),
        awake: None,
        wishes: Wishes::default(),
    };
    advance(state, create, now).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn every_interleaving_ends_legally_and_is_its_own_fold(
        trees in trees(),
        choices in prop::collection::vec((any::<u8>(), any::<u8>()), 0..500),
        interrupts in interrupts(),
    ) {
        let mut state = State::default();
        let mut now = 1_000;
        let mut journal: Vec<Stamped> = begin(&mut state, now);
        // After the choices the world is fair: it answers everything in turn, and well.
        let fair = (0..40_000usize).map(|n| (n as u8, 63 | 64));
        for (turn, (which, choice)) in choices.into_iter().chain(fair).enumerate() {
            if state.finished.is_some() {
                break;
            }
            now += u64::from(choice % 7);
            for (_, choice) in interrupts.iter().filter(|(at, _)| *at == turn) {
                let asked = Input::Interrupt(interrupt(&state, *choice));
                journal.extend(advance(&mut state, asked, now).unwrap());
            }
            go_on(&mut state, &mut journal, now);
            let effects = wanted(&state);
            prop_assert_eq!(&effects, &wanted(&state));
            prop_assert!(!effects.is_empty() || state.finished.is_some(), "nothing is wanted, and it is not over: {:#?}", state);
            let Some(effect) = effects.get(usize::from(which) % effects.len().max(1)) else {
                continue;
            };
            if let Effect::Wake { at_ms } = effect && effects.len() == 1 {
                now = now.max(*at_ms);
            }
            if let Some(input) = answer(&trees, effect, choice) {
                let events = advance(&mut state, input.clone(), now).unwrap();
                // Said again it means nothing new.
                prop_assert_eq!(decide(&state, Input::Now, now), vec![]);
                journal.extend(events);
                let again = advance(&mut state, input, now).unwrap();
                journal.extend(again);
            }
        }
        prop_assert!(state.finished.is_some(), "it did not end: {:#?}", wanted(&state));
        let mut folded = State::default();
        for stamped in &journal {
            evolve(&mut folded, stamped).unwrap();
        }
        prop_assert_eq!(&folded, &state);
        for stamped in &journal {
            let text = serde_json::to_string(stamped).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Stamped>(&text).unwrap(), stamped);
        }
        // No step is green without its record, unless the journal says who decided so; every pod is removed or named as left.
        let marked = |id: &NodeId| journal.iter().any(|stamped| matches!(
            &stamped.event,
            Event::FailureHandled { node, handling: Handling::MarkAsSuccess, .. } if node == id
        ));
        for (id, place) in &state.nodes {
            if place.status() == Some(Status::Success) && let Kind::Step(step) = &place.node.kind {
                let waits = step.runs() == Runs::Nowhere && place.waiting.is_some();
                prop_assert!(waits || matches!(place.end, Some(Ok(_))) || marked(id), "{id} is green without a record");
            }
            prop_assert!(!place.phase.is_active(), "{id} is left at {:?}", place.phase);
            prop_assert_eq!((place.busy, place.within), (0, (0, 0)), "{} counts what is over", id);
        }
        prop_assert!(state.pods.values().all(|pod| !pod.phase.may_exist()));
        let starts = journal.iter().filter_map(|s| match &s.event {
            Event::AttemptStarting { step, attempt } => Some((step, attempt)),
            _ => None,
        });
        let mut starts: Vec<_> = starts.collect();
        let all = starts.len();
        starts.sort();
        starts.dedup();
        prop_assert_eq!(starts.len(), all);
    }

    #[test]
    fn a_loop_runs_no_more_at_once_than_it_may(
        trees in trees(),
        choices in prop::collection::vec((any::<u8>(), any::<u8>()), 0..300),
    ) {
        let mut state = State::default();
        begin(&mut state, 1_000);
        for (which, choice) in choices {
            let effects = wanted(&state);
            let Some(effect) = effects.get(usize::from(which) % effects.len().max(1)) else {
                break;
            };
            if let Some(input) = answer(&trees, effect, choice) {
                advance(&mut state, input, 1_000).unwrap();
            }
            for place in state.nodes.values() {
                let children = place.children.iter().flatten();
                let counts = |id: &&NodeId| {
                    state.active.contains(*id) && !state.nodes[*id].served
                };
                let active = children.filter(counts).count();
                if let Some(limit) = place.node.limit {
                    prop_assert!(active <= limit as usize, "{active} of {limit}");
                }
                prop_assert!(place.node.slots.is_none_or(|slots| place.taken.len() <= slots as usize));
            }
        }
    }

    /// Where nothing is asked of it, a run of the same answers ends in the same way, whoever is faster.
    #[test]
    fn any_order_of_the_same_answers_has_the_same_end(
        trees in trees(),
        orders in prop::collection::vec(any::<u8>(), 400),
    ) {
        // Where time has a say the end may differ, and that is right.
        if trees.has_background() || trees.has_waiting() {
            return Ok(());
        }
        let run = |orders: &dyn Fn(usize) -> usize| {
            let mut state = State::default();
            begin(&mut state, 1_000);
            for turn in 0..40_000 {
                let effects = wanted(&state);
                if state.finished.is_some() {
                    break;
                }
                let effect = &effects[orders(turn) % effects.len()];
                let now = match effect {
                    Effect::Wake { at_ms } if effects.len() == 1 => *at_ms,
                    _ => state.at_ms,
                };
                if let Some(input) = trees.faithful(&state, effect) {
                    advance(&mut state, input, now).unwrap();
                }
            }
            prop_assert!(state.finished.is_some());
            Ok(ends(&state))
        };
        let first = run(&|turn| turn)?;
        let second = run(&|turn| usize::from(orders[turn % orders.len()]) + turn / orders.len())?;
        prop_assert_eq!(first, second);
    }

    #[test]
    fn a_batch_torn_anywhere_is_completed_with_the_same_words(
        trees in trees(),
        turns in 1..80usize,
        good in any::<bool>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut state = State::default();
        begin(&mut state, 0);
        for turn in 0..turns {
            let effects = wanted(&state);
            let Some(effect) = effects.get(turn % effects.len().max(1)) else {
                break;
            };
            let choice = if good { 127 } else { 61 };
            let Some(input) = answer(&trees, effect, choice) else {
                continue;
            };
            let direct = decide(&state, input.clone(), 1).len();
            let mut torn = state.clone();
            let batch = advance(&mut state, input, 1).unwrap();
            if batch.len() > direct {
                let kept = direct + cut.index(batch.len() - direct);
                for stamped in &batch[..kept] {
                    evolve(&mut torn, stamped).unwrap();
                }
                let rest = advance(&mut torn, Input::Now, 1).unwrap();
                prop_assert_eq!(&rest, &batch[kept..]);
                prop_assert_eq!(&torn, &state);
            }
        }
    }
}

/// How the run and every node of it ended.
fn ends(state: &State) -> Vec<(String, Option<Status>)> {
    let all = state.nodes.iter();
    let all = all.map(|(id, place)| (id.0.clone(), place.status()));
    all.chain([("run".to_owned(), state.finished)]).collect()
}
