//! Who holds `lock`, and what else a process has open: as the kernel tells it of each descriptor.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, fstatat};
use nix::unistd::Pid;

use super::Directory;
use crate::sys::all_processes;

/// Whether somebody holds the lock. Where there is none, nothing is made.
///
/// # Errors
/// What open(2) and flock(2) say.
pub fn lock_is_held(dir: &Directory) -> Result<bool, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = match openat(dir, "lock", flags, Mode::empty()) {
        Err(Errno::ENOENT) => return Ok(false),
        other => other?,
    };
    match crate::sys::lock_exclusively(file.as_fd()) {
        Ok(()) => Ok(false), // given back at once
        Err(Errno::EWOULDBLOCK) => Ok(true),
        Err(errno) => Err(errno),
    }
}

/// The processes that hold the lock with one of their descriptors. They may have got it from a process that has ended,
/// which the kernel's own list (proc_locks(5)) would name. Those whose descriptors we may not see are left out.
#[must_use]
pub fn lock_holders(dir: &Directory) -> Vec<Pid> {
    all_processes().filter(|&pid| holds_lock(pid, dir)).collect()
}

/// Whether this process holds the lock.
#[must_use]
pub fn holds_lock(pid: Pid, dir: &Directory) -> bool {
    descriptors(pid, dir, "lock").any(|number| has_lock(pid, &number))
}

/// Whether a process has the file of this name open. One that is gone has nothing open, nor, as far as we know, has one
/// whose descriptors we may not see.
///
/// # Errors
/// It can't be told: the file, the descriptors or what one of them stands for can't be looked at.
pub fn has_open(pid: Pid, dir: &Directory, name: &str) -> Result<bool, Errno> {
    let there = match fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Err(Errno::ENOENT) => return Ok(false),
        other => other?,
    };
    let entries = match fs::read_dir(format!("/proc/{pid}/fd")) {
        Err(error) if is_gone(&error) || error.kind() == ErrorKind::PermissionDenied => return Ok(false),
        other => other.map_err(|error| errno(&error))?,
    };
    let mut unknown = Ok(false);
    for entry in entries {
        match entry.and_then(|entry| fs::metadata(entry.path())) {
            Ok(open) if is_same(&open, &there) => return Ok(true),
            Ok(_) => {}
            Err(error) if is_gone(&error) => {} // closed meanwhile
            Err(error) => unknown = Err(errno(&error)),
        }
    }
    unknown
}

fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

fn is_gone(error: &io::Error) -> bool {
    matches!(errno(error), Errno::ENOENT | Errno::ESRCH)
}

fn is_same(open: &fs::Metadata, there: &FileStat) -> bool {
    (open.dev(), open.ino()) == (there.st_dev, there.st_ino)
}

/// The descriptors of a process that stand for the file of this name.
fn descriptors(pid: Pid, dir: &Directory, name: &str) -> impl Iterator<Item = String> {
    let there = fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW).ok();
    let entries = there.and_then(|_| fs::read_dir(format!("/proc/{pid}/fd")).ok()).into_iter().flatten().flatten();
    entries.filter_map(move |entry| {
        let open = fs::metadata(entry.path()).ok()?;
        is_same(&open, &there?).then(|| entry.file_name().to_string_lossy().into_owned())
    })
}

/// `lock: 1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF` (proc_pid_fdinfo(5)).
fn has_lock(pid: Pid, number: &str) -> bool {
    let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).unwrap_or_default();
    info.lines().filter_map(|line| line.strip_prefix("lock:")).any(|lock| {
        let mut fields = lock.split_ascii_whitespace().skip(1);
        (fields.next(), fields.next(), fields.next()) == (Some("FLOCK"), Some("ADVISORY"), Some("WRITE"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_descriptor_that_has_the_lock_counts() {
        let folder = tempfile::tempdir().unwrap();
        let dir = Directory::open(folder.path()).unwrap();
        assert_eq!((lock_is_held(&dir), lock_holders(&dir)), (Ok(false), vec![]));
        let path = folder.path().join("lock");
        let first = fs::File::create(&path).unwrap();
        let second = fs::File::open(&path).unwrap();
        assert_eq!((lock_is_held(&dir), lock_holders(&dir)), (Ok(false), vec![]));
        crate::sys::lock_exclusively(second.as_fd()).unwrap();
        assert!(lock_is_held(&dir) == Ok(true) && lock_holders(&dir).contains(&Pid::this()));
        // A child that another test has just forked may still have a copy.
        crate::sys::unlock(second.as_fd()).unwrap();
        drop(second);
        assert_eq!((lock_is_held(&dir), lock_holders(&dir)), (Ok(false), vec![]));
        assert_eq!(has_open(Pid::this(), &dir, "lock"), Ok(true));
        drop(first);
        assert_eq!(has_open(Pid::this(), &dir, "lock"), Ok(false));
    }
}
