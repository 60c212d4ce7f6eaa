//! The running service, whether it is our child or was adopted: who it is, and how it is signalled.

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::policy::Sig;
use crate::sys::{Pidfd, ProcStat, Target, kill};

/// A service that runs.
#[derive(Debug)]
pub(super) struct Service {
    process: Process,
    /// Its start lies between these two, in nanoseconds since boot.
    pub(super) started_between: (u64, u64),
    /// The session that it was started in, if its supervise led that; else 0.
    pub(super) session: Pid,
}

#[derive(Debug)]
enum Process {
    /// Not reaped, so its pid is its own.
    Child(Pid),
    /// Started by a supervise that is dead.
    Adopted(Pidfd),
}

impl Service {
    pub(super) fn child(pid: Pid, started_between: (u64, u64), session: Pid) -> Self {
        Self { process: Process::Child(pid), started_between, session }
    }

    pub(super) fn adopted(process: Pidfd, started_between: (u64, u64), session: Pid) -> Self {
        Self { process: Process::Adopted(process), started_between, session }
    }

    /// A signal has stopped it.
    pub(super) fn stands_still(&self) -> bool {
        ProcStat::read(self.pid()).is_some_and(|stat| stat.state == b'T')
    }

    pub(super) fn pid(&self) -> Pid {
        match &self.process {
            Process::Child(pid) => *pid,
            Process::Adopted(process) => process.pid(),
        }
    }

    /// It is our child, with this pid.
    pub(super) fn is_child(&self, pid: Pid) -> bool {
        matches!(self.process, Process::Child(child) if child == pid)
    }

    /// What to wait for, if it was adopted.
    pub(super) fn pidfd(&self) -> Option<&Pidfd> {
        match &self.process {
            Process::Child(_) => None,
            Process::Adopted(process) => Some(process),
        }
    }

    /// It is gone: what is left of an adopted one is its pidfd.
    pub(super) fn into_pidfd(self) -> Option<Pidfd> {
        match self.process {
            Process::Child(_) => None,
            Process::Adopted(process) => Some(process),
        }
    }

    /// Sends it a signal; one that has just ended does not need it any more.
    pub(super) fn signal(&self, sig: Sig, target: Target) -> Result<(), Errno> {
        let signal = match sig {
            Sig::Term => Signal::SIGTERM,
            Sig::Int => Signal::SIGINT,
            Sig::Hup => Signal::SIGHUP,
            Sig::Alrm => Signal::SIGALRM,
            Sig::Quit => Signal::SIGQUIT,
            Sig::Usr1 => Signal::SIGUSR1,
            Sig::Usr2 => Signal::SIGUSR2,
            Sig::Kill => Signal::SIGKILL,
            Sig::Stop => Signal::SIGSTOP,
            Sig::Cont => Signal::SIGCONT,
        };
        let sent = match &self.process {
            Process::Child(pid) => kill(*pid, target, signal),
            Process::Adopted(process) => process.signal(target, signal),
        };
        match sent {
            Err(Errno::ESRCH) => Ok(()),
            other => other,
        }
    }
}
