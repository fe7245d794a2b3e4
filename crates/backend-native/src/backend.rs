//! The backend itself: the driver's side of the keepers.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use driver::backend::{
    Access, Backend, Carrier, Created, Deleted, EventKind, Events, Failure, FailureKind,
    ImageFacts, PodEvent, PodRef,
};
use pipeline::pod;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::process::Command;
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::control::{Answer, Call, Container, First, Pod};
use crate::images::Images;
use crate::keeper::{ARGUMENT, early, failed};
use crate::{addons, cgroup, store, volumes};

/// Containers that are made before their steps begin: making one takes about as long as the shortest steps do.
const AHEAD: usize = 3;

/// Pods on this machine.
pub struct Native {
    config: Config,
    images: Arc<Images>,
    /// The pods that this process made.
    made: Mutex<HashMap<String, Made>>,
    /// Images that a preflight has found to be good, by reference.
    good: Mutex<HashSet<String>>,
}

/// A pod that this process made.
struct Made {
    keeper: Keeper,
    /// Kept so that the pod is not without a driver.
    connection: BufReader<UnixStream>,
}

/// A keeper that this process started: executed, it is reaped here; forked from another process, its end is that of its connection.
struct Keeper(Option<JoinHandle<()>>);

impl Keeper {
    async fn ended(self, mut connection: BufReader<UnixStream>) {
        match self.0 {
            Some(reaped) => {
                let _ = reaped.await;
            }
            None => while read_answer(&mut connection).await.is_some() {},
        }
    }
}

/// `pod.json`: enough to find a pod again.
#[derive(Serialize, Deserialize)]
pub(crate) struct Marker {
    pub(crate) pod: PodRef,
    /// A pod of another boot is no more.
    pub(crate) boot: String,
}

impl Marker {
    /// The pod of a directory. One without its marker was left by a crash at the very start: it is swept like a pod.
    pub(crate) fn of(entry: &fs::DirEntry) -> PodRef {
        let marker = fs::read(entry.path().join("pod.json"))
            .ok()
            .and_then(|text| serde_json::from_slice::<Self>(&text).ok());
        marker.map_or_else(
            || PodRef {
                name: entry.file_name().to_string_lossy().into_owned(),
                namespace: None,
                run: String::new(),
                group: String::new(),
                connector: None,
            },
            |marker| marker.pod,
        )
    }
}

impl Native {
    /// A backend over a state directory.
    pub fn new(config: Config) -> Self {
        let images = Images::new(config.images.clone(), config.registries.clone());
        Self {
            config,
            images: Arc::new(images),
            made: Mutex::default(),
            good: Mutex::default(),
        }
    }

    fn pods(&self) -> PathBuf {
        self.config.state.join("pods")
    }

    fn dir(&self, pod: &str) -> PathBuf {
        self.pods().join(pod)
    }

    /// A connection to a pod's keeper.
    async fn control(&self, pod: &str) -> Result<BufReader<UnixStream>, Failure> {
        addons::control(pod, &self.dir(pod)).await
    }

    /// Starts a keeper and tells it what to do.
    async fn keeper(&self, first: &First) -> Result<(BufReader<UnixStream>, Keeper), Failure> {
        if self.config.keeper.is_none() {
            let what = "start the pod's keeper";
            let (ours, theirs) =
                std::os::unix::net::UnixStream::pair().map_err(|e| failed(what, &e))?;
            if early::fork(&theirs) {
                drop(theirs);
                ours.set_nonblocking(true).map_err(|e| failed(what, &e))?;
                let mut stream = UnixStream::from_std(ours).map_err(|e| failed(what, &e))?;
                let told = write_line(&mut stream, first).await;
                told.map_err(|e| failed(what, &e))?;
                return Ok((BufReader::new(stream), Keeper(None)));
            }
        }
        let (connection, reaped) = execute(self.config.keeper.as_deref(), first).await?;
        Ok((connection, Keeper(Some(reaped))))
    }

