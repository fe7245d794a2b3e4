//! What another command asks of the run.

use engine::Input;

use crate::control::{Ask, Reply};

use super::{Action, Core};

impl Core {
    /// Decides it and says what became of it.
    pub(super) fn hear(&mut self, number: u64, ask: Ask, now_ms: u64) {
        let reply = match ask {
            // Asked again it means nothing more, which is as well.
            Ask::Interrupt(interrupt) => {
                self.decide(Input::Interrupt(interrupt), now_ms);
                Reply::Done
            }
        };
        self.out.push_back(Action::Reply { number, reply });
    }
}
