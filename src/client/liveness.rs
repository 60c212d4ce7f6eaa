//! Whether a supervise lives in a status directory, for those who may ask it and for those who may not.

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::fstatat;
use nix::unistd::Pid;

use super::process::Process;
use super::target::open_to_write;
use super::unrecorded::holder;
use crate::policy::Stamp;
use crate::statusdir::{Directory, ReadRecord, listed_holder};
use crate::sys::Pidfd;

/// Whether a supervise lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// It lives.
    Lives,
    /// It does not: it was killed, or ended by itself.
    Gone,
    /// We may not ask.
    Unknown(Errno),
}

impl Liveness {
    /// Asks `ok`, without waiting (docs/operation.md, 4.4).
    #[must_use]
    pub fn of(dir: &Directory) -> Self {
        open_ok(dir).err().unwrap_or(Self::Lives)
    }

    /// The same; and for those who may not open `ok`, what everybody may see: the process that the long record names,
    /// and who has `lock` by the kernel's list.
    pub(super) fn seen(dir: &Directory, long: Option<&ReadRecord>) -> Self {
        let asked = Self::of(dir);
        if !matches!(asked, Self::Unknown(_)) {
            return asked;
        }
        let named = long.and_then(|long| named_lives(dir, long));
        if named == Some(true) || listed_holder(dir).is_some() {
            return Self::Lives;
        }
        // That list alone proves nothing: some file systems have another device number in it.
        if named == Some(false) { Self::Gone } else { asked }
    }

    /// Yes, no, or nobody may tell us.
    pub(super) fn known(self) -> Option<bool> {
        match self {
            Self::Lives => Some(true),
            Self::Gone => Some(false),
            Self::Unknown(_) => None,
        }
    }
}

/// Opens `ok`, which succeeds only while a supervise lives.
///
/// # Errors
/// What is known of it instead.
pub(super) fn open_ok(dir: &Directory) -> Result<OwnedFd, Liveness> {
    open_to_write(dir, "ok").map_err(|errno| match errno {
        // Killed; ended by itself; and what is no fifo was not made by a supervise that lives.
        Errno::ENXIO | Errno::ENOENT | Errno::EEXIST | Errno::ELOOP => Liveness::Gone,
        errno => Liveness::Unknown(errno),
    })
}

/// Whether the supervise that wrote the long record lives. Its pid alone proves nothing: whoever has that now may have
/// come later. `None`: it can't be told.
pub(super) fn named_lives(dir: &Directory, long: &ReadRecord) -> Option<bool> {
    let pid = long.number("supervise").and_then(|pid| i32::try_from(pid).ok()).filter(|&pid| pid > 0)?;
    match Process::at(pid.unsigned_abs()) {
        Some(process) => Some(process.runs && process.ran_at(written(dir)?)),
        // /proc can be closed to us (proc(5), hidepid). The two others say that a thread has the number, or to older kernels
        // that a session has it whose dead leader supervise was.
        None => {
            let refused = Pidfd::open(Pid::from_raw(pid)).err();
            matches!(refused, Some(Errno::ESRCH | Errno::EINVAL | Errno::ENOENT)).then_some(false)
        }
    }
}

/// The supervise that lives, by its long record, if it is stopped: it obeys nothing until somebody continues it.
pub(super) fn stopped(dir: &Directory, long: Option<&ReadRecord>) -> Option<u32> {
    let pid = long?.number("supervise").and_then(|pid| u32::try_from(pid).ok())?;
    let process = Process::at(pid).filter(|process| process.stopped)?;
    process.ran_at(written(dir)?).then_some(pid)
}

/// The same of one that may have written no long record: who holds `lock`, if it is stopped.
pub(super) fn stopped_holder(dir: &Directory) -> Option<u32> {
    holder(dir).filter(|&pid| Process::at(pid).is_some_and(|process| process.stopped))
}

/// What is said of it.
pub(super) fn stopped_words(pid: u32) -> String {
    format!("supervise (pid {pid}) is stopped and obeys nothing; `kill -CONT {pid}` lets it go on")
}

/// When the long record was written.
fn written(dir: &Directory) -> Option<Stamp> {
    let stat = fstatat(dir, "state", AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
    let (seconds, nanoseconds) = (u64::try_from(stat.st_mtime).ok()?, u64::try_from(stat.st_mtime_nsec).ok()?);
    Some(Stamp(seconds.checked_mul(1_000_000_000)?.checked_add(nanoseconds)?))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::time::{Duration, SystemTime};

    use super::*;

    /// Far more than any kernel gives (proc(5), pid_max).
    const NO_PID: u32 = 0x7fff_fff0;

    fn lives(supervise: impl std::fmt::Display, written: SystemTime) -> Option<bool> {
        let folder = tempfile::tempdir().unwrap();
        let text = format!("module : a\nsupervise : {supervise}\n");
        let path = folder.path().join("state");
        fs::write(&path, &text).unwrap();
        File::options().write(true).open(path).unwrap().set_modified(written).unwrap();
        named_lives(&Directory::open(folder.path()).unwrap(), &ReadRecord::decode(text.as_bytes()).unwrap())
    }

    #[test]
    fn a_pid_alone_is_no_supervise() {
        let own = std::process::id();
        let now = SystemTime::now();
        assert_eq!(lives(own, now), Some(true));
        assert_eq!(lives(own, now - Duration::from_secs(86_400)), Some(false), "this process was started later");
        assert_eq!(lives(NO_PID, now), Some(false), "no such process");
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let dead = child.id();
        while Process::at(dead).is_some_and(|process| process.runs) {
            std::thread::yield_now();
        }
        assert_eq!(lives(dead, now), Some(false), "a zombie");
        child.wait().unwrap();
        for nobody in ["0", "-1", "many", "99999999999"] {
            assert_eq!(lives(nobody, now), None, "{nobody}");
        }
    }
}
