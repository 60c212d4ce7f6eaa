//! A service's process, as /proc shows it to everybody.

use std::time::Duration;

use nix::unistd::Pid;

use super::rows::time_since;
use crate::policy::Stamp;
use crate::sys::{Pidfd, ProcStat, boot_ns, now};

/// Between the start of a process and the record that names it lies less than this, as for taking over a service that
/// only a classic record names.
const START_TOLERANCE: Duration = Duration::from_secs(2);

/// What one look at `/proc/PID/stat` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// It has not ended.
    pub runs: bool,
    /// It is stopped, by a signal or a debugger.
    pub stopped: bool,
    /// CPU time that it has used, user and system.
    pub cpu: Duration,
    /// When it was started, since boot.
    pub started: Duration,
    /// Resident memory, in bytes.
    pub memory: u64,
}

impl Process {
    /// Looks at the process with this pid; `None`: there is none, or /proc is closed to us.
    #[must_use]
    pub fn at(pid: u32) -> Option<Self> {
        let stat = ProcStat::read(Pid::from_raw(i32::try_from(pid).ok()?))?;
        let a_tick = 1_000_000_000 / Pidfd::ticks_a_second().max(1);
        let ticks = |ticks: u64| Duration::from_nanos(ticks.saturating_mul(a_tick));
        Some(Self {
            runs: stat.runs(),
            stopped: stat.is_stopped(),
            cpu: ticks(stat.cpu),
            started: ticks(stat.started),
            memory: stat.resident.saturating_mul(page_size()),
        })
    }

    /// Whether this can be the service that a record of this time names, and not a stranger with the same pid.
    #[must_use]
    pub fn is_of(&self, record: Stamp) -> bool {
        self.age().abs_diff(time_since(record, now().stamp)) <= START_TOLERANCE
    }

    /// Whether it ran already at this time, so that it can be the one that wrote something then.
    #[must_use]
    pub fn ran_at(&self, time: Stamp) -> bool {
        self.age() + START_TOLERANCE >= time_since(time, now().stamp)
    }

    /// How long it has been there.
    pub(super) fn age(&self) -> Duration {
        Duration::from_nanos(boot_ns()).saturating_sub(self.started)
    }
}

/// In bytes, from the auxiliary vector, as everybody knows it.
fn page_size() -> u64 {
    nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)
        .ok()
        .flatten()
        .and_then(|size| size.try_into().ok())
        .unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_run_and_were_started_when_we_were() {
        let own = Process::at(std::process::id()).unwrap();
        assert!(own.runs && own.memory > 0);
        let age = Duration::from_nanos(boot_ns()).saturating_sub(own.started);
        let started = now().stamp.0 - u64::try_from(age.as_nanos()).unwrap();
        assert!(own.is_of(Stamp(started)));
        assert!(!own.is_of(Stamp(started - 60_000_000_000)));
        assert!(own.ran_at(Stamp(started)) && own.ran_at(now().stamp));
        assert!(!own.ran_at(Stamp(started - 60_000_000_000)));
        assert_eq!(Process::at(0), None);
    }
}
