//! `lock`: whoever holds it is the one supervise of its status directory.

use std::fmt;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat};
use nix::unistd::Pid;

use super::{Directory, give_mode, has_open};
use crate::sys::why;

/// So much of the long record is read for the pid in its second line.
const STATE_LIMIT: usize = 4096;

/// The lock, held for as long as any copy of its descriptor is open, also in a child before its exec. Nothing ever
/// unlocks it: the end of its holders does.
#[derive(Debug)]
pub struct Lock {
    file: OwnedFd,
}

/// Why the lock was not to be had.
#[derive(Debug, PartialEq, Eq)]
pub enum LockError {
    /// Somebody holds it: this process, where it can be told.
    Held(Option<u32>),
    /// A system call failed.
    System(Errno),
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held(Some(pid)) => write!(f, "another supervise holds it: pid {pid}"),
            Self::Held(None) => f.write_str("another supervise holds it"),
            Self::System(errno) => f.write_str(&why(*errno)),
        }
    }
}

impl Lock {
    const PATIENCE: Duration = Duration::from_secs(1);
    const BETWEEN: Duration = Duration::from_millis(10);

    /// The one that a predecessor in this process held, and never let go.
    #[must_use]
    pub fn inherited(file: OwnedFd) -> Self {
        Self { file }
    }

    /// Takes the lock, and waits up to a second for it: the children of a supervise that was killed hold it until
    /// their exec.
    ///
    /// # Errors
    /// [`LockError`]; nothing was disturbed.
    pub fn take(directory: &Directory) -> Result<Self, LockError> {
        let mut waited = Duration::ZERO;
        loop {
            let file = open(directory).map_err(LockError::System)?;
            match crate::sys::lock_exclusively(file.as_fd()) {
                // Somebody may have put another file in its place since it was opened: that one counts.
                Ok(()) if leads_to(directory, "lock", &file) => return Ok(Self { file }),
                Ok(()) if waited >= Self::PATIENCE => return Err(LockError::System(Errno::ESTALE)),
                Err(Errno::EWOULDBLOCK) if waited >= Self::PATIENCE => {
                    return Err(LockError::Held(holder(directory, &file)));
                }
                Ok(()) | Err(Errno::EWOULDBLOCK) => {
                    std::thread::sleep(Self::BETWEEN); // nothing is supervised yet
                    waited += Self::BETWEEN;
                }
                Err(errno) => return Err(LockError::System(errno)),
            }
        }
    }

    /// Whether `lock` still is the file that this one holds.
    #[must_use]
    pub fn is_in_place(&self, directory: &Directory) -> bool {
        leads_to(directory, "lock", &self.file)
    }
}

impl AsFd for Lock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn open(directory: &Directory) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let mode = Mode::from_bits_truncate(0o600);
    let file = openat(directory, "lock", flags, mode)?;
    let _ = give_mode(&file, mode); // not ours to change if another made it
    Ok(file)
}

/// Whether the name still leads to this file.
pub(super) fn leads_to(directory: &Directory, name: &str, file: &OwnedFd) -> bool {
    match (fstat(file), fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW)) {
        (Ok(ours), Ok(there)) => (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino),
        _ => false,
    }
}

/// Who holds the lock by the kernel's list, which everybody may read, also who may not open the file. `None`: nobody
/// does, or it is on a file system that has another device number in that list.
#[must_use]
pub fn listed_holder(directory: &Directory) -> Option<u32> {
    listed(&fstatat(directory, "lock", AtFlags::AT_SYMLINK_NOFOLLOW).ok()?)
}

fn listed(stat: &FileStat) -> Option<u32> {
    holder_in(&fs::read_to_string("/proc/locks").ok()?, stat)
}

/// Who holds it, as far as can be told.
fn holder(directory: &Directory, file: &OwnedFd) -> Option<u32> {
    let stat = fstat(file).ok()?;
    // Some file systems have another device number in that list: ask whom the long record names.
    let named = || named(directory).ok()?.filter(|&pid| has_open(pid, directory, "lock") == Ok(true));
    listed(&stat).or_else(|| named().map(as_number))
}

