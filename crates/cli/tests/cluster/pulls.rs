//! Pull policies do on the node what they say, and an image that is not the one that was asked for is told.

use image::build::Built;

use crate::support::{Group, Registry, Seen, busybox};
use crate::world::Cluster;

const MOVED: &str = "the tag was moved, or the node had an older one";

/// An image whose every process says this.
fn saying(word: &str) -> (tempfile::TempDir, Built) {
    let dir = tempfile::tempdir().expect("a directory");
    let built = busybox(dir.path(), |builder| {
        let env = ("WORD".to_owned(), word.to_owned());
        builder.facts().env.push(env);
    });
    (dir, built)
}

#[test]
fn each_policy_pulls_what_it_says() {
    let Some(cluster) = Cluster::new("pulls") else {
        return;
    };
    let registry = Registry::start(false);
    let ((_one, old), (_two, new)) = (saying("old"), saying("new"));
    let image = registry.push(&old, "moving/image:1");
    let run = |policy: &str| -> Seen {
        let more = format!("shell: Sh, imagePullPolicy: {policy}");
        cluster.run(
            &Group::new().step("a", &image, &more, "echo says $WORD"),
            &[],
        )
    };
    // Never: nothing is pulled, and the node has nothing.
    let seen = run("Never");
    seen.says("absent", 1, &["is not present with pull policy of Never"]);
    assert_eq!(seen.times("Pulling image"), 0, "{}", seen.out);
    let seen = run("IfNotPresent");
    seen.says("absent", 0, &["says old", "Successfully pulled image"]);
    assert_eq!(seen.times(MOVED), 0, "{}", seen.out);

    // The tag moves: who does not ask goes on with what the node has, and is told that it is not what the registry has.
    assert_eq!(registry.push(&new, "moving/image:1"), image);
    let seen = run("IfNotPresent");
    seen.says(
        "present",
        0,
        &["says old", "already present on machine", MOVED],
    );
    assert_eq!(seen.times(MOVED), 1, "{}", seen.out);
    let logged = cluster.home.call(&["logs", "Initialize"]);
    assert_eq!(logged.times(MOVED), 1, "it is kept: {}", logged.out);
    let seen = run("Never");
    seen.says("present", 0, &["says old"]);
    assert_eq!(
        seen.times(MOVED),
        0,
        "nobody asked the registry: {}",
        seen.out
    );
    let seen = run("Always");
    seen.says("asked", 0, &["says new"]);
    assert_eq!(seen.times(MOVED), 0, "{}", seen.out);
}
