//! What examples talk to: two registries and a git server, all on loopback.

use anyhow::Result;

use crate::command::root;
use crate::git_server::{GitServer, repository_of};
use crate::images;
use crate::registry::{LOCKED, OPEN, Registry, port_like};

/// Where the git server listens, unless that is taken.
pub(crate) const GIT: u16 = 5580;

/// What is where.
pub(crate) const WORDS: &str = "\
127.0.0.1:5500 is an open registry with stepyard/NAME:1 for each image of images/
127.0.0.1:5501 is the same with a login: stepyard / open-sesame
127.0.0.1:5580 serves examples/real/app as http://127.0.0.1:5580/app.git";

/// They end with this value.
pub(crate) struct Servers {
    open: Registry,
    locked: Registry,
    git: GitServer,
    _state: tempfile::TempDir,
}

impl Servers {
    /// Builds the images that are not there yet, and starts all three.
    pub(crate) fn start() -> Result<Self> {
        images::build(&[], false)?;
        let state = tempfile::tempdir()?;
        let open = Registry::start(&state.path().join("open"), port_like(OPEN)?, false)?;
        let locked = Registry::start(&state.path().join("locked"), port_like(LOCKED)?, true)?;
        for name in images::names()? {
            open.push(&name)?;
            locked.push(&name)?;
        }
        let served = state.path().join("git");
        std::fs::create_dir(&served)?;
        repository_of(&root().join("examples/real/app"), &served, "app")?;
        let git = GitServer::start(&served, port_like(GIT)?)?;
        Ok(Self {
            open,
            locked,
            git,
            _state: state,
        })
    }

    /// The usual ports and the real ones.
    pub(crate) fn ports(&self) -> Vec<(u16, u16)> {
        vec![
            (OPEN, self.open.port),
            (LOCKED, self.locked.port),
            (GIT, self.git.port),
        ]
    }
}
