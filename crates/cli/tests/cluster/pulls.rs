//! Pull policies do on the node what they say, and an image that is not the one that was asked for is told.

use std::fs;

use image::build::Built;

use crate::support::{Group, Registry, Seen, busybox};
use crate::world::{Cluster, Running};

const MOVED: &str = "the tag was moved, or the node had an older one";

/// An image that holds this word.
fn holding(word: &str) -> (tempfile::TempDir, Built) {
    let dir = tempfile::tempdir().expect("a directory");
    let layer = dir.path().join("word");
    fs::create_dir_all(&layer).expect("a directory");
    fs::write(layer.join("word"), word).expect("a file");
    let built = busybox(dir.path(), |builder| {
        builder.layer_from_dir(&layer).expect("a layer");
    });
    (dir, built)
}

/// Starts a group of one step that says what its image holds, and holds until it is let go.
fn start(cluster: &Cluster, image: &str, policy: &str) -> Running {
    let more = format!("shell: Sh, imagePullPolicy: {policy}");
    let text = "echo holds $(cat /word); until [ -e /harness/go ]; do sleep 0.1; done";
    cluster.start(&Group::new().step("a", image, &more, text))
}

/// Lets it go, once the pod's status has said what runs, which is later than its events.
fn end(cluster: &Cluster, run: Running) -> Seen {
    let pod = cluster.until("the image that runs", || {
        let pod = cluster.pods().into_iter().next()?;
        let states = pod["status"]["containerStatuses"].as_array()?;
        let own = states.iter().find(|own| own["name"] == "step-a")?;
        let known = own["imageID"].as_str()?.contains('@');
        known.then(|| pod["metadata"]["name"].as_str().map(str::to_owned))?
    });
    let go = ["exec", &pod, "-c", "step-a", "--", "touch", "/harness/go"];
    cluster.kubectl(&go);
    run.end()
}

#[test]
fn each_policy_pulls_what_it_says() {
    let Some(cluster) = Cluster::new("pulls") else {
        return;
    };
    let registry = Registry::start(false);
    let ((_one, old), (_two, new)) = (holding("old"), holding("new"));
    let image = registry.push(&old, "moving/image:1");
    let run = |policy: &str, word: &str| {
        let mut run = start(&cluster, &image, policy);
        run.until(&format!("[s/g/a] holds {word}"));
        run
    };

    // Nothing is pulled, and the node has nothing.
    let seen = start(&cluster, &image, "Never").end();
    seen.says(
        "never, absent",
        1,
        &[
            "cannot start: Container image",
            "is not present with pull policy of Never",
        ],
    );
    assert_eq!(seen.times("Pulling image"), 0, "{}", seen.out);

    let seen = end(&cluster, run("IfNotPresent", "old"));
    seen.says("absent", 0, &["Successfully pulled image"]);
    assert_eq!(seen.times(MOVED), 0, "{}", seen.out);

    // The tag moves: who does not ask goes on with what the node has, and is told that it is not what the registry has.
    assert_eq!(registry.push(&new, "moving/image:1"), image);
    let mut held = run("IfNotPresent", "old");
    // By the pod's status, which comes before the step's first line or after it.
    held.until_once(MOVED);
    let seen = end(&cluster, held);
    seen.says("present", 0, &["already present on machine"]);
    assert_eq!(seen.times(MOVED), 1, "{}", seen.out);
    let logged = cluster.home.call(&["logs", "Initialize"]);
    assert_eq!(logged.times(MOVED), 1, "it is kept: {}", logged.out);

    let seen = end(&cluster, run("Never", "old"));
    seen.says("never, present", 0, &[]);
    assert_eq!(seen.times(MOVED), 0, "nobody asked: {}", seen.out);

    let seen = end(&cluster, run("Always", "new"));
    seen.says("always", 0, &[]);
    assert_eq!(seen.times(MOVED), 0, "{}", seen.out);
}
