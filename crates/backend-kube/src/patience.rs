//! Patience with an API server that is away: it starts again, it has too much to do, the way to it is cut.
//!
//! What begins a pod is asked again until it is answered, within the group's `initTimeout`. An answer that says no is an answer:
//! who may not, what is written wrong and what there is no room for fail at once.

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use driver::backend::{EventKind, Events, Failure, FailureKind};
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep_until};

use crate::said::say;

/// The first wait before something is asked again; it doubles.
const FIRST: Duration = Duration::from_millis(200);
/// The longest wait between two tries: who is back is found soon, and a thousand who wait do not keep it down.
const LONGEST: Duration = Duration::from_secs(5);
/// A server that starts again answers requests before it knows who may do what: so long after it was away its no is not its word.
const DAZED: Duration = Duration::from_secs(10);

/// Pods that nobody waits for any more, by name.
#[derive(Debug)]
pub struct GivenUp(watch::Sender<BTreeSet<String>>);

impl Default for GivenUp {
    fn default() -> Self {
        Self(watch::Sender::new(BTreeSet::new()))
    }
}

impl GivenUp {
    /// Nobody waits for this pod.
    pub fn add(&self, pod: &str) {
        self.0.send_modify(|all| {
            all.insert(pod.to_owned());
        });
    }

    /// It is removed.
    pub fn forget(&self, pod: &str) {
        self.0.send_if_modified(|all| all.remove(pod));
    }

    /// Tells of one pod.
    pub fn of(&self, pod: &str) -> Stop {
        Stop(self.0.subscribe(), pod.to_owned())
    }
}

/// Tells when nobody waits for a pod any more.
#[derive(Debug)]
pub struct Stop(watch::Receiver<BTreeSet<String>>, String);

impl Stop {
    /// Ends then, with what there is to say.
    pub(crate) async fn wait(&self) -> Failure {
        let Self(all, pod) = self;
        // Ends too with the backend itself.
        let _ = all.clone().wait_for(|all| all.contains(pod)).await;
        Failure {
            kind: FailureKind::Gone,
            container: None,
            message: format!("nobody waits for the pod {pod} any more"),
            help: None,
        }
    }
}

/// The patience of one pod's making: what is asked side by side shares it, and tells one outage once.
pub struct Patience {
    limit: Duration,
    until: Instant,
    events: Option<Events>,
    stop: Option<Stop>,
    /// When it was away last.
    away: Mutex<Option<Instant>>,
}

impl Patience {
    /// From now on, for so long. What is waited for is told to `events`.
    pub fn new(limit: Duration, events: Option<Events>) -> Self {
        Self {
            limit,
            until: Instant::now() + limit,
            events,
            stop: None,
            away: Mutex::default(),
        }
    }

    /// It ends when nobody waits for the pod any more: between two tries, never while an answer is under way.
    #[must_use]
    pub fn unless(mut self, stop: Stop) -> Self {
        self.stop = Some(stop);
        self
    }

