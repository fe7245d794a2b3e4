//! Users for the containers of a restricted namespace: there none may run as root, and most images would.

use std::collections::BTreeMap;
use std::time::Duration;

use driver::backend::{EventKind, Events, Failure, ImageFacts};
use pipeline::pod::Spec;
use tokio::sync::watch;

use crate::said::say;

/// How long the preflight's answers are waited for. Without them every container gets a user.
const PATIENCE: Duration = Duration::from_secs(10);
/// The lowest user that is given, and how many there are: above those of images, below those that systems keep for others.
const USERS: (u32, u32) = (10_000, 50_000);

/// The user of each image, by pod and container.
type Users = BTreeMap<String, BTreeMap<String, Option<String>>>;

/// What preflights have found.
#[derive(Debug)]
pub(crate) struct Found(watch::Sender<Users>);

impl Default for Found {
    fn default() -> Self {
        Self(watch::Sender::new(Users::new()))
    }
}

impl Found {
    /// Keeps the answers of a pod's preflight.
    pub(crate) fn keep(&self, pod: &str, answers: &BTreeMap<String, Result<ImageFacts, Failure>>) {
        let users = answers
            .iter()
            .filter_map(|(name, answer)| Some((name.clone(), answer.as_ref().ok()?.user.clone())))
            .collect();
        self.0.send_modify(|all| {
            all.insert(pod.to_owned(), users);
        });
    }

    /// Forgets a pod.
    pub(crate) fn forget(&self, pod: &str) {
        self.0.send_modify(|all| {
            all.remove(pod);
        });
    }

    /// A user for every container whose image would run as root, or as somebody of whom that is not known.
    pub(crate) async fn users(&self, spec: &Spec) -> BTreeMap<String, u32> {
        let mut receiver = self.0.subscribe();
        let known = receiver.wait_for(|all| all.contains_key(&spec.name));
        let known = match tokio::time::timeout(PATIENCE, known).await {
            Ok(Ok(all)) => all.get(&spec.name).cloned().unwrap_or_default(),
            _ => BTreeMap::new(),
        };
        let user = user_of(&spec.name);
        spec.containers
            .iter()
            .filter(|container| {
                let written = known.get(&container.name).and_then(Option::as_deref);
                !written.is_some_and(is_somebody)
            })
            .map(|container| (container.name.clone(), user))
            .collect()
    }
}

/// Says what is set in a pod that nobody wrote.
pub(crate) fn tell(namespace: &str, users: &BTreeMap<String, u32>, events: &Events) {
    let mut message = format!(
        "The namespace {namespace} is restricted: containers have no capabilities and gain no privileges"
    );
    if let Some(user) = users.values().next() {
        let names: Vec<&str> = users.keys().map(String::as_str).collect();
        message.push_str("; ");
        message.push_str(&names.join(", "));
        message.push_str(" run as user ");
        message.push_str(&user.to_string());
        message.push_str(", where their images would run as root");
    }
    say(events, None, EventKind::Normal, "Restricted", message);
}

/// A number other than root's; a name may be root by another name, so the kubelet refuses it.
fn is_somebody(user: &str) -> bool {
    let user = user.split(':').next().unwrap_or(user);
    user.parse::<u32>().is_ok_and(|id| id != 0)
}

/// One for the whole pod, so that its steps own each other's files in the workspace; another for every pod.
fn user_of(pod: &str) -> u32 {
    let hash = pod.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    USERS.0 + hash % USERS.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_that_may_stay() {
        for (user, stays) in [
            ("1000", true),
            ("1000:1000", true),
            ("0", false),
            ("root", false),
            ("nobody", false),
            ("", false),
        ] {
            assert_eq!(is_somebody(user), stays, "{user}");
        }
        assert!((10_000..60_000).contains(&user_of("harnesscd-a-12345678")));
    }
}
