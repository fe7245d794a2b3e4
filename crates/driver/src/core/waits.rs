//! Steps that run nowhere: what they wait for is asked of the planner, their places in queues of the shell.

use std::collections::BTreeMap;

use engine::Input;
use engine::event::{ErrorKind, Failure};
use pipeline::plan::NodeId;

use super::{Action, Core};

/// A queue that cannot be used.
pub(super) fn no_place(message: String) -> Failure {
    Failure {
        error: ErrorKind::InfrastructureFailure,
        message,
        help: Some(
            "`stepyard resume` goes on with a run whose command was lost; `stepyard sweep` gives up its place"
                .to_owned(),
        ),
    }
}

impl Core {
    pub(super) fn ask_wait(&mut self, node: NodeId, now_ms: u64) {
        let wait = self.planner.wait(&node, &self.facts);
        self.decide(Input::Waits { node, wait }, now_ms);
    }

    /// Asks for the places that are wanted and not asked for yet, and gives back those that are not wanted any more.
    pub(super) fn queue(&mut self, wanted: BTreeMap<NodeId, String>) {
        let gone = self
            .queued
            .iter()
            .filter(|node| !wanted.contains_key(*node));
        for node in gone.cloned().collect::<Vec<_>>() {
            self.queued.remove(&node);
            self.out.push_back(Action::Leave { node });
        }
        for (node, key) in wanted {
            if self.queued.insert(node.clone()) {
                self.out.push_back(Action::Enqueue { node, key });
            }
        }
    }

    pub(super) fn admitted(&mut self, node: NodeId, result: Result<(), String>, now_ms: u64) {
        let result = result.map_err(no_place);
        self.decide(Input::Admitted { node, result }, now_ms);
    }
}
