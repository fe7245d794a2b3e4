//! What examples talk to: two registries and a git server, all on loopback.

use anyhow::Result;

use crate::command::root;
use crate::git_server::{GitServer, repository_of};
use crate::images;
use crate::registry::{LOCKED, OPEN, Registry, free_port};

/// Where the git server listens for people.
pub(crate) const GIT: u16 = 5580;
/// Where the example's own Redis listens: on the machine's network, as its repository and registries are there.
const REDIS: u16 = 6390;

/// What is where.
pub(crate) const WORDS: &str = "\
127.0.0.1:5500 is an open registry with stepyard/NAME:TAG (1 but for docker:dind) for each image of images/
127.0.0.1:5501 is the same with a login: stepyard / open-sesame
127.0.0.1:5580 serves examples/real/app as http://127.0.0.1:5580/app.git";

/// They end with this value.
pub(crate) struct Servers {
    open: Registry,
    locked: Registry,
    git: GitServer,
    redis: u16,
    _state: tempfile::TempDir,
}

impl Servers {
    /// Builds the images that are not there yet, and starts all three: on the ports that people are told, or on free ones, so that
    /// two checks on one machine do not meet.
    pub(crate) fn start(told: bool) -> Result<Self> {
        let port = |usual| if told { Ok(usual) } else { free_port() };
        images::build(&[], false)?;
        let state = tempfile::tempdir()?;
        let open = Registry::start(&state.path().join("open"), port(OPEN)?, false)?;
        let locked = Registry::start(&state.path().join("locked"), port(LOCKED)?, true)?;
        for name in images::names()? {
            open.push(&name)?;
            locked.push(&name)?;
        }
        let served = state.path().join("git");
        std::fs::create_dir(&served)?;
        repository_of(&root().join("examples/real/app"), &served, "app")?;
        let git = GitServer::start(&served, port(GIT)?)?;
        Ok(Self {
            open,
            locked,
            git,
            redis: port(REDIS)?,
            _state: state,
        })
    }

    /// The ports that stand in the examples, as text there, and the real ones.
    pub(crate) fn ports(&self) -> Vec<(String, String)> {
        let on_loopback = |port: u16| format!("127.0.0.1:{port}");
        let mut ports: Vec<_> = [
            (OPEN, self.open.port),
            (LOCKED, self.locked.port),
            (GIT, self.git.port),
        ]
        .map(|(usual, now)| (on_loopback(usual), on_loopback(now)))
        .into();
        ports.push((REDIS.to_string(), self.redis.to_string()));
        ports
    }
}
