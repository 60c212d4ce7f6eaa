//! A child that is not the service (the hook, svalarm, a program that is asked): its pid, and what became of its exec.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::unistd::Pid;

use crate::sys::{Launched, Report, StartReport};

/// A child that helps.
#[derive(Debug)]
pub(super) struct Helper {
    pid: Pid,
    /// Its start report, until its exec.
    report: Option<StartReport>,
    failed: Option<Errno>,
    /// Steps that failed, and that it goes on without.
    troubles: Vec<Report>,
}

impl Helper {
    pub(super) fn new(launched: Launched) -> Self {
        Self { pid: launched.pid, report: Some(launched.report), failed: None, troubles: Vec::new() }
    }

    /// One that executes its program already: a predecessor in this process had started it.
    pub(super) fn handed_over(pid: Pid) -> Self {
        Self { pid, report: None, failed: None, troubles: Vec::new() }
    }

    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    fn listen(&mut self) {
        let Some(report) = self.report.as_mut() else { return };
        let (reports, is_over) = report.read();
        for report in reports {
            if report.step.is_fatal() {
                self.failed = self.failed.or(Some(report.errno));
            } else {
                self.troubles.push(report);
            }
        }
        if is_over {
            self.report = None;
        }
    }

    /// It executes its program: nothing more will be told.
    pub(super) fn is_executed(&mut self) -> bool {
        self.listen();
        self.report.is_none() && self.failed.is_none()
    }

    /// Where something is told as long as it does not.
    pub(super) fn report(&self) -> Option<BorrowedFd<'_>> {
        self.report.as_ref().map(AsFd::as_fd)
    }

    /// Steps before its exec that failed without ending it, each told once.
    pub(super) fn troubles(&mut self) -> Vec<Report> {
        self.listen();
        std::mem::take(&mut self.troubles)
    }

    /// Why it does not execute its program, as far as is known.
    pub(super) fn failure_so_far(&mut self) -> Option<Errno> {
        self.listen();
        self.failed
    }

    /// It has ended: why it never executed its program, if it did not.
    pub(super) fn failure(mut self) -> Option<Errno> {
        self.listen();
        self.failed
    }
}
