//! Pods that were asked for and of which nothing was given to an API server: there is nothing to remove.

use std::collections::HashMap;
use std::sync::Mutex;

/// By pod, whether something of it was given away.
#[derive(Debug, Default)]
pub struct Unmade(Mutex<HashMap<String, bool>>);

impl Unmade {
    /// The pod is asked for.
    pub fn begin(&self, pod: &str) {
        if let Ok(mut all) = self.0.lock() {
            all.entry(pod.to_owned()).or_insert(false);
        }
    }

    /// From now on something of it may be there.
    pub fn given(&self, pod: &str) {
        if let Ok(mut all) = self.0.lock() {
            all.insert(pod.to_owned(), true);
        }
    }

    /// What was given away was refused.
    pub fn refused(&self, pod: &str) {
        if let Ok(mut all) = self.0.lock() {
            all.insert(pod.to_owned(), false);
        }
    }

    /// It was asked for here, and nothing of it was given away. Of a pod that another process may have asked for before this says
    /// nothing.
    pub fn is_unmade(&self, pod: &str) -> bool {
        self.0.lock().is_ok_and(|all| all.get(pod) == Some(&false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_away_stays_so() {
        let all = Unmade::default();
        assert!(!all.is_unmade("of another process"));
        all.begin("p");
        assert!(all.is_unmade("p"));
        all.given("p");
        all.begin("p");
        assert!(!all.is_unmade("p"));
        all.refused("p");
        assert!(all.is_unmade("p"));
    }
}