    /// Asks until there is an answer.
    ///
    /// # Errors
    /// The answer is no, or there was none in time.
    pub async fn with<T, F>(&self, mut ask: impl FnMut() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let mut wait = FIRST;
        loop {
            let mut failure = match ask().await {
                Ok(answer) => {
                    self.back().await;
                    return Ok(answer);
                }
                Err(failure) => failure,
            };
            if !self.passes(&failure).await {
                return Err(failure);
            }
            let again = Instant::now() + wait;
            if again >= self.until {
                let limit = self.limit.as_secs();
                failure.message = format!("{} (tried for {limit} s)", failure.message);
                return Err(failure);
            }
            let stopped = async {
                match &self.stop {
                    Some(stop) => stop.wait().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = sleep_until(again) => {}
                failure = stopped => return Err(failure),
            }
            wait = (wait * 2).min(LONGEST);
        }
    }

    /// Whether it may be another answer the next time.
    async fn passes(&self, failure: &Failure) -> bool {
        let mut away = self.away.lock().await;
        match failure.kind {
            FailureKind::Connectivity => {
                if away.replace(Instant::now()).is_none() {
                    let text = format!("{}; trying again", failure.message);
                    self.tell(EventKind::Warning, "ApiServerAway", text);
                }
                true
            }
            FailureKind::Authentication | FailureKind::Authorization => {
                away.is_some_and(|at| at.elapsed() < DAZED)
            }
            _ => false,
        }
    }

    async fn back(&self) {
        let mut away = self.away.lock().await;
        if away.take().is_some() {
            let text = "the API server answers again".to_owned();
            self.tell(EventKind::Normal, "ApiServerBack", text);
        }
    }

    fn tell(&self, kind: EventKind, reason: &str, message: String) {
        if let Some(events) = &self.events {
            say(events, None, kind, reason, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::VecDeque;

    use tokio::sync::mpsc;

    use super::*;

    fn failure(kind: FailureKind) -> Failure {
        Failure {
            kind,
            container: None,
            message: format!("failed to create the pod p: {kind:?}"),
            help: None,
        }
    }

    /// What becomes of answers that come in this order, how many were asked for, and what was told. The last comes for ever.
    async fn asked(
        answers: &[Result<u8, FailureKind>],
    ) -> (Result<u8, Failure>, usize, Vec<String>) {
        let (events, mut told) = mpsc::unbounded_channel();
        let patience = Patience::new(Duration::from_mins(1), Some(events));
        let left: RefCell<VecDeque<_>> = RefCell::new(answers.iter().copied().collect());
        let count = RefCell::new(0);
        let end = patience
            .with(async || {
                *count.borrow_mut() += 1;
                let mut left = left.borrow_mut();
                let answer = if left.len() > 1 {
                    left.pop_front()
                } else {
                    left.front().copied()
                };
                answer.expect("one at least").map_err(failure)
            })
            .await;
        let mut lines = Vec::new();
        while let Ok(event) = told.try_recv() {
            lines.push(event.message);
        }
        (end, count.into_inner(), lines)
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_away_is_asked_again_and_it_is_told_once() {
        let away = Err(FailureKind::Connectivity);
        let (end, count, told) = asked(&[away, away, away, Ok(7)]).await;
        assert_eq!((end, count), (Ok(7), 4));
        let words = [
            "failed to create the pod p: Connectivity; trying again",
            "the API server answers again",
        ];
        assert_eq!(told, words);
    }

    #[tokio::test(start_paused = true)]
    async fn who_stays_away_is_given_up_in_time() {
        let began = Instant::now();
        let (end, count, told) = asked(&[Err(FailureKind::Connectivity)]).await;
        let message = end.expect_err("nobody answers").message;
        assert_eq!(
            message,
            "failed to create the pod p: Connectivity (tried for 60 s)"
        );
        assert!(began.elapsed() < Duration::from_mins(1));
        assert!((10..25).contains(&count), "{count}");
        assert_eq!(told.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_not_waited_for_is_given_up_between_two_tries() {
        let given_up = GivenUp::default();
        let patience = Patience::new(Duration::from_hours(1), None).unless(given_up.of("p"));
        let asked = RefCell::new(0);
        let end = patience
            .with(async || {
                *asked.borrow_mut() += 1;
                if *asked.borrow() == 3 {
                    given_up.add("q");
                    given_up.add("p");
                }
                Err::<u8, _>(failure(FailureKind::Connectivity))
            })
            .await;
        assert_eq!(*asked.borrow(), 3);
        assert_eq!(end.expect_err("given up").kind, FailureKind::Gone);
    }

    #[tokio::test(start_paused = true)]
    async fn no_is_an_answer() {
        for kind in [
            FailureKind::Authentication,
            FailureKind::Authorization,
            FailureKind::Configuration,
            FailureKind::Resources,
            FailureKind::Gone,
            FailureKind::Infrastructure,
        ] {
            let (end, count, told) = asked(&[Err(kind), Ok(7)]).await;
            assert_eq!((end, count), (Err(failure(kind)), 1));
            assert!(told.is_empty());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_no_of_a_server_that_has_just_begun_is_not_believed_for_long() {
        let (away, no) = (
            Err(FailureKind::Connectivity),
            Err(FailureKind::Authorization),
        );
        let (end, ..) = asked(&[away, no, no, Ok(7)]).await;
        assert_eq!(end, Ok(7));
        let began = Instant::now();
        let (end, ..) = asked(&[away, no]).await;
        assert_eq!(end, Err(failure(FailureKind::Authorization)));
        assert!(began.elapsed() < DAZED + LONGEST + FIRST);
    }
}
