//! A process that is not our child, held by a pidfd: it cannot be mistaken for a later one of the same pid.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getpgid, getpgrp};

use super::proc_stat::{ProcStat, all_processes};
use super::process::{Target, ended};
use crate::policy::Ended;

/// A process by its pidfd.
#[derive(Debug)]
pub struct Pidfd {
    fd: OwnedFd,
    pid: Pid,
    /// The process group that it was in when this was made; `None`: it had ended.
    group: Option<Pid>,
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
        Ok(Self::of(fd, pid))
    }

    /// One that a predecessor in this process had opened, for this pid.
    #[must_use]
    pub fn of(fd: OwnedFd, pid: Pid) -> Self {
        Self { fd, pid, group: getpgid(Some(pid)).ok() }
    }

    /// The pid.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Sends it a signal, or sends one to the process group that it is in, but never to our own.
    ///
    /// # Errors
    /// `ESRCH` where it is gone.
    pub fn signal(&self, target: Target, signal: Signal) -> Result<(), Errno> {
        match target {
            Target::Process => self.send(signal, 0),
            Target::Group => match getpgid(Some(self.pid)).ok().filter(|_| self.is_unreaped()).or(self.group) {
                Some(group) if group == getpgrp() => self.send(signal, 0),
                Some(group) if group != self.pid => self.signal_group(group, signal),
                _ => match self.send(signal, PIDFD_SIGNAL_PROCESS_GROUP) {
                    Err(Errno::EINVAL) => self.signal_group(self.pid, signal), // before Linux 6.9
                    other => other,
                },
            },
        }
    }

    fn send(&self, signal: Signal, flags: libc::c_uint) -> Result<(), Errno> {
        let info = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: no siginfo is passed, the descriptor is open.
        let result = unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, self.fd.as_raw_fd(), signal as libc::c_int, info, flags)
        };
        Errno::result(result).map(drop)
    }

    /// To the group that it is in. As long as it is not reaped the group is that one; afterwards, of a group that it did not
    /// lead, those are meant who are in one of that number and were started before.
    fn signal_group(&self, group: Pid, signal: Signal) -> Result<(), Errno> {
        if self.is_unreaped() {
            return super::kill(group, Target::Group, signal);
        }
        if group == self.pid {
            // Nobody gets the number of a group that somebody is in: where a process has it none is left, where none has it
            // the group is still that one.
            return if ProcStat::read(group).is_some() { Ok(()) } else { super::kill(group, Target::Group, signal) };
        }
        let ended_before = super::boot_ns() / (1_000_000_000 / Self::ticks_a_second());
        for pid in all_processes() {
            let is_left =
                || ProcStat::read(pid).is_some_and(|stat| stat.group == group.as_raw() && stat.started < ended_before);
            // Looked at again behind the pidfd: then it is the one that is signalled.
            if is_left()
                && let Ok(member) = Self::open(pid)
                && is_left()
            {
                let _ = member.send(signal, 0); // it may have ended
            }
        }
        Ok(())
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
    fn stat(&self) -> Option<ProcStat> {
        ProcStat::read(self.pid)
    }

    /// When it was started, in clock ticks since boot, and whether it still runs. `None`: it is gone.
    #[must_use]
    pub fn started(&self) -> Option<(u64, bool)> {
        let stat = self.stat()?;
        Some((stat.started, stat.runs()))
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

#[cfg(test)]
mod tests {
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::process::{Child, Command};

    use super::*;

    fn sleep(group: i32) -> Child {
        Command::new("sleep").arg("1000").process_group(group).spawn().unwrap()
    }

    fn pid_of(child: &Child) -> Pid {
        Pid::from_raw(i32::try_from(child.id()).unwrap())
    }

    fn tick() -> std::time::Duration {
        std::time::Duration::from_nanos(1_000_000_000 / Pidfd::ticks_a_second())
    }

    /// Ends it and takes its status, behind a time in which others start that are then older than its end by a clock tick
    /// at least, or they might be strangers.
    fn end(process: &Pidfd, mut child: Child) {
        std::thread::sleep(2 * tick());
        process.signal(Target::Process, Signal::SIGKILL).unwrap();
        child.wait().unwrap();
        assert!(!process.is_unreaped());
    }

    /// By which signal it ended within so many ticks; then it is ended.
    fn ended_by(mut process: Child, ticks: u32) -> Option<i32> {
        let status = (0..ticks).find_map(|_| {
            std::thread::sleep(tick());
            process.try_wait().unwrap()
        });
        process.kill().and_then(|()| process.wait()).unwrap();
        status.and_then(|status| status.signal())
    }

    #[test]
    fn what_is_left_of_a_group_that_it_did_not_lead_is_found() {
        let leader = sleep(0);
        let group = pid_of(&leader).as_raw();
        let (member, left, other) = (sleep(group), sleep(group), sleep(0));
        let process = Pidfd::open(pid_of(&member)).unwrap();
        end(&process, member);
        process.signal(Target::Group, Signal::SIGKILL).unwrap();
        let ends = [ended_by(leader, 500), ended_by(left, 500), ended_by(other, 1)];
        assert_eq!(ends, [Some(libc::SIGKILL), Some(libc::SIGKILL), None], "another group is not meant");
    }

    #[test]
    fn what_is_left_of_a_group_that_it_led_is_found_where_the_kernel_can_not_do_it() {
        let (leader, stranger) = (sleep(0), sleep(0));
        let group = pid_of(&leader);
        let left = sleep(group.as_raw());
        let process = Pidfd::open(group).unwrap();
        end(&process, leader);
        process.signal_group(group, Signal::SIGKILL).unwrap();
        assert_eq!(ended_by(left, 500), Some(libc::SIGKILL));
        // As if that process had got the number since.
        let again = Pidfd { pid: pid_of(&stranger), ..process };
        again.signal_group(again.pid, Signal::SIGKILL).unwrap();
        assert_eq!(ended_by(stranger, 1), None);
    }
}
