//! Where runs are kept.
//!
//! `$STEPYARD_HOME`, else `$XDG_STATE_HOME/stepyard`, else `~/.local/state/stepyard`:
//!
//! ```text
//! runs/<id>/meta.json        what was asked for, without any secret
//!           pipeline.yaml    the texts as they were read, the values of secrets left out
//!           journal          every event, a checksum a record
//!           logs/            a file an attempt
//!           reports/         files that steps reported
//!           control          where other commands reach the one that drives it
//! queues/                    places in queues that runs share
//! sequences/                 a file a pipeline: the number of its last run
//! ```

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use pipeline::model::Pipeline;
use syntax::Spanned;

use crate::past;
use crate::problem::Problem;

/// The alphabet of ids: no vowels, so no words; no 0, o, l that are mistaken for others.
const ALPHABET: &[u8; 30] = b"123456789bcdfghjklmnpqrstvwxyz";
/// The length of a run's id.
const ID: usize = 10;

/// The place of all runs.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    root: PathBuf,
}

/// The place of one run.
#[derive(Debug, Clone)]
pub(crate) struct RunDir {
    /// The run's id.
    pub(crate) id: String,
    path: PathBuf,
}

impl Home {
    /// By the environment.
    pub(crate) fn find() -> Result<Self, Problem> {
        let var = |name| {
            std::env::var_os(name)
                .filter(|v| !v.is_empty())
                .map(PathBuf::from)
        };
        let root = var("STEPYARD_HOME")
            .or_else(|| {
                Some(
                    var("XDG_STATE_HOME")
                        .filter(|p| p.is_absolute())?
                        .join("stepyard"),
                )
            })
            .or_else(|| Some(var("HOME")?.join(".local/state/stepyard")))
            .ok_or_else(|| {
                Problem::invalid(
                    "there is no place to keep runs: neither STEPYARD_HOME nor HOME is set",
                )
                .help("set STEPYARD_HOME to a directory that this user may write to")
            })?;
        let root = std::path::absolute(&root)
            .map_err(|e| Problem::system(format_args!("find {}", root.display()), &e))?;
        Ok(Self { root })
    }

