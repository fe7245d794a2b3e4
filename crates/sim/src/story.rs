//! Pipelines to run: chosen by a seed, small, and of every shape.

use driver::fake::{Leaf, Script, group, node, parallel, process, sequence, step, waits};
use pipeline::plan::{Kind, Order};

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
            node(
                &format!("stage{stage}"),
                Kind::Stage("Custom".to_owned()),
                Order::Sequence,
                children,
            )
        })
        .collect();
    Script::new(stages)
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
        children.push(match random.below(6) {
            0 => {
                let some = (0..=random.below(2)).map(|_| random_step(random, number));
                parallel_of(some.collect(), number)
            }
            1 => {
                let some = (0..=random.below(2)).map(|_| random_step(random, number));
                let some = some.collect();
                *number += 1;
                sequence(&format!("s{number}"), some)
            }
            2 => outside(random, number),
            _ => random_step(random, number),
        });
    }
    *number += 1;
    group(&format!("g{number}"), children)
}

fn parallel_of(children: Vec<Leaf>, number: &mut u32) -> Leaf {
    *number += 1;
    parallel(&format!("p{number}"), children)
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
    if random.chance(60) {
        step.timeout(1 + random.below(300))
    } else {
        step
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
