//! Whether the image that runs is the one whose entrypoint, user and platform were asked for: a tag may have moved in between, and a
//! node may keep an older one.

use std::collections::BTreeMap;

use driver::backend::{EventKind, Events};
use tokio::sync::watch;

use crate::said::say;
use crate::watch::Seen;

/// The digests that an image may run by: its manifest's, and its index's where it has one. Empty: not known.
pub(crate) type Digests = Vec<String>;

/// What preflights have resolved, by pod and container.
#[derive(Debug)]
pub(crate) struct Resolved(watch::Sender<BTreeMap<String, BTreeMap<String, Digests>>>);

impl Default for Resolved {
    fn default() -> Self {
        Self(watch::Sender::new(BTreeMap::new()))
    }
}

impl Resolved {
    /// Keeps what a pod's preflight has resolved.
    pub(crate) fn keep(&self, pod: &str, images: BTreeMap<String, Digests>) {
        self.0.send_modify(|all| {
            all.insert(pod.to_owned(), images);
        });
    }

    /// Forgets a pod.
    pub(crate) fn forget(&self, pod: &str) {
        self.0.send_modify(|all| {
            all.remove(pod);
        });
    }

    /// Compares a container's image with what was resolved, as soon as both are known, and tells a difference. Nothing waits for it: the
    /// pod's status comes after its events. It ends with the watch on the pod.
    pub(crate) fn compare(
        &self,
        pod: &str,
        container: &str,
        image: &str,
        mut seen: watch::Receiver<Seen>,
        events: Events,
    ) {
        let mut resolved = self.0.subscribe();
        let (pod, container, image) = (pod.to_owned(), container.to_owned(), image.to_owned());
        tokio::spawn(async move {
            let ran = match seen.wait_for(|s| s.images.contains_key(&container)).await {
                Ok(seen) => seen.images[&container].clone(),
                Err(_) => return,
            };
            let both = async {
                let all = resolved.wait_for(|all| all.contains_key(&pod)).await.ok()?;
                all[&pod].get(&container).cloned()
            };
            // Of a pod that goes before its preflight is there nobody asks any more.
            let digests = tokio::select! {
                digests = both => digests,
                _ = seen.wait_for(|s| s.gone.is_some()) => None,
            };
            if let Some(message) = digests.and_then(|own| differs(&container, &image, &own, &ran)) {
                let container = Some(container);
                say(
                    &events,
                    container,
                    EventKind::Warning,
                    "ImageMoved",
                    message,
                );
            }
        });
    }
}

/// What is to be said of a container whose `imageID` is `ran`.
fn differs(container: &str, image: &str, digests: &Digests, ran: &str) -> Option<String> {
    let (_, ran) = ran.rsplit_once('@')?;
    let asked = digests.first()?;
    if digests.iter().any(|own| own == ran) {
        return None;
    }
    Some(format!(
        "the container {container} runs {ran}, and the image {image:?} that was asked of its registry is {asked}: the tag was moved, or the node had an older one; its entrypoint and user were taken from the latter"
    ))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::mpsc;

    use super::*;

    fn digests(names: &[&str]) -> Digests {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn either_digest_of_what_was_asked_for_is_right() {
        let both = digests(&["sha256:m", "sha256:i"]);
        assert_eq!(differs("c", "a:1", &both, "a@sha256:m"), None);
        assert_eq!(differs("c", "a:1", &both, "r/a@sha256:i"), None);
        let text = differs("c", "a:1", &both, "r/a@sha256:x").expect("another one");
        for part in ["runs sha256:x", "\"a:1\"", "is sha256:m"] {
            assert!(text.contains(part), "{text}");
        }
        // Never asked, or imported under no name.
        assert_eq!(differs("c", "a:1", &Digests::new(), "a@sha256:m"), None);
        assert_eq!(differs("c", "a:1", &both, "sha256:x"), None);
    }

    #[tokio::test]
    async fn it_is_told_once_both_are_known_whichever_comes_last() {
        for status_first in [true, false] {
            let resolved = Resolved::default();
            let (tell, seen) = watch::channel(Seen::default());
            let (events, mut told) = mpsc::unbounded_channel();
            resolved.compare("p", "c", "a:1", seen, events);
            let ran = || {
                tell.send_modify(|seen| {
                    seen.images.insert("c".to_owned(), "a@sha256:x".to_owned());
                });
            };
            let asked = || {
                let images = BTreeMap::from([("c".to_owned(), digests(&["sha256:m"]))]);
                resolved.keep("p", images);
            };
            if status_first {
                ran();
                tokio::task::yield_now().await;
                asked();
            } else {
                asked();
                ran();
            }
            let event = tokio::time::timeout(Duration::from_mins(1), told.recv());
            let event = event.await.expect("in time").expect("an event");
            assert_eq!(event.kind, EventKind::Warning);
            assert!(told.recv().await.is_none(), "once, and then it ends");
        }
    }
}
