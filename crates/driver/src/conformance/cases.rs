//! The cases.

use std::time::Duration;

use addon::frame::{Exit, Request, State, StopReason};
use pipeline::pod::{Source, User, Volume, WORKSPACE};

use super::{Case, World, Wrong, holds, same, script, volume};
use crate::backend::{Access, Created, Deleted, EventKind, FailureKind};

macro_rules! cases {
    ($($name:ident)*) => {
        /// Every case by its name.
        pub const CASES: &[(&str, Case)] = &[$((stringify!($name), |world| Box::pin($name(world)))),*];
    };
}

cases! {
    a_step_runs
    exit_codes_and_output
    a_stop_ends_a_step
    containers_share_network_and_workspace
    containers_have_their_own_processes_and_files
    volumes
    a_claim_outlives_its_pod
    a_workspace_moves
    users
    a_read_only_root
    privileges
    a_driver_comes_back
    calls_may_be_made_again
    gone_is_told
}

async fn a_step_runs(world: &World<'_>) -> Result<(), Wrong> {
    let mut pod = world.running(world.spec("runs", &["step-a"])).await?;
    let text = "echo hello; echo $STEPYARD_CASE; pwd; cat /etc/hosts";
    let output = pod.ok("step-a", text).await?;
    let mut lines = output.lines();
    same("the first line", &lines.next(), &Some("hello"))?;
    same("the environment", &lines.next(), &Some("conformance"))?;
    same("the working directory", &lines.next(), &Some("/harness"))?;
    let named = lines.any(|l| l.starts_with("127.0.0.1") && l.contains("elsewhere"));
    holds("host names are in /etc/hosts", named, &output)?;
    let mut said = Vec::new();
    while let Ok(event) = pod.events.try_recv() {
        if event.kind == EventKind::Normal {
            said.push(event.message);
        }
    }
    for wanted in ["Created container step-a", "Started container step-a"] {
        let found = said.iter().any(|m| m == wanted);
        holds(&format!("`{wanted}` is among the events"), found, &said)?;
    }
    pod.delete().await
}

async fn exit_codes_and_output(world: &World<'_>) -> Result<(), Wrong> {
    let pod = world.running(world.spec("exits", &["step-a"])).await?;
    let (output, code) = pod.sh("step-a", "echo out; echo err >&2; exit 7").await?;
    same("the exit code", &code, &7)?;
    holds(
        "both streams are in the output",
        output.contains("out") && output.contains("err"),
        &output,
    )?;
    let (_, code) = pod.sh("step-a", "kill -9 $$").await?;
    same("the end by a signal", &code, &(128 + 9))?;
    let text =
        "i=0; while [ $i -lt 20000 ]; do echo a line of some length, number $i; i=$((i+1)); done";
    let output = pod.ok("step-a", text).await?;
    same("the lines of a flood", &output.lines().count(), &20_000)?;
    pod.delete().await
}

async fn a_stop_ends_a_step(world: &World<'_>) -> Result<(), Wrong> {
    let pod = world.running(world.spec("stop", &["step-a"])).await?;
    let mut talk = pod.talk("step-a").await?;
    let start = script(
        &pod.spec.run,
        "step-a",
        "trap '' TERM; echo up; sleep 600 & wait; sleep 600",
    );
    let attempt = start.attempt.clone();
    talk.say(&Request::Start(Box::new(start))).await?;
    talk.say(&Request::Stop {
        attempt: attempt.clone(),
        grace_ms: 50,
        reason: StopReason::Abort,
    })
    .await?;
    let record = talk.finish(&mut Vec::new()).await?;
    same("why it ended", &record.stopped, &Some(StopReason::Abort))?;
    let ended = matches!(record.exit, Exit::Signal(_) | Exit::Code(_));
    holds("it ran", ended, &record.exit)?;
    pod.delete().await
}

