//! `alarms/`: a message file for every alarm that somebody is still to get.

use std::os::fd::{AsFd, OwnedFd};

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::{Mode, fchmod, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::statusdir::{Directory, create_afresh};

const NAME: &str = "alarms";

/// Opens the spool, and makes it where it is missing.
fn open(dir: &Directory) -> Result<OwnedFd, Errno> {
    let mode = Mode::from_bits_truncate(0o700);
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    match mkdirat(dir, NAME, mode) {
        Ok(()) => {
            let spool = openat(dir, NAME, flags, Mode::empty())?;
            fchmod(&spool, mode)?; // whatever the umask says
            Ok(spool)
        }
        Err(Errno::EEXIST) => openat(dir, NAME, flags, Mode::empty()),
        Err(errno) => Err(errno),
    }
}

/// Stores a message under its id; there all at once or not at all, and written again it is the same file.
///
/// # Errors
/// What the system call that failed says; nothing is left of it.
pub fn store(dir: &Directory, id: &str, text: &str) -> Result<(), Errno> {
    let spool = open(dir)?;
    let new = format!(".{id}.new");
    let stored = create_afresh(spool.as_fd(), &new, Mode::from_bits_truncate(0o600))
        .and_then(|file| match nix::unistd::write(file.as_fd(), text.as_bytes())? {
            written if written == text.len() => Ok(()),
            _ => Err(Errno::ENOSPC),
        })
        .and_then(|()| renameat(&spool, new.as_str(), &spool, id));
    if stored.is_err() {
        let _ = unlinkat(&spool, new.as_str(), UnlinkatFlags::NoRemoveDir);
    }
    stored
}

/// How many messages are in the spool; makes the spool where it is missing.
///
/// # Errors
/// What the system call that failed says.
pub fn count(dir: &Directory) -> Result<u64, Errno> {
    let mut spool = Dir::from_fd(open(dir)?)?;
    let messages = spool.iter().flatten().filter(|entry| {
        let hidden = entry.file_name().to_bytes().starts_with(b".");
        !hidden && entry.file_type().is_none_or(|kind| kind == Type::File)
    });
    u64::try_from(messages.count()).map_err(|_| Errno::EOVERFLOW)
}
