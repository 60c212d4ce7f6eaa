//! Processes as /proc shows them.

use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use nix::sys::signal::Signal;

/// A process id, as the kernel numbers them.
pub(crate) type Pid = i32;

/// The environment variable that all processes of a sandbox carry; its value is the sandbox's mark.
pub(crate) const MARK: &str = "SUPERVISE_TEST_SANDBOX";

/// The fields of `/proc/PID/stat` that tests ask for.
#[derive(Debug)]
pub(crate) struct ProcessStat {
    /// `R`, `S`, `D`, `T` (stopped), `Z` (dead, not reaped) …
    pub(crate) state: char,
    pub(crate) parent: Pid,
    pub(crate) group: Pid,
    pub(crate) session: Pid,
    /// When it was started, since boot; a hundredth of a second too early at most.
    #[allow(dead_code, reason = "only the proofs ask for it")]
    pub(crate) started: Duration,
}

/// proc_pid_stat(5) counts in these, which are hundredths of a second on every Linux of today.
const TICK: Duration = Duration::from_millis(10);

pub(crate) fn process_stat(pid: Pid) -> Option<ProcessStat> {
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&text);
    // The name in parentheses may hold anything, also a closing one.
    let mut fields = text[text.rfind(')')? + 1..].split_whitespace();
    Some(ProcessStat {
        state: fields.next()?.chars().next()?,
        parent: fields.next()?.parse().ok()?,
        group: fields.next()?.parse().ok()?,
        session: fields.next()?.parse().ok()?,
        started: TICK * fields.nth(15)?.parse().ok()?,
    })
}

/// Whether the process runs or could: a zombie is dead, whoever may still have to reap it.
pub(crate) fn alive(pid: Pid) -> bool {
    process_stat(pid).is_some_and(|stat| !matches!(stat.state, 'Z' | 'X'))
}

/// The words of a process's command line, with one blank between them.
pub(crate) fn command_line(pid: Pid) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).trim_end_matches('\0').replace('\0', " ")
}

/// Every living process that carries this mark, in the order of the pids.
pub(crate) fn marked(mark: &str) -> Vec<Pid> {
    let wanted = format!("{MARK}={mark}");
    let has_mark = |pid: &Pid| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes())
    };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids: Vec<Pid> = entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| has_mark(pid) && alive(*pid))
        .collect();
    pids.sort_unstable();
    pids
}

/// Sends a signal to one process; a process that has gone is no error.
pub(crate) fn signal(pid: Pid, signal: Signal) {
    assert!(pid > 1, "a test was about to signal pid {pid}");
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal);
}

/// Ends every process that carries this mark, until none is left: the dying may have started others meanwhile.
pub(crate) fn end_marked(mark: &str) {
    let mut empty_rounds = 0;
    while empty_rounds < 2 {
        let pids = marked(mark);
        empty_rounds = if pids.is_empty() { empty_rounds + 1 } else { 0 };
        for pid in pids {
            kill_if_marked(pid, mark);
        }
    }
}

/// Through a pidfd, with the mark read once more behind it: a pid that was given to another process since the
/// list was made is not touched.
fn kill_if_marked(pid: Pid, mark: &str) {
    // SAFETY: pidfd_open takes two numbers and returns a new descriptor or -1.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return;
    }
    // SAFETY: the descriptor is new and nobody else's.
    let pidfd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    let wanted = format!("{MARK}={mark}");
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    if environment.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes()) {
        let none = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: the descriptor is open; no siginfo is passed.
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), libc::SIGKILL, none, 0) };
    }
}

/// Root may do what an ordinary user may not, and has tests of its own.
pub(crate) fn is_root() -> bool {
    // SAFETY: geteuid has no arguments and cannot fail.
    unsafe { libc::geteuid() == 0 }
}