    /// Removes what a pod that is no more has left.
    async fn sweep(&self, pod: &str) -> Result<(), Failure> {
        let dir = self.dir(pod);
        cgroup::sweep(pod);
        match store::remove_tree(&dir) {
            Ok(()) => return Ok(()),
            Err(e) if e.kind() != io::ErrorKind::PermissionDenied => {
                return Err(failed(&format!("remove {}", dir.display()), &e));
            }
            Err(_) => {}
        }
        // Files of subordinate users: only the root of a user namespace may remove them.
        let (mut stream, keeper) = self.keeper(&First::Remove(dir.clone())).await?;
        let answer = read_answer(&mut stream).await;
        keeper.ended(stream).await;
        match answer {
            Some(Answer::Deleted) => Ok(()),
            Some(Answer::Failed(failure)) => Err(failure),
            _ => Err(failed(
                &format!("remove {}", dir.display()),
                "the helper ended without an answer",
            )),
        }
    }

    /// Ends when no process of the pod's is left: they hold a lock.
    async fn released(&self, pod: &str) -> Result<(), Failure> {
        let path = self.dir(pod).join("lock");
        let wait = tokio::task::spawn_blocking(move || match fs::File::open(path) {
            Ok(file) => file.lock(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(e),
        });
        wait.await
            .map_err(io::Error::other)
            .flatten()
            .map_err(|e| failed("await the end of the pod", &e))
    }

    /// Writes the files and volumes of a new pod, and says what its keeper is to know.
    fn prepare(
        &self,
        spec: &pod::Spec,
        dir: &Path,
        warnings: &mut Vec<String>,
    ) -> Result<Pod, Failure> {
        let what = format!("make the pod's directory {}", dir.display());
        for part in ["run", "disk", "volumes", addons::DIR] {
            fs::create_dir(dir.join(part)).map_err(|e| failed(&what, &e))?;
        }
        let volumes = volumes::prepare(
            spec,
            dir,
            &self.config.state,
            self.config.entities.as_deref(),
            warnings,
        )?;
        Ok(Pod {
            name: spec.name.clone(),
            run: spec.run.clone(),
            dir: dir.to_owned(),
            etc: vec![
                ("hosts".to_owned(), hosts(spec)),
                ("hostname".to_owned(), format!("{}\n", spec.name)),
                ("resolv.conf".to_owned(), resolvers(spec.network)),
            ],
            state: self.config.state.clone(),
            agent: self.config.agent.file(&self.config.state)?,
            network: spec.network,
            limited: spec
                .containers
                .iter()
                .any(|c| c.resources != pod::Resources::default()),
            volumes,
            deadline_ms: self.config.deadline.as_millis() as u64,
            unattended_ms: self.config.unattended.as_millis() as u64,
        })
    }

    async fn make(&self, spec: &pod::Spec, events: &Events) -> Result<(), Failure> {
        let dir = self.dir(&spec.name);
        let mut warnings = Vec::new();
        let pod = self.prepare(spec, &dir, &mut warnings)?;
        let (mut connection, keeper) = self.keeper(&First::Pod(Box::new(pod))).await?;
        let answer = read_answer(&mut connection).await;
        match answer {
            Some(Answer::Ready { warnings: more }) => {
                for text in warnings.into_iter().chain(more) {
                    event(events, None, EventKind::Warning, "NotSupported", text);
                }
                let made = Made { keeper, connection };
                self.lock().insert(spec.name.clone(), made);
                Ok(())
            }
            answer => {
                keeper.ended(connection).await;
                Err(match answer {
                    Some(Answer::Failed(failure)) => failure,
                    _ => failed(
                        &format!("start the pod {}", spec.name),
                        "its keeper ended without an answer",
                    ),
                })
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Made>> {
        self.made.lock().expect("nothing panics while it is held")
    }

    fn good(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.good.lock().expect("nothing panics while it is held")
    }
}

#[async_trait]
impl Backend for Native {
    fn name(&self) -> &'static str {
        "native"
    }

    async fn preflight(
        &self,
        spec: &pod::Spec,
        access: &Access,
    ) -> BTreeMap<String, Result<ImageFacts, Failure>> {
        let asked = spec.containers.iter().map(|container| async {
            let asked = self.images.inspect(&container.image, access);
            let wait = Duration::from_millis(spec.init_timeout_ms.max(1));
            let found = tokio::time::timeout(wait, asked).await;
            let found = found.unwrap_or_else(|_| Err(late(&container.image.reference, wait)));
            if found.is_ok() {
                self.good().insert(container.image.reference.clone());
            }
            let facts = found.map_err(|mut failure| {
                failure.container = Some(container.name.clone());
                failure
            });
            (container.name.clone(), facts)
        });
        futures_util::future::join_all(asked)
            .await
            .into_iter()
            .collect()
    }

    async fn create(
        &self,
        spec: &pod::Spec,
        access: &Access,
        events: Events,
    ) -> Result<Created, Failure> {
        let dir = self.dir(&spec.name);
        let what = || format!("make the pod's directory {}", dir.display());
        store::make_pods(&self.pods()).map_err(|e| failed(&what(), &e))?;
        match fs::DirBuilder::new().mode(0o700).create(&dir) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                // Made by an earlier call: it stands, or what is left of it goes.
                if self.control(&spec.name).await.is_ok() {
                    return Ok(Created::AlreadyThere);
                }
                return Err(gone(&spec.name, "an earlier one of this name has ended"));
            }
            Err(e) => return Err(failed(&what(), &e)),
        }
        let marker = Marker {
            pod: PodRef {
                name: spec.name.clone(),
                namespace: None,
                run: spec.run.clone(),
                group: spec.group.clone(),
                connector: None,
            },
            boot: boot(),
        };
        let text = serde_json::to_vec(&marker).expect("a marker is JSON");
        let made = match fs::write(dir.join("pod.json"), text) {
            Ok(()) => {
                self.images.begin(spec, access, &events);
                self.make(spec, &events).await
            }
            Err(e) => Err(failed(&what(), &e)),
        };
        if let Err(failure) = made {
            // Half a pod is of no use; that it cannot be removed says less than why it could not be made.
            let _ = self.released(&spec.name).await;
            let _ = self.sweep(&spec.name).await;
            return Err(failure);
        }
        Ok(Created::Created)
    }

    async fn container(
        &self,
        spec: &pod::Spec,
        access: &Access,
        container: &str,
        events: Events,
    ) -> Result<(), Failure> {
        let (order, wanted) = spec
            .containers
            .iter()
            .enumerate()
            .find(|(_, c)| c.name == container)
            .ok_or_else(|| Failure {
                kind: FailureKind::Configuration,
                container: Some(container.to_owned()),
                message: format!("the pod {} has no container {container}", spec.name),
                help: None,
            })?;
        let mine = |mut failure: Failure| {
            failure.container = Some(container.to_owned());
            // Where the pod itself is gone that is said once of the pod, not by each of its containers.
            if failure.kind != FailureKind::Gone {
                event(
                    &events,
                    Some(container),
                    EventKind::Warning,
                    "Failed",
                    failure.message.clone(),
                );
            }
            failure
        };
        // What is said of a pull is sent by who pulls; a second container of the image finds it here.
        let image = self.images.ensure(&spec.name, wanted, access, &events);
        let wait = Duration::from_millis(spec.init_timeout_ms.max(1));
        let image = tokio::time::timeout(wait, image).await;
        let image = image
            .unwrap_or_else(|_| Err(late(&wanted.image.reference, wait)))
            .map_err(|mut failure| {
                // A bad image is told by the preflight, once for all containers: the pod may be there sooner than its answer.
                if self.good().contains(&wanted.image.reference) {
                    return mine(failure);
                }
                failure.container = Some(container.to_owned());
                failure
            })?;
        let normal = |reason: &str, text: String| {
            event(&events, Some(container), EventKind::Normal, reason, text);
        };
        let present = image.pulled_for.as_deref() != Some(container);
        let plan = Container {
            name: container.to_owned(),
            order,
            root: image.root,
            env: image.facts.env,
            image_user: image.facts.user,
            security: wanted.security.clone(),
            resources: wanted.resources,
        };
        let mut connection = self.control(&spec.name).await.map_err(mine)?;
        let asked = write_line(connection.get_mut(), &Call::Make(Box::new(plan))).await;
        if asked.is_err() {
            return Err(mine(gone(&spec.name, "its keeper ended")));
        }
        match tokio::time::timeout(wait, read_answer(&mut connection)).await {
            Ok(Some(Answer::Made { new, warnings })) => {
                // Of one that another driver has made already this was said then.
                if new && present {
                    let text = format!(
                        "Container image \"{}\" already present on machine",
                        wanted.image.reference
                    );
                    normal("Pulled", text);
                }
                for text in warnings {
                    event(
                        &events,
                        Some(container),
                        EventKind::Warning,
                        "NotSupported",
                        text,
                    );
                }
                if new {
                    normal("Created", format!("Created container {container}"));
                    normal("Started", format!("Started container {container}"));
                }
                Ok(())
            }
            Ok(Some(Answer::Failed(failure))) => Err(mine(failure)),
            Ok(_) => Err(mine(gone(&spec.name, "its keeper ended"))),
            Err(_) => Err(mine(Failure {
                kind: FailureKind::Timeout,
                container: None,
                message: format!(
                    "the container {container} did not start within {} s",
                    wait.as_secs_f32()
                ),
                help: Some("raise initTimeout of the step group".to_owned()),
            })),
        }
    }

    fn ahead(&self) -> usize {
        AHEAD
    }

    async fn connect(&self, pod: &PodRef) -> Result<Box<dyn Carrier>, Failure> {
        addons::connect(&pod.name, self.dir(&pod.name)).await
    }

    async fn gone(&self, pod: &PodRef) -> Failure {
        let mut connection = match self.control(&pod.name).await {
            Ok(connection) => connection,
            Err(failure) => return failure,
        };
        match read_answer(&mut connection).await {
            Some(Answer::Failed(failure)) => gone(&pod.name, &failure.message),
            _ => gone(&pod.name, "its keeper ended"),
        }
    }

    async fn ended(&self, pod: &PodRef, container: &str) -> Option<Failure> {
        // Where the pod itself is gone that is said by who watches it.
        let mut keeper = self.control(&pod.name).await.ok()?;
        let call = Call::Ended {
            container: container.to_owned(),
        };
        write_line(keeper.get_mut(), &call).await.ok()?;
        match read_answer(&mut keeper).await {
            Some(Answer::Failed(failure)) if failure.container.as_deref() == Some(container) => {
                Some(failure)
            }
            _ => None,
        }
    }

    async fn delete(&self, pod: &PodRef, grace: Duration) -> Result<Deleted, Failure> {
        if !self.dir(&pod.name).exists() {
            return Ok(Deleted::NotThere);
        }
        if let Ok(mut connection) = self.control(&pod.name).await {
            let grace_ms = grace.as_millis() as u64;
            if write_line(connection.get_mut(), &Call::Delete { grace_ms })
                .await
                .is_ok()
                && let Some(Answer::Failed(failure)) = read_answer(&mut connection).await
            {
                return Err(failure);
            }
        } else {
            // Nobody listens: it is being made by a command that may be gone, or it is over.
            store::end_keeper(&self.dir(&pod.name));
        }
        // No container runs any more: their files go while the kernel takes namespaces and mounts apart. What cannot be removed
        // here is removed by the sweep, or it says why not.
        let dir = self.dir(&pod.name);
        let cleared = tokio::task::spawn_blocking(move || store::clear(&dir, &store::LAST));
        self.released(&pod.name).await?;
        let made = self.lock().remove(&pod.name);
        if let Some(made) = made {
            made.keeper.ended(made.connection).await;
        }
        let _ = cleared.await;
        self.sweep(&pod.name).await?;
        self.images.forget(&pod.name);
        Ok(Deleted::Deleted)
    }

    async fn list(&self) -> Result<Vec<PodRef>, Failure> {
        let mut pods = Vec::new();
        let entries = match fs::read_dir(self.pods()) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(pods),
            Err(e) => return Err(failed(&format!("read {}", self.pods().display()), &e)),
        };
        for entry in entries.flatten() {
            pods.push(Marker::of(&entry));
        }
        pods.sort();
        Ok(pods)
    }
}

