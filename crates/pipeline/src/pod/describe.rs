//! A containerized step group becomes one description of a pod.

use std::collections::BTreeMap;

use syntax::{Diagnostic, code};

use crate::model::{
    self, ContainerSecurityContext, KubernetesDirect, Param, Step, StepGroup, StepSpec,
    VolumeSource,
};
use crate::plan::{NodeId, Place, What};
use crate::resolve::{AsOf, Values, World, needs_privileges, pull_of, reference, stand_in};

use super::{
    Amounts, Container, Image, Network, RESERVED_PATHS, Resources, Security, Source, Spec,
    Toleration, User, Volume, WORKSPACE,
};
use super::{names, overlay, requests};

/// `initTimeout` where nothing is said: 8 minutes.
pub const INIT_TIMEOUT_MS: u64 = 480_000;

/// What the caller decides of a pod.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// The image of GitClone steps.
    pub git_image: String,
    /// The connector of that image where a step names none (`baseImageConnectorRefs`).
    pub git_connector: Option<String>,
    /// The image of GitClone steps for which a working tree stands in: nothing is cloned there. None: that of the others.
    pub tree_image: Option<String>,
    /// The image that brings the agent where `harnessImageConnectorRef` says that one does; that connector's registry has it.
    pub agent_image: String,
    /// The image that brings the agent whatever the pipeline says (`--agent-image`).
    pub agent_wanted: Option<String>,
    /// Natively: the network.
    pub network: Network,
}

/// The pod of a containerized group, as it is when the group is entered. `suffix` makes its name unique.
pub fn describe(
    world: &World<'_>,
    group: &NodeId,
    suffix: &str,
    options: &Options,
) -> Result<Spec, Vec<Diagnostic>> {
    let entered = AsOf {
        inner: world.nodes,
        group,
    };
    let world = &World {
        nodes: &entered,
        ..*world
    };
    let Some(place) = Place::of(world, group) else {
        return Err(Vec::new());
    };
    let What::Group(own) = place.what else {
        return Err(Vec::new());
    };
    let values = Values::new(world, &place);
    let Some(infra) = own.kubernetes() else {
        let at = own.infra.as_ref().map_or(own.span, Param::span);
        return Err(vec![
            Diagnostic::error(
                code::INFRA_NOT_RUN,
                format!("step group `{}` has no pod", own.identifier),
            )
            .at(at.head(1), "")
            .help("write `stepGroupInfra` of type KubernetesDirect"),
        ]);
    };
    let security = values
        .get(infra.security.as_ref(), "containerSecurityContext")
        .map_or_else(Security::default, |written| context(&written, &values));
    let run_as_user = values
        .get(infra.run_as_user.as_ref(), "runAsUser")
        .map(user);
    if let Some(os) = values
        .get(infra.os.as_ref(), "os")
        .filter(|os| *os != model::Os::Linux)
    {
        let at = infra.os.as_ref().map_or(own.span, Param::span);
        values.push(
            Diagnostic::error(code::OS_NOT_RUN, format!("`os: {os}` is not run"))
                .at(at, "")
                .help("write `os: Linux`"),
        );
    }
    let mut diagnostics = Vec::new();
    let mut containers = Vec::new();
    let mut volumes = volumes(own, infra, &values);
    let layout = super::layout(world, &place)?;
    for (step, name) in layout.containers() {
        let around = (&security, run_as_user.as_ref());
        match container(world, step, name.clone(), around, options) {
            Ok(made) => {
                if layout.container(step).is_some_and(|base| base != *name) {
                    alike(world, step, &made, around, options, &mut diagnostics);
                }
                containers.push(made);
            }
            Err(more) => diagnostics.extend(more),
        }
        trees(world, step, &mut volumes);
    }
    let text = |param: &Option<Param<String>>, name| {
        values
            .get(param.as_ref(), name)
            .filter(|text| !text.is_empty())
    };
    let squeezed = |param: &Option<Param<String>>, name| {
        text(param, name).map(|text| text.split_whitespace().collect::<String>())
    };
    let mut labels = our_labels(world, &place);
    labels.extend(values.map(&infra.labels, "labels"));
    let mut annotations = our_annotations();
    annotations.extend(values.map(&infra.annotations, "annotations"));
    let mut spec = Spec {
        name: names::pod(group, own.identifier.as_str(), suffix),
        run: world.known.run.clone(),
        group: group.0.clone(),
        connector: values
            .get(infra.connector_ref.as_ref(), "connectorRef")
            .map(|own| own.to_string()),
        namespace: squeezed(&infra.namespace, "namespace"),
        labels,
        annotations,
        os: "linux".to_owned(),
        arch: arch(own, &values),
        service_account: squeezed(&infra.service_account_name, "serviceAccountName"),
        automount: values.get(
            infra.automount_service_account_token.as_ref(),
            "automountServiceAccountToken",
        ),
        priority_class: text(&infra.priority_class_name, "priorityClassName"),
        node_selector: values.map(&infra.node_selector, "nodeSelector"),
        tolerations: tolerations(infra, &values),
        host_names: values.list(infra.host_names.as_ref(), "hostNames"),
        run_as_user,
        security,
        init_timeout_ms: values
            .get(infra.init_timeout.as_ref(), "initTimeout")
            .map(|duration| duration.ms)
            .filter(|ms| *ms > 0)
            .unwrap_or(INIT_TIMEOUT_MS),
        volumes,
        containers,
        requests: Amounts::default(),
        agent_image: agent_image(infra, &values, options),
        overlay: text(&infra.pod_spec_overlay, "podSpecOverlay")
            .and_then(|text| parsed(&text, infra, &values)),
        network: options.network,
        notes: layout.notes().to_vec(),
    };
    requests::set(&mut spec, &place);
    match values.finish(spec) {
        Ok(spec) if diagnostics.is_empty() => Ok(spec),
        Ok(_) => Err(diagnostics),
        Err(mut more) => {
            more.extend(diagnostics);
            Err(more)
        }
    }
}

