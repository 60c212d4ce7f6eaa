//! The fifos of one status directory, from the side of who gives commands. Nothing here ever waits.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};

use super::owner::{refusal, user_name};
use crate::statusdir::Directory;
use crate::sys::{bytes_waiting, lock_exclusively, why};
use crate::text::escape;

/// Why no command can be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No supervise is there; in words.
    NoSupervise(String),
    /// A system call failed; in words.
    System(String),
}

/// The way to a supervise.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) dir: Directory,
    /// Held open, so that the end of supervise is noticed. `None`: we may not open it.
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
        let unable = format!("unable to enter {}: {}", shown(path), why(errno));
        match errno {
            Errno::ENOENT | Errno::ENOTDIR => Refusal::NoSupervise(format!("{NOBODY}: {unable}")),
            Errno::EACCES => Refusal::System(match nix::sys::stat::stat(path) {
                Ok(stat) => unable + &belongs_to(&stat),
                // A folder above it keeps us out.
                Err(_) => format!("unable to enter {}: {}", shown(path), refusal(path, errno)),
            }),
            _ => Refusal::System(unable),
        }
    })
}

impl Target {
    /// Opens the way to the supervise of this directory.
    ///
    /// # Errors
    /// Where there is none nothing was done.
    pub(super) fn open(dir: Directory) -> Result<Self, Refusal> {
        let ok = open_ok(&dir)?;
        let control = match open_to_write(&dir, "svcontrol") {
            Ok(control) => control,
            Err(Errno::ENXIO) => return Err(Refusal::nobody()),
            Err(errno) => return Err(Refusal::System(unable(&dir, "write", "svcontrol", errno))),
        };
        Ok(Self { dir, ok, control: Some(control) })
    }

    /// Whether the supervise that was found has gone: nobody reads its fifo any more. Never, where no fifo is open.
    pub(super) fn is_abandoned(&self) -> bool {
        let Some(fifo) = self.ok.as_ref().or(self.control.as_ref()) else { return false };
        let mut poll = [PollFd::new(fifo.as_fd(), PollFlags::empty())];
        // Not asked for, because poll(2) tells it in any case.
        nix::poll::poll(&mut poll, PollTimeout::ZERO).is_ok()
            && poll[0].revents().is_some_and(|events| events.contains(PollFlags::POLLERR))
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

/// Opens `ok`, which succeeds only while a supervise lives. `None`: we may not, so it is not known.
///
/// # Errors
/// [`Refusal`].
pub(super) fn open_ok(dir: &Directory) -> Result<Option<OwnedFd>, Refusal> {
    match open_to_write(dir, "ok") {
        Ok(ok) => Ok(Some(ok)),
        // What is no fifo was not made by a supervise that lives.
        Err(Errno::ENXIO | Errno::ENOENT | Errno::EEXIST | Errno::ELOOP) => Err(Refusal::nobody()),
        Err(Errno::EACCES) => Ok(None),
        Err(errno) => Err(Refusal::System(unable(dir, "open", "ok", errno))),
    }
}

/// Whether no supervise, and no child of one, holds the lock. What we may not ask counts as free.
pub(super) fn is_lock_free(dir: &Directory) -> bool {
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    match openat(dir, "lock", flags, Mode::empty()) {
        // It is given back at once. A supervise that starts in this instant tries again for a second.
        Ok(lock) => lock_exclusively(lock.as_fd()) != Err(Errno::EWOULDBLOCK),
        Err(_) => true,
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

/// `unable to write status/web/svcontrol: Permission denied (it belongs to root, mode 0600)`.
pub(super) fn unable(dir: &Directory, doing: &str, name: &str, errno: Errno) -> String {
    let cause = match errno {
        Errno::EEXIST => "it is no fifo".to_owned(),
        Errno::ELOOP => "it is a symbolic link".to_owned(),
        Errno::EACCES | Errno::EPERM => {
            let stat = fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW);
            format!("{}{}", why(errno), stat.map_or_else(|_| String::new(), |stat| belongs_to(&stat)))
        }
        errno => why(errno),
    };
    format!("unable to {doing} {}/{name}: {cause}", shown(dir.path()))
}

fn belongs_to(stat: &FileStat) -> String {
    format!(" (it belongs to {}, mode {:04o})", user_name(stat.st_uid), stat.st_mode & 0o7777)
}

/// The path as it is said.
pub(super) fn shown(path: &Path) -> String {
    let path = path.strip_prefix(".").unwrap_or(path); // of the usual status root
    escape(path.as_os_str().as_encoded_bytes())
}
