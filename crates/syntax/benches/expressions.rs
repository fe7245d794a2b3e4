//! How long typical expressions take to evaluate, parsed once, over a tree of values.
//!
//! `cargo bench -p syntax --bench expressions` prints a line for each: nanoseconds, and how many a second on one core.

#![expect(clippy::disallowed_methods, reason = "it measures")]

use std::hint::black_box;
use std::time::Instant;

use syntax::expr::{Template, Tree, Value};

const EXPRESSIONS: [&str; 7] = [
    "<+pipeline.variables.tag>",
    "<+steps.build.output.outputVariables.VERSION>",
    "registry.example.com/app:<+pipeline.variables.tag>-<+pipeline.sequenceId>",
    "<+pipeline.variables.tag == \"v1.2.3\" ? \"release\" : \"snapshot\">",
    "<+<+pipeline.variables.tag>.toUpperCase().contains(\"V1\")>",
    "<+pipeline.variables.count > 2 && !empty(pipeline.variables.tag)>",
    "<+pipeline.variables.list.split(\",\")[1]>",
];

const ROUNDS: u32 = 200_000;

fn main() {
    let variables = Value::from([
        ("tag", Value::from("v1.2.3")),
        ("count", Value::from(3)),
        ("list", Value::from("a,b,c")),
    ]);
    let outputs = Value::from([("outputVariables", Value::from([("VERSION", "1.2.3")]))]);
    let scope = Tree::from([
        (
            "pipeline",
            Value::from([("variables", variables), ("sequenceId", Value::from(12))]),
        ),
        (
            "steps",
            Value::from([("build", Value::from([("output", outputs)]))]),
        ),
    ]);
    let mut total = 0.0;
    for text in EXPRESSIONS {
        let template = Template::parse(text).expect("parses");
        let start = Instant::now();
        for _ in 0..ROUNDS {
            black_box(template.value(black_box(&scope)).expect("evaluates"));
        }
        let each = start.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS);
        total += each;
        println!("{each:6.0} ns  {text}");
    }
    let mean = total / EXPRESSIONS.len() as f64;
    println!("mean {mean:.0} ns: {:.0} a second on one core", 1e9 / mean);
}