async fn containers_share_network_and_workspace(world: &World<'_>) -> Result<(), Wrong> {
    let pod = world
        .running(world.spec("share", &["step-a", "step-b"]))
        .await?;
    pod.ok("step-a", "echo from a > /harness/file").await?;
    same(
        "the workspace",
        &pod.ok("step-b", "cat file").await?,
        &"from a".to_owned(),
    )?;
    for namespace in ["net", "ipc"] {
        let text = format!("readlink /proc/self/ns/{namespace}");
        let (a, b) = (
            pod.ok("step-a", &text).await?,
            pod.ok("step-b", &text).await?,
        );
        same(&format!("the {namespace} namespace"), &b, &a)?;
    }
    pod.ok("step-b", "grep -q ' *lo:' /proc/net/dev").await?;
    pod.delete().await
}

async fn containers_have_their_own_processes_and_files(world: &World<'_>) -> Result<(), Wrong> {
    let pod = world
        .running(world.spec("own", &["step-a", "step-b"]))
        .await?;
    let before = std::fs::read_link("/proc/self/ns/mnt").unwrap_or_default();
    for namespace in ["mnt", "pid"] {
        let text = format!("readlink /proc/self/ns/{namespace}");
        let (a, b) = (
            pod.ok("step-a", &text).await?,
            pod.ok("step-b", &text).await?,
        );
        holds(&format!("each has its {namespace} namespace"), a != b, &a)?;
        holds("not the host's", before.to_string_lossy() != a, &a)?;
    }
    pod.ok(
        "step-a",
        "echo mine > /var/mine; echo slice > /addon/tmp/slice",
    )
    .await?;
    let text = "test ! -e /var/mine && test ! -e /addon/tmp/slice";
    pod.ok("step-b", text).await?;
    let first = pod.ok("step-a", "cat /proc/1/comm").await?;
    same("the first process", &first, &"stepyard-agent".to_owned())?;
    pod.ok(
        "step-a",
        "! touch /addon/bin/stepyard-agent && ! touch /addon/bin/more",
    )
    .await?;
    pod.delete().await
}

async fn volumes(world: &World<'_>) -> Result<(), Wrong> {
    let mut spec = world.spec("volumes", &["step-a", "step-b"]);
    spec.volumes.push(volume("shared-0", "/shared/deep/path"));
    spec.volumes.push(Volume {
        name: "volume-0".to_owned(),
        mount_path: "/memory".to_owned(),
        source: Source::EmptyDir {
            memory: true,
            size_bytes: Some(1 << 20),
        },
    });
    let pod = world.running(spec).await?;
    pod.ok(
        "step-a",
        "echo one > /shared/deep/path/x; echo two > /memory/x",
    )
    .await?;
    let read = pod
        .ok("step-b", "cat /shared/deep/path/x /memory/x")
        .await?;
    same("both volumes", &read, &"one\ntwo".to_owned())?;
    pod.ok("step-b", "grep -q ' /memory tmpfs ' /proc/mounts")
        .await?;
    let full = "! head -c 2000000 /dev/zero > /memory/large 2>/dev/null";
    pod.ok("step-b", full).await?;
    pod.delete().await
}

async fn a_claim_outlives_its_pod(world: &World<'_>) -> Result<(), Wrong> {
    let claim = |read_only| Volume {
        name: "volume-0".to_owned(),
        mount_path: "/cache".to_owned(),
        source: Source::Claim {
            name: format!("{}-claim", world.prefix),
            read_only,
        },
    };
    let mut spec = world.spec("claim-1", &["step-a"]);
    spec.volumes.push(claim(false));
    let pod = world.running(spec).await?;
    pod.ok("step-a", "echo kept > /cache/file").await?;
    pod.delete().await?;
    let mut spec = world.spec("claim-2", &["step-a"]);
    spec.volumes.push(claim(true));
    let pod = world.running(spec).await?;
    same(
        "the claim",
        &pod.ok("step-a", "cat /cache/file").await?,
        &"kept".to_owned(),
    )?;
    pod.ok("step-a", "! touch /cache/file 2>/dev/null").await?;
    pod.delete().await
}

