//! Pipelines to run: chosen by a seed, small, and of every shape, with everything that a run can decide.

use driver::fake::{Leaf, Script, group, node, parallel, process, sequence, step, waits};
use pipeline::plan::{Action, Errors, Iteration, Kind, Order, Retry, Strategy, WhenStatus};

use crate::random::Random;

/// A pipeline of one or two stages with containerized groups.
pub fn random(random: &mut Random) -> Script {
    let stages = 1 + random.below(2);
    let mut number = 0;
    let stages = (0..stages)
        .map(|stage| {
            let mut children = vec![random_group(random, &mut number)];
            // Beside groups: processes of the delegate, and steps that wait.
            for _ in 0..random.below(3) {
                let at = random.below(children.len() as u64 + 1) as usize;
                children.insert(at, outside(random, &mut number));
            }
            let mut stage = node(
                &format!("stage{stage}"),
                Kind::Stage("Custom".to_owned()),
                Order::Sequence,
                children,
            );
            stage = decorated(stage, random, 300);
            if random.chance(400) {
                stage = stage.undone_by(vec![random_group(random, &mut number)]);
            }
            stage
        })
        .collect();
    Script::new(stages)
}

/// A pipeline in which groups begin with the workspace of an earlier one.
pub fn handing_over(random: &mut Random) -> Script {
    let mut number = 0;
    let mut some = vec![step("put", "put:first put:second")];
    some.push(step(
        "big",
        &format!("put:{}", "x".repeat(random.below(200_000) as usize)),
    ));
    some.push(random_step(random, &mut number));
    let giver = decorated(group("giver", some), random, 200).handing_over();
    let taker = |random: &mut Random, number: &mut u32, name: &str| {
        let steps = vec![
            step(&format!("show{name}"), "show"),
            random_step(random, number),
        ];
        let taker = decorated(group(name, steps), random, 400);
        taker.taking_over("pipeline.one.giver")
    };
    let mut first = vec![giver];
    if random.chance(300) {
        first.push(outside(random, &mut number));
    }
    first.push(taker(random, &mut number, "taker"));
    let stage = |name: &str, children| {
        node(
            name,
            Kind::Stage("Custom".to_owned()),
            Order::Sequence,
            children,
        )
    };
    let second = vec![taker(random, &mut number, "later")];
    Script::new(vec![
        decorated(stage("one", first), random, 200),
        decorated(stage("two", second), random, 300),
    ])
}

/// A step in no group's pod.
fn outside(random: &mut Random, number: &mut u32) -> Leaf {
    *number += 1;
    let name = format!("x{number}");
    let leaf = match random.below(3) {
        0 => waits(&name, "Wait", &random.below(400).to_string()),
        1 => process(&name, "echo:begin sleep:30 out:V=1 echo:end"),
        _ => process(&name, "echo:beside"),
    };
    if random.chance(60) {
        leaf.timeout(1 + random.below(300))
    } else {
        leaf
    }
}

fn random_group(random: &mut Random, number: &mut u32) -> Leaf {
    let mut children = Vec::new();
    if random.chance(300) {
        children.push(name(number, "echo:up serve", random).background());
    }
    for _ in 0..=random.below(3) {
        children.push(match random.below(7) {
            0 => {
                let some = (0..=random.below(2)).map(|_| random_step(random, number));
                parallel_of(some.collect(), number)
            }
            1 => {
                let some = (0..=random.below(2)).map(|_| random_step(random, number));
                let some = some.collect();
                *number += 1;
                decorated(sequence(&format!("s{number}"), some), random, 200)
            }
            2 => looped(random, number),
            3 => outside(random, number),
            _ => random_step(random, number),
        });
    }
    if random.chance(250) {
        children = taking_turns(children);
    }
    *number += 1;
    let group = decorated(group(&format!("g{number}"), children), random, 200);
    if random.chance(200) {
        group.undone_by(vec![random_step(random, number)])
    } else {
        group
    }
}

