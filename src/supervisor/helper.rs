//! A child that is not the service (the hook, svalarm, a program that is asked): its pid, and what became of its exec.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::unistd::Pid;

use crate::sys::{Launched, read_reports};

/// A child that helps.
#[derive(Debug)]
pub(super) struct Helper {
    pid: Pid,
    /// Its start report, until its exec.
    report: Option<OwnedFd>,
    failed: Option<Errno>,
}

impl Helper {
    pub(super) fn new(launched: Launched) -> Self {
        Self { pid: launched.pid, report: Some(launched.report), failed: None }
    }

    /// One that executes its program already: a predecessor in this process had started it.
    pub(super) fn handed_over(pid: Pid) -> Self {
        Self { pid, report: None, failed: None }
    }

    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    fn listen(&mut self) {
        let Some(report) = self.report.as_ref() else { return };
        let (reports, is_over) = read_reports(report.as_fd());
        self.failed = self.failed.or(reports.into_iter().find(|report| report.step.is_fatal()).map(|it| it.errno));
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

    /// It has ended: why it never executed its program, if it did not.
    pub(super) fn failure(mut self) -> Option<Errno> {
        self.listen();
        self.failed
    }
}
