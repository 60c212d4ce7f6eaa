//! The process that delivers the alarms: when it is started, and what follows its end.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use nix::unistd::Pid;

use super::helper::Helper;
use super::setup::has_recipients;
use super::texts::Line;
use super::turn::Supervisor;
use crate::alarm;
use crate::policy::{Ended, Moment};
use crate::statusdir::ended_text;
use crate::sys::{Launch, Output, Program, launch, now, why};

/// Another svalarm serves the spool, and was told to look. It ends soon, or does the work.
const AFTER_BUSY: Duration = Duration::from_secs(10);
/// It left messages, but no time for the next attempt.
const AFTER_SILENCE: Duration = Duration::from_secs(60);
/// After one that failed; twice as long each time.
const AFTER_FAILURE: Duration = Duration::from_secs(10);
/// But not longer.
const LONGEST_AFTER_FAILURE: Duration = Duration::from_secs(3600);
/// As PID 1, supervise gives the last alarms so much time: with it all processes end.
const LAST_ROUND: Duration = Duration::from_secs(30);

/// An exec from a disk that is slow takes no longer, and nothing is lost where it does.
const EXECUTION: Duration = Duration::from_secs(1);

/// The svalarm of one supervise.
#[derive(Debug, Default)]
pub(super) struct Svalarm {
    pub(super) running: Option<Helper>,
    /// A message was stored since it was started.
    again: bool,
    /// When the next one is to be started.
    due: Option<Moment>,
    failures: u32,
}

/// The program beside supervise's own file, if it is there.
fn program() -> Option<PathBuf> {
    let own = std::fs::read_link("/proc/self/exe").ok()?;
    Some(own.with_file_name("svalarm")).filter(|path| path.is_file())
}

impl Svalarm {
    /// One that another version in this process had started, if it still runs.
    pub(super) fn handed_over(running: Option<Helper>) -> Self {
        Self { running, ..Self::default() }
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        self.due.filter(|_| self.running.is_none())
    }

    pub(super) fn is(&self, pid: Pid) -> bool {
        self.running.as_ref().is_some_and(|running| running.pid() == pid)
    }
}

impl Supervisor {
    /// Says so where alarms would be stored and never delivered.
    pub(super) fn look_for_svalarm(&mut self) {
        if has_recipients(&self.settings) && program().is_none() {
            self.lines.push(Line::warning(
                "there is no svalarm beside supervise's own file: alarms are kept in the spool and nobody gets them",
            ));
        }
    }

    /// There are messages: delivers them as soon as an svalarm can be started.
    pub(super) fn deliver_now(&mut self) {
        self.svalarm.due = Some(self.now.moment);
        self.svalarm.again = self.svalarm.running.is_some();
    }

    /// Starts svalarm if it is due.
    pub(super) fn deliver_when_due(&mut self) {
        if self.svalarm.deadline().is_some_and(|due| due <= self.now.moment) {
            self.svalarm.due = None;
            self.start_svalarm(None);
        }
    }

    fn start_svalarm(&mut self, option: Option<&str>) {
        let Some(path) = program() else {
            return self.svalarm_failed("there is no svalarm beside supervise's own file");
        };
        let Some(dir) = self.dir.path_now() else {
            return self.svalarm_failed("the status directory was moved or removed, and its path is not known");
        };
        let dir = dir.into_os_string();
        let words: Vec<OsString> =
            [path.into_os_string()].into_iter().chain(option.map(OsString::from)).chain(["--".into(), dir]).collect();
        let Some(program) = Program::new(&words, None) else { return };
        let launched = launch(Launch {
            program: &program.into(),
            output: Output::Null,
            own_session: true,
            hup_ignored: false,
            ends_with_parent: None,
            claim: None,
        });
        match launched {
            Ok(launched) => {
                self.svalarm.again = false;
                self.svalarm.running = Some(Helper::new(launched));
            }
            Err(errno) => self.svalarm_failed(&format!("unable to start svalarm: {}", why(errno))),
        }
    }

