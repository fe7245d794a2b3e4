//! Several things measured in turns.

use std::time::Duration;

use anyhow::Result;

/// One measurement, told how often it was made before.
type Measure<'a> = Box<dyn FnMut(usize) -> Result<Duration> + 'a>;

/// Things that are measured one after the other, again and again, in an order that goes round: a machine that gets slower for a
/// while is slower for all of them.
pub(super) struct Turns<'a> {
    rounds: usize,
    each: Vec<Measure<'a>>,
}

impl<'a> Turns<'a> {
    pub(super) fn new(rounds: usize) -> Self {
        Self {
            rounds,
            each: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, measure: impl FnMut(usize) -> Result<Duration> + 'a) {
        self.each.push(Box::new(measure));
    }

    /// The times of each thing, a round at a place.
    pub(super) fn measure(mut self) -> Result<Vec<Vec<Duration>>> {
        let count = self.each.len();
        let mut times = vec![Vec::new(); count];
        for round in 0..self.rounds {
            for place in 0..count {
                let which = (place + round) % count;
                times[which].push((self.each[which])(round)?);
            }
        }
        Ok(times)
    }
}

/// The median of the ratios of what was measured in the same round.
pub(super) fn ratio(a: &[Duration], b: &[Duration]) -> f64 {
    let pairs = a.iter().zip(b);
    let mut all: Vec<f64> = pairs
        .map(|(a, b)| a.as_secs_f64() / b.as_secs_f64().max(1e-9))
        .collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len().saturating_sub(1) / 2)
        .copied()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_measured_once_a_round_and_all_begin_once() -> Result<()> {
        let order = std::cell::RefCell::new(Vec::new());
        let mut turns = Turns::new(3);
        for name in ["a", "b", "c"] {
            let order = &order;
            turns.add(move |round| {
                order.borrow_mut().push((name, round));
                Ok(Duration::from_secs(round as u64 + 1))
            });
        }
        let times = turns.measure()?;
        assert_eq!(times, vec![[1, 2, 3].map(Duration::from_secs).to_vec(); 3]);
        let order = order.into_inner();
        let began: Vec<_> = order.iter().step_by(3).copied().collect();
        assert_eq!(began, [("a", 0), ("b", 1), ("c", 2)]);
        Ok(())
    }

    /// A round in which all was slow changes nothing.
    #[test]
    fn a_ratio_is_of_pairs() {
        let of = |ms: &[u64]| -> Vec<Duration> {
            ms.iter().copied().map(Duration::from_millis).collect()
        };
        let (a, b) = (of(&[100, 1000, 110]), of(&[100, 1000, 100]));
        assert!((ratio(&a, &b) - 1.0).abs() < 1e-9);
        assert!(ratio(&[], &[]).abs() < 1e-9);
    }
}
