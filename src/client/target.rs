//! The fifos of one status directory, from the side of who gives commands. Nothing here ever waits.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::stat::{Mode, SFlag, fstat};

use super::liveness::{Liveness, open_ok};
use super::owner::{refusal, shown};
use crate::statusdir::Directory;
use crate::sys::bytes_waiting;

/// Why no command can be given, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No supervise is there, nor perhaps a service of that name.
    NoSupervise(String),
    /// A system call failed.
    System(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSupervise(words) | Self::System(words) => f.write_str(words),
        }
    }
}

/// The way to a supervise.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) dir: Directory,
    /// Held open, so that the end of supervise is noticed. `None`: we may not open it, or nobody holds it.
    pub(super) ok: Option<OwnedFd>,
    /// Open for writing. `None`: nothing is to be told.
    pub(super) control: Option<OwnedFd>,
}

/// What a write came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// All bytes are in the fifo.
    Whole,
    /// There was no room for them, and none is.
    NoRoom,
    /// Nobody reads it any more.
    NoReader,
}

/// What is said where nobody lives.
const NOBODY: &str = "no supervise there";

impl Refusal {
    /// There was one, or there is none yet.
    pub(super) fn nobody() -> Self {
        Self::NoSupervise(NOBODY.to_owned())
    }
}

/// Opens a status directory to look into it.
///
/// # Errors
/// In words, with its owner where it is closed to us.
pub(super) fn enter(path: &Path) -> Result<Directory, Refusal> {
    Directory::open(path).map_err(|errno| {
        let unable = format!("unable to enter it: {}", refusal(path, errno));
        match errno {
            Errno::ENOENT | Errno::ENOTDIR => Refusal::NoSupervise(format!("{NOBODY}: {unable}")),
            _ => Refusal::System(unable),
        }
    })
}

impl Target {
    /// The way to whoever is in this directory; nothing is open yet.
    pub(super) fn new(dir: Directory) -> Self {
        Self { dir, ok: None, control: None }
    }

    /// Opens the way to the supervise that lives there.
    ///
    /// # Errors
    /// Where there is none nothing was done.
    pub(super) fn connect(&mut self) -> Result<(), Refusal> {
        self.ok = match open_ok(&self.dir) {
            Ok(ok) => Some(ok),
            Err(Liveness::Unknown(Errno::EACCES)) => None, // somebody who reads svcontrol will do
            Err(Liveness::Unknown(errno)) => return Err(Refusal::System(unable(&self.dir, "open", "ok", errno))),
            Err(Liveness::Gone | Liveness::Lives) => return Err(Refusal::nobody()),
        };
        self.control = match open_to_write(&self.dir, "svcontrol") {
            Ok(control) => Some(control),
            Err(Errno::ENXIO) => return Err(Refusal::nobody()),
            Err(errno) => return Err(Refusal::System(unable(&self.dir, "write", "svcontrol", errno))),
        };
        Ok(())
    }

    /// Whether the supervise that was found has gone: nobody reads its fifo any more. `None`: no fifo is open.
    pub(super) fn is_abandoned(&self) -> Option<bool> {
        let fifo = self.ok.as_ref().or(self.control.as_ref())?;
        let mut poll = [PollFd::new(fifo.as_fd(), PollFlags::empty())];
        // Not asked for, because poll(2) tells it in any case.
        let polled = nix::poll::poll(&mut poll, PollTimeout::ZERO).is_ok();
        Some(polled && poll[0].revents().is_some_and(|events| events.contains(PollFlags::POLLERR)))
    }

    /// Writes bytes, all of them at once.
    ///
    /// # Errors
    /// In words.
    pub(super) fn write(&self, bytes: &[u8]) -> Result<Written, Refusal> {
        let Some(control) = self.control.as_ref() else { return Ok(Written::NoReader) };
        match nix::unistd::write(control, bytes) {
            Ok(_) => Ok(Written::Whole), // less than PIPE_BUF: whole or not at all (pipe(7))
            Err(Errno::EAGAIN) => Ok(Written::NoRoom),
            Err(Errno::EPIPE) => Ok(Written::NoReader),
            Err(errno) => Err(Refusal::System(unable(&self.dir, "write", "svcontrol", errno))),
        }
    }

    /// Whether everything that was written has been read.
    pub(super) fn is_drained(&self) -> bool {
        self.control.as_ref().is_some_and(|control| bytes_waiting(control.as_fd()) == Ok(0))
    }
}

/// Whether the directory has no name any more.
pub(super) fn is_removed(dir: &Directory) -> bool {
    fstat(dir).is_ok_and(|stat| stat.st_nlink == 0)
}

/// A fifo that somebody reads. `EEXIST`: it is none.
pub(super) fn open_to_write(dir: &Directory, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NOCTTY;
    let fifo = openat(dir, name, flags, Mode::empty())?;
    let is_fifo = SFlag::from_bits_truncate(fstat(&fifo)?.st_mode) & SFlag::S_IFMT == SFlag::S_IFIFO;
    if is_fifo { Ok(fifo) } else { Err(Errno::EEXIST) }
}

/// `unable to write svcontrol: Permission denied: status/web/svcontrol (owner root, mode 0600)`.
pub(super) fn unable(dir: &Directory, doing: &str, name: &str, errno: Errno) -> String {
    let path = dir.path().join(name);
    let cause = match errno {
        Errno::EEXIST => format!("it is no fifo: {}", shown(&path)),
        Errno::ELOOP => format!("it is a symbolic link: {}", shown(&path)),
        errno => refusal(&path, errno),
    };
    format!("unable to {doing} {name}: {cause}")
}
