//! The time of a run, which no change of the machine's date disturbs.
//!
//! Deadlines of a run are kept by every driver that it has, one after the other. Within one driver time is the machine's date
//! at its start and what has passed since, by a clock that nobody sets. From one driver to the next the rule is:
//!
//! * on the same boot of the same machine (each [`Event::Adopted`] says which), that clock goes on: what passed between the two
//!   is what it says passed, even where the date was set in between, forwards or back;
//! * after a reboot, or on another machine, the date is all there is; it never leads back before the last event.
//!
//! Time during which the machine was suspended does not count, as its steps were suspended too.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use engine::event::{Awake, Event, Stamped};

/// When a driver began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// By the time of the run.
    pub run_ms: u64,
    /// By the clock that nobody sets, where the machine has one that others can tell from another boot's.
    pub awake: Option<Awake>,
}

impl Begun {
    /// From what happened before, the machine's date and its clock.
    pub fn new(before: &[Stamped], wall_ms: u64, awake: Option<Awake>) -> Self {
        let here = awake.as_ref();
        let went_on = before.iter().rev().find_map(|stamped| {
            let (Event::Adopted { awake: then, .. }, Some(here)) = (&stamped.event, here) else {
                return None;
            };
            let then = then.as_ref().filter(|then| then.boot == here.boot)?;
            Some(stamped.at_ms + here.ms.checked_sub(then.ms)?)
        });
        let last = before.last().map_or(0, |stamped| stamped.at_ms);
        Self {
            run_ms: went_on.unwrap_or(wall_ms).max(last),
            awake,
        }
    }
}

/// The time of the run, as it goes on in this driver.
#[derive(Debug)]
pub(crate) struct Clock {
    begun: Begun,
    since: Instant,
}

impl Clock {
    /// Goes on from what happened before.
    pub(crate) fn new(before: &[Stamped]) -> Self {
        let since = Instant::now();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        let wall = wall.map_or(0, |wall| wall.as_millis() as u64);
        Self {
            begun: Begun::new(before, wall, awake()),
            since,
        }
    }

    pub(crate) fn begun(&self) -> &Begun {
        &self.begun
    }

    pub(crate) fn now(&self) -> u64 {
        self.begun.run_ms + self.since.elapsed().as_millis() as u64
    }

    pub(crate) fn until(&self, at_ms: u64) -> tokio::time::Instant {
        // A timer fires on the millisecond after, never before the time that was asked for.
        let from_start = Duration::from_millis(at_ms.saturating_sub(self.begun.run_ms));
        tokio::time::Instant::from_std(self.since + from_start)
    }
}

/// Where the clock that nobody sets stands. Other systems than Linux do not tell one boot from another in a file.
fn awake() -> Option<Awake> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let at = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Some(Awake {
        boot: boot.trim().to_owned(),
        ms: u64::try_from(at.tv_sec).ok()? * 1_000 + u64::try_from(at.tv_nsec).ok()? / 1_000_000,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;

    /// None where no boot is named.
    fn at(boot: &str, ms: u64) -> Option<Awake> {
        let boot = boot.to_owned();
        (!boot.is_empty()).then_some(Awake { boot, ms })
    }

    fn adopted(at_ms: u64, epoch: u64, awake: Option<Awake>) -> Stamped {
        Stamped {
            at_ms,
            event: Event::Adopted { epoch, awake },
        }
    }

    #[test]
    fn the_time_of_a_run_from_one_driver_to_the_next() {
        let (wall, far) = (1_000 * HOUR, 9_000 * HOUR);
        let first = adopted(wall, 1, at("one", 500));
        let later = Stamped {
            at_ms: wall + 70,
            event: Event::PodReady { group: "g".into() },
        };
        let second = adopted(wall + 5 * HOUR, 2, at("two", 40));
        let blind = adopted(wall, 1, at("", 0));
        for (name, before, now, awake, expected) in [
            ("a new run", vec![], wall, at("one", 7), wall),
            (
                "the same boot",
                vec![&first, &later],
                wall + 90,
                at("one", 590),
                wall + 90,
            ),
            (
                "the date was set on",
                vec![&first, &later],
                far,
                at("one", 600),
                wall + 100,
            ),
            (
                "the date was set back",
                vec![&first, &later],
                3 * HOUR,
                at("one", 600),
                wall + 100,
            ),
            (
                "never before the last event",
                vec![&first, &later],
                wall,
                at("one", 510),
                wall + 70,
            ),
            (
                "another boot",
                vec![&first, &later],
                far,
                at("two", 10),
                far,
            ),
            (
                "another boot, set back",
                vec![&first, &later],
                3 * HOUR,
                at("two", 10),
                wall + 70,
            ),
            (
                "the boot of the driver before",
                vec![&first, &second],
                far,
                at("two", 50),
                wall + 5 * HOUR + 10,
            ),
            (
                "back on the first machine",
                vec![&first, &second],
                far,
                at("one", 500 + 6 * HOUR),
                wall + 6 * HOUR,
            ),
            (
                "a clock that cannot be",
                vec![&first],
                far,
                at("one", 499),
                far,
            ),
            (
                "a journal of the release before",
                vec![&blind],
                far,
                at("one", 9),
                far,
            ),
            ("a machine that does not tell", vec![&first], far, None, far),
        ] {
            let before: Vec<Stamped> = before.into_iter().cloned().collect();
            let begun = Begun::new(&before, now, awake);
            assert_eq!(begun.run_ms, expected, "{name}");
        }
    }

    #[test]
    fn a_journal_of_the_release_before_is_read() {
        let old: Stamped =
            serde_json::from_str(r#"{"at_ms":5,"event":{"Adopted":{"epoch":1}}}"#).expect("JSON");
        assert_eq!(old, adopted(5, 1, None));
    }
}
