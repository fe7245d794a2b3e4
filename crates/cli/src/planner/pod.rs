//! A containerized step group as one pod.

use std::collections::{BTreeMap, BTreeSet};

use engine::event::Failure;
use pipeline::model::{
    self, Container, ContainerSecurityContext, KubernetesDirect, Param, Step, StepGroup, StepSpec,
    TextMap, VolumeSource,
};
use pipeline::pod::{
    Amounts, Image, LITE_ENGINE, Network, Pull, Resources, Security, Source, Spec, Toleration,
    User, Volume, WORKSPACE,
};

use super::tree::{Place, Thing};
use super::values::{Values, configuration};
use super::{Options, git};

/// `initTimeout` where nothing is said.
const INIT_TIMEOUT_MS: u64 = 480_000;
/// The longest name of a container.
const LONGEST: usize = 63;

/// The containers of a group by the id of their step, with their names, in the order of the plan.
pub(super) fn containers(group: &Place<'_>) -> Vec<(pipeline::plan::NodeId, String)> {
    let mut taken: BTreeSet<String> = [LITE_ENGINE.to_owned()].into();
    let mut found = Vec::new();
    let mut open: Vec<_> = group.children().into_iter().rev().collect();
    while let Some(place) = open.pop() {
        if let Thing::Step(step) = place.thing
            && in_container(step)
        {
            found.push((place.id.clone(), name(step.identifier.as_str(), &mut taken)));
        }
        open.extend(place.children().into_iter().rev());
    }
    found
}

/// Steps that run in a container of the pod.
pub(super) fn in_container(step: &Step) -> bool {
    matches!(
        step.spec,
        StepSpec::Run(_) | StepSpec::Background(_) | StepSpec::Plugin(_) | StepSpec::GitClone(_)
    )
}

/// `step-<id>`, unique in its pod.
fn name(identifier: &str, taken: &mut BTreeSet<String>) -> String {
    let id = identifier.to_lowercase().replace('_', "");
    let mut base = format!("step-{id}");
    if base.len() > LONGEST {
        // FNV-1a: only to tell long names apart.
        let hash = base.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| {
            (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
        });
        base = format!("{}-{:08x}", &base[..LONGEST - 12], hash as u32);
    }
    let mut name = base.clone();
    let mut number = 2;
    while !taken.insert(name.clone()) {
        name = format!("{base}-{number}");
        number += 1;
    }
    name
}

/// The pod of a group.
pub(super) fn spec(
    place: &Place<'_>,
    group: &StepGroup,
    values: &Values<'_>,
    options: &Options,
    suffix: &str,
) -> Result<Spec, Failure> {
    let Some(infra) = group.kubernetes() else {
        let what = group.infra().map_or(
            "an infrastructure that is not written out",
            |_| "an infrastructure of this type",
        );
        return Err(configuration(
            format!("{what} is not run here"),
            "containerized step groups run with `stepGroupInfra.type: KubernetesDirect`",
        ));
    };
    let os = infra
        .os
        .as_ref()
        .map(|os| values.word(os, model::Os::from_word))
        .transpose()?;
    if let Some(os) = os.filter(|os| *os != model::Os::Linux) {
        return Err(configuration(
            format!("`os: {}` is not run here", os.as_str()),
            "step groups run with `os: Linux`",
        ));
    }
    let group_security = match &infra.security {
        Some(Param::Literal(security)) => security_of(&security.value, values)?,
        Some(other) => return Err(super::values::whole(other)),
        None => Security::default(),
    };
    let user = infra
        .run_as_user
        .as_ref()
        .map(|u| values.user(u))
        .transpose()?;
    let short: String = group
        .identifier
        .as_str()
        .to_lowercase()
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(15)
        .collect();
    let mut volumes = vec![volume("harness", WORKSPACE, empty())];
    shared(group, values, &mut volumes)?;
    written(infra, values, &mut volumes)?;
    let mut containers = Vec::new();
    for (id, name) in self::containers(place) {
        let Some((at, step)) = place.step(&id) else {
            continue;
        };
        containers.push(container(
            &at,
            step,
            name,
            &group_security,
            user.as_ref(),
            values,
            options,
        )?);
    }
    for (at, mount) in git::mounts(place, values, options)?.into_iter().enumerate() {
        volumes.push(volume(
            &format!("local-{at}"),
            &mount.path,
            Source::HostPath {
                path: mount.dir,
                kind: None,
            },
        ));
    }
    Ok(Spec {
        name: format!("harnesscd-{short}-{suffix}"),
        run: values.facts.run.clone(),
        group: place.id.0.clone(),
        connector: infra
            .connector_ref
            .as_ref()
            .map(|r| values.reference(r))
            .transpose()?,
        namespace: match &infra.namespace {
            Some(text) => Some(values.text(text)?.split_whitespace().collect()),
            None => None,
        },
        labels: map(&infra.labels, values)?,
        annotations: map(&infra.annotations, values)?,
        os: "linux".to_owned(),
        arch: None,
        service_account: optional(infra.service_account_name.as_ref(), values)?
            .map(|t| t.split_whitespace().collect()),
        automount: infra
            .automount_service_account_token
            .as_ref()
            .map(|p| values.boolean(p))
            .transpose()?,
        priority_class: optional(infra.priority_class_name.as_ref(), values)?,
        node_selector: map(&infra.node_selector, values)?,
        tolerations: tolerations(infra, values)?,
        host_names: values.list(infra.host_names.as_ref())?,
        run_as_user: user,
        security: group_security,
        init_timeout_ms: match &infra.init_timeout {
            Some(p) => values.duration(p)?,
            None => INIT_TIMEOUT_MS,
        },
        volumes,
        containers,
        agent_connector: infra
            .harness_image_connector_ref
            .as_ref()
            .map(|r| values.reference(r))
            .transpose()?,
        overlay: optional(infra.pod_spec_overlay.as_ref(), values)?,
        network: if options.host_network {
            Network::Host
        } else {
            Network::Private
        },
    })
}

