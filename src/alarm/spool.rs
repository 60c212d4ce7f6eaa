//! `alarms/`: a message file for every alarm that somebody is still to get, and what is noted about its delivery.
//!
//! ```text
//! ID               a message
//! .ID.new          a message that is being written
//! failed/ID        a message that somebody will not get, with who and why above it
//! .delivery/ID     how far the delivery of ID has come
//! .delivery/next   when svalarm is to run again (CLOCK_MONOTONIC, nanoseconds), and the boot whose clock that is
//! ```
//!
//! The folders themselves carry locks (serving.rs).

use std::cell::{Cell, OnceCell};
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{Mode, fstat, fstatat, mkdirat};
use nix::unistd::{Uid, UnlinkatFlags, fsync, geteuid, unlinkat};

use super::progress::Progress;
use super::read::SIZE_LIMIT;
use super::schedule::LONGEST;
use crate::policy::Moment;
use crate::statusdir::{Directory, create_afresh, give_mode, is_id};
use crate::sys::{each_name, why};

pub(super) const NAME: &str = "alarms";
pub(super) const FAILED: &str = "failed";
pub(super) const DELIVERY: &str = ".delivery";
const NEXT: &str = "next";

pub(super) fn open_folder(above: impl AsFd, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(&above, name, flags, Mode::empty())
}

/// Opens a folder, and makes it where it is missing.
fn make_folder(above: impl AsFd, name: &str) -> Result<OwnedFd, Errno> {
    let mode = Mode::from_bits_truncate(0o700);
    match open_folder(&above, name) {
        Err(Errno::ENOENT) => match mkdirat(&above, name, mode) {
            Ok(()) => {
                let made = open_folder(&above, name)?;
                give_mode(&made, mode)?; // whatever the umask says
                Ok(made)
            }
            Err(Errno::EEXIST) => open_folder(&above, name),
            Err(errno) => Err(errno),
        },
        other => other,
    }
}

/// Why this user acts on nothing in this spool: messages name programs to run, so nobody else may have put one there.
fn distrust(folder: &OwnedFd, user: Uid) -> Result<Option<String>, Errno> {
    let stat = fstat(folder)?;
    let others = Mode::S_IWGRP | Mode::S_IWOTH;
    if stat.st_uid != user.as_raw() && stat.st_uid != 0 {
        return Ok(Some(format!("it belongs to uid {}, not to uid {user} or root", stat.st_uid)));
    }
    let mode = stat.st_mode & 0o7777;
    Ok((mode & others.bits() != 0)
        .then(|| format!("others than its owner may write to it (mode {mode:04o}; chmod 700 mends that)")))
}

/// The spool, for what acts on it.
fn trusted(folder: OwnedFd) -> Result<OwnedFd, Errno> {
    if distrust(&folder, geteuid())?.is_some() { Err(Errno::EPERM) } else { Ok(folder) }
}

/// Why the svalarm of this user would deliver nothing from the spool; `None`: it would.
#[must_use]
pub fn distrusted(dir: &Directory, user: Uid) -> Option<String> {
    distrust(&open_folder(dir, NAME).ok()?, user).ok()?
}

/// What the error of [`store`] means, for people.
#[must_use]
pub fn store_failed(dir: &Directory, errno: Errno) -> String {
    let wrong = if errno == Errno::EPERM { distrusted(dir, geteuid()) } else { None };
    wrong.unwrap_or_else(|| why(errno))
}

/// Makes the spool where it is missing.
///
/// # Errors
/// What the system call that failed says.
pub fn make(dir: &Directory) -> Result<(), Errno> {
    make_folder(dir, NAME).map(drop)
}

/// Where a message is that was to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// In the spool, since now.
    New,
    /// In the spool, since before.
    Waiting,
    /// In `failed`: somebody will not get it.
    Failed,
}

/// Stores a message under its id; there all at once or not at all. One that is there stays as it is, whatever this one
/// says: it may be on its way to somebody, and who has got it is noted by its lines.
///
/// # Errors
/// What the system call that failed says; nothing is left of it.
pub fn store(dir: &Directory, id: &str, text: &str) -> Result<Stored, Errno> {
    let spool = trusted(make_folder(dir, NAME)?)?;
    // In this order, since svalarm brings a message into `failed` before it takes it out of the spool.
    if is_whole(spool.as_fd(), id, "Message-ID: ") {
        return Ok(Stored::Waiting);
    }
    if open_folder(&spool, FAILED).is_ok_and(|failed| is_whole(failed.as_fd(), id, "Failed: ")) {
        return Ok(Stored::Failed);
    }
    put(spool.as_fd(), id, text, Durable::No).map(|()| Stored::New)
}

