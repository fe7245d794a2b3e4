//! Pods where pods are made, and processes of the delegate beside them, on the machine where the driver is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pipeline::pod;

use crate::backend::{
    Access, Backend, Carrier, Created, Deleted, Events, Failure, FailureKind, ImageFacts, PodRef,
};

/// A backend for pods and one for processes of the delegate, told apart by their names.
pub struct Beside {
    pods: Arc<dyn Backend>,
    processes: Option<Arc<dyn Backend>>,
}

impl Beside {
    /// Of both; without the second, steps that are processes of the delegate fail.
    pub fn new(pods: Arc<dyn Backend>, processes: Option<Arc<dyn Backend>>) -> Self {
        Self { pods, processes }
    }

    fn of(&self, pod: &str) -> Result<&dyn Backend, Failure> {
        if !pod::is_delegate(pod) {
            return Ok(&*self.pods);
        }
        self.processes.as_deref().ok_or_else(|| Failure {
            kind: FailureKind::Configuration,
            container: None,
            message: "no process of the delegate can be started here".to_owned(),
            help: Some("use a Run step in a containerized step group".to_owned()),
        })
    }
}

#[async_trait]
impl Backend for Beside {
    fn name(&self) -> &'static str {
        self.pods.name()
    }

    async fn preflight(
        &self,
        spec: &pod::Spec,
        access: &Access,
    ) -> BTreeMap<String, Result<ImageFacts, Failure>> {
        match self.of(&spec.name) {
            Ok(backend) => backend.preflight(spec, access).await,
            Err(failure) => spec
                .containers
                .iter()
                .map(|own| (own.name.clone(), Err(failure.clone())))
                .collect(),
        }
    }

    async fn create(
        &self,
        spec: &pod::Spec,
        access: &Access,
        events: Events,
    ) -> Result<Created, Failure> {
        self.of(&spec.name)?.create(spec, access, events).await
    }

    async fn container(
        &self,
        spec: &pod::Spec,
        access: &Access,
        container: &str,
        events: Events,
    ) -> Result<(), Failure> {
        let backend = self.of(&spec.name)?;
        backend.container(spec, access, container, events).await
    }

    fn give_up(&self, pod: &PodRef) {
        if let Ok(backend) = self.of(&pod.name) {
            backend.give_up(pod);
        }
    }

    fn ahead(&self) -> usize {
        self.pods.ahead()
    }

    async fn connect(&self, pod: &PodRef) -> Result<Box<dyn Carrier>, Failure> {
        self.of(&pod.name)?.connect(pod).await
    }

    async fn visit(&self, pod: &PodRef) -> Result<Box<dyn Carrier>, Failure> {
        self.of(&pod.name)?.visit(pod).await
    }

    async fn gone(&self, pod: &PodRef) -> Failure {
        match self.of(&pod.name) {
            Ok(backend) => backend.gone(pod).await,
            Err(failure) => failure,
        }
    }

    async fn ended(&self, pod: &PodRef, container: &str) -> Option<Failure> {
        self.of(&pod.name).ok()?.ended(pod, container).await
    }

    async fn delete(&self, pod: &PodRef, grace: Duration) -> Result<Deleted, Failure> {
        match self.of(&pod.name) {
            Ok(backend) => backend.delete(pod, grace).await,
            Err(_) => Ok(Deleted::NotThere),
        }
    }

    async fn list(&self) -> Result<Vec<PodRef>, Failure> {
        let mut all = self.pods.list().await?;
        if let Some(processes) = &self.processes {
            all.extend(processes.list().await?);
        }
        Ok(all)
    }
}
