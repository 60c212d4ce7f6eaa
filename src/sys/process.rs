//! Processes: forking into the background, signalling, reaping.

use std::mem::MaybeUninit;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::proc_stat::{ProcStat, all_processes};
use super::raw::{call, word};
use crate::policy::Ended;

/// Which side of a fork this is.
#[derive(Clone, Copy, Debug)]
pub enum Forked {
    /// The old process; it has this child.
    Parent(Pid),
    /// The new process.
    Child,
}

/// Forks the calling process, which has one thread.
///
/// # Errors
/// What clone(2) says.
pub fn fork_background() -> Result<Forked, Errno> {
    // SAFETY: with one thread the child finds every lock of the C library free, and that library remembers nothing of a
    // process that would be another in its child, but a number for locks that this program has none of.
    match unsafe { fork_bare() }? {
        0 => Ok(Forked::Child),
        pid => Ok(Forked::Parent(Pid::from_raw(pid))),
    }
}

/// Forks without what glibc does besides: for one thread none of it is needed, every page that it writes to is
/// copied for the child, and a static program has its streams only for that. Another C library may need to know: by musl's
/// note of its thread abort(3) sends its signal.
///
/// # Safety
/// The C library is not told.
pub(super) unsafe fn fork_bare() -> Result<libc::pid_t, Errno> {
    if !cfg!(target_env = "gnu") {
        // SAFETY: there is one thread.
        return Errno::result(unsafe { libc::fork() });
    }
    // SAFETY: without a stack and shared memory it is a fork, which goes on here with a copy of everything. On s390x the
    // first two arguments stand the other way round.
    let forked = unsafe {
        if cfg!(target_arch = "s390x") {
            libc::syscall(libc::SYS_clone, 0, libc::SIGCHLD, 0, 0, 0)
        } else {
            libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0)
        }
    };
    Errno::result(forked).map(|pid| libc::pid_t::try_from(pid).unwrap_or(0))
}

/// Whom a signal is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// One process.
    Process,
    /// Its process group.
    Group,
}

/// Sends a signal to an unreaped child, whose pid therefore cannot have been given to another process, or to the
/// process group it leads.
///
/// # Errors
/// What kill(2) says.
pub fn kill(pid: Pid, target: Target, signal: Signal) -> Result<(), Errno> {
    if pid.as_raw() <= 1 {
        return Err(Errno::ESRCH); // 0, 1 and negative numbers mean something else to kill(2)
    }
    match target {
        Target::Process => nix::sys::signal::kill(pid, signal),
        Target::Group => nix::sys::signal::killpg(pid, signal),
    }
}

/// The session that the calling process leads; `None`: it is in somebody else's.
#[must_use]
pub fn own_session() -> Option<Pid> {
    nix::unistd::getsid(None).ok().filter(|&session| session == Pid::this())
}

/// Sends KILL to what is left of a process group whose leader has ended, in a session in which nobody is but the leader's
/// supervise and its children. No other process may have the leader's number: then nothing but such a rest can have kept
/// it, or somebody else's group, and that is in another session.
///
/// False: a group of that number is there, and without a session (`None`) it can't be told whose.
///
/// # Errors
/// What kill(2) says, where something is left.
pub fn end_group_of_dead(leader: Pid, session: Option<Pid>) -> Result<bool, Errno> {
    let is_left = |pid: Pid| {
        ProcStat::read(pid).is_some_and(|stat| {
            let is_here = session.is_none_or(|session| stat.session == session.as_raw());
            is_here && stat.group == leader.as_raw() && stat.runs()
        })
    };
    let is_left = all_processes().any(is_left);
    if is_left && session.is_some() {
        // As long as one of them lives the number is the group's. The kernel signals all of them at once.
        kill(leader, Target::Group, Signal::SIGKILL)?;
    }
    Ok(!is_left || session.is_some())
}

/// A child that has ended and was reaped.
#[derive(Clone, Copy, Debug)]
pub struct Reaped {
    /// The pid that it had.
    pub pid: Pid,
    /// How it ended.
    pub ended: Ended,
    /// Peak resident memory, in KiB.
    pub peak_kib: u64,
    /// User and system time, in microseconds.
    pub cpu_us: (u64, u64),
}

/// Reaps one child that has ended, if there is one, whichever it is. `before`, where it is given, is called with its
/// pid while it is still a zombie, so that its pid, and the process group of that number, is still its own.
pub fn reap_next(before: Option<impl FnOnce(Pid)>) -> Option<Reaped> {
    let which = match before {
        Some(before) => {
            let zombie = zombie()?;
            before(zombie);
            zombie.as_raw()
        }
        None => -1, // any
    };
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointers are to values of ours, and all-zero bytes are a valid rusage.
    let (pid, usage) = unsafe {
        let pid = libc::wait4(which, &raw mut status, libc::WNOHANG, usage.as_mut_ptr());
        (pid, usage.assume_init())
    };
    let micros = |time: libc::timeval| {
        u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(time.tv_usec).unwrap_or(0)
    };
    (pid > 0).then(|| Reaped {
        pid: Pid::from_raw(pid),
        ended: ended(status),
        peak_kib: u64::try_from(usage.ru_maxrss).unwrap_or(0),
        cpu_us: (micros(usage.ru_utime), micros(usage.ru_stime)),
    })
}

/// A child that has ended and was not reaped yet.
fn zombie() -> Option<Pid> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: all-zero bytes are a valid siginfo; without a child to report the pid in it stays 0 (waitid(2)).
    let pid = unsafe {
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        if libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), flags) != 0 {
            return None; // ECHILD: there are no children
        }
        info.assume_init().si_pid()
    };
    (pid != 0).then(|| Pid::from_raw(pid))
}

/// What a wait status says.
pub(super) fn ended(status: i32) -> Ended {
    if libc::WIFEXITED(status) {
        Ended::Code(u8::try_from(libc::WEXITSTATUS(status)).unwrap_or(u8::MAX))
    } else if libc::WIFSIGNALED(status) {
        Ended::Signal { number: libc::WTERMSIG(status), core: libc::WCOREDUMP(status) }
    } else {
        Ended::Unknown
    }
}

/// The kernel is to send KILL to the calling process when its parent dies, which has this pid. Where it is dead already,
/// the calling process ends at once. Async-signal-safe.
pub(super) fn end_with(parent: libc::pid_t) {
    // SAFETY: system calls on plain numbers. The first cannot fail for a signal that exists.
    unsafe {
        let _ = call(libc::SYS_prctl, [word(libc::PR_SET_PDEATHSIG), word(libc::SIGKILL)]);
        if call(libc::SYS_getppid, []) != Ok(word(parent)) {
            // It died before the kernel was told of it. What it has registered for its exit is not run here.
            let _ = call(libc::SYS_exit_group, [127]);
        }
    }
}

/// The program of this command gets KILL when the process that started it dies.
pub fn ends_with_parent(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt;
    let parent = Pid::this().as_raw();
    // SAFETY: the closure makes system calls only, which are async-signal-safe.
    unsafe {
        command.pre_exec(move || {
            end_with(parent);
            Ok(())
        })
    };
}
