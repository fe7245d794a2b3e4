//! Systems without overlay: what images are can be asked there, but no layer is unpacked.

use std::io::{self, Read};
use std::path::Path;

use super::{Report, Trouble};

/// There is none.
pub(super) enum Unpacker {}

impl Unpacker {
    pub(super) fn new(into: &Path) -> Result<Self, Trouble> {
        Err(Trouble::Disk {
            name: into.display().to_string(),
            source: io::Error::new(
                io::ErrorKind::Unsupported,
                "layers are unpacked for overlay, which only Linux has",
            ),
        })
    }

    pub(super) fn all<R: Read>(self, _: &mut tar::Archive<R>) -> Result<Report, Trouble> {
        match self {}
    }
}
