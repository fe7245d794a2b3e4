//! The figures of a cluster that stand alone.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::{IMAGE, Kube, audit, bare, ours};
use crate::bench::measure::{median, ms, quantile};
use crate::bench::{Row, texts};

/// Steps that do nothing.
pub(super) fn noops(count: usize) -> Vec<(&'static str, String)> {
    vec![("Sh", "true".to_owned()); count]
}

fn times(kube: &Kube<'_>, mut one: impl FnMut(usize) -> Result<Duration>) -> Result<Duration> {
    Ok(median(
        &(0..kube.rounds).map(&mut one).collect::<Result<Vec<_>>>()?,
    ))
}

/// Twenty steps that do nothing, once all containers run: the first one sleeps until then (a container takes 0.1 to 0.3 s).
pub(super) fn running(kube: &Kube<'_>) -> Result<Vec<Row>> {
    let mut steps = vec![("Sh", "sleep 10".to_owned())];
    steps.extend(noops(20));
    let mut all = Vec::new();
    let mut gaps = Vec::new();
    for i in 0..kube.rounds {
        let run = ours::run(kube, &format!("running-{i}"), &steps)?;
        ensure!(
            run.steps.len() == 21,
            "{} of 21 steps ended",
            run.steps.len()
        );
        all.push(run.steps[20].1.saturating_sub(run.steps[0].1));
        gaps.extend(run.hand_overs());
    }
    let (all, half, most) = (median(&all), quantile(&gaps, 0.5), quantile(&gaps, 0.99));
    Ok(vec![
        Row {
            what: "20 no-op steps once all containers run",
            reach: "≤ 300 ms",
            here: ms(all),
            good: Some(all <= Duration::from_millis(300)),
        },
        Row {
            what: "hand-over, through the API server",
            reach: "p50 ≤ 10 ms",
            here: format!("p50 {}, p99 {} over {}", ms(half), ms(most), gaps.len()),
            good: Some(half <= Duration::from_millis(10)),
        },
    ])
}

/// One step that does nothing, from the request for its pod to the end of the command.
pub(super) fn one(kube: &Kube<'_>) -> Result<Vec<Row>> {
    let took = times(kube, |i| {
        let run = ours::run(kube, &format!("one-{i}"), &noops(1))?;
        Ok(run.ended.saturating_sub(run.created))
    })?;
    Ok(vec![Row {
        what: "one no-op step, from the request for its pod to the end of the command",
        reach: "≤ 1.2 s",
        here: ms(took),
        good: Some(took <= Duration::from_millis(1200)),
    }])
}

/// From a line in a step to the line here.
pub(super) fn line(kube: &Kube<'_>) -> Result<Vec<Row>> {
    let text = "i=0; while [ $i -lt 60 ]; do cat /proc/uptime; sleep 0.07; i=$((i+1)); done";
    let text = texts::pipeline(IMAGE, &[("Sh", text.to_owned())]);
    let mut child = ours::command(kube, "line", &text)?
        .stdout(Stdio::piped())
        .spawn()?;
    let booted = bare::booted()?;
    let mut late = Vec::new();
    let out = child.stdout.take().context("it has an output")?;
    for line in BufReader::new(out).lines() {
        let line = line?;
        let now = ours::now()?;
        let notice: serde_json::Value = serde_json::from_str(&line)?;
        if notice["kind"] == "line"
            && let Some(up) = notice["text"].as_str().and_then(|t| t.split(' ').next())
        {
            let at = booted + Duration::from_secs_f64(up.parse()?);
            late.push(now.saturating_sub(at));
        }
    }
    ensure!(
        child.wait()?.success() && late.len() == 60,
        "{} of 60 lines came",
        late.len()
    );
    let half = median(&late);
    Ok(vec![Row {
        what: "line written in a step to line here (its clock has hundredths)",
        reach: "p50 ≤ 50 ms",
        here: format!("p50 {}, p99 {}", ms(half), ms(quantile(&late, 0.99))),
        good: Some(half <= Duration::from_millis(50)),
    }])
}

/// Ten steps that sleep: what is above their sleeps, from the first instruction to the end of the command.
pub(super) fn sleep(kube: &Kube<'_>) -> Result<Vec<Row>> {
    let sleeps: Vec<u64> = (0..10).map(|i| 200 + i * 1000 / 9).collect();
    let steps: Vec<_> = sleeps
        .iter()
        .map(|t| ("Sh", format!("exec sleep {}.{:03}", t / 1000, t % 1000)))
        .collect();
    let sleeps = Duration::from_millis(sleeps.iter().sum());
    let above = times(kube, |i| {
        let run = ours::run(kube, &format!("sleep-{i}"), &steps)?;
        let first = run.created + run.starts().0;
        Ok(run.ended.saturating_sub(first).saturating_sub(sleeps))
    })?;
    Ok(vec![Row {
        what: "10 sleeping steps: time above the sleeps",
        reach: "≤ 150 ms",
        here: ms(above),
        good: Some(above <= Duration::from_millis(150)),
    }])
}