/// Steps that run one after the other, all in the container of the first of them.
fn taking_turns(children: Vec<Leaf>) -> Vec<Leaf> {
    let mut container: Option<String> = None;
    children
        .into_iter()
        .map(|child| match &child.node.kind {
            Kind::Step(step) if step.r#type == "Run" => match (&container, &step.container) {
                (Some(first), _) => child.in_container(first),
                (None, own) => {
                    container.clone_from(own);
                    child
                }
            },
            _ => child,
        })
        .collect()
}

fn parallel_of(children: Vec<Leaf>, number: &mut u32) -> Leaf {
    *number += 1;
    parallel(&format!("p{number}"), children)
}

/// A few iterations of a step, perhaps not all at once.
fn looped(random: &mut Random, number: &mut u32) -> Leaf {
    let total = random.below(4) as u32;
    let mut children: Vec<Leaf> = (0..total)
        .map(|index| {
            let mut step = random_step(random, number);
            step.node.iteration = Some(Box::new(Iteration {
                index,
                total,
                suffix: format!("_{index}"),
                ..Iteration::default()
            }));
            step
        })
        .collect();
    let limit = random.chance(600).then(|| 1 + random.below(2) as u32);
    if limit == Some(1) && random.chance(500) {
        children = taking_turns(children);
    }
    *number += 1;
    let mut looped = node(&format!("l{number}"), Kind::Loop, Order::Parallel, children);
    looped.node.skip_queued = random.chance(300);
    match limit {
        Some(most) => looped.limit(most),
        None => looped,
    }
}

fn random_step(random: &mut Random, number: &mut u32) -> Leaf {
    let words = match random.below(12) {
        0 => "echo:failing exit:3".to_owned(),
        1 => "echo:a echo:b die:9".to_owned(),
        2 => format!("flood:{}", 1000 * (1 + random.below(80))),
        3 | 4 => format!("echo:begin sleep:{} echo:end", random.below(500)),
        5 => "echo:1 sleep:3 echo:2 sleep:7 echo:3 sleep:20 flood:900 sleep:5 echo:4".to_owned(),
        6 => "out:V=1 secret:S=covered echo:left".to_owned(),
        _ => "echo:fine".to_owned(),
    };
    let step = name(number, &words, random);
    let step = if random.chance(60) {
        step.timeout(1 + random.below(300))
    } else {
        step
    };
    decorated(step, random, 250)
}

/// With a `when` and failure strategies, each with this chance in a thousand.
fn decorated(mut leaf: Leaf, random: &mut Random, chance: u64) -> Leaf {
    if random.chance(chance) {
        let status = match random.below(3) {
            0 => WhenStatus::Success,
            1 => WhenStatus::Failure,
            _ => WhenStatus::All,
        };
        let condition = match random.below(4) {
            0 => Some("yes"),
            1 => Some("no"),
            _ => None,
        };
        leaf = leaf.when(status, condition);
    }
    if random.chance(chance) {
        let action = action(random, 2);
        leaf = leaf.failing(vec![Strategy {
            errors: Errors::All,
            action,
        }]);
    }
    leaf
}

fn action(random: &mut Random, depth: u32) -> Action {
    let retry = |random: &mut Random| Retry {
        count: random.below(3) as u32,
        intervals_ms: vec![0, random.below(200)],
        condition: random.chance(200).then(|| "yes".to_owned()),
        then: (depth > 0 && random.chance(500)).then(|| Box::new(action(random, depth - 1))),
    };
    match random.below(if depth > 0 { 11 } else { 7 }) {
        0 => Action::Ignore,
        1 => Action::MarkAsSuccess,
        2 => Action::StageRollback,
        3 => Action::StepGroupRollback,
        4 => Action::PipelineRollback,
        5 => Action::MarkAsFailure,
        6 => Action::Abort,
        7 | 8 => Action::Retry(retry(random)),
        9 => Action::RetryStepGroup(retry(random)),
        _ => Action::ManualIntervention {
            timeout_ms: 1 + random.below(400),
            then: Box::new(action(random, depth - 1)),
        },
    }
}

fn name(number: &mut u32, words: &str, random: &mut Random) -> Leaf {
    *number += 1;
    let step = step(&format!("x{number}"), words);
    if random.chance(150) {
        step.reports("*.xml")
    } else {
        step
    }
}
