//! Where in the kernel another process is.

use std::{fs, io};

use nix::unistd::Pid;

/// Where a process waits, or was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// In poll(2), ppoll(2), select(2) or pselect(2).
    InPoll,
    /// In a system call that a stop had interrupted: it may be a poll or a sleep.
    InRestart,
    /// Elsewhere, or it runs.
    Elsewhere,
}

/// Those that newer architectures have only in their newer form.
#[cfg(target_arch = "x86_64")]
const OLD: [libc::c_long; 2] = [libc::SYS_poll, libc::SYS_select];
#[cfg(not(target_arch = "x86_64"))]
const OLD: [libc::c_long; 0] = [];

impl Waits {
    /// Asks the kernel (proc_pid_syscall(5)).
    ///
    /// # Errors
    /// We may not know (ptrace(2), "Ptrace access mode checking"), or the kernel was built without it.
    pub fn of(pid: Pid) -> io::Result<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/syscall"))?;
        // `running`; `-1 SP PC` in none; else its number and more.
        let number: libc::c_long =
            text.split_ascii_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(-1);
        Ok(match number {
            libc::SYS_ppoll | libc::SYS_pselect6 => Self::InPoll,
            old if OLD.contains(&old) => Self::InPoll,
            libc::SYS_restart_syscall => Self::InRestart,
            _ => Self::Elsewhere,
        })
    }
}