/// A bad image in the last step.
pub(super) fn image(kube: &Kube<'_>) -> Result<Vec<Row>> {
    let text = texts::pipeline(IMAGE, &noops(6));
    let (before, last) = text.rsplit_once(IMAGE).context("it has images")?;
    let text = format!("{before}127.0.0.1:5050/tc/none:1{last}");
    let began = ours::now()?;
    let out = ours::command(kube, "image", &text)?.output()?;
    let took = ours::now()?.saturating_sub(began);
    let said = String::from_utf8_lossy(&out.stdout);
    ensure!(
        out.status.code() == Some(1) && said.contains("tc/none:1"),
        "it ended with {}: {said}",
        out.status
    );
    Ok(vec![Row {
        what: "a bad image in step 6 of 6: the whole command",
        reach: "≤ 2 s",
        here: ms(took),
        good: Some(took <= Duration::from_secs(2)),
    }])
}

/// From the interrupt to SIGTERM in the container.
pub(super) fn cancel(kube: &Kube<'_>) -> Result<Vec<Row>> {
    let step = "trap 'cat /proc/uptime; exit 0' TERM; echo up; while :; do sleep 0.001; done";
    let text = texts::pipeline(IMAGE, &[("Sh", step.to_owned())]);
    let mut all = Vec::new();
    for i in 0..kube.rounds {
        let mut child = ours::command(kube, &format!("cancel-{i}"), &text)?
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let booted = bare::booted()?;
        let out = child.stdout.take().context("it has an output")?;
        let (mut told, mut at) = (None, None);
        for line in BufReader::new(out).lines() {
            let notice: serde_json::Value = serde_json::from_str(&line?)?;
            let Some(text) = notice["text"].as_str().filter(|_| notice["kind"] == "line") else {
                continue;
            };
            if text == "up" {
                told = Some(ours::now()?);
                let pid = child.id().to_string();
                crate::command::Cmd::new("kill")
                    .args(["-INT", &pid])
                    .run()?;
            } else if let Some(Ok(up)) = text.split(' ').next().map(str::parse) {
                at = Some(booted + Duration::from_secs_f64(up));
            }
        }
        child.wait()?;
        let (told, at) = told.zip(at).context("the step was not told to end")?;
        all.push(at.saturating_sub(told));
    }
    let took = median(&all);
    Ok(vec![Row {
        what: "cancel to SIGTERM in the container (hundredths, with the start of `kill` and of `cat`)",
        reach: "≤ 30 ms",
        here: ms(took),
        good: Some(took <= Duration::from_millis(30)),
    }])
}

/// What a group of six steps asks of the API server.
pub(super) fn writes(kube: &Kube<'_>) -> Result<Vec<Row>> {
    let before = audit::requests(kube)?.len();
    ours::run(kube, "writes", &noops(6))?;
    let asked = audit::requests(kube)?.split_off(before);
    let of = |verbs: &[&str]| {
        let some = asked.iter().filter(|a| verbs.contains(&a.verb.as_str()));
        some.map(|a| format!("{} {}", a.verb, a.what))
            .collect::<Vec<_>>()
    };
    let writes = of(&["create", "update", "patch", "delete", "deletecollection"]);
    let reads = of(&["get", "list", "watch"]);
    Ok(vec![Row {
        what: "writes to the API server for a group of 6",
        reach: "≤ 6",
        here: format!(
            "{} ({}); beside them {}",
            writes.len(),
            writes.join(", "),
            reads.join(", ")
        ),
        good: Some(writes.len() <= 6),
    }])
}

/// Many groups at once from one driver: that none fails, and what each costs the driver.
pub(super) fn hundred(kube: &Kube<'_>) -> Result<Vec<Row>> {
    let of = |count: usize| {
        let text = ours::groups(count, "sleep 1");
        ours::used(&mut ours::command(kube, &format!("groups-{count}"), &text)?)
    };
    let (ten, hundred) = (of(10)?, of(100)?);
    let (few, many) = (ten.cpu / 10, hundred.cpu / 100);
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    Ok(vec![
        Row {
            what: "100 groups at once from one driver: resident",
            reach: "no failure, ≤ 256 MB",
            here: format!(
                "{:.0} MB (10 groups: {:.0} MB)",
                megabytes(hundred.resident),
                megabytes(ten.resident)
            ),
            good: Some(hundred.resident <= 256_000_000),
        },
        Row {
            what: "the same: the driver's processor time for a group, at 10 and at 100",
            reach: "flat",
            here: format!("{} and {}", ms(few), ms(many)),
            good: Some(many.as_secs_f64() <= few.as_secs_f64() * 1.2 + 0.005),
        },
    ])
}