    /// The directory itself.
    #[cfg_attr(
        not(target_os = "linux"),
        expect(dead_code, reason = "only Linux has pods in it")
    )]
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where images are kept: `$STEPYARD_IMAGES`, else `$XDG_DATA_HOME/stepyard/images`, else
    /// `~/.local/share/stepyard/images`. Several homes share them, for they are costly to get.
    pub(crate) fn images(&self) -> PathBuf {
        let var = |name| {
            std::env::var_os(name)
                .filter(|v| !v.is_empty())
                .map(PathBuf::from)
        };
        var("STEPYARD_IMAGES")
            .or_else(|| {
                Some(
                    var("XDG_DATA_HOME")
                        .filter(|p| p.is_absolute())?
                        .join("stepyard/images"),
                )
            })
            .or_else(|| Some(var("HOME")?.join(".local/share/stepyard/images")))
            .unwrap_or_else(|| self.root.join("images"))
    }

    /// Where queues of this machine's runs are.
    pub(crate) fn queues(&self) -> PathBuf {
        self.root.join("queues")
    }

    /// The number of the next run of a pipeline, from 1 on: `<+pipeline.sequenceId>`. No two runs get the same one, also where
    /// they begin at one time; one that is refused afterwards leaves a gap. It is counted on when old runs are swept.
    pub(crate) fn next_number(&self, pipeline: &Pipeline) -> Result<u64, Problem> {
        let path = self.sequence(pipeline);
        let failed = |e| Problem::system(format_args!("number the run by {}", path.display()), &e);
        if let Some(dir) = path.parent() {
            let mut builder = fs::DirBuilder::new();
            builder.mode(0o700).recursive(true);
            builder.create(dir).map_err(failed)?;
        }
        let mut file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        file.lock().map_err(failed)?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(failed)?;
        let next = text.trim().parse().unwrap_or(0u64) + 1;
        // A number is never shorter than the one before: nothing of that is left.
        file.write_all_at(format!("{next}\n").as_bytes(), 0)
            .map_err(failed)?;
        Ok(next)
    }

    /// The number that the next run of a pipeline would get.
    pub(crate) fn coming_number(&self, pipeline: &Pipeline) -> u64 {
        let text = fs::read_to_string(self.sequence(pipeline)).unwrap_or_default();
        text.trim().parse().unwrap_or(0u64) + 1
    }

    fn sequence(&self, pipeline: &Pipeline) -> PathBuf {
        let part = |own: Option<&str>| -> String {
            let own = own.unwrap_or("_").chars();
            own.map(|c| {
                if c.is_ascii_alphanumeric() || "_$-".contains(c) {
                    c
                } else {
                    '_'
                }
            })
            .take(200)
            .collect()
        };
        let scope = |own: &Option<Spanned<String>>| part(own.as_ref().map(|own| &*own.value));
        self.root
            .join("sequences")
            .join(scope(&pipeline.org))
            .join(scope(&pipeline.project))
            .join(part(Some(pipeline.identifier.as_str())))
    }

    fn runs(&self) -> PathBuf {
        self.root.join("runs")
    }

    /// A new run's directory. Only its owner may look into it: logs tell much.
    pub(crate) fn create(&self) -> Result<RunDir, Problem> {
        let failed = |path: &Path, e: io::Error| {
            Problem::system(format_args!("make {}", path.display()), &e)
                .help("set STEPYARD_HOME to a directory that this user may write to")
        };
        let runs = self.runs();
        let mut builder = fs::DirBuilder::new();
        builder.mode(0o700);
        let new = !runs.is_dir();
        builder
            .recursive(true)
            .create(&runs)
            .map_err(|e| failed(&runs, e))?;
        if new {
            spread(&runs);
        }
        builder.recursive(false);
        loop {
            let id = new_id().map_err(|e| Problem::system("get random bytes", &e))?;
            let path = runs.join(&id);
            match builder.create(&path) {
                Ok(()) => return Ok(RunDir { id, path }),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(failed(&path, e)),
            }
        }
    }

    /// Every run that is kept, in no order.
    pub(crate) fn list(&self) -> Result<Vec<RunDir>, Problem> {
        let runs = self.runs();
        let entries = match fs::read_dir(&runs) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(Problem::system(format_args!("list {}", runs.display()), &e)),
        };
        let found = entries.filter_map(|entry| {
            let entry = entry.ok()?;
            let id = entry.file_name().into_string().ok()?;
            let is_id = id.len() == ID && id.bytes().all(|b| ALPHABET.contains(&b));
            is_id.then(|| RunDir {
                path: entry.path(),
                id,
            })
        });
        Ok(found.collect())
    }

    /// The run that `text` begins; without it, the last one.
    pub(crate) fn run(&self, text: Option<&str>) -> Result<RunDir, Problem> {
        let mut all = self.list()?;
        let Some(text) = text else {
            return all.into_iter().max_by_key(RunDir::made).ok_or_else(|| {
                Problem::invalid("there is no run yet").help("`stepyard run PIPELINE` makes one")
            });
        };
        all.retain(|run| run.id.starts_with(text));
        match all.len() {
            1 => Ok(all.remove(0)),
            0 => Err(Problem::invalid(format!("there is no run `{text}`"))
                .help("`stepyard runs` lists those that are kept")),
            n => {
                let mut ids: Vec<_> = all.into_iter().map(|run| run.id).collect();
                ids.sort();
                ids.truncate(5);
                Err(Problem::invalid(format!(
                    "`{text}` begins the ids of {n} runs: {}",
                    ids.join(", ")
                ))
                .help("give more of the id"))
            }
        }
    }

    /// The run and the step that two optional words mean: `RUN STEP`, `RUN`, `STEP` of the last run, nothing. A word that is both,
    /// the beginning of an id and something in the last run, means the latter: ids can be given whole.
    pub(crate) fn run_and_step(
        &self,
        run: Option<&str>,
        step: Option<&str>,
    ) -> Result<(RunDir, Option<String>), Problem> {
        match (run, step) {
            (Some(word), None) => match self.run(Some(word)) {
                Ok(run) => Ok(match self.run(None) {
                    Ok(last) if word.len() < ID && past::holds(&last, word) => {
                        (last, Some(word.to_owned()))
                    }
                    _ => (run, None),
                }),
                // An id has no vowels and is never longer; most steps' names are told apart by that alone.
                Err(problem) => match self.run(None) {
                    Ok(last) if !looks_like_id(word) || past::holds(&last, word) => {
                        Ok((last, Some(word.to_owned())))
                    }
                    Ok(_) if problem.message().starts_with("there is no run") => {
                        Err(Problem::invalid(format!(
                            "there is no run `{word}`, and the last run has no step of that name"
                        ))
                        .help("`stepyard runs` lists the runs, `stepyard inspect` the steps of the last one"))
                    }
                    _ => Err(problem),
                },
            },
            (run, step) => Ok((self.run(run)?, step.map(str::to_owned))),
        }
    }
}