/// By what the core asks of an addon, and nothing of the image.
async fn a_workspace_moves(world: &World<'_>) -> Result<(), Wrong> {
    let from = world
        .running(world.spec("gives", &["step-a", "step-b"]))
        .await?;
    let text = "echo from a > file; touch -d @1000000000 file; ln -s file link; \
                i=0; while [ $i -lt 20000 ]; do echo a line of some length, number $i; i=$((i+1)); done > large";
    from.ok("step-a", text).await?;
    from.ok("step-b", "echo '#!/bin/sh' > run; chmod 750 run")
        .await?;
    let most = (1u64 << 30).to_string();
    let argv = ["/proc/self/exe", "pack", WORKSPACE, &most];
    let (archive, exit) = from.talk("step-a").await?.attached(&argv, None).await?;
    same("the end of packing", &exit, &Exit::Code(0))?;
    from.delete().await?;

    let to = world.running(world.spec("takes", &["step-a"])).await?;
    let argv = ["/proc/self/exe", "unpack", WORKSPACE];
    let mut talk = to.talk("step-a").await?;
    let (said, exit) = talk.attached(&argv, Some(&archive)).await?;
    same("the end of unpacking", &exit, &Exit::Code(0))?;
    let dots = vec![b'.'; archive.len() / addon::workspace::STEP as usize];
    same("what unpacking says", &said, &dots)?;
    let (said, exit) = talk
        .attached(&["/proc/self/exe", "pack", "/nowhere", "1"], None)
        .await?;
    same("the end of a failure", &exit, &Exit::Code(1))?;
    let said = String::from_utf8_lossy(&said).into_owned();
    holds(
        "its reason is said",
        said.starts_with("\0failed to read /nowhere"),
        &said,
    )?;
    let text = "cat link; wc -l < large; tail -n 1 large; test -x run && echo executable; \
                test file -ot run && echo older";
    let wanted = "from a\n20000\na line of some length, number 19999\nexecutable\nolder";
    // Some count lines with spaces before.
    let found = to.ok("step-a", text).await?.replace(' ', "");
    same("the workspace", &found, &wanted.replace(' ', ""))?;
    to.delete().await
}

async fn users(world: &World<'_>) -> Result<(), Wrong> {
    let mut spec = world.spec("users", &["step-a", "step-b", "step-c"]);
    spec.containers[0].security.run_as_user = Some(User::Id(1234));
    spec.containers[0].security.run_as_group = Some(4321);
    spec.containers[1].security.run_as_user = Some(User::Name("nobody".to_owned()));
    spec.containers[2].security.run_as_user = Some(User::Id(0));
    spec.containers[2].security.run_as_non_root = Some(true);
    let pod = world.pod(spec).await?;
    if world.users {
        for name in ["step-a", "step-b"] {
            pod.container(name).await.map_err(|f| f.message)?;
        }
        let who = pod
            .ok("step-a", "id -u; id -g; echo x > /harness/by-1234")
            .await?;
        same("user and group", &who, &"1234\n4321".to_owned())?;
        same(
            "a user's name",
            &pod.ok("step-b", "id -un").await?,
            &"nobody".to_owned(),
        )?;
        let caps = pod.ok("step-a", "grep CapEff /proc/self/status").await?;
        holds(
            "it has no capability",
            caps.ends_with("0000000000000000"),
            &caps,
        )?;
    }
    match pod.container("step-c").await {
        Err(failure) => holds(
            "user 0 is refused by name",
            failure.message.contains("step-c") || failure.container.as_deref() == Some("step-c"),
            &failure,
        )?,
        Ok(()) => return Err("user 0 runs although runAsNonRoot is set".to_owned()),
    }
    pod.delete().await
}

async fn a_read_only_root(world: &World<'_>) -> Result<(), Wrong> {
    let mut spec = world.spec("ro", &["step-a"]);
    spec.containers[0].security.read_only_root = Some(true);
    let pod = world.running(spec).await?;
    pod.ok(
        "step-a",
        "! touch /usr/x 2>/dev/null && ! touch /x 2>/dev/null",
    )
    .await?;
    pod.ok(
        "step-a",
        "touch /harness/x && touch /addon/tmp/x && touch /dev/shm/x",
    )
    .await?;
    pod.delete().await
}

