//! `cargo xtask bench`: the product's figures, each measured from outside on the release binary, in one run on one machine.
//!
//! Absolute figures depend on the machine; the ratios to other programs, measured in the same run, do so less.

mod figures;
mod kernel;
mod kube;
mod measure;
mod pure;
mod texts;
mod watch;

use anyhow::Result;

use self::measure::Bench;

/// A line of the table.
pub(crate) struct Row {
    what: &'static str,
    reach: &'static str,
    here: String,
    /// Reached or not; none where there is nothing to reach.
    good: Option<bool>,
}

type Figure = fn(&Bench) -> Result<Vec<Row>>;

/// Name on the command line, and what measures it.
const FIGURES: &[(&str, Figure)] = &[
    ("version", figures::version),
    ("validate", figures::validate),
    ("hand-over", figures::hand_over),
    ("noop", figures::noop),
    ("podman", figures::podman),
    ("noop-user", figures::noop_user),
    ("agent", figures::agent),
    ("sleep", figures::sleep),
    ("log", figures::log),
    ("pull", figures::pull),
    ("expressions", pure::expressions),
    ("plan", pure::plan),
    ("engine", pure::engine),
    ("recovery", pure::recovery),
];

/// Measures the named figures, or all, and prints the table. A figure that cannot be measured is told, and does not stop the others.
pub(crate) fn run(names: &[String]) -> Result<()> {
    if let Some((_, args)) = names.split_first().filter(|(first, _)| *first == "--kube") {
        let wanted = kube::wanted(args)?;
        let bench = Bench::new()?;
        let kube = kube::Kube::new(&bench, &wanted)?;
        return measured(&wanted.names, kube::FIGURES, |figure| figure(&kube));
    }
    for name in names {
        anyhow::ensure!(
            FIGURES.iter().any(|f| f.0 == name),
            "no such figure: `{name}`; there are {}",
            FIGURES.iter().map(|f| f.0).collect::<Vec<_>>().join(", ")
        );
    }
    let bench = Bench::new()?;
    measured(names, FIGURES, |figure| figure(&bench))
}

fn measured<F>(
    names: &[String],
    figures: &[(&str, F)],
    measure: impl Fn(&F) -> Result<Vec<Row>>,
) -> Result<()> {
    let mut rows = Vec::new();
    let mut failed = 0;
    for (name, figure) in figures
        .iter()
        .filter(|f| names.is_empty() || names.iter().any(|n| n == f.0))
    {
        eprintln!("measuring {name}");
        match measure(figure) {
            Ok(more) => {
                for row in &more {
                    eprintln!("  {}: {}", row.what, row.here);
                }
                rows.extend(more);
            }
            Err(e) => {
                failed += 1;
                eprintln!("{name} could not be measured: {e:#}");
            }
        }
    }
    println!("{}", measure::machine());
    println!();
    println!("| what | to reach | here | |");
    println!("|---|---|---|---|");
    for row in &rows {
        let verdict = match row.good {
            Some(true) => "reached",
            Some(false) => "missed",
            None => "",
        };
        println!(
            "| {} | {} | {} | {verdict} |",
            row.what, row.reach, row.here
        );
    }
    anyhow::ensure!(failed == 0, "{failed} figures could not be measured");
    Ok(())
}
