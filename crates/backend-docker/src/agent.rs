//! The agent on the engine: one volume for each digest, filled by archive upload.

use bollard::Docker;
use bollard::models::{ContainerCreateBody, HostConfig, Mount, MountType, VolumeCreateRequest};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder, UploadToContainerOptionsBuilder,
};
use driver::backend::Failure;

use crate::backend::failure;
use crate::names::MANAGED;

/// Where the agent is in every container.
pub(crate) const DIR: &str = "/addon/bin";
/// The program.
pub(crate) const PROGRAM: &str = "/addon/bin/stepyard-agent";

/// The agent that a backend brings: static, for the engine's architecture.
#[derive(Clone)]
pub(crate) struct Agent {
    pub(crate) bytes: &'static [u8],
    pub(crate) digest: String,
}

impl Agent {
    /// The volume that holds it.
    pub(crate) fn volume(&self) -> String {
        format!("stepyard-agent-{}", &self.digest[..12])
    }

    /// The volume as a read-only mount.
    pub(crate) fn mount(&self) -> Mount {
        Mount {
            target: Some(DIR.to_owned()),
            source: Some(self.volume()),
            typ: Some(MountType::VOLUME),
            read_only: Some(true),
            ..Mount::default()
        }
    }

    /// Makes and fills the volume where it is missing. `image` is any image of the engine: a container of it is made, never started,
    /// to upload through. A volume that is there was filled: it is made last under its name only once the upload is whole.
    pub(crate) async fn ensure(&self, docker: &Docker, image: &str) -> Result<(), Failure> {
        let name = self.volume();
        let ready = format!("{name}-ready");
        if docker.inspect_volume(&ready).await.is_ok() {
            return Ok(());
        }
        volume(docker, &name).await?;
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            cmd: Some(vec![PROGRAM.to_owned()]),
            labels: Some([(MANAGED.to_owned(), "true".to_owned())].into()),
            host_config: Some(HostConfig {
                mounts: Some(vec![Mount {
                    read_only: Some(false),
                    ..self.mount()
                }]),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        let options = CreateContainerOptionsBuilder::new().build();
        let made = docker
            .create_container(Some(options), body)
            .await
            .map_err(|e| failure("create a container for the agent's upload", &e))?;
        let upload = UploadToContainerOptionsBuilder::new().path(DIR).build();
        let archive = bollard::body_full(archive(self.bytes).into());
        let sent = docker
            .upload_to_container(&made.id, Some(upload), archive)
            .await;
        let remove = RemoveContainerOptionsBuilder::new().force(true).build();
        let removed = docker.remove_container(&made.id, Some(remove)).await;
        sent.map_err(|e| failure("upload the agent", &e))?;
        removed.map_err(|e| failure("remove the container of the agent's upload", &e))?;
        volume(docker, &ready).await
    }
}

async fn volume(docker: &Docker, name: &str) -> Result<(), Failure> {
    let request = VolumeCreateRequest {
        name: Some(name.to_owned()),
        labels: Some([(MANAGED.to_owned(), "agent".to_owned())].into()),
        ..VolumeCreateRequest::default()
    };
    docker
        .create_volume(request)
        .await
        .map(drop)
        .map_err(|e| failure(&format!("create the volume {name}"), &e))
}

/// The agent as the one file of a tar archive.
fn archive(bytes: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o555);
    header.set_entry_type(tar::EntryType::Regular);
    let mut archive = tar::Builder::new(Vec::with_capacity(bytes.len() + 2048));
    archive
        .append_data(&mut header, "stepyard-agent", bytes)
        .expect("writing to memory does not fail");
    archive
        .into_inner()
        .expect("writing to memory does not fail")
}
