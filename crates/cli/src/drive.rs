//! Driving a run with a screen: what `run` and `resume` have in common.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use driver::Job;
use driver::backend::{Access, Backend};
use driver::planner::Planner;
use engine::Wishes;
use engine::event::Status;

use crate::args::Output;
use crate::asking;
use crate::backends;
use crate::clusters::Connectors;
use crate::extras;
use crate::home::{Home, RunDir};
use crate::interrupts;
use crate::planner::Keeping;
use crate::problem::{self, Exit, Problem};
use crate::screen::show::{self, Mode, Terminal};
use crate::screen::summary::Extras;
use crate::target::Target;

/// What is to be driven.
pub(crate) struct Drive {
    /// The run's directory.
    pub(crate) run: RunDir,
    /// What its nodes become.
    pub(crate) planner: Arc<dyn Planner>,
    /// Logins of registries.
    pub(crate) access: Access,
    /// Values that nothing may show.
    pub(crate) secrets: Vec<String>,
    /// What makes its pods.
    pub(crate) backend: Target,
    /// The clusters of connectors.
    pub(crate) clusters: Connectors,
    /// Where volumes of ConfigMaps and Secrets come from.
    pub(crate) entities: Option<PathBuf>,
    /// The run began in another process.
    pub(crate) resume: bool,
    /// What is wanted of it beside what is written.
    pub(crate) wishes: Wishes,
    /// What is to be said first.
    pub(crate) warnings: Vec<String>,
}

/// Drives it to its end.
pub(crate) fn drive(
    drive: Drive,
    home: &Home,
    output: Output,
    timestamps: bool,
) -> Result<Exit, Problem> {
    let terminal = Terminal::stdout();
    let mode = match output {
        Output::Json => Mode::Json,
        Output::Auto if terminal.live && !timestamps => Mode::Live,
        _ => Mode::Plain { times: timestamps },
    };
    let extras = Arc::new(Mutex::new(if drive.resume {
        extras::of(&drive.run)
    } else {
        Extras {
            reports: Some(drive.run.join("reports")),
            ..Extras::default()
        }
    }));
    // One thread: a hand-over is a chain of messages, and to wake another thread for each takes longer than all that is done with it.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Problem::system("start", &e))?;
    let (observer, voice, show) = show::start(mode, terminal, extras.clone())
        .map_err(|e| Problem::system("start the screen", &e))?;
    for warning in &drive.warnings {
        voice.say(format!("warning: {warning}"));
    }
    let asking = match mode {
        Mode::Json => None,
        _ => asking::listen(&drive.run, &voice, mode == Mode::Live),
    };
    let id = drive.run.id.clone();
    let dir = drive.run.path().to_owned();
    let outcome = runtime.block_on(async {
        let backend: Arc<dyn Backend> = backends::open(
            &drive.backend,
            home,
            drive.entities,
            drive.clusters,
            !drive.resume,
        )
        .await?;
        let interrupts = interrupts::watch(voice.clone())?;
        let planner = Keeping::new(drive.planner, drive.run.clone(), extras.clone());
        let job = Job {
            run: id.clone(),
            dir,
            planner: Arc::new(planner),
            backend,
            access: drive.access,
            queues: Some(home.queues()),
            secrets: drive.secrets,
            resume: drive.resume,
            wishes: drive.wishes,
        };
        driver::run(job, observer, interrupts)
            .await
            .map_err(|e| stopped(&e, &id))
    });
    // The screen ends when the driver has let go of it; its error is a closed pipe, which is no failure of the run.
    let _ = show.join();
    drop(asking);
    // What a pod left in a worker thread must not hold the command up.
    runtime.shutdown_background();
    let outcome = outcome?;
    drop(extras.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(match outcome.status {
        Status::Success | Status::IgnoreFailed | Status::Skipped => Exit::Success,
        Status::Failed | Status::Expired => Exit::Failed,
        Status::Aborted => Exit::Aborted,
    })
}

/// The words of a run that could not be driven further. Its steps may go on: what is stored is whole, and it is taken over
/// where the journal ends.
fn stopped(error: &driver::Error, run: &str) -> Problem {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    let mut full = false;
    let mut text = error.to_string();
    while let Some(error) = cause {
        if let Some(system) = error.downcast_ref::<std::io::Error>() {
            full |= system.kind() == std::io::ErrorKind::StorageFull;
            text = text.replace(&system.to_string(), &problem::plain(system));
        }
        cause = error.source();
    }
    let problem = Problem::failed(text);
    if full {
        problem.help(format!(
            "free some space, then `stepyard resume {run}` goes on where it stopped, or `stepyard sweep` removes its pod;\n\
             STEPYARD_HOME says on which disk runs are kept"
        ))
    } else {
        problem
    }
}
