//! Questions that several put at once: groups that start side by side want the same images and the same agent.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::OnceCell;

/// What is being asked just now. An answer is kept for those who wait for it and for nobody after them: it may be another one then.
pub(crate) struct Asking<K, V>(Mutex<HashMap<K, Weak<OnceCell<V>>>>);

impl<K, V> Default for Asking<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V: Clone> Asking<K, V> {
    /// The answer to what somebody asks already, else to `ask`.
    pub(crate) async fn answer<F>(&self, key: K, ask: impl FnOnce() -> F) -> V
    where
        F: Future<Output = V>,
    {
        // Where whoever asks gives up, the next of those who wait asks.
        self.cell(key).get_or_init(ask).await.clone()
    }

    fn cell(&self, key: K) -> Arc<OnceCell<V>> {
        let mut asked = self
            .0
            .lock()
            .expect("no panic while the questions are held");
        if let Some(cell) = asked.get(&key).and_then(Weak::upgrade) {
            return cell;
        }
        asked.retain(|_, cell| cell.strong_count() > 0);
        let cell = Arc::new(OnceCell::new());
        asked.insert(key, Arc::downgrade(&cell));
        cell
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    async fn count(times: &Cell<u32>) -> u32 {
        tokio::task::yield_now().await;
        times.set(times.get() + 1);
        times.get()
    }

    #[tokio::test]
    async fn a_question_is_put_once_by_those_who_ask_together_and_again_by_those_who_come_later() {
        let asking = Asking::default();
        let times = Cell::new(0);
        let ask = |key: &'static str| asking.answer(key, || count(&times));
        let (one, same, other) = tokio::join!(ask("a"), ask("a"), ask("b"));
        assert_eq!(one, same);
        // In whichever order the two questions were put.
        assert_eq!(one + other, 3);
        assert_eq!(ask("a").await, 3);
        assert_eq!(asking.0.lock().map(|own| own.len()).ok(), Some(1));
    }

    #[tokio::test]
    async fn who_waits_asks_where_the_first_one_gives_up() {
        let asking = Asking::default();
        let times = Cell::new(0);
        let mut first = Box::pin(asking.answer("a", std::future::pending));
        let second = asking.answer("a", || count(&times));
        let both = async {
            assert!(futures_util::poll!(&mut first).is_pending());
            drop(first);
        };
        let ((), second) = tokio::join!(both, second);
        assert_eq!(second, 1);
    }
}
