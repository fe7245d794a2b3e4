//! What another command asks of the run.

use engine::Input;
use engine::event::Answer;

use crate::control::{Ask, Reply};

use super::{Action, Core};

impl Core {
    /// Decides it and says what became of it. `by` is who asks; `executor`: they started the run.
    pub(super) fn hear(&mut self, number: u64, by: String, executor: bool, ask: Ask, now_ms: u64) {
        let reply = match ask {
            Ask::Interrupt(interrupt) => {
                if let Some(why) = engine::refusal(&self.state, &interrupt) {
                    Reply::Refused(why)
                } else {
                    self.decide(Input::Interrupt(interrupt), now_ms);
                    Reply::Done
                }
            }
            Ask::Answer {
                node,
                approve,
                comment,
                inputs,
            } => {
                let answer = Answer {
                    by,
                    executor,
                    approve,
                    automatic: false,
                    comment,
                    inputs,
                };
                match engine::answer(&self.state, &node, &answer) {
                    Ok(()) => {
                        self.decide(Input::Answer { node, answer }, now_ms);
                        Reply::Done
                    }
                    Err(why) => Reply::Refused(why),
                }
            }
        };
        self.out.push_back(Action::Reply { number, reply });
    }
}
