//! Ctrl-C and its kin.

use engine::event::Interrupt;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{Receiver, channel};

use crate::problem::Problem;
use crate::screen::show::Voice;

/// Interrupts that may wait: nobody presses faster than the driver listens.
const WAITING: usize = 4;

/// What signals ask of a run: the first to end it, a second one to hurry. Must be called in a runtime.
pub(crate) fn watch(voice: Voice) -> Result<Receiver<Interrupt>, Problem> {
    let watched = |kind| signal(kind).map_err(|e| Problem::system("watch for signals", &e));
    let mut int = watched(SignalKind::interrupt())?;
    let mut term = watched(SignalKind::terminate())?;
    let mut hup = watched(SignalKind::hangup())?;
    let (sender, receiver) = channel(WAITING);
    tokio::spawn(async move {
        let mut seen = 0_u32;
        loop {
            let ctrl_c = tokio::select! {
                Some(()) = int.recv() => true,
                Some(()) = term.recv() => false,
                Some(()) = hup.recv() => false,
                else => return,
            };
            seen += 1;
            let interrupt = if seen == 1 {
                let again = if ctrl_c {
                    "; press Ctrl-C again to kill them"
                } else {
                    ""
                };
                voice.say(format!("stopping: the steps are told to end{again}"));
                Interrupt::Abort
            } else {
                voice.say("killing the steps");
                Interrupt::Kill
            };
            if sender.send(interrupt).await.is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}