fn container(
    place: &Place<'_>,
    step: &Step,
    name: String,
    group: &Security,
    pod_user: Option<&User>,
    values: &Values<'_>,
    options: &Options,
) -> Result<pipeline::pod::Container, Failure> {
    let values = &values.at(place);
    let mut security = group.clone();
    if security.run_as_user.is_none() {
        security.run_as_user = pod_user.cloned();
    }
    let (image, resources, privileged, user, background) = match &step.spec {
        StepSpec::Run(run) => of(step, &run.container, values, options, false)?,
        StepSpec::Plugin(plugin) => of(step, &plugin.container, values, options, false)?,
        StepSpec::Background(background) => of(step, &background.container, values, options, true)?,
        StepSpec::GitClone(clone) => (
            git::image(place, clone, values, options)?,
            resources(clone.resources.as_ref(), values)?,
            clone
                .privileged
                .as_ref()
                .map(|p| values.boolean(p))
                .transpose()?,
            clone
                .run_as_user
                .as_ref()
                .map(|p| values.user(p))
                .transpose()?,
            false,
        ),
        _ => return Err(refused(step)),
    };
    if privileged.is_some() {
        security.privileged = privileged;
    } else if security.privileged.is_none() && privileged_by_itself(&image.reference) {
        security.privileged = Some(true);
    }
    if user.is_some() {
        security.run_as_user = user;
    }
    Ok(pipeline::pod::Container {
        name,
        steps: vec![place.id.0.clone()],
        image,
        background,
        security,
        resources,
    })
}

type Parts = (Image, Resources, Option<bool>, Option<User>, bool);

fn of(
    step: &Step,
    container: &Container,
    values: &Values<'_>,
    options: &Options,
    background: bool,
) -> Result<Parts, Failure> {
    let Some(image) = &container.image else {
        return Err(configuration(
            format!("step `{}` has no `image`", step.identifier),
            "name one; `host:/` is this machine's own root filesystem",
        ));
    };
    let written = values.text(image)?;
    let connector = container
        .connector_ref
        .as_ref()
        .map(|r| values.reference(r))
        .transpose()?;
    let pull = container
        .image_pull_policy
        .as_ref()
        .map(|p| values.word(p, model::PullPolicy::from_word))
        .transpose()?;
    Ok((
        options.image(&written, connector, pull),
        resources(container.resources.as_ref(), values)?,
        container
            .privileged
            .as_ref()
            .map(|p| values.boolean(p))
            .transpose()?,
        container
            .run_as_user
            .as_ref()
            .map(|p| values.user(p))
            .transpose()?,
        background,
    ))
}

