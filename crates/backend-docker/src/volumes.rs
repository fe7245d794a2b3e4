//! The shared directories of a pod as volumes of the engine.

use std::collections::HashMap;

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::{Mount, MountType, MountVolumeOptions, VolumeCreateRequest};
use bollard::query_parameters::{RemoveVolumeOptions, UploadToContainerOptionsBuilder};
use driver::backend::{Failure, FailureKind};
use pipeline::pod::{Source, Spec, Volume};

use crate::backend::failure;
use crate::names;

/// Makes every volume of the pod, one that is there already included.
pub(crate) async fn create(docker: &Docker, spec: &Spec) -> Result<(), Failure> {
    for volume in &spec.volumes {
        let (name, labels) = match &volume.source {
            Source::EmptyDir { .. } => {
                (names::volume(&spec.name, &volume.name), names::labels(spec))
            }
            Source::Claim { name, .. } => (
                names::claim(name),
                HashMap::from([(names::MANAGED.to_owned(), "claim".to_owned())]),
            ),
            Source::HostPath { .. } => continue,
            Source::ConfigMap { name, .. } => return Err(cluster_only("ConfigMap", name)),
            Source::Secret { name, .. } => return Err(cluster_only("Secret", name)),
        };
        make(docker, name, labels, options(&volume.source)).await?;
    }
    for container in &spec.containers {
        make(
            docker,
            names::slice(&spec.name, &container.name),
            names::labels(spec),
            HashMap::new(),
        )
        .await?;
    }
    Ok(())
}

fn cluster_only(kind: &str, name: &str) -> Failure {
    Failure {
        kind: FailureKind::Configuration,
        container: None,
        message: format!("a volume of type {kind} ({name}) needs a cluster"),
        help: Some("run it with --kube, or give the files by a HostPath volume".to_owned()),
    }
}

/// Driver options: only a directory in memory needs some.
fn options(source: &Source) -> HashMap<String, String> {
    let Source::EmptyDir {
        memory: true,
        size_bytes,
    } = source
    else {
        return HashMap::new();
    };
    let mount = match size_bytes {
        // In pages: Podman takes `size` for a quota of the disk below.
        Some(bytes) => format!("mode=0777,nr_blocks={}", bytes.div_ceil(4096)),
        None => "mode=0777".to_owned(),
    };
    [("type", "tmpfs"), ("device", "tmpfs"), ("o", &mount)]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into()
}

async fn make(
    docker: &Docker,
    name: String,
    labels: HashMap<String, String>,
    options: HashMap<String, String>,
) -> Result<(), Failure> {
    let doing = format!("create the volume {name}");
    let request = VolumeCreateRequest {
        name: Some(name),
        labels: Some(labels),
        driver_opts: (!options.is_empty()).then_some(options),
        ..VolumeCreateRequest::default()
    };
    match docker.create_volume(request).await {
        // Podman answers a conflict where Docker answers the volume.
        Ok(_)
        | Err(Error::DockerResponseServerError {
            status_code: 409, ..
        }) => Ok(()),
        Err(error) => Err(failure(&doing, &error)),
    }
}

/// Removes the pod's own volumes; claims stay.
pub(crate) async fn remove(docker: &Docker, pod: &str) -> Result<(), Failure> {
    let filters = HashMap::from([("label".to_owned(), vec![format!("{}={pod}", names::POD)])]);
    let options = bollard::query_parameters::ListVolumesOptions {
        filters: Some(filters),
    };
    let found = docker
        .list_volumes(Some(options))
        .await
        .map_err(|e| failure("list volumes", &e))?;
    for volume in found.volumes.unwrap_or_default() {
        match docker
            .remove_volume(&volume.name, None::<RemoveVolumeOptions>)
            .await
        {
            Ok(())
            | Err(Error::DockerResponseServerError {
                status_code: 404, ..
            }) => {}
            Err(error) => {
                return Err(failure(
                    &format!("remove the volume {}", volume.name),
                    &error,
                ));
            }
        }
    }
    Ok(())
}

/// The mounts of the spec's volumes, alike for every container of the pod.
pub(crate) fn mounts(spec: &Spec) -> Vec<Mount> {
    spec.volumes
        .iter()
        .map(|volume| of(&spec.name, volume))
        .collect()
}

fn of(pod: &str, volume: &Volume) -> Mount {
    let (source, typ, read_only) = match &volume.source {
        Source::HostPath { path, .. } => (path.clone(), MountType::BIND, false),
        Source::Claim { name, read_only } => (names::claim(name), MountType::VOLUME, *read_only),
        _ => (names::volume(pod, &volume.name), MountType::VOLUME, false),
    };
    mount(source, typ, &volume.mount_path, read_only)
}

/// A container's own slice of `/addon`, mounted at `target`.
pub(crate) fn slice(pod: &str, container: &str, target: &str) -> Mount {
    mount(
        names::slice(pod, container),
        MountType::VOLUME,
        target,
        false,
    )
}

fn mount(source: String, typ: MountType, target: &str, read_only: bool) -> Mount {
    Mount {
        target: Some(target.to_owned()),
        source: Some(source),
        // A shared directory starts empty, whatever the image has at its path.
        volume_options: (typ == MountType::VOLUME).then(|| MountVolumeOptions {
            no_copy: Some(true),
            ..MountVolumeOptions::default()
        }),
        typ: Some(typ),
        read_only: Some(read_only),
        ..Mount::default()
    }
}

/// Lets any user write to these directories of a container that has not started: an engine makes volumes for root alone.
pub(crate) async fn open(
    docker: &Docker,
    container: &str,
    directories: &[String],
) -> Result<(), Failure> {
    let mut archive = tar::Builder::new(Vec::new());
    for directory in directories {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(0o777);
        header.set_size(0);
        let path = format!("{}/", directory.trim_start_matches('/'));
        archive
            .append_data(&mut header, path, std::io::empty())
            .expect("writing to memory does not fail");
    }
    let bytes = archive
        .into_inner()
        .expect("writing to memory does not fail");
    let options = UploadToContainerOptionsBuilder::new().path("/").build();
    docker
        .upload_to_container(container, Some(options), bollard::body_full(bytes.into()))
        .await
        .map_err(|e| failure("open the pod's shared directories to every user", &e))
}
