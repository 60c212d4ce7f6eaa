//! `alarms/`: a message file for every alarm that somebody is still to get, and what is noted about its delivery.
//!
//! ```text
//! ID               a message
//! .ID.new          a message that is being written
//! failed/ID        a message that somebody will not get, with who and why above it
//! .delivery/ID     how far the delivery of ID has come
//! .delivery/next   when svalarm is to run again (CLOCK_MONOTONIC, nanoseconds)
//! ```
//!
//! The folder itself carries the lock of the svalarm that serves it.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd, OwnedFd};

use nix::dir::Type;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{Mode, fchmod, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, fsync, unlinkat};

use super::progress::Progress;
use super::read::SIZE_LIMIT;
use crate::policy::Moment;
use crate::statusdir::{Directory, create_afresh, is_id};
use crate::sys::{dir_stream, lock_exclusively};

const NAME: &str = "alarms";
const FAILED: &str = "failed";
const DELIVERY: &str = ".delivery";
const NEXT: &str = "next";

/// Opens the spool, and makes it where it is missing.
fn open(dir: &Directory) -> Result<OwnedFd, Errno> {
    folder(dir, NAME)
}

fn folder(above: impl AsFd, name: &str) -> Result<OwnedFd, Errno> {
    let mode = Mode::from_bits_truncate(0o700);
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    match mkdirat(&above, name, mode) {
        Ok(()) => {
            let made = openat(&above, name, flags, Mode::empty())?;
            fchmod(&made, mode)?; // whatever the umask says
            Ok(made)
        }
        Err(Errno::EEXIST) => openat(&above, name, flags, Mode::empty()),
        Err(errno) => Err(errno),
    }
}

