//! A process that is not our child, held by a pidfd: it cannot be mistaken for a later one of the same pid.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::process::{Target, ended};
use crate::policy::Ended;

/// A process by its pidfd.
#[derive(Debug)]
pub struct Pidfd {
    fd: OwnedFd,
    pid: Pid,
}

/// What can be said about the exit status of a process that is not our child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// This is it.
    Known(Ended),
    /// The kernel will tell once the process was reaped by its parent: wait for POLLHUP.
    AfterReaping,
    /// Nobody will tell.
    Unknown,
}

/// `struct pidfd_info` of linux/pidfd.h, as far as it went when exit_code came (Linux 6.15).
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroupid: u64,
    pid: u32,
    tgid: u32,
    ppid: u32,
    ruid: u32,
    rgid: u32,
    euid: u32,
    egid: u32,
    suid: u32,
    sgid: u32,
    fsuid: u32,
    fsgid: u32,
    exit_code: i32,
}

const PIDFD_INFO_EXIT: u64 = 1 << 3;
/// `_IOWR(PIDFS_IOCTL_MAGIC, 11, struct pidfd_info)`
const PIDFD_GET_INFO: libc::Ioctl =
    ((3 << 30) | ((size_of::<PidfdInfo>() as u64) << 16) | (0xff << 8) | 11) as libc::Ioctl;
const PIDFD_SIGNAL_PROCESS_GROUP: libc::c_uint = 1 << 2;

impl Pidfd {
    /// Opens the process with this pid.
    ///
    /// # Errors
    /// `ESRCH` where there is none, else what pidfd_open(2) says.
    pub fn open(pid: Pid) -> Result<Self, Errno> {
        // SAFETY: takes plain numbers; the descriptor that it returns is owned by nobody else. It is close-on-exec.
        let fd = unsafe {
            let fd = Errno::result(libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0))?;
            OwnedFd::from_raw_fd(i32::try_from(fd).map_err(|_| Errno::EBADF)?)
        };
        Ok(Self { fd, pid })
    }

    /// The pid.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Sends it a signal, or sends one to the process group it leads.
    ///
    /// # Errors
    /// `ESRCH` where it is gone.
    pub fn signal(&self, target: Target, signal: Signal) -> Result<(), Errno> {
        let send = |flags: libc::c_uint| {
            let info = std::ptr::null::<libc::siginfo_t>();
            // SAFETY: no siginfo is passed, the descriptor is open.
            let result = unsafe {
                libc::syscall(libc::SYS_pidfd_send_signal, self.fd.as_raw_fd(), signal as libc::c_int, info, flags)
            };
            Errno::result(result).map(drop)
        };
        match target {
            Target::Process => send(0),
            Target::Group => match send(PIDFD_SIGNAL_PROCESS_GROUP) {
                // Before Linux 6.9. While the leader is there, its number is not given to another group.
                Err(Errno::EINVAL) if self.stat().is_some() => super::kill(self.pid, target, signal),
                other => other,
            },
        }
    }

    /// Its exit status, once it has ended.
    #[must_use]
    pub fn exit_status(&self) -> ExitStatus {
        if let Some(ended) = self.status_of_zombie() {
            return ExitStatus::Known(ended);
        }
        // Asked before the kernel is: where it is reaped in between, the kernel knows.
        let unreaped = self.is_unreaped();
        let mut info = PidfdInfo { mask: PIDFD_INFO_EXIT, ..PidfdInfo::default() };
        // SAFETY: the kernel writes no more than the size that is part of the request's number.
        let result = unsafe { libc::ioctl(self.fd.as_raw_fd(), PIDFD_GET_INFO, &raw mut info) };
        match Errno::result(result) {
            Ok(_) if info.mask & PIDFD_INFO_EXIT != 0 => ExitStatus::Known(ended(info.exit_code)),
            Ok(_) if unreaped => ExitStatus::AfterReaping,
            Ok(_) | Err(_) => ExitStatus::Unknown,
        }
    }

    /// It lives, or is a zombie: its pid is not another's.
    #[must_use]
    pub fn is_unreaped(&self) -> bool {
        let info = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: signal 0 only asks; no siginfo is passed, the descriptor is open.
        let asked = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, self.fd.as_raw_fd(), 0, info, 0) };
        Errno::result(asked) != Err(Errno::ESRCH)
    }

    /// The status that a zombie keeps for its parent, where the kernel lets us see it (proc_pid_stat(5), field 52).
    fn status_of_zombie(&self) -> Option<Ended> {
        let stat = self.stat()?;
        // Without the permission the field reads 0, which would look like a good end: ask for the permission first.
        fs::read_link(format!("/proc/{}/ns/user", self.pid)).ok()?;
        // What was read was of this process only if it has not been reaped by now.
        (stat.state == b'Z' && self.is_unreaped()).then(|| ended(stat.exit_code))
    }

    /// The state of the process and the start of its life, while it has not been reaped.
    fn stat(&self) -> Option<Stat> {
        Stat::read(self.pid)
    }

    /// When it was started, in clock ticks since boot, and whether it still runs. `None`: it is gone.
    #[must_use]
    pub fn started(&self) -> Option<(u64, bool)> {
        let stat = self.stat()?;
        Some((stat.started, !matches!(stat.state, b'Z' | b'X')))
    }

    /// Clock ticks in a second.
    #[must_use]
    pub fn ticks_a_second() -> u64 {
        // SAFETY: no preconditions.
        u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).unwrap_or(100).max(1)
    }
}

impl AsFd for Pidfd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What /proc/PID/stat says of a process.
pub(super) struct Stat {
    pub(super) state: u8,
    pub(super) group: i32,
    pub(super) session: i32,
    started: u64,
    exit_code: i32,
}

impl Stat {
    pub(super) fn read(pid: Pid) -> Option<Self> {
        Self::parse(&fs::read(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(text: &[u8]) -> Option<Self> {
        // The name in field 2 may hold anything, also brackets; the last one ends it.
        let end = text.iter().rposition(|&byte| byte == b')')?;
        let fields: Vec<&str> = std::str::from_utf8(&text[end + 1..]).ok()?.split_ascii_whitespace().collect();
        Some(Self {
            state: *fields.first()?.as_bytes().first()?,
            group: fields.get(5 - 3)?.parse().ok()?,
            session: fields.get(6 - 3)?.parse().ok()?,
            started: fields.get(22 - 3)?.parse().ok()?,
            exit_code: fields.get(52 - 3)?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_process_may_hold_anything() {
        let rest = (4..=52).map(|number| number.to_string()).collect::<Vec<_>>().join(" ");
        for name in ["sleep", "a) Z 1 (b", "new\nline", "\u{fffd}"] {
            let stat = Stat::parse(format!("7 ({name}) S {rest}\n").as_bytes()).unwrap();
            assert_eq!((stat.state, stat.group, stat.session), (b'S', 5, 6), "{name}");
            assert_eq!((stat.started, stat.exit_code), (22, 52), "{name}");
        }
        let stat = Stat::parse([b"7 (\xff) Z ".as_slice(), rest.as_bytes()].concat().as_slice()).unwrap();
        assert_eq!(stat.state, b'Z');
    }

    #[test]
    fn a_line_that_is_too_short_says_nothing() {
        for text in ["", "7", "7 (x)", "7 (x) S", "7 (x) S 1 2 3"] {
            assert!(Stat::parse(text.as_bytes()).is_none(), "{text}");
        }
    }
}