/// Whether a file is there with this beginning, and with an end: one that the machine lost in a crash has neither.
fn is_whole(folder: BorrowedFd<'_>, id: &str, beginning: &str) -> bool {
    read(folder, id, SIZE_LIMIT).is_ok_and(|text| text.starts_with(beginning.as_bytes()) && text.ends_with(b"\n"))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Durable {
    /// Not before somebody else sees to it: supervise never waits for a disk.
    No,
    /// On the disk before it has its name.
    First,
    /// It has its name at once, so that a successor finds it whoever is killed now, and is on the disk afterwards. Where
    /// the machine stops in between, what is left may be damaged.
    After,
}

/// Writes a file under another name and renames it.
pub(super) fn put(folder: BorrowedFd<'_>, name: &str, text: &str, durable: Durable) -> Result<(), Errno> {
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

/// How many messages are in the spool.
///
/// # Errors
/// What the system call that failed says.
pub fn count(dir: &Directory) -> Result<u64, Errno> {
    let mut number = 0;
    match open_folder(dir, NAME) {
        Err(Errno::ENOENT) => {}
        opened => each(opened?, |_| number += 1)?,
    }
    Ok(number)
}

/// Whether a message with this id is in the spool.
#[must_use]
pub fn holds(dir: &Directory, id: &str) -> bool {
    open_folder(dir, NAME).is_ok_and(|folder| fstatat(&folder, id, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok())
}

pub(super) fn each(spool: OwnedFd, mut found: impl FnMut(&str)) -> Result<(), Errno> {
    each_name(spool.as_fd(), |name, kind| {
        let may_be_file = matches!(kind, nix::libc::DT_REG | nix::libc::DT_UNKNOWN);
        if let Some(id) = name.to_str().ok().filter(|name| may_be_file && is_id(name)) {
            found(id);
        }
    })
}

/// When svalarm is to run again, as the last one noted it. `None`: it noted nothing that can be: another boot's clock
/// says nothing now, and no delay is so long.
#[must_use]
pub fn next_attempt(dir: &Directory, now: Moment, boot: &str) -> Option<Moment> {
    let delivery = open_folder(open_folder(dir, NAME).ok()?, DELIVERY).ok()?;
    let text = read(delivery.as_fd(), NEXT, 100).ok()?;
    let (next, of) = std::str::from_utf8(&text).ok()?.trim_end_matches('\n').split_once(' ')?;
    let next = Moment(next.parse().ok()?);
    (of == boot && next <= now + LONGEST).then_some(next)
}

fn open_file(folder: BorrowedFd<'_>, name: &str) -> Result<File, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    openat(folder, name, flags, Mode::empty()).map(File::from)
}

pub(super) fn read(folder: BorrowedFd<'_>, name: &str, limit: u64) -> Result<Vec<u8>, Errno> {
    let mut bytes = Vec::new();
    match open_file(folder, name)?.take(limit + 1).read_to_end(&mut bytes) {
        Ok(length) if length as u64 > limit => Err(Errno::EFBIG),
        Ok(_) => Ok(bytes),
        Err(error) => Err(Errno::from_raw(error.raw_os_error().unwrap_or(nix::libc::EIO))),
    }
}

/// The spool as svalarm has it open.
#[derive(Debug)]
pub(super) struct Spool {
    messages: OwnedFd,
    /// Made when something is noted, as soon as it can be.
    delivery: OnceCell<OwnedFd>,
    /// The name `alarms` is on the disk.
    is_durable: Cell<bool>,
}

impl Spool {
    /// Opens it.
    pub(super) fn open(dir: &Directory) -> Result<Self, Errno> {
        let messages = trusted(open_folder(dir, NAME)?)?;
        Ok(Self { messages, delivery: OnceCell::new(), is_durable: Cell::new(false) })
    }

    pub(super) fn folder(&self) -> BorrowedFd<'_> {
        self.messages.as_fd()
    }

    /// The folder for notes. Where it can't be made, what would be noted is kept in memory.
    pub(super) fn delivery(&self) -> Result<BorrowedFd<'_>, Errno> {
        if self.delivery.get().is_none() {
            let _ = self.delivery.set(make_folder(&self.messages, DELIVERY)?); // nobody else sets it
        }
        self.delivery.get().map(AsFd::as_fd).ok_or(Errno::ENOENT)
    }

    /// The same once more, for a lock of its own.
    pub(super) fn open_delivery(&self) -> Result<OwnedFd, Errno> {
        open_folder(self.delivery()?, ".")
    }

    /// The messages that are there, by name: those about the earliest runs first.
    pub(super) fn ids(&self) -> Result<Vec<String>, Errno> {
        let mut ids = Vec::new();
        each(open_folder(&self.messages, ".")?, |id| ids.push(id.to_owned()))?;
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

    /// Brings a message to the disk, and its name, and that of the spool in the status directory.
    pub(super) fn make_durable(&self, id: &str, dir: &Directory) -> Result<(), Errno> {
        fsync(self.open_message(id)?)?;
        fsync(&self.messages)?;
        if !self.is_durable.get() {
            fsync(dir)?;
            self.is_durable.set(true);
        }
        Ok(())
    }

    pub(super) fn progress(&self, id: &str) -> Option<Progress> {
        let delivery = self.delivery().ok()?;
        Progress::decode(std::str::from_utf8(&read(delivery, id, SIZE_LIMIT).ok()?).ok()?)
    }

    pub(super) fn save(&self, id: &str, progress: &Progress) -> Result<(), Errno> {
        // Where nobody has it yet, a note that is lost or damaged costs nobody a second copy.
        let durable = if progress.fates.is_empty() { Durable::No } else { Durable::After };
        put(self.delivery()?, id, &progress.encode(), durable)
    }

    /// Keeps a copy of a message that somebody will not get, with this above it.
    pub(super) fn keep_failed(&self, id: &str, head: &str) -> Result<(), Errno> {
        let mut text = head.to_owned();
        text.push_str(&String::from_utf8_lossy(&self.message(id)?));
        put(make_folder(&self.messages, FAILED)?.as_fd(), id, &text, Durable::First)?;
        fsync(&self.messages) // `failed` may be new
    }

    /// Puts a file that is no message out of the way, whole as it is.
    pub(super) fn set_aside(&self, id: &str) -> Result<(), Errno> {
        let failed = make_folder(&self.messages, FAILED)?;
        renameat(&self.messages, id, &failed, id)?;
        fsync(&failed)?;
        fsync(&self.messages)
    }

    /// The message is done with. Its progress goes last: without it everybody would get another copy.
    pub(super) fn remove(&self, id: &str) -> Result<(), Errno> {
        let gone = |result| match result {
            Err(Errno::ENOENT) => Ok(()),
            other => other,
        };
        gone(unlinkat(&self.messages, id, UnlinkatFlags::NoRemoveDir))?;
        fsync(&self.messages)?;
        match self.delivery.get() {
            Some(delivery) => gone(unlinkat(delivery, id, UnlinkatFlags::NoRemoveDir)),
            None => Ok(()),
        }
    }

    /// Removes notes about messages that are not there any more.
    pub(super) fn sweep(&self) {
        let Ok(delivery) = self.delivery() else { return };
        let mut stale = Vec::new();
        let _ = open_folder(delivery, ".").and_then(|notes| each(notes, |id| stale.push(id.to_owned())));
        stale.retain(|id| !self.is_there(id));
        for id in stale {
            let _ = unlinkat(delivery, id.as_str(), UnlinkatFlags::NoRemoveDir);
        }
    }

    /// Notes when svalarm is to run again, by the clock of this boot; `None`: not before there is another message.
    pub(super) fn set_next(&self, next: Option<Moment>, boot: &str) -> Result<(), Errno> {
        match next {
            Some(Moment(at)) => put(self.delivery()?, NEXT, &format!("{at} {boot}\n"), Durable::No),
            None => match self.delivery.get().map(|folder| unlinkat(folder, NEXT, UnlinkatFlags::NoRemoveDir)) {
                None | Some(Err(Errno::ENOENT)) => Ok(()),
                Some(other) => other,
            },
        }
    }
}

#[cfg(test)]
#[path = "spool_tests.rs"]
mod tests;