async fn privileges(world: &World<'_>) -> Result<(), Wrong> {
    let mut spec = world.spec("caps", &["step-a", "step-b"]);
    spec.containers[0].security.allow_privilege_escalation = Some(false);
    spec.containers[0].security.drop = vec!["ALL".to_owned()];
    spec.containers[0].security.add = vec!["KILL".to_owned()];
    let pod = world.running(spec).await?;
    let status = pod.ok("step-a", "cat /proc/self/status").await?;
    let field = |name: &str| {
        let value = status.lines().find_map(|l| l.strip_prefix(name));
        value.map(|v| v.trim().to_owned()).unwrap_or_default()
    };
    same("no_new_privs", &field("NoNewPrivs:").as_str(), &"1")?;
    same(
        "capabilities",
        &field("CapEff:").as_str(),
        &"0000000000000020",
    )?;
    same(
        "the bounding set",
        &field("CapBnd:").as_str(),
        &"0000000000000020",
    )?;
    let status = pod
        .ok(
            "step-b",
            "grep -E '^(NoNewPrivs|CapEff|Seccomp):' /proc/self/status",
        )
        .await?;
    holds(
        "escalation is allowed by default",
        status.contains("NoNewPrivs:\t0"),
        &status,
    )?;
    holds("a filter is there", status.contains("Seccomp:\t2"), &status)?;
    pod.ok("step-b", "! head -c1 /proc/kcore 2>/dev/null | grep -q .")
        .await?;
    pod.delete().await
}

async fn a_driver_comes_back(world: &World<'_>) -> Result<(), Wrong> {
    let pod = world
        .running(world.spec("back", &["step-a", "step-b"]))
        .await?;
    let text = "echo first; while [ ! -e go ]; do sleep 0.05; done; echo last";
    let start = script(&pod.spec.run, "step-a", text);
    let attempt = start.attempt.clone();
    let mut talk = pod.talk("step-a").await?;
    talk.say(&Request::Start(Box::new(start))).await?;
    let mut seen = Vec::new();
    while !seen.ends_with(b"first\n") {
        if let addon::frame::Report::Output { bytes, .. } = talk.report().await? {
            seen.extend_from_slice(&bytes);
        }
    }
    drop(talk);
    let known = (attempt.clone(), seen.len() as u64);
    let mut talk = pod.talk_again("step-a", Some(known)).await?;
    let running = matches!(&talk.state, State::Running { attempt: a, .. } if *a == attempt);
    holds("the step runs on", running, &talk.state)?;
    pod.ok("step-b", "touch go").await?;
    let record = talk.finish(&mut seen).await?;
    same("its end", &record.exit, &Exit::Code(0))?;
    let text = String::from_utf8_lossy(&seen);
    same("its output, once", &&*text, &"first\nlast\n")?;
    pod.delete().await
}

async fn calls_may_be_made_again(world: &World<'_>) -> Result<(), Wrong> {
    let pod = world.running(world.spec("again", &["step-a"])).await?;
    let (send, _events) = tokio::sync::mpsc::unbounded_channel();
    let again = world
        .backend
        .create(&pod.spec, &Access::default(), send)
        .await;
    same("a second creation", &again, &Ok(Created::AlreadyThere))?;
    pod.container("step-a").await.map_err(|f| f.message)?;
    pod.ok("step-a", "true").await?;
    let listed = world.backend.list().await.map_err(|f| f.message)?;
    holds("it is listed", listed.contains(&pod.pod_ref()), &listed)?;
    let reference = pod.pod_ref();
    pod.delete().await?;
    let again = world.backend.delete(&reference, Duration::ZERO).await;
    same("a second deletion", &again, &Ok(Deleted::NotThere))
}

async fn gone_is_told(world: &World<'_>) -> Result<(), Wrong> {
    let pod = world.running(world.spec("gone", &["step-a"])).await?;
    let reference = pod.pod_ref();
    let (gone, deleted) = tokio::join!(world.backend.gone(&reference), async {
        // Nothing tells when `gone` listens: whichever comes first, it must end.
        pod.delete().await
    });
    deleted?;
    same("the kind of failure", &gone.kind, &FailureKind::Gone)?;
    match world.backend.connect(&reference).await {
        Err(failure) => same("connecting to it", &failure.kind, &FailureKind::Gone),
        Ok(_) => Err("a deleted pod can be connected to".to_owned()),
    }
}