/// Ours; the user's go over them. A value that is no label's value is left out.
fn our_labels(world: &World<'_>, group: &Place<'_>) -> BTreeMap<String, String> {
    let pipeline = world.pipeline;
    let all = [
        ("accountID", world.known.account.as_deref()),
        ("orgID", pipeline.org.as_ref().map(|own| own.value.as_str())),
        (
            "projectID",
            pipeline.project.as_ref().map(|own| own.value.as_str()),
        ),
        ("pipelineID", Some(pipeline.identifier.as_str())),
        ("pipelineExecutionID", Some(world.known.run.as_str())),
        ("stepID", Some(group.identifier())),
    ];
    all.into_iter()
        .filter_map(|(name, value)| Some((name, value.filter(|value| is_label(value))?)))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn is_label(value: &str) -> bool {
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    value.len() <= 63
        && edge(value.bytes().next())
        && edge(value.bytes().last())
        && value
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// What keeps autoscalers from evicting it.
fn our_annotations() -> BTreeMap<String, String> {
    [
        ("cluster-autoscaler.kubernetes.io/safe-to-evict", "false"),
        ("karpenter.sh/do-not-disrupt", "true"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// The image of the agent, through `harnessImageConnectorRef` unless the caller names one.
fn agent_image(
    infra: &KubernetesDirect,
    values: &Values<'_, '_>,
    options: &Options,
) -> Option<Image> {
    let connector = values.get(
        infra.harness_image_connector_ref.as_ref(),
        "harnessImageConnectorRef",
    );
    let policy = values.get(infra.image_pull_policy.as_ref(), "imagePullPolicy");
    let image = match &options.agent_wanted {
        Some(image) => image.clone(),
        None => reference(
            &options.agent_image,
            Some(connector.as_ref()?),
            values.world().entities,
        ),
    };
    Some(Image {
        pull: pull_of(&image, policy),
        reference: image,
        connector: connector.map(|own| own.to_string()),
    })
}

fn parsed(
    text: &str,
    infra: &KubernetesDirect,
    values: &Values<'_, '_>,
) -> Option<serde_json::Value> {
    let at = infra.pod_spec_overlay.as_ref()?.span();
    overlay::parse(text)
        .map_err(|why| {
            values.push(
                Diagnostic::error(
                    code::WRONG_TYPE,
                    format!("`podSpecOverlay` cannot be merged into a pod: {why}"),
                )
                .at(at.head(1), "")
                .help("write settings of a pod's spec, such as `runtimeClassName: gvisor`"),
            );
        })
        .ok()
}

fn arch(group: &StepGroup, values: &Values<'_, '_>) -> Option<String> {
    let platform = group.platform.as_ref()?;
    values
        .get(platform.arch.as_ref(), "arch")
        .map(|arch| arch.as_str().to_ascii_lowercase())
}

fn user(user: model::User) -> User {
    match user {
        model::User::Id(id) => User::Id(id),
        model::User::Name(name) => User::Name(name),
    }
}

fn context(written: &ContainerSecurityContext, values: &Values<'_, '_>) -> Security {
    let capabilities = values.get(written.capabilities.as_ref(), "capabilities");
    let names = |list: Option<&Param<Vec<Param<String>>>>| {
        values
            .list(list, "capabilities")
            .iter()
            .map(|name| name.strip_prefix("CAP_").unwrap_or(name).to_owned())
            .collect::<Vec<_>>()
    };
    Security {
        privileged: values.get(written.privileged.as_ref(), "privileged"),
        allow_privilege_escalation: values.get(
            written.allow_privilege_escalation.as_ref(),
            "allowPrivilegeEscalation",
        ),
        read_only_root: values.get(
            written.read_only_root_filesystem.as_ref(),
            "readOnlyRootFilesystem",
        ),
        run_as_non_root: values.get(written.run_as_non_root.as_ref(), "runAsNonRoot"),
        run_as_user: values
            .get(written.run_as_user.as_ref(), "runAsUser")
            .map(user),
        run_as_group: values.get(written.run_as_group.as_ref(), "runAsGroup"),
        add: names(capabilities.as_ref().and_then(|own| own.add.as_ref())),
        drop: names(capabilities.as_ref().and_then(|own| own.drop.as_ref())),
        proc_mount: values.get(written.proc_mount.as_ref(), "procMount"),
    }
}

/// Iterations that take turns need the same container: where an image is put together from an axis, they do not.
fn alike(
    world: &World<'_>,
    place: &Place<'_>,
    made: &Container,
    around: (&Security, Option<&User>),
    options: &Options,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let What::Step(step) = place.what else { return };
    let Some(image) = image_of(step).filter(|image| image.literal().is_none()) else {
        return;
    };
    let Some(own) = place.loop_place(world.pipeline) else {
        return;
    };
    let differs = own.children_in(world).is_ok_and(|all| {
        all.iter().any(|other| {
            container(world, other, made.name.clone(), around, options)
                .is_ok_and(|other| other.image != made.image)
        })
    });
    if differs && diagnostics.iter().all(|own| own.code != code::BAD_LOOP) {
        diagnostics.push(
            Diagnostic::error(
                code::BAD_LOOP,
                format!(
                    "the iterations of `{}` have different images, and there are too many for a container each",
                    step.identifier
                ),
            )
            .at(image.span(), "")
            .help(format!(
                "loop over the images in the step group: each iteration has a pod then; a pod has at most {} step containers",
                super::MOST
            )),
        );
    }
}

fn image_of(step: &Step) -> Option<&Param<String>> {
    match &step.spec {
        StepSpec::Run(run) => run.container.image.as_ref(),
        StepSpec::Background(background) => background.container.image.as_ref(),
        StepSpec::Plugin(plugin) => plugin.container.image.as_ref(),
        _ => None,
    }
}

fn container(
    world: &World<'_>,
    place: &Place<'_>,
    name: String,
    (group, pod_user): (&Security, Option<&User>),
    options: &Options,
) -> Result<Container, Vec<Diagnostic>> {
    let values = Values::new(world, place);
    let What::Step(step) = place.what else {
        return Err(Vec::new());
    };
    let (image, written, privileged, own_user) = parts(step, place, &values, options);
    let mut security = group.clone();
    // §17, the new table: the step's own, else the group's context, else the pod's user, else the image's.
    security.run_as_user = values
        .get(own_user, "runAsUser")
        .map(user)
        .or_else(|| group.run_as_user.clone())
        .or_else(|| pod_user.cloned());
    security.privileged = values
        .get(privileged, "privileged")
        .or(group.privileged)
        .or_else(|| needs_privileges(&image.reference).then_some(true));
    if security.privileged == Some(true) {
        // A privileged process has all rights already, and Kubernetes refuses the two together.
        security.allow_privilege_escalation =
            security.allow_privilege_escalation.filter(|own| *own);
    }
    let resources = resources(written, &values);
    let background = matches!(step.spec, StepSpec::Background(_));
    values.finish(Container {
        name,
        steps: vec![place.id.0.clone()],
        image,
        background,
        security,
        resources,
        share: Amounts::default(),
    })
}

type Parts<'m> = (
    Image,
    Option<&'m model::Resources>,
    Option<&'m Param<bool>>,
    Option<&'m Param<model::User>>,
);

fn parts<'m>(
    step: &'m Step,
    place: &Place<'_>,
    values: &Values<'_, '_>,
    options: &Options,
) -> Parts<'m> {
    let container = match &step.spec {
        StepSpec::Run(run) => &run.container,
        StepSpec::Background(background) => &background.container,
        StepSpec::Plugin(plugin) => &plugin.container,
        StepSpec::GitClone(clone) => {
            let image = git_image(clone, place, values, options);
            return (
                image,
                clone.resources.as_ref(),
                clone.privileged.as_ref(),
                clone.run_as_user.as_ref(),
            );
        }
        StepSpec::DownloadManifests(_) => {
            let connector = options.git_connector.as_deref().and_then(model::Ref::parse);
            return (clone_image(connector, values, options), None, None, None);
        }
        _ => {
            values.push(
                Diagnostic::error(
                    code::STEP_NOT_RUN,
                    format!("steps of type {} are not run yet", step.step_type()),
                )
                .at(step.kind.span, "")
                .help("Run, Background, Plugin, GitClone and DownloadManifests steps are"),
            );
            let image = Image {
                reference: String::new(),
                connector: None,
                pull: super::Pull::Never,
            };
            return (image, None, None, None);
        }
    };
    let connector = values.get(container.connector_ref.as_ref(), "connectorRef");
    let written: Option<String> = values.get(container.image.as_ref(), "image");
    if container.image.is_none() {
        values.push(
            Diagnostic::error(
                code::NEEDS_IMAGE,
                format!("step `{}` has no image", step.identifier),
            )
            .at(step.kind.span, "")
            .help("add `image:`"),
        );
    }
    let reference = reference(
        &written.unwrap_or_default(),
        connector.as_ref(),
        values.world().entities,
    );
    let policy = values.get(container.image_pull_policy.as_ref(), "imagePullPolicy");
    let image = Image {
        pull: pull_of(&reference, policy),
        reference,
        connector: connector.map(|own| own.to_string()),
    };
    (
        image,
        container.resources.as_ref(),
        container.privileged.as_ref(),
        container.run_as_user.as_ref(),
    )
}

/// The image of a clone, through the first of the step's own connectors for images, else the caller's.
fn git_image(
    clone: &model::GitClone,
    place: &Place<'_>,
    values: &Values<'_, '_>,
    options: &Options,
) -> Image {
    if let Some(image) = &options.tree_image
        && stand_in(clone, place, values).is_some()
    {
        return Image {
            reference: image.clone(),
            connector: None,
            pull: pull_of(image, None),
        };
    }
    let own = values
        .get(
            clone.base_image_connectors.as_ref(),
            "baseImageConnectorRefs",
        )
        .unwrap_or_default();
    let connector = own
        .first()
        .and_then(|own| values.get(Some(own), "baseImageConnectorRefs"))
        .or_else(|| options.git_connector.as_deref().and_then(model::Ref::parse));
    clone_image(connector, values, options)
}

/// The image that has git, through a connector.
fn clone_image(connector: Option<model::Ref>, values: &Values<'_, '_>, options: &Options) -> Image {
    let reference = reference(
        &options.git_image,
        connector.as_ref(),
        values.world().entities,
    );
    Image {
        pull: pull_of(&reference, None),
        reference,
        connector: connector.map(|own| own.to_string()),
    }
}

fn resources(written: Option<&model::Resources>, values: &Values<'_, '_>) -> Resources {
    let amounts = |param: Option<&Param<model::Amounts>>| {
        let own = values.get(param, "resources");
        let own = own.as_ref();
        Amounts {
            cpu_millis: values
                .get(own.and_then(|own| own.cpu.as_ref()), "cpu")
                .map(|cpu| cpu.millis),
            memory_bytes: values
                .get(own.and_then(|own| own.memory.as_ref()), "memory")
                .map(|memory| memory.bytes),
        }
    };
    Resources {
        limits: amounts(written.and_then(|own| own.limits.as_ref())),
        requests: amounts(written.and_then(|own| own.requests.as_ref())),
    }
}

fn tolerations(infra: &KubernetesDirect, values: &Values<'_, '_>) -> Vec<Toleration> {
    let written = values
        .get(infra.tolerations.as_ref(), "tolerations")
        .unwrap_or_default();
    written
        .iter()
        .map(|own| Toleration {
            effect: values
                .get(own.effect.as_ref(), "effect")
                .map(|word| word.as_str().to_owned()),
            key: values.get(own.key.as_ref(), "key"),
            operator: values
                .get(own.operator.as_ref(), "operator")
                .map(|word| word.as_str().to_owned()),
            value: values.get(own.value.as_ref(), "value"),
            seconds: values.get(own.seconds.as_ref(), "tolerationSeconds"),
        })
        .collect()
}

/// `harness`, the shared paths, and those that are written; what an expression makes is checked here again.
fn volumes(group: &StepGroup, infra: &KubernetesDirect, values: &Values<'_, '_>) -> Vec<Volume> {
    let empty = || Source::EmptyDir {
        memory: false,
        size_bytes: None,
    };
    let mut volumes = vec![Volume {
        name: "harness".to_owned(),
        mount_path: WORKSPACE.to_owned(),
        source: empty(),
    }];
    let shared = values
        .get(group.shared_paths.as_ref(), "sharedPaths")
        .unwrap_or_default();
    for (at, path) in shared.iter().enumerate() {
        let Some(mount_path) = values
            .get(Some(path), "sharedPaths")
            .filter(|path| !path.is_empty())
        else {
            continue;
        };
        check(&volumes, &mount_path, path.span(), values);
        volumes.push(Volume {
            name: format!("shared-{at}"),
            mount_path,
            source: empty(),
        });
    }
    let written = values
        .get(infra.volumes.as_ref(), "volumes")
        .unwrap_or_default();
    for (at, own) in written.iter().enumerate() {
        let Some(mount_path) = values.get(own.mount_path.as_ref(), "mountPath") else {
            continue;
        };
        check(&volumes, &mount_path, own.span, values);
        let text = |param: &Option<Param<String>>, name| {
            values.get(param.as_ref(), name).unwrap_or_default()
        };
        let flag =
            |param: &Option<Param<bool>>, name| values.get(param.as_ref(), name).unwrap_or(false);
        let source = match &own.source {
            VolumeSource::EmptyDir(dir) => Source::EmptyDir {
                memory: values.get(dir.medium.as_ref(), "medium") == Some(model::Medium::Memory),
                size_bytes: values.get(dir.size.as_ref(), "size").map(|size| size.bytes),
            },
            VolumeSource::HostPath(host) => Source::HostPath {
                path: text(&host.path, "path"),
                kind: values
                    .get(host.kind.as_ref(), "type")
                    .map(|kind| kind.as_str().to_owned())
                    .filter(|kind| !kind.is_empty()),
            },
            VolumeSource::PersistentVolumeClaim(claim) => Source::Claim {
                name: text(&claim.claim_name, "claimName"),
                read_only: flag(&claim.read_only, "readOnly"),
            },
            VolumeSource::ConfigMap(map) => Source::ConfigMap {
                name: text(&map.name, "name"),
                optional: flag(&map.optional, "optional"),
            },
            VolumeSource::Secret(secret) => Source::Secret {
                name: text(&secret.name, "name"),
                optional: flag(&secret.optional, "optional"),
            },
        };
        volumes.push(Volume {
            name: format!("volume-{at}"),
            mount_path,
            source,
        });
    }
    volumes
}

/// The working tree that stands in for the clone of a step, where the clone would be.
fn trees(world: &World<'_>, place: &Place<'_>, volumes: &mut Vec<Volume>) {
    let What::Step(Step {
        spec: StepSpec::GitClone(clone),
        ..
    }) = place.what
    else {
        return;
    };
    // What cannot be resolved was told with the step's container.
    let values = Values::new(world, place);
    let Some((tree, mount_path)) = stand_in(clone, place, &values) else {
        return;
    };
    if volumes.iter().all(|own| own.mount_path != mount_path) {
        let number = volumes
            .iter()
            .filter(|own| own.name.starts_with("tree-"))
            .count();
        volumes.push(Volume {
            name: format!("tree-{number}"),
            mount_path,
            source: Source::HostPath {
                path: tree.path.clone(),
                kind: None,
            },
        });
    }
}

fn check(volumes: &[Volume], path: &str, at: syntax::Span, values: &Values<'_, '_>) {
    let bare = path.trim_end_matches('/');
    if RESERVED_PATHS.contains(&bare) {
        values.push(
            Diagnostic::error(code::RESERVED_PATH, format!("`{path}` is reserved"))
                .at(at, "")
                .help("choose another path"),
        );
    } else if !path.starts_with('/') || path.split('/').any(|part| part == "..") {
        values.push(
            Diagnostic::error(
                code::BAD_MOUNT_PATH,
                format!("`{path}` is not an absolute path without `..`"),
            )
            .at(at, "")
            .help("begin it with `/`, and name every directory"),
        );
    } else if volumes
        .iter()
        .any(|volume| volume.mount_path.trim_end_matches('/') == bare)
    {
        values.push(
            Diagnostic::error(code::MOUNTED_TWICE, format!("`{path}` is mounted twice"))
                .at(at, "")
                .help("choose another path"),
        );
    }
}