/// The message of a type that is known to the format and not run.
pub(super) fn refused(step: &Step) -> Failure {
    configuration(
        format!("steps of type {} are not run yet", step.step_type()),
        "Run, Background, Plugin and GitClone steps are",
    )
}

/// Images that need all rights to do what they are for.
fn privileged_by_itself(reference: &str) -> bool {
    let (name, tag) = reference
        .rsplit_once(':')
        .filter(|(_, tag)| !tag.contains('/'))
        .unwrap_or((reference, ""));
    let ends = |suffix: &str| name == suffix || name.ends_with(&format!("/{suffix}"));
    let plugins = [
        "plugins/docker",
        "plugins/ecr",
        "plugins/acr",
        "plugins/gcr",
        "plugins/heroku",
    ];
    plugins.into_iter().any(ends) || (ends("docker") && tag.ends_with("dind"))
}

/// When the registry is asked: what is written, else as Kubernetes does.
pub(super) fn pull_of(reference: &str, written: Option<model::PullPolicy>) -> Pull {
    match written {
        Some(model::PullPolicy::Always) => Pull::Always,
        Some(model::PullPolicy::Never) => Pull::Never,
        Some(model::PullPolicy::IfNotPresent) => Pull::IfNotPresent,
        None => {
            let last = reference.rsplit('/').next().unwrap_or(reference);
            let fixed =
                last.contains('@') || last.split_once(':').is_some_and(|(_, tag)| tag != "latest");
            if fixed {
                Pull::IfNotPresent
            } else {
                Pull::Always
            }
        }
    }
}

fn resources(
    written: Option<&model::Resources>,
    values: &Values<'_>,
) -> Result<Resources, Failure> {
    let amounts = |p: Option<&Param<model::Amounts>>| match p {
        None => Ok(Amounts::default()),
        Some(Param::Literal(amounts)) => Ok(Amounts {
            cpu_millis: amounts
                .value
                .cpu
                .as_ref()
                .map(|p| values.parsed(p, |t| model::Cpu::parse(t).map(|c| c.millis), |c| c.millis))
                .transpose()?,
            memory_bytes: amounts
                .value
                .memory
                .as_ref()
                .map(|p| {
                    values.parsed(p, |t| model::Memory::parse(t).map(|m| m.bytes), |m| m.bytes)
                })
                .transpose()?,
        }),
        Some(other) => Err(super::values::whole(other)),
    };
    Ok(match written {
        Some(written) => Resources {
            limits: amounts(written.limits.as_ref())?,
            requests: amounts(written.requests.as_ref())?,
        },
        None => Resources::default(),
    })
}

fn security_of(
    written: &ContainerSecurityContext,
    values: &Values<'_>,
) -> Result<Security, Failure> {
    let boolean = |p: &Option<Param<bool>>| p.as_ref().map(|p| values.boolean(p)).transpose();
    let capabilities = match &written.capabilities {
        Some(Param::Literal(c)) => Some(&c.value),
        Some(other) => return Err(super::values::whole(other)),
        None => None,
    };
    Ok(Security {
        privileged: boolean(&written.privileged)?,
        allow_privilege_escalation: boolean(&written.allow_privilege_escalation)?,
        read_only_root: boolean(&written.read_only_root_filesystem)?,
        run_as_non_root: boolean(&written.run_as_non_root)?,
        run_as_user: written
            .run_as_user
            .as_ref()
            .map(|p| values.user(p))
            .transpose()?,
        run_as_group: written
            .run_as_group
            .as_ref()
            .map(|p| values.parsed(p, |t| t.trim().parse().ok(), |n| *n))
            .transpose()?,
        add: values.list(capabilities.and_then(|c| c.add.as_ref()))?,
        drop: values.list(capabilities.and_then(|c| c.drop.as_ref()))?,
        proc_mount: optional(written.proc_mount.as_ref(), values)?,
    })
}

fn volume(name: &str, path: &str, source: Source) -> Volume {
    Volume {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        source,
    }
}

fn empty() -> Source {
    Source::EmptyDir {
        memory: false,
        size_bytes: None,
    }
}

