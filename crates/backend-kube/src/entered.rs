//! The first way into a pod: by the container of the first step, which is started first, and by lite-engine as soon as that runs.

use std::collections::HashMap;
use std::future::pending;
use std::sync::{Arc, Mutex};

use driver::backend::{Carrier, Events, Failure, FailureKind};
use kube::{Api, Client};
use pipeline::pod::{self, Spec};
use tokio::sync::watch::Receiver;

use crate::backend::Kube;
use crate::watch::Seen;
use crate::{carrier, direct};

/// Ways that were opened and that nobody has taken yet, by pod.
#[derive(Clone, Default)]
pub(crate) struct Entered(Arc<Mutex<HashMap<String, Box<dyn Carrier>>>>);

impl Entered {
    fn add(&self, pod: &str, way: Box<dyn Carrier>) {
        if let Ok(mut ways) = self.0.lock() {
            ways.insert(pod.to_owned(), way);
        }
    }

    /// The way into a pod, for whoever connects to it now.
    pub(crate) fn take(&self, pod: &str) -> Option<Box<dyn Carrier>> {
        self.0.lock().ok()?.remove(pod)
    }
}

impl Kube {
    /// Opens the way into a pod that was made, as soon as there is one, for the first that connects: who may not go in is told now,
    /// and not for ever.
    pub(crate) async fn open(
        &self,
        spec: &Spec,
        namespace: &str,
        events: Events,
    ) -> Result<(), Failure> {
        let first = spec.containers.first().filter(|_| self.early);
        let first = first.map(|own| own.name.as_str());
        let started = async {
            match first {
                Some(first) if self.started(spec, first, events.clone()).await.is_ok() => first,
                _ => pending().await,
            }
        };
        let early = tokio::select! {
            first = started => Some(first),
            engine = self.started(spec, pod::LITE_ENGINE, events.clone()) => {
                // Where lite-engine stands on the image of the first step, what is wrong with that is told of the step.
                let seen = self.seen(&spec.name, namespace, None);
                let own = first.and_then(|own| seen.borrow().failed.get(own).cloned());
                engine.map_err(|failure| own.unwrap_or(failure))?;
                None
            }
        };
        if let Some(first) = early {
            let pods = Api::namespaced(self.client().clone(), namespace);
            match carrier::exec(&pods, &spec.name, first, pod::SLICE_SOCKET).await {
                Ok(stream) => {
                    let seen = self.seen(&spec.name, namespace, None);
                    let later = lite_engine(
                        self.client().clone(),
                        spec.name.clone(),
                        namespace.to_owned(),
                        seen.clone(),
                        self.entered.clone(),
                    );
                    let entered = (first.to_owned(), stream);
                    let way = direct::early::open(pods, spec.name.clone(), entered, seen, later);
                    self.entered.add(&spec.name, way);
                    return Ok(());
                }
                Err(failure) if failure.kind == FailureKind::Authorization => return Err(failure),
                // Whatever it was, lite-engine comes.
                Err(_) => self.started(spec, pod::LITE_ENGINE, events).await?,
            }
        }
        match carrier::enter(self.client(), &spec.name, namespace).await {
            Ok(stream) => self.entered.add(&spec.name, Box::new(stream)),
            Err(failure) if failure.kind == FailureKind::Authorization => return Err(failure),
            // It is tried again.
            Err(_) => {}
        }
        Ok(())
    }
}

/// Ends when lite-engine runs and is entered; that is the way then.
async fn lite_engine(
    client: Client,
    pod: String,
    namespace: String,
    mut seen: Receiver<Seen>,
    entered: Entered,
) {
    let runs = |seen: &Seen| seen.started.contains(pod::LITE_ENGINE);
    if seen.wait_for(runs).await.is_ok()
        && let Ok(stream) = carrier::enter(&client, &pod, &namespace).await
        // The pod is not being deleted.
        && seen.has_changed().is_ok()
    {
        entered.add(&pod, Box::new(stream));
        return;
    }
    pending::<()>().await;
}
