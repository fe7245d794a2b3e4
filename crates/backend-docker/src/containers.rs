//! The containers of a pod as the engine takes them.

use bollard::models::{ContainerCreateBody, HostConfig};
use pipeline::pod::{self, Container, Network, Resources, Security, Spec, User};

use crate::agent::{Agent, PROGRAM};
use crate::{names, volumes};

/// Where lite-engine sees every container's slice.
pub(crate) const SLICES: &str = "/addon/slices";
/// Where lite-engine listens for the execs of drivers.
pub(crate) const SOCKET: &str = "/addon/slices/.lite-engine";

/// The anchor: lite-engine in the image of the first step, never with its privileges.
pub(crate) fn anchor(spec: &Spec, image: &str, agent: &Agent) -> ContainerCreateBody {
    let mut mounts = volumes::mounts(spec);
    mounts.push(agent.mount());
    for container in &spec.containers {
        mounts.push(volumes::slice(
            &spec.name,
            &container.name,
            &format!("{SLICES}/{}", container.name),
        ));
    }
    let hosts = spec
        .host_names
        .iter()
        .map(|name| format!("{name}:127.0.0.1"))
        .collect();
    ContainerCreateBody {
        hostname: (spec.network == Network::Private).then(|| spec.name.chars().take(63).collect()),
        image: Some(image.to_owned()),
        entrypoint: Some(vec![PROGRAM.to_owned()]),
        cmd: Some(
            ["lite-engine", "--slices", SLICES, "--listen", SOCKET]
                .map(str::to_owned)
                .to_vec(),
        ),
        user: Some("0:0".to_owned()),
        labels: Some(names::labels(spec)),
        host_config: Some(HostConfig {
            mounts: Some(mounts),
            extra_hosts: Some(hosts),
            network_mode: (spec.network == Network::Host).then(|| "host".to_owned()),
            ipc_mode: Some("shareable".to_owned()),
            cap_drop: Some(vec!["ALL".to_owned()]),
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

/// A step's container: the addon as its first process, in the anchor's network.
pub(crate) fn step(spec: &Spec, container: &Container, agent: &Agent) -> ContainerCreateBody {
    let mut mounts = volumes::mounts(spec);
    mounts.push(volumes::slice(&spec.name, &container.name, pod::ADDON));
    mounts.push(agent.mount());
    let security = &container.security;
    let anchor = format!("container:{}", names::anchor(&spec.name));
    let mut host = HostConfig {
        mounts: Some(mounts),
        network_mode: Some(anchor.clone()),
        ipc_mode: Some(anchor),
        ..HostConfig::default()
    };
    secure(&mut host, security);
    limit(&mut host, &container.resources);
    ContainerCreateBody {
        image: Some(container.image.reference.clone()),
        entrypoint: Some(vec![PROGRAM.to_owned()]),
        cmd: Some(vec!["addon".to_owned()]),
        user: user(security, spec.run_as_user.as_ref()),
        working_dir: Some(pod::WORKSPACE.to_owned()),
        labels: Some(names::labels(spec)),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    }
}

/// `user[:group]`; none: the image's own.
fn user(security: &Security, pod: Option<&User>) -> Option<String> {
    let name = match security.run_as_user.as_ref().or(pod)? {
        User::Id(id) => id.to_string(),
        User::Name(name) => name.clone(),
    };
    Some(
        security
            .run_as_group
            .map_or(name.clone(), |group| format!("{name}:{group}")),
    )
}

fn secure(host: &mut HostConfig, security: &Security) {
    host.privileged = security.privileged;
    host.readonly_rootfs = security.read_only_root;
    host.cap_add = some(&security.add);
    host.cap_drop = some(&security.drop);
    if security.allow_privilege_escalation == Some(false) {
        host.security_opt = Some(vec!["no-new-privileges".to_owned()]);
    }
    if security.proc_mount.as_deref() == Some("Unmasked") {
        host.masked_paths = Some(Vec::new());
        host.readonly_paths = Some(Vec::new());
    }
}

fn some(names: &[String]) -> Option<Vec<String>> {
    (!names.is_empty()).then(|| names.to_vec())
}

fn limit(host: &mut HostConfig, resources: &Resources) {
    let limits = &resources.limits;
    host.memory = limits
        .memory_bytes
        .and_then(|bytes| i64::try_from(bytes).ok());
    // As in a cluster: no swap beyond the memory.
    host.memory_swap = host.memory;
    host.nano_cpus = limits
        .cpu_millis
        .and_then(|millis| i64::try_from(millis * 1_000_000).ok());
    host.cpu_shares = resources
        .requests
        .cpu_millis
        .and_then(|millis| i64::try_from((millis * 1024 / 1000).max(2)).ok());
}