fn looks_like_id(word: &str) -> bool {
    word.len() <= ID && word.bytes().all(|b| ALPHABET.contains(&b))
}

fn new_id() -> io::Result<String> {
    let mut random = fs::File::open("/dev/urandom")?;
    let mut id = String::with_capacity(ID);
    while id.len() < ID {
        let mut bytes = [0_u8; 16];
        random.read_exact(&mut bytes)?;
        // Bytes of 240 and more are left out: the others fall evenly on 30 characters.
        let good = bytes.iter().filter(|b| **b < 240).take(ID - id.len());
        id.extend(good.map(|b| char::from(ALPHABET[usize::from(*b) % ALPHABET.len()])));
    }
    Ok(id)
}

/// Runs have nothing to do with each other: ext4 then does not look for room for one among what others have just left. Other
/// filesystems do not know the word.
#[cfg(target_os = "linux")]
fn spread(dir: &Path) {
    use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
    if let Ok(dir) = fs::File::open(dir)
        && let Ok(flags) = ioctl_getflags(&dir)
    {
        let _ = ioctl_setflags(&dir, flags | IFlags::TOPDIR);
    }
}

#[cfg(not(target_os = "linux"))]
fn spread(_: &Path) {}

impl RunDir {
    /// A file or directory of the run.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The directory itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// When the run was made: the time of its oldest file, its meta.
    fn made(&self) -> std::time::SystemTime {
        let time = |path: PathBuf| fs::metadata(path).and_then(|m| m.modified()).ok();
        time(self.join("meta.json"))
            .or_else(|| time(self.path.clone()))
            .unwrap_or(std::time::SystemTime::UNIX_EPOCH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_found_by_the_beginning_of_its_id() {
        let dir = tempfile::tempdir().expect("a directory");
        let home = Home {
            root: dir.path().to_owned(),
        };
        assert!(
            home.run(None)
                .unwrap_err()
                .to_string()
                .contains("no run yet")
        );
        for id in ["bcd1111111", "bcf2222222", "zzz3333333"] {
            fs::create_dir_all(home.runs().join(id)).expect("a directory");
        }
        fs::create_dir(home.runs().join("not-a-run")).expect("a directory");
        assert_eq!(home.list().expect("runs").len(), 3);
        assert_eq!(home.run(Some("bcf")).expect("one").id, "bcf2222222");
        let two = home.run(Some("bc")).unwrap_err().to_string();
        assert!(
            two.contains("begins the ids of 2 runs: bcd1111111, bcf2222222"),
            "{two}"
        );
        assert!(
            home.run(Some("x"))
                .unwrap_err()
                .to_string()
                .contains("no run `x`")
        );
        let (run, step) = home
            .run_and_step(Some("compile_all"), None)
            .expect("the last run");
        assert_eq!((run.id.len(), step.as_deref()), (10, Some("compile_all")));
    }

    #[test]
    fn runs_of_a_pipeline_are_numbered() {
        let dir = tempfile::tempdir().expect("a directory");
        let home = Home {
            root: dir.path().to_owned(),
        };
        let pipeline = |text: &str| {
            let mut sources = syntax::Sources::new();
            let id = sources.add("p.yaml", text);
            let loaded = pipeline::model::read(&sources, [id], pipeline::model::Options::default());
            loaded.pipeline.expect("a pipeline")
        };
        let one = pipeline("pipeline: {identifier: p, name: p, stages: []}");
        let other = pipeline(
            "pipeline: {identifier: p, name: p, orgIdentifier: ../o, projectIdentifier: x, stages: []}",
        );
        assert_eq!(home.coming_number(&one), 1);
        let threads: Vec<_> = (0..20)
            .map(|_| {
                let (home, one) = (home.clone(), one.clone());
                std::thread::spawn(move || home.next_number(&one).expect("a number"))
            })
            .collect();
        let mut numbers: Vec<u64> = threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=20).collect::<Vec<_>>());
        assert_eq!(home.coming_number(&one), 21);
        assert_eq!(home.next_number(&other).expect("a number"), 1);
        assert!(dir.path().join("sequences/___o/x/p").is_file());
    }

    #[test]
    fn new_ids_are_ids() {
        let dir = tempfile::tempdir().expect("a directory");
        let home = Home {
            root: dir.path().join("deep/er"),
        };
        let run = home.create().expect("a run");
        assert_eq!(run.id.len(), ID);
        assert!(looks_like_id(&run.id));
        assert_eq!(home.run(Some(&run.id[..4])).expect("it").id, run.id);
    }
}
