//! What becomes of the children: how they end, and what they tell before they are what they are to be.

use std::time::Duration;

use super::service::Service;
use super::texts::{self, Line};
use super::turn::Supervisor;
use crate::config::KillMode;
use crate::policy::{Ended, Event, Exit, Sig};
use crate::sys::{ExitStatus, Report, Step, Target, kill, reap_next, why};
use crate::text::escape;

/// The exit status of an adopted service is waited for so long (docs/operation.md, "Adoption").
const LATE_STATUS: Duration = Duration::from_secs(5);

impl Supervisor {
    /// Reaps every child that has ended.
    pub(super) fn reap(&mut self) {
        loop {
            let group = self.settings.kill_mode == KillMode::Group;
            let service = self.service.as_ref();
            let mut rest = Ok(());
            let reaped = reap_next(group.then_some(|pid| {
                if service.is_some_and(|service| service.is_child(pid)) {
                    rest = kill(pid, Target::Group, nix::sys::signal::Signal::SIGKILL);
                }
            }));
            self.lines.extend(texts::rest_not_ended(rest));
            let Some(reaped) = reaped else { return };
            if self.hook.as_ref().is_some_and(|hook| hook.pid() == reaped.pid) {
                self.hook_ended(reaped.ended);
            } else if self.svalarm.is(reaped.pid) {
                self.svalarm_ended(reaped.ended);
            } else if self.upgrade.asks(reaped.pid) {
                self.asked_ended(reaped.ended);
            } else if self.service.as_ref().is_some_and(|service| service.is_child(reaped.pid)) {
                let ended = self.last_report().unwrap_or(reaped.ended);
                self.service_ended(Exit {
                    pid: reaped.pid.as_raw(),
                    ended,
                    peak_kib: Some(reaped.peak_kib),
                    cpu_us: Some(reaped.cpu_us),
                });
            }
        }
    }

    /// The service is gone. What was said before this was known counts as said before it.
    fn service_ended(&mut self, exit: Exit) {
        self.service = None;
        self.pid_changed = self.now.stamp;
        self.adopted = false;
        self.listen();
        self.event(Event::Exited(exit));
    }

    /// What the child told of its start, now that it has ended. The answer: it never became the service.
    fn last_report(&mut self) -> Option<Ended> {
        let mut report = self.report.take()?;
        let (reports, _) = report.read();
        self.take_reports(reports);
        self.not_started.take()
    }

    fn take_reports(&mut self, reports: Vec<Report>) {
        for report in reports {
            if report.step.is_fatal() {
                let (step, errno) = (report.step as u8, report.errno as i32);
                self.not_started = Some(Ended::NotStarted { step, errno });
                self.refused_file = self.command.program.candidate(report.file).map(|file| escape(file.to_bytes()));
            }
            // A claim that can't be written is said once, whoever tries.
            if report.step != Step::Claim || self.troubles.claiming.fail(self.now.moment) {
                self.lines.extend(texts::step_failed(report, &self.at));
            }
        }
    }

    /// Reads what the child has told, if it may have told something.
    pub(super) fn read_report(&mut self) {
        if !std::mem::take(&mut self.ready.report) {
            return;
        }
        let Some(report) = self.report.as_mut() else { return };
        let (reports, is_over) = report.read();
        self.take_reports(reports);
        if is_over && self.not_started.is_none() {
            self.report = None; // it has become the service
            if std::mem::take(&mut self.stop_after_exec) && !self.signal(Sig::Stop) {
                self.event(Event::NotSent(Sig::Stop));
            }
        }
    }

    pub(super) fn adopted_ended(&mut self) {
        let Some(process) = self.service.as_ref().and_then(Service::pidfd) else { return };
        let pid = process.pid().as_raw();
        if self.settings.kill_mode == KillMode::Group {
            let rest = process.signal(Target::Group, nix::sys::signal::Signal::SIGKILL);
            self.lines.extend(texts::rest_not_ended(rest));
        }
        let ended = match process.exit_status() {
            ExitStatus::Known(ended) => ended,
            ExitStatus::AfterReaping => Ended::Pending,
            ExitStatus::Unknown => Ended::Unknown,
        };
        if ended == Ended::Pending {
            let process = self.service.take().and_then(Service::into_pidfd);
            self.late = process.map(|process| (process, self.now.moment + LATE_STATUS));
        }
        self.service_ended(Exit { pid, ended, peak_kib: None, cpu_us: None });
    }

    /// The status of an adopted service that has ended is there, or will never be.
    pub(super) fn watch_late(&mut self) {
        let Some((process, until)) = self.late.as_ref() else { return };
        if !self.ready.late && *until > self.now.moment {
            return;
        }
        let ended = match process.exit_status() {
            ExitStatus::Known(ended) => ended,
            ExitStatus::AfterReaping | ExitStatus::Unknown => Ended::Unknown,
        };
        self.late = None;
        self.event(Event::StatusKnown(ended));
    }

    fn hook_ended(&mut self, ended: Ended) {
        let Some(mut hook) = self.hook.take() else { return };
        self.lines.extend(hook.troubles().into_iter().filter_map(|report| texts::step_failed(report, &self.at)));
        match hook.failure() {
            Some(errno) => self.lines.push(Line::warning(format!(
                "unable to run the hook {}: {}; the start goes on without it",
                self.hook_name(),
                why(errno)
            ))),
            None if ended != Ended::Code(0) => {
                let how = crate::statusdir::ended_text(ended);
                self.lines.push(Line::warning(format!("the hook ended badly ({how}); the start goes on")));
            }
            None => {}
        }
        self.event(Event::HookEnded);
    }

    /// The program that the hook is, for texts.
    pub(super) fn hook_name(&self) -> String {
        let word = self.options.hook.as_ref().and_then(|hook| hook.words.first());
        escape(word.map_or(b"", |word| word.as_encoded_bytes()))
    }
}