fn shared(
    group: &StepGroup,
    values: &Values<'_>,
    volumes: &mut Vec<Volume>,
) -> Result<(), Failure> {
    for (at, path) in values.list(group.shared_paths.as_ref())?.iter().enumerate() {
        if !path.is_empty() {
            volumes.push(volume(&format!("shared-{at}"), path, empty()));
        }
    }
    Ok(())
}

fn written(
    infra: &KubernetesDirect,
    values: &Values<'_>,
    volumes: &mut Vec<Volume>,
) -> Result<(), Failure> {
    let list = match &infra.volumes {
        None => return Ok(()),
        Some(Param::Literal(list)) => &list.value,
        Some(other) => return Err(super::values::whole(other)),
    };
    for (at, written) in list.iter().enumerate() {
        let path = optional(written.mount_path.as_ref(), values)?.unwrap_or_default();
        let text =
            |p: &Option<Param<String>>| optional(p.as_ref(), values).map(Option::unwrap_or_default);
        let flag = |p: &Option<Param<bool>>| p.as_ref().map_or(Ok(false), |p| values.boolean(p));
        let source = match &written.source {
            VolumeSource::EmptyDir(dir) => Source::EmptyDir {
                memory: dir
                    .medium
                    .as_ref()
                    .map(|p| values.word(p, model::Medium::from_word))
                    .transpose()?
                    == Some(model::Medium::Memory),
                size_bytes: dir
                    .size
                    .as_ref()
                    .map(|p| {
                        values.parsed(p, |t| model::Memory::parse(t).map(|m| m.bytes), |m| m.bytes)
                    })
                    .transpose()?,
            },
            VolumeSource::HostPath(host) => Source::HostPath {
                path: text(&host.path)?,
                kind: host
                    .kind
                    .as_ref()
                    .map(|p| values.word(p, model::HostPathType::from_word))
                    .transpose()?
                    .map(|k| k.as_str().to_owned())
                    .filter(|k| !k.is_empty()),
            },
            VolumeSource::PersistentVolumeClaim(claim) => Source::Claim {
                name: text(&claim.claim_name)?,
                read_only: flag(&claim.read_only)?,
            },
            VolumeSource::ConfigMap(map) => Source::ConfigMap {
                name: text(&map.name)?,
                optional: flag(&map.optional)?,
            },
            VolumeSource::Secret(secret) => Source::Secret {
                name: text(&secret.name)?,
                optional: flag(&secret.optional)?,
            },
        };
        volumes.push(volume(&format!("volume-{at}"), &path, source));
    }
    Ok(())
}

fn tolerations(infra: &KubernetesDirect, values: &Values<'_>) -> Result<Vec<Toleration>, Failure> {
    let list = match &infra.tolerations {
        None => return Ok(Vec::new()),
        Some(Param::Literal(list)) => &list.value,
        Some(other) => return Err(super::values::whole(other)),
    };
    list.iter()
        .map(|t| {
            Ok(Toleration {
                effect: t
                    .effect
                    .as_ref()
                    .map(|p| values.word(p, model::Effect::from_word))
                    .transpose()?
                    .map(|w| w.as_str().to_owned()),
                key: optional(t.key.as_ref(), values)?,
                operator: t
                    .operator
                    .as_ref()
                    .map(|p| values.word(p, model::Operator::from_word))
                    .transpose()?
                    .map(|w| w.as_str().to_owned()),
                value: optional(t.value.as_ref(), values)?,
                seconds: t
                    .seconds
                    .as_ref()
                    .map(|p| values.parsed(p, |t| t.trim().parse().ok(), |n| *n))
                    .transpose()?,
            })
        })
        .collect()
}

fn optional(p: Option<&Param<String>>, values: &Values<'_>) -> Result<Option<String>, Failure> {
    p.map(|p| values.text(p)).transpose()
}

fn map(written: &TextMap, values: &Values<'_>) -> Result<BTreeMap<String, String>, Failure> {
    match written {
        None => Ok(BTreeMap::new()),
        Some(Param::Literal(map)) => map
            .value
            .iter()
            .map(|(k, v)| Ok((k.clone(), values.text(v)?)))
            .collect(),
        Some(other) => Err(super::values::whole(other)),
    }
}