/// Stores a message under its id; there all at once or not at all, and written again it is the same file.
///
/// # Errors
/// What the system call that failed says; nothing is left of it.
pub fn store(dir: &Directory, id: &str, text: &str) -> Result<(), Errno> {
    put(open(dir)?.as_fd(), id, text, Durable::No)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Durable {
    /// Not before somebody else sees to it: supervise never waits for a disk.
    No,
    /// On the disk before it has its name.
    First,
    /// It has its name at once, so that a successor finds it whoever is killed now, and is on the disk afterwards. Where
    /// the machine stops in between, what is left may be damaged.
    After,
}

/// Writes a file under another name and renames it.
fn put(folder: std::os::fd::BorrowedFd<'_>, name: &str, text: &str, durable: Durable) -> Result<(), Errno> {
    let new = format!(".{name}.new");
    let stored = create_afresh(folder, &new, Mode::from_bits_truncate(0o600))
        .and_then(|file| {
            match nix::unistd::write(file.as_fd(), text.as_bytes())? {
                written if written == text.len() => {}
                _ => return Err(Errno::ENOSPC),
            }
            if durable == Durable::First {
                fsync(&file)?;
            }
            Ok(file)
        })
        .and_then(|file| renameat(folder, new.as_str(), folder, name).map(|()| file));
    match stored {
        Err(errno) => {
            let _ = unlinkat(folder, new.as_str(), UnlinkatFlags::NoRemoveDir);
            Err(errno)
        }
        Ok(_) if durable == Durable::No => Ok(()),
        Ok(file) => fsync(&file).and_then(|()| fsync(folder)),
    }
}

/// How many messages are in the spool; makes the spool where it is missing.
///
/// # Errors
/// What the system call that failed says.
pub fn count(dir: &Directory) -> Result<u64, Errno> {
    let mut number = 0;
    each(open(dir)?, |_| number += 1)?;
    Ok(number)
}

fn each(spool: OwnedFd, mut found: impl FnMut(&str)) -> Result<(), Errno> {
    for entry in dir_stream(spool)?.iter().flatten() {
        let is_file = entry.file_type().is_none_or(|kind| kind == Type::File);
        if let Some(id) = entry.file_name().to_str().ok().filter(|name| is_file && is_id(name)) {
            found(id);
        }
    }
    Ok(())
}

/// When svalarm is to run again, as the last one noted it.
#[must_use]
pub fn next_attempt(dir: &Directory) -> Option<Moment> {
    let delivery = folder(open(dir).ok()?, DELIVERY).ok()?;
    let text = read(delivery.as_fd(), NEXT, 64).ok()?;
    Some(Moment(std::str::from_utf8(&text).ok()?.trim().parse().ok()?))
}

fn open_file(folder: std::os::fd::BorrowedFd<'_>, name: &str) -> Result<File, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    openat(folder, name, flags, Mode::empty()).map(File::from)
}

fn read(folder: std::os::fd::BorrowedFd<'_>, name: &str, limit: u64) -> Result<Vec<u8>, Errno> {
    let mut bytes = Vec::new();
    match open_file(folder, name)?.take(limit + 1).read_to_end(&mut bytes) {
        Ok(length) if length as u64 > limit => Err(Errno::EFBIG),
        Ok(_) => Ok(bytes),
        Err(error) => Err(Errno::from_raw(error.raw_os_error().unwrap_or(nix::libc::EIO))),
    }
}

/// The spool as the one svalarm that serves it has it open.
#[derive(Debug)]
pub(super) struct Spool {
    messages: OwnedFd,
    delivery: OwnedFd,
}

impl Spool {
    /// Opens it, and makes what is missing.
    pub(super) fn open(dir: &Directory) -> Result<Self, Errno> {
        let messages = open(dir)?;
        let delivery = folder(&messages, DELIVERY)?;
        Ok(Self { messages, delivery })
    }

    /// Becomes the one that serves it, until the process ends.
    pub(super) fn lock(&self) -> Result<(), Errno> {
        lock_exclusively(self.messages.as_fd())
    }

    /// Lets whoever serves it take a look: its times are set, which inotify(7) tells as IN_ATTRIB.
    pub(super) fn knock(&self) {
        use nix::sys::stat::futimens;
        use nix::sys::time::TimeSpec;
        let _ = futimens(&self.messages, &TimeSpec::UTIME_NOW, &TimeSpec::UTIME_NOW);
    }

    pub(super) fn folder(&self) -> std::os::fd::BorrowedFd<'_> {
        self.messages.as_fd()
    }

    /// The messages that are there, the oldest first.
    pub(super) fn ids(&self) -> Result<Vec<String>, Errno> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut ids = Vec::new();
        each(openat(&self.messages, ".", flags, Mode::empty())?, |id| ids.push(id.to_owned()))?;
        ids.sort();
        Ok(ids)
    }

    pub(super) fn is_there(&self, id: &str) -> bool {
        fstatat(&self.messages, id, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok()
    }

    pub(super) fn open_message(&self, id: &str) -> Result<File, Errno> {
        open_file(self.messages.as_fd(), id)
    }

    pub(super) fn message(&self, id: &str) -> Result<Vec<u8>, Errno> {
        read(self.messages.as_fd(), id, SIZE_LIMIT)
    }

    /// Brings a message to the disk, and its name.
    pub(super) fn make_durable(&self, id: &str) -> Result<(), Errno> {
        fsync(self.open_message(id)?)?;
        fsync(&self.messages)
    }

    pub(super) fn progress(&self, id: &str) -> Option<Progress> {
        Progress::decode(std::str::from_utf8(&read(self.delivery.as_fd(), id, SIZE_LIMIT).ok()?).ok()?)
    }

    pub(super) fn save(&self, id: &str, progress: &Progress) -> Result<(), Errno> {
        put(self.delivery.as_fd(), id, &progress.encode(), Durable::After) // damaged, it means another copy
    }

    /// Keeps a copy of a message that somebody will not get.
    pub(super) fn keep_failed(&self, id: &str, text: &str) -> Result<(), Errno> {
        put(folder(&self.messages, FAILED)?.as_fd(), id, text, Durable::First)
    }

    /// Puts a file that is no message out of the way, whole as it is.
    pub(super) fn set_aside(&self, id: &str) -> Result<(), Errno> {
        renameat(&self.messages, id, &folder(&self.messages, FAILED)?, id)
    }

    /// The message is done with. Its progress goes last: without it everybody would get another copy.
    pub(super) fn remove(&self, id: &str) -> Result<(), Errno> {
        let gone = |result| match result {
            Err(Errno::ENOENT) => Ok(()),
            other => other,
        };
        gone(unlinkat(&self.messages, id, UnlinkatFlags::NoRemoveDir))?;
        fsync(&self.messages)?;
        gone(unlinkat(&self.delivery, id, UnlinkatFlags::NoRemoveDir))
    }

    /// Removes notes about messages that are not there any more.
    pub(super) fn sweep(&self) {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut stale = Vec::new();
        let notes = openat(&self.delivery, ".", flags, Mode::empty());
        let _ = notes.and_then(|notes| each(notes, |id| stale.push(id.to_owned())));
        stale.retain(|id| !self.is_there(id));
        for id in stale {
            let _ = unlinkat(&self.delivery, id.as_str(), UnlinkatFlags::NoRemoveDir);
        }
    }

    /// Notes when svalarm is to run again; `None`: not before there is another message.
    pub(super) fn set_next(&self, next: Option<Moment>) -> Result<(), Errno> {
        match next {
            Some(Moment(at)) => put(self.delivery.as_fd(), NEXT, &format!("{at}\n"), Durable::No),
            None => match unlinkat(&self.delivery, NEXT, UnlinkatFlags::NoRemoveDir) {
                Err(Errno::ENOENT) => Ok(()),
                other => other,
            },
        }
    }
}
