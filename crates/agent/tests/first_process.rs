//! The addon as the first process of a PID namespace, as in a container: there it may kill everything, and does.

mod support;

use addon::frame::Exit;
use support::{Agent, attempt, run, script};

/// `None` where this machine lets nobody make namespaces; said on standard error.
fn contained() -> Option<Agent> {
    let flags = [
        "--user",
        "--map-root-user",
        "--pid",
        "--fork",
        "--mount-proc",
        "--kill-child",
    ];
    Agent::unshared(&flags, "")
}

#[test]
fn nothing_of_an_earlier_occupant_is_left() {
    let Some(agent) = contained() else { return };
    let daemons = "for i in 1 2 3; do setsid sh -c 'trap \"\" TERM HUP; (sleep 1000 & wait)' >/dev/null 2>&1 & done; sleep 0.1; echo $$";
    let (record, log) = run(&agent, script(daemons));
    assert_eq!(record.exit, Exit::Code(0), "{log}");
    let mut next = script("for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline; echo; done");
    next.attempt = attempt(1);
    let (record, log) = run(&agent, next);
    assert_eq!(record.exit, Exit::Code(0), "{log}");
    assert!(log.contains("stepyard-agent addon"), "{log}");
    assert!(!log.contains("sleep 1000"), "{log}");
}

#[test]
fn a_step_cannot_end_the_addon() {
    let Some(agent) = contained() else { return };
    let (record, log) = run(
        &agent,
        script("set +e; kill -9 1; kill -TERM 1; kill -INT 1; sleep 0.1; echo alive"),
    );
    assert_eq!((&record.exit, log.as_str()), (&Exit::Code(0), "alive\n"));
    assert_eq!(record.stopped, None);
}
