//! Scaffold.
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;

use super::{Service, refusal};
use nix::errno::Errno;

/// Scaffold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Scaffold.
    Done(String),
    /// Scaffold.
    NoSupervise(String),
    /// Scaffold.
    System(String),
}

impl Outcome {
    /// Scaffold.
    #[must_use]
    pub fn words(&self) -> &str {
        match self {
            Self::Done(words) | Self::NoSupervise(words) | Self::System(words) => words,
        }
    }
}

/// Scaffold.
#[must_use]
pub fn write_only(service: &Service, bytes: &[u8]) -> Outcome {
    let path = service.dir.join("svcontrol");
    let open = std::fs::File::options().write(true).custom_flags(nix::libc::O_NONBLOCK).open(&path);
    match open.and_then(|mut fifo| fifo.write_all(bytes)) {
        Ok(()) => Outcome::Done("told".to_owned()),
        Err(error) => match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENXIO | Errno::ENOENT) => Outcome::NoSupervise("no supervise is there".to_owned()),
            errno => Outcome::System(refusal(&path, errno.unwrap_or(Errno::EIO))),
        },
    }
}