/// The supervise that the long record names, if there is a record.
fn named(directory: &Directory) -> Result<Option<Pid>, Errno> {
    let state = match directory.read("state", STATE_LIMIT) {
        Err(Errno::ENOENT) => return Ok(None),
        other => other?,
    };
    let state = String::from_utf8_lossy(&state);
    let pid = state.lines().find_map(|line| line.strip_prefix("supervise : ")?.parse().ok());
    Ok(pid.filter(|&pid| pid > 0).map(Pid::from_raw))
}

/// Another supervise that lives on this directory, though somebody removed or replaced its lock: the one that the long
/// record names, if it has files of the directory open. One whose descriptors may not be seen counts as none.
///
/// # Errors
/// It can't be told: the record can't be read, or what that process has open can't be looked at.
pub fn living_supervise(directory: &Directory) -> Result<Option<u32>, Errno> {
    lives_for(directory, Lock::PATIENCE)
}

/// The same, if it lives for so long: one that is just ending gives the lock back a moment before the rest.
fn lives_for(directory: &Directory, patience: Duration) -> Result<Option<u32>, Errno> {
    let Some(pid) = named(directory)?.filter(|&pid| pid != Pid::this()) else { return Ok(None) };
    let mut waited = Duration::ZERO;
    while has_open(pid, directory, "ok")? || has_open(pid, directory, "claim")? {
        if waited >= patience {
            return Ok(Some(as_number(pid)));
        }
        std::thread::sleep(Lock::BETWEEN); // nothing is supervised yet
        waited += Lock::BETWEEN;
    }
    Ok(None)
}

fn as_number(pid: Pid) -> u32 {
    pid.as_raw().unsigned_abs()
}

/// The kernel's list: `1: FLOCK ADVISORY WRITE 1234 fe:00:5678 0 EOF` (proc_locks(5)).
fn holder_in(locks: &str, stat: &FileStat) -> Option<u32> {
    let (major, minor) = (nix::sys::stat::major(stat.st_dev), nix::sys::stat::minor(stat.st_dev));
    let ours = format!("{major:02x}:{minor:02x}:{}", stat.st_ino);
    locks.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let held = fields.get(1) == Some(&"FLOCK") && fields.get(5) == Some(&ours.as_str());
        if held { fields.get(4)?.parse().ok().filter(|&pid| pid != 0) } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_supervise_that_is_just_ending_does_not_live_here() {
        let folder = tempfile::tempdir().unwrap();
        let dir = Directory::open(folder.path()).unwrap();
        let claim = fs::File::create(folder.path().join("claim")).unwrap();
        let other = || {
            std::process::Command::new("cat")
                .stdin(std::process::Stdio::piped())
                .stdout(claim.try_clone().unwrap())
                .spawn()
                .unwrap()
        };
        let mut lives = other();
        fs::write(folder.path().join("state"), format!("module : app\nsupervise : {}\n", lives.id())).unwrap();
        assert_eq!(lives_for(&dir, Lock::BETWEEN), Ok(Some(lives.id())));
        let input = lives.stdin.take();
        let ending = std::thread::spawn(move || drop(input)); // its end of file
        assert_eq!(lives_for(&dir, Duration::from_secs(60)), Ok(None));
        ending.join().unwrap();
        lives.wait().unwrap();
    }

    #[test]
    fn the_holder_is_found_in_the_kernel_s_list() {
        let folder = tempfile::tempdir().unwrap();
        let file = OwnedFd::from(fs::File::create(folder.path().join("lock")).unwrap());
        let mut stat = fstat(&file).unwrap();
        stat.st_dev = nix::sys::stat::makedev(0xfe, 0x10);
        stat.st_ino = 5678;
        let list = "1: POSIX ADVISORY WRITE 11 fe:10:5678 0 EOF\n2: -> FLOCK ADVISORY WRITE 12 fe:10:5678 0 EOF\n\
                    3: FLOCK ADVISORY WRITE 13 fe:10:567 0 EOF\n4: FLOCK ADVISORY WRITE 14 fe:10:5678 0 EOF\n";
        assert_eq!(holder_in(list, &stat), Some(14));
        assert_eq!(holder_in("4: FLOCK ADVISORY WRITE 0 fe:10:5678 0 EOF", &stat), None, "of another pid namespace");
        assert_eq!(holder_in("nonsense\n\n", &stat), None);
    }
}
