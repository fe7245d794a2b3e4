//! What the API server was asked, by its audit log.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::Kube;

/// A request of somebody outside.
#[derive(Debug)]
pub(super) struct Asked {
    /// When it came, since the Unix epoch.
    pub(super) at: Duration,
    pub(super) verb: String,
    /// `pods`, `pods/exec`.
    pub(super) what: String,
    name: String,
}

/// All requests about this namespace, in order.
pub(super) fn requests(kube: &Kube<'_>) -> Result<Vec<Asked>> {
    let text =
        std::fs::read_to_string(&kube.audit).with_context(|| kube.audit.display().to_string())?;
    let mine = text.lines().filter(|l| l.contains(&kube.namespace));
    let mut all: Vec<Asked> = mine
        .filter_map(|line| read(line, &kube.namespace))
        .collect();
    all.sort_by_key(|asked| asked.at);
    // A watch and an exec are told when they begin and when they end.
    all.dedup_by(|a, b| a.at == b.at && a.verb == b.verb && a.what == b.what);
    Ok(all)
}

fn read(line: &str, namespace: &str) -> Option<Asked> {
    let entry: Value = serde_json::from_str(line).ok()?;
    let about = &entry["objectRef"];
    if about["namespace"] != namespace {
        return None;
    }
    let resource = about["resource"].as_str()?;
    Some(Asked {
        at: time(entry["requestReceivedTimestamp"].as_str()?)?,
        verb: entry["verb"].as_str()?.to_owned(),
        what: about["subresource"]
            .as_str()
            .map_or_else(|| resource.to_owned(), |sub| format!("{resource}/{sub}")),
        name: about["name"].as_str().unwrap_or_default().to_owned(),
    })
}

/// When the pod of this name was asked for: the last one, a name is used again once its pod is gone.
pub(super) fn created(kube: &Kube<'_>, pod: &str) -> Result<Duration> {
    requests(kube)?
        .into_iter()
        .rfind(|a| a.verb == "create" && a.what == "pods" && a.name == pod)
        .map(|asked| asked.at)
        .with_context(|| format!("the audit log does not know the pod {pod}"))
}

/// `2026-11-25T10:12:53.392682Z`, since the Unix epoch.
fn time(text: &str) -> Option<Duration> {
    let (date, clock) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.split('-').map(|n| n.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut clock = clock.split(':');
    let (hours, minutes) = (
        clock.next()?.parse::<u64>().ok()?,
        clock.next()?.parse::<u64>().ok()?,
    );
    let seconds: f64 = clock.next()?.parse().ok()?;
    // Days since 1970 of the Gregorian calendar, its year begun in March.
    let shifted = if month > 2 { year } else { year - 1 };
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let days = shifted * 365 + shifted.div_euclid(4) - shifted.div_euclid(100)
        + shifted.div_euclid(400)
        + of_year
        - 719_468;
    let whole = u64::try_from(days).ok()? * 86_400 + hours * 3600 + minutes * 60;
    Some(Duration::from_secs(whole) + Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_since_the_epoch() {
        assert_eq!(time("1970-01-01T00:00:00Z"), Some(Duration::ZERO));
        assert_eq!(
            time("2026-11-25T10:12:53.500000Z"),
            Some(Duration::from_millis(1_795_601_573_500))
        );
        assert_eq!(
            time("2024-02-29T23:59:59Z"),
            Some(Duration::from_secs(1_709_251_199))
        );
        assert_eq!(time("yesterday"), None);
    }

    #[test]
    fn an_entry_is_about_a_namespace() {
        let line = r#"{"verb":"get","objectRef":{"resource":"pods","subresource":"exec","namespace":"n","name":"p"},"requestReceivedTimestamp":"1970-01-01T00:00:01.000000Z"}"#;
        let asked = read(line, "n").expect("an entry");
        assert_eq!(
            (
                asked.verb.as_str(),
                asked.what.as_str(),
                asked.name.as_str()
            ),
            ("get", "pods/exec", "p")
        );
        assert!(read(line, "other").is_none());
    }
}
