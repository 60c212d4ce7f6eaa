//! `lock`: whoever holds it is the one supervise of its status directory.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, fchmod, fstat, fstatat};

use super::Directory;
use crate::sys::why;

/// The lock, held for as long as any copy of its descriptor is open, also in a child before its exec. Nothing ever
/// unlocks it: the end of its holders does.
#[derive(Debug)]
pub struct Lock {
    _file: OwnedFd,
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
                Ok(()) if is_in_place(directory, &file) => return Ok(Self { _file: file }),
                Ok(()) => {}
                Err(Errno::EWOULDBLOCK) if waited >= Self::PATIENCE => {
                    return Err(LockError::Held(holder(&file)));
                }
                Err(Errno::EWOULDBLOCK) => {
                    std::thread::sleep(Self::BETWEEN); // nothing is supervised yet
                    waited += Self::BETWEEN;
                }
                Err(errno) => return Err(LockError::System(errno)),
            }
        }
    }
}

fn open(directory: &Directory) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let mode = Mode::from_bits_truncate(0o600);
    let file = openat(directory, "lock", flags, mode)?;
    let _ = fchmod(&file, mode); // less the umask otherwise; not ours to change if another made it
    Ok(file)
}

fn is_in_place(directory: &Directory, file: &OwnedFd) -> bool {
    match (fstat(file), fstatat(directory, "lock", AtFlags::AT_SYMLINK_NOFOLLOW)) {
        (Ok(ours), Ok(there)) => (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino),
        _ => false,
    }
}

/// Who holds it, by the kernel's own list: `1: FLOCK ADVISORY WRITE 1234 fe:00:5678 0 EOF` (proc_locks(5)).
fn holder(file: &OwnedFd) -> Option<u32> {
    let stat = fstat(file).ok()?;
    let (major, minor) = (nix::sys::stat::major(stat.st_dev), nix::sys::stat::minor(stat.st_dev));
    let ours = format!("{major:02x}:{minor:02x}:{}", stat.st_ino);
    let text = std::fs::read_to_string("/proc/locks").ok()?;
    text.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let held = fields.get(1) == Some(&"FLOCK") && fields.get(5) == Some(&ours.as_str());
        if held { fields.get(4)?.parse().ok().filter(|&pid| pid != 0) } else { None }
    })
}