    /// It was reaped: what is still undelivered, and when it is tried again.
    #[inline(never)] // its variables would be on the stack of every turn
    pub(super) fn svalarm_ended(&mut self, ended: Ended) {
        let Some(running) = self.svalarm.running.take() else { return };
        match alarm::count(&self.dir) {
            Ok(count) => self.undelivered = count,
            Err(errno) => return self.svalarm_failed(&format!("unable to read {}/alarms: {}", self.at, why(errno))),
        }
        let left = self.undelivered > 0;
        let stored = std::mem::take(&mut self.svalarm.again);
        let now = self.now.moment;
        if let Some(errno) = running.failure() {
            return self.svalarm_failed(&format!("unable to run svalarm: {}", why(errno)));
        }
        match ended {
            Ended::Code(0) => {
                self.svalarm.failures = 0;
                // A time that has passed was left by an earlier one: this one could not note its own.
                let next = alarm::next_attempt(&self.dir, now, &self.boot).unwrap_or(now + AFTER_SILENCE);
                let next = if next > now { next } else { now + AFTER_BUSY };
                self.svalarm.due = left.then_some(if stored { now } else { next });
            }
            Ended::Code(alarm::BUSY) => self.svalarm.due = left.then_some(now + AFTER_BUSY),
            other => self.svalarm_failed(&format!("svalarm ended with {}", ended_text(other))),
        }
    }

    /// Something failed: svalarm is to be started after a growing delay, and this is it.
    pub(super) fn deliver_later(&mut self) -> Duration {
        let delay = (AFTER_FAILURE * 2_u32.pow(self.svalarm.failures.min(10))).min(LONGEST_AFTER_FAILURE);
        self.svalarm.failures = self.svalarm.failures.saturating_add(1);
        self.svalarm.due = Some(self.now.moment + delay);
        delay
    }

    fn svalarm_failed(&mut self, what: &str) {
        let delay = self.deliver_later();
        let (at, count) = (&self.at, self.undelivered);
        let next = if self.exit_code.is_some() {
            "and nobody tries again before the next start or `svc alarms retry`".to_owned()
        } else {
            format!("trying again in {} s", delay.as_secs())
        };
        self.lines.push(Line::warning(format!("{what}; {count} undelivered in {at}/alarms, {next}")));
    }

    /// supervise ends, and `ok` is gone. Whatever is not delivered yet is another process's business from now on.
    pub(super) fn leave_alarms(&mut self) {
        self.until_svalarm_is_executed();
        // Where the spool can't be looked into, svalarm may: it stays until it is empty.
        if std::process::id() != 1 && alarm::count(&self.dir) != Ok(0) {
            self.start_svalarm(None); // it stays, or another one does
            self.until_svalarm_is_executed();
        }
    }

    /// Until then it has the lock too, and whoever has seen supervise end may find it held.
    fn until_svalarm_is_executed(&mut self) {
        let Some(running) = self.svalarm.running.as_mut() else { return };
        if let Some(report) = running.report() {
            let mut descriptors = [PollFd::new(report, PollFlags::POLLIN)];
            let _ = ppoll(&mut descriptors, Some(TimeSpec::from_duration(EXECUTION)), None);
        }
        // Nobody will be there to reap it.
        if let Some(errno) = running.failure_so_far() {
            let (at, why) = (&self.at, why(errno));
            self.lines.push(Line::warning(format!("unable to run svalarm: {why}; alarms may be left in {at}/alarms")));
        }
    }

    /// As PID 1: one attempt for every alarm, bounded in time.
    pub(super) fn last_round(&mut self) {
        let until = now().moment + LAST_ROUND;
        let mut begun = false;
        loop {
            if self.svalarm.running.is_none() {
                let stored = std::mem::take(&mut self.svalarm.again) || !begun;
                if !stored || alarm::count(&self.dir).map_or(true, |count| count == 0) {
                    return;
                }
                begun = true;
                self.start_svalarm(Some("--once"));
                if self.svalarm.running.is_none() {
                    return;
                }
            }
            let left = until.since(now().moment);
            if left.is_zero() {
                return;
            }
            let timeout = TimeSpec::from_duration(left);
            let mut descriptors = [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
            let _ = ppoll(&mut descriptors, Some(timeout), None);
            let _ = self.signals.take(); // nothing is obeyed any more
            self.now = now();
            self.reap();
        }
    }
}
