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

/// What the kernel says of where a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The number of the system call that it is in, and the first two arguments.
    call: Option<libc::c_long>,
    arguments: [u64; 2],
    stack: u64,
    /// Its next instruction.
    next: u64,
}

/// Newer architectures have only the newer form of each.
#[cfg(target_arch = "x86_64")]
const POLLS: [libc::c_long; 2] = [libc::SYS_ppoll, libc::SYS_poll];
#[cfg(not(target_arch = "x86_64"))]
const POLLS: [libc::c_long; 1] = [libc::SYS_ppoll];
#[cfg(target_arch = "x86_64")]
const SELECTS: [libc::c_long; 2] = [libc::SYS_pselect6, libc::SYS_select];
#[cfg(not(target_arch = "x86_64"))]
const SELECTS: [libc::c_long; 1] = [libc::SYS_pselect6];

/// Of a process that a stop takes out of a system call, Linux on aarch64 forgets the number, and sets it back by so many
/// bytes, to the instruction that makes the call again.
const SET_BACK: Option<u64> = if cfg!(target_arch = "aarch64") { Some(4) } else { None };

impl Place {
    /// Asks the kernel (proc_pid_syscall(5)).
    ///
    /// # Errors
    /// We may not know (ptrace(2), "Ptrace access mode checking"), or the kernel was built without it.
    pub fn of(pid: Pid) -> io::Result<Self> {
        fs::read_to_string(format!("/proc/{pid}/syscall")).map(|text| Self::parse(&text))
    }

    /// `running`; `-1 SP PC` in no call; else its number, its arguments, SP and PC.
    fn parse(text: &str) -> Self {
        let mut words = text.split_ascii_whitespace();
        let call = words.next().and_then(|word| word.parse().ok()).filter(|&number| number != -1);
        let number = |word: Option<&str>| word.and_then(|word| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok());
        let mut last = || number(words.next_back()).unwrap_or(0);
        let (next, stack) = (last(), last());
        let mut first = || number(words.next()).unwrap_or(0);
        Self { call, arguments: [first(), first()], stack, next }
    }

    /// Where that is.
    #[must_use]
    pub fn waits(&self) -> Waits {
        let Some(call) = self.call else { return Waits::Elsewhere };
        // Of no descriptor: it sleeps, or pauses, which is a ppoll(2) on newer architectures.
        let [first, second] = self.arguments;
        if POLLS.contains(&call) && second > 0 || SELECTS.contains(&call) && first > 0 {
            return Waits::InPoll;
        }
        if call == libc::SYS_restart_syscall { Waits::InRestart } else { Waits::Elsewhere }
    }

    /// It was stopped in its poll, if it waited in one at that place before.
    #[must_use]
    pub fn is_in_poll_since(&self, before: &Self) -> bool {
        let is_set_back = || {
            let next = SET_BACK.and_then(|bytes| before.next.checked_sub(bytes));
            (self.call, self.stack, Some(self.next)) == (None, before.stack, next)
        };
        self.waits() == Waits::InPoll || (before.waits() == Waits::InPoll && is_set_back())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_that_a_stop_has_interrupted_is_known() {
        let ppoll = libc::SYS_ppoll;
        let before = Place::parse(&format!("{ppoll} 0x1 0x2 0x3 0x4 0x5 0x6 0xffffe9a0 0x4010f4\n"));
        assert_eq!(before, Place { call: Some(ppoll), arguments: [1, 2], stack: 0xffff_e9a0, next: 0x40_10f4 });
        let after = |text| Place::parse(text).is_in_poll_since(&before);
        assert!(before.is_in_poll_since(&before));
        assert_eq!(after("-1 0xffffe9a0 0x4010f0\n"), SET_BACK.is_some());
        assert!(!after("-1 0xffffe9b0 0x4010f0\n"), "at another depth");
        assert!(!after("-1 0xffffe9a0 0x4010f4\n"), "the call has returned");
        assert!(!after("running\n") && !after(""));
        for (call, first, second, waits) in [
            (POLLS[0], 0, 0, Waits::Elsewhere),
            (SELECTS[0], 0, 0, Waits::Elsewhere),
            (SELECTS[0], 8, 0, Waits::InPoll),
            (POLLS[POLLS.len() - 1], 0x1000, 0, Waits::Elsewhere),
            (POLLS[POLLS.len() - 1], 0x1000, 2, Waits::InPoll),
            (SELECTS[SELECTS.len() - 1], 0, 0x1000, Waits::Elsewhere),
            (SELECTS[SELECTS.len() - 1], 8, 0x1000, Waits::InPoll),
            (libc::SYS_restart_syscall, 0, 0, Waits::InRestart),
        ] {
            let text = format!("{call} {first:#x} {second:#x} 0x0 0x0 0x5 0x6 0x9a0 0x4010f4\n");
            assert_eq!(Place::parse(&text).waits(), waits, "{text}");
        }
        let asleep = Place::parse(&format!("{} 0x1 0x2 0x3 0x4 0x5 0x6 0x9a0 0x4010f4\n", libc::SYS_nanosleep));
        assert!(!Place::parse("-1 0x9a0 0x4010f0\n").is_in_poll_since(&asleep));
    }
}
