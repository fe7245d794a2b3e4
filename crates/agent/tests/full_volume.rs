//! The volume of the slice takes no byte more: the step ends as it would have, with its record, and what cannot be kept is told.

mod support;

use std::path::PathBuf;
use std::time::Duration;

use addon::frame::{Exit, Record, Report, Request, State};
use support::{Agent, Driver, script};

/// An addon whose slice is on a volume of a megabyte, and the way to the slice from here. `None` where this machine lets nobody
/// mount one.
fn small() -> Option<(Agent, PathBuf)> {
    let flags = ["--mount", "--pid", "--fork", "--kill-child"];
    let agent = Agent::unshared(&flags, "mount -t tmpfs -o size=1m none \"$0\"")?;
    let root = format!("/proc/{}/root{}", agent.child.id(), agent.slice().display());
    Some((agent, PathBuf::from(root)))
}

#[test]
fn a_full_volume_loses_output_and_neither_the_end_nor_the_record() {
    let Some((_agent, slice)) = small() else {
        return;
    };
    let socket = slice.join("socket");
    let fill = "set +e; cat /dev/zero >$(dirname $DRONE_OUTPUT)/all; echo more >$(dirname $DRONE_OUTPUT)/more && exit 9
        head -c 6000000 /dev/zero | tr '\\0' x; echo; echo last; exit 3";
    let mut driver = Driver::connect(&socket, 0);
    driver.hello(1, None, 0);
    driver.say(&Request::Start(Box::new(script(fill))));
    driver.started();
    drop(driver);
    loop {
        let mut guest = Driver::connect(&socket, 0);
        guest.hello(addon::attempt::GUEST_EPOCH, None, 0);
        if let Report::Welcome {
            state: State::Done(_),
            ..
        } = guest.report()
        {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    // For an addon that starts again: it was written though there is no room.
    let kept = std::fs::read_to_string(slice.join("record")).expect("a record");
    let kept = kept.lines().next().expect("a line");
    let kept: Record = serde_json::from_str(kept).expect("a whole record");
    assert_eq!(kept.exit, Exit::Code(3));

    let mut driver = Driver::connect(&socket, 0);
    driver.hello(2, Some(support::attempt(0)), 0);
    let record = driver.finished();
    assert_eq!(record.exit, Exit::Code(3));
    assert_eq!(
        driver.next, record.output_bytes,
        "output and gaps make all of it"
    );
    assert!(!driver.gaps.is_empty(), "more than fits was printed");
    assert!(driver.output.ends_with(b"x\nlast\n"));
}
