//! What `/proc/PID/stat` says of a process.

use std::fs::{self, File};
use std::io::Read as _;

use nix::unistd::Pid;

/// A name of 64 bytes at most, and 52 numbers of 20 digits with their blanks, are shorter than this.
const LONGEST: usize = 2048;
/// The last field, by its number in proc_pid_stat(5): the exit code.
const LAST_FIELD: usize = 52;

/// Some fields of proc_pid_stat(5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcStat {
    /// `R`, `S`, `D`, `T` (stopped), `Z` (dead, not reaped), ...
    pub state: u8,
    /// Its parent.
    pub parent: i32,
    /// Its process group.
    pub group: i32,
    /// Its session.
    pub session: i32,
    /// CPU time that it has used, user and system, in clock ticks.
    pub cpu: u64,
    /// When it was started, in clock ticks since boot.
    pub started: u64,
    /// Resident memory, in pages.
    pub resident: u64,
    /// Its wait status, once it is a zombie; 0 where we may not know.
    pub exit_code: i32,
}

impl ProcStat {
    /// `None`: there is no such process, or no /proc.
    #[must_use]
    pub fn read(pid: Pid) -> Option<Self> {
        // One call for all of it: svc reads it a thousand times.
        let mut bytes = [0; LONGEST];
        let length = File::open(format!("/proc/{pid}/stat")).ok()?.read(&mut bytes).ok()?;
        Self::parse(&bytes[..length])
    }

    /// It has not ended.
    #[must_use]
    pub fn runs(&self) -> bool {
        !matches!(self.state, b'Z' | b'X')
    }

    /// It is stopped, by a signal or a debugger.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        matches!(self.state, b'T' | b't')
    }

    fn parse(text: &[u8]) -> Option<Self> {
        // The name in field 2 may hold anything, also brackets; the last one ends it.
        let end = text.iter().rposition(|&byte| byte == b')')?;
        let words = std::str::from_utf8(&text[end + 1..]).ok()?.split_ascii_whitespace();
        let mut fields = [""; LAST_FIELD + 1];
        fields[3..].iter_mut().zip(words).for_each(|(field, word)| *field = word);
        let number = |field: usize| fields[field].parse::<u64>().ok();
        Some(Self {
            state: *fields[3].as_bytes().first()?,
            parent: fields[4].parse().ok()?,
            group: fields[5].parse().ok()?,
            session: fields[6].parse().ok()?,
            cpu: number(14)?.saturating_add(number(15)?),
            started: number(22)?,
            resident: number(24)?,
            exit_code: fields[LAST_FIELD].parse().ok()?,
        })
    }
}

/// The pids of all processes there are.
pub fn all_processes() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(Pid::from_raw))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_process_may_hold_anything() {
        let rest = (4..=52).map(|number| number.to_string()).collect::<Vec<_>>().join(" ");
        for name in ["sleep", "a) Z 1 (b", "new\nline", "\u{fffd}"] {
            let stat = ProcStat::parse(format!("7 ({name}) S {rest}\n").as_bytes()).unwrap();
            let expected = ProcStat {
                state: b'S',
                parent: 4,
                group: 5,
                session: 6,
                cpu: 14 + 15,
                started: 22,
                resident: 24,
                exit_code: 52,
            };
            assert_eq!(stat, expected, "{name}");
        }
        let stat = ProcStat::parse([b"7 (\xff) Z ".as_slice(), rest.as_bytes()].concat().as_slice()).unwrap();
        assert!(!stat.runs());
    }

    #[test]
    fn a_line_that_is_too_short_says_nothing() {
        for text in ["", "7", "7 (x)", "7 (x) S", "7 (x) S 1 2 3"] {
            assert!(ProcStat::parse(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn this_process_is_among_all() {
        let own = Pid::this();
        assert!(all_processes().any(|pid| pid == own));
        assert_eq!(ProcStat::read(own).unwrap().parent, nix::unistd::getppid().as_raw());
    }
}