/// Executes a program (none: this one) as keeper and tells it what to do.
pub(crate) async fn execute(
    program: Option<&Path>,
    first: &First,
) -> Result<(BufReader<UnixStream>, JoinHandle<()>), Failure> {
    let what = "start the pod's keeper";
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(|e| failed(what, &e))?;
    ours.set_nonblocking(true).map_err(|e| failed(what, &e))?;
    let program = program.unwrap_or(Path::new("/proc/self/exe"));
    let mut child = Command::new(program)
        .arg(ARGUMENT)
        .current_dir("/")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| failed(what, &e))?;
    let reaped = tokio::spawn(async move {
        // How it ended is told over the connection.
        let _ = child.wait().await;
    });
    let mut stream = UnixStream::from_std(ours).map_err(|e| failed(what, &e))?;
    write_line(&mut stream, first)
        .await
        .map_err(|e| failed(what, &e))?;
    Ok((BufReader::new(stream), reaped))
}

pub(crate) async fn write_line(to: &mut UnixStream, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    to.write_all(&line).await
}

/// The next answer; none at the end, or where it is none.
pub(crate) async fn read_answer(from: &mut BufReader<UnixStream>) -> Option<Answer> {
    let mut line = String::new();
    from.read_line(&mut line).await.ok()?;
    serde_json::from_str(&line).ok()
}

