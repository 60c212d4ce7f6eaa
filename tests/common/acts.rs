//! What tests do to a running supervise beside commanding it, and what they read beside its records.

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::{Pid, Sandbox, StatusDir, eventually, signal};

/// A line of `./service line FILE`: who wrote it, and when by the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) pid: Pid,
    pub(crate) at: Duration,
}

/// The texts of a log's lines of one level, without level and time.
pub(crate) fn log_texts(log: &str, level: &str) -> Vec<String> {
    let start = format!("[{level}] ");
    let text = |line: &str| line.strip_prefix(&start)?.split_once("  ").map(|(_, text)| text.to_owned());
    log.lines().filter_map(text).collect()
}

impl StatusDir {
    /// The subjects of the messages in the spool, sorted: by their time, since that is how they begin.
    pub(crate) fn subjects(&self) -> Vec<String> {
        self.headers("Subject")
    }

    /// The values of a header in all messages of the spool, sorted.
    pub(crate) fn headers(&self, name: &str) -> Vec<String> {
        let start = format!("{name}: ");
        let mut values: Vec<String> = Vec::new();
        for file in self.alarms() {
            let text = String::from_utf8_lossy(&fs::read(&file).unwrap_or_default()).into_owned();
            let head = text.split("\n\n").next().unwrap_or_default();
            values.extend(head.lines().filter_map(|line| line.strip_prefix(&start)).map(str::to_owned));
        }
        values.sort();
        values
    }
}

impl Sandbox {
    /// Ends supervise by KILL, and waits until it is dead; returns the pid that it had.
    #[track_caller]
    pub(crate) fn kill_supervise(&self) -> Pid {
        let supervise = self.supervise_pid();
        signal(supervise, Signal::SIGKILL);
        self.until_dead(supervise);
        supervise
    }

    /// Waits until the long record counts so many exits.
    #[track_caller]
    pub(crate) fn until_exits(&self, exits: u64) {
        eventually(self, &format!("{exits} exits"), || self.count("exits") >= exits);
    }

    /// Waits until `./service line FILE` was run so often; returns its lines.
    #[track_caller]
    pub(crate) fn until_marks(&self, file: &str, count: usize) -> Vec<Mark> {
        let mark = |line: &String| {
            let (pid, nanoseconds) = line.split_once(' ')?;
            Some(Mark { pid: pid.parse().ok()?, at: Duration::from_nanos(nanoseconds.parse().ok()?) })
        };
        let lines = self.until_lines(file, count);
        lines.iter().map(|line| mark(line).unwrap_or_else(|| panic!("not a mark in {file}: {line:?}"))).collect()
    }
}
