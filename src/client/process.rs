//! A service's process, as /proc shows it to everybody.

use std::fs::File;
use std::io::Read as _;
use std::time::Duration;

use super::rows::time_since;
use crate::policy::Stamp;
use crate::sys::{Pidfd, boot_ns, now};

/// Between the start of a process and the record that names it lies less than this, as for taking over a service that
/// only a classic record names.
const START_TOLERANCE: Duration = Duration::from_secs(2);

/// What one look at `/proc/PID/stat` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// It has not ended.
    pub runs: bool,
    /// CPU time that it has used, user and system.
    pub cpu: Duration,
    /// When it was started, since boot.
    pub started: Duration,
    /// Resident memory, in bytes.
    pub memory: u64,
}

impl Process {
    /// Looks at the process with this pid; `None`: there is none.
    #[must_use]
    pub fn at(pid: u32) -> Option<Self> {
        let mut buffer = [0; 1024]; // proc_pid_stat(5): the name has 16 bytes at most, the rest are 51 numbers
        let length = File::open(format!("/proc/{pid}/stat")).ok()?.read(&mut buffer).ok()?;
        Self::decode(&buffer[..length], Pidfd::ticks_a_second(), page_size())
    }

    fn decode(stat: &[u8], ticks_a_second: u64, page: u64) -> Option<Self> {
        let text = String::from_utf8_lossy(stat);
        // The name in parentheses may hold anything, also a closing one. The fields after it count from 3.
        let fields: Vec<&str> = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        let ticks = |ticks: u64| Duration::from_nanos(ticks.saturating_mul(1_000_000_000 / ticks_a_second.max(1)));
        Some(Self {
            runs: !matches!(*fields.first()?, "Z" | "X" | "x"),
            cpu: ticks(number(14)?.saturating_add(number(15)?)),
            started: ticks(number(22)?),
            memory: number(24)?.saturating_mul(page),
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

    fn age(&self) -> Duration {
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
    fn a_name_may_hold_anything() {
        let stat = b"7 (a) R (b) S 1 7 7 0 -1 0 0 0 0 0 150 50 0 0 20 0 1 0 500 9 3 1 0\n";
        let expected =
            Process { runs: true, cpu: Duration::from_secs(2), started: Duration::from_secs(5), memory: 3 * 4096 };
        assert_eq!(Process::decode(stat, 100, 4096), Some(expected));
        for cut in 0..50 {
            assert_eq!(Process::decode(&stat[..cut], 100, 4096), None, "cut at {cut}");
        }
        let dead = b"7 (a) Z 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 500 0 0 0\n";
        assert!(!Process::decode(dead, 100, 4096).unwrap().runs);
    }

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
