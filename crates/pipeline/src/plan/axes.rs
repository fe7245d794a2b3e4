//! The values of an iteration's axes.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value as Json;

/// The values of a matrix's axes by name, in the order of their names.
///
/// A list: axes are few, and a loop has up to [`super::MAX_ITERATIONS`] iterations, each with its own. The names are shared. In a journal
/// it is a mapping.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Axes(Vec<(Arc<str>, Json)>);

impl Axes {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of an axis.
    pub fn get(&self, name: &str) -> Option<&Json> {
        let at = self.place(name).ok()?;
        self.0.get(at).map(|(_, value)| value)
    }

    /// Sets the value of an axis.
    pub fn insert(&mut self, name: Arc<str>, value: Json) {
        match self.place(&name) {
            Ok(at) => self.0[at].1 = value,
            Err(at) => self.0.insert(at, (name, value)),
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Json)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }

    fn place(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(own, _)| (**own).cmp(name))
    }
}

impl Serialize for Axes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Axes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let all = BTreeMap::<String, Json>::deserialize(deserializer)?;
        let all = all.into_iter().map(|(name, value)| (name.into(), value));
        Ok(Self(all.collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_kept_by_name_and_read_back() {
        let mut axes = Axes::default();
        for (name, value) in [("os", 1), ("arch", 2), ("version", 3), ("os", 4)] {
            axes.insert(name.into(), value.into());
        }
        assert_eq!(axes.get("os"), Some(&4.into()));
        assert_eq!(axes.get("o"), None);
        let text = serde_json::to_string(&axes).unwrap();
        assert_eq!(text, r#"{"arch":2,"os":4,"version":3}"#);
        assert_eq!(serde_json::from_str::<Axes>(&text).unwrap(), axes);
    }
}
