//! The volume of the slice takes no byte more: the step ends as it would have, with its record, and what cannot be kept is told.

mod support;

use std::process::{Command, Stdio};
use std::time::Duration;

use addon::frame::{Exit, Record, Report, Request, State};
use support::{Agent, Driver, script};

/// An addon whose slice is on a volume of a megabyte, and the way to the slice from here. `None` where this machine lets nobody
/// mount one; said on standard error.
fn small() -> Option<(Agent, std::path::PathBuf)> {
    let flags = ["--mount", "--pid", "--fork", "--kill-child"];
    let allowed = Command::new("unshare").args(flags).arg("true").output();
    if !allowed.is_ok_and(|out| out.status.success()) {
        eprintln!("no mount namespace can be made here: not tested");
        return None;
    }
    let dir = tempfile::tempdir().expect("a temp dir");
    let child = Command::new("unshare")
        .args(flags)
        .args([
            "sh",
            "-ec",
            "mount -t tmpfs -o size=1m none \"$0\"; exec \"$@\"",
        ])
        .arg(dir.path())
        .arg(support::binary())
        .args(["addon", "--run", "r1", "--dir"])
        .arg(dir.path().join("step-a"))
        .stdin(Stdio::null())
        .spawn()
        .expect("unshare starts");
    let root = format!("/proc/{}/root{}", child.id(), dir.path().display());
    let slice = std::path::PathBuf::from(root).join("step-a");
    let ends_within = Duration::ZERO;
    Some((
        Agent {
            dir,
            child,
            ends_within,
        },
        slice,
    ))
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