/// Sends one event of a pod.
pub(crate) fn event(
    events: &Events,
    container: Option<&str>,
    kind: EventKind,
    reason: &str,
    message: String,
) {
    let at = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    // Nobody may be listening any more.
    let _ = events.send(PodEvent {
        at_ms: at.as_millis() as u64,
        container: container.map(str::to_owned),
        kind,
        reason: reason.to_owned(),
        message,
    });
}

/// A registry that was not heard of in the time a group has to begin.
fn late(image: &str, wait: Duration) -> Failure {
    Failure {
        kind: FailureKind::Timeout,
        container: None,
        message: format!(
            "image {image} was not got within {} s, the initTimeout of its step group",
            wait.as_secs_f32()
        ),
        help: Some(
            "check the registry and the network between, or raise initTimeout of the step group"
                .to_owned(),
        ),
    }
}

pub(crate) fn gone(pod: &str, why: &str) -> Failure {
    Failure {
        kind: FailureKind::Gone,
        container: None,
        message: format!("the pod {pod} is gone: {why}"),
        help: None,
    }
}

/// The id of this boot of the machine.
pub(crate) fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn hosts(spec: &pod::Spec) -> String {
    let mut text = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n".to_owned();
    for name in spec.host_names.iter().chain([&spec.name]) {
        text.push_str("127.0.0.1\t");
        text.push_str(name);
        text.push('\n');
    }
    text
}

/// This machine's resolvers. A stub on the loopback is out of reach from a private network: then those behind it.
fn resolvers(network: pod::Network) -> String {
    let text = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let stub = text
        .lines()
        .filter_map(|l| l.trim().strip_prefix("nameserver"))
        .all(|server| server.trim().starts_with("127."));
    if stub && network == pod::Network::Private {
        fs::read_to_string("/run/systemd/resolve/resolv.conf").unwrap_or(text)
    } else {
        text
    }
}
