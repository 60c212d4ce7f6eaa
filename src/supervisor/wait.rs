//! What a turn waits for.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use super::service::Service;
use super::turn::Supervisor;
use crate::sys::now;

/// A child has most often become the service after a fifth of a millisecond, and twice that on a busy machine. What is
/// to be written about it can wait as long.
const EXECUTION: Duration = Duration::from_micros(500);
/// With an alarm there is more to write, and svalarm to be started: the new service's first milliseconds are left to it.
const BEGINNING: Duration = Duration::from_millis(3);

/// What poll found.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ready {
    pub(super) report: bool,
    pub(super) adopted: bool,
    pub(super) late: bool,
}

impl Supervisor {
    /// Waits until something happens or a deadline passes.
    pub(super) fn wait(&mut self) {
        let deadlines = [
            self.policy.next_deadline(),
            self.late.as_ref().map(|(_, until)| *until),
            self.debts.deadline(),
            self.publisher.deadline(),
            // While a child writes its own, supervise writes none.
            self.troubles.claiming.deadline().filter(|_| self.report.is_none()),
            self.svalarm.deadline(),
            self.upgrade.deadline(),
        ];
        let timeout =
            deadlines.into_iter().flatten().min().map(|deadline| TimeSpec::from_duration(deadline.since(now().moment)));
        let mut descriptors = Vec::with_capacity(7);
        descriptors.push(PollFd::new(self.signals.as_fd(), PollFlags::POLLIN));
        let mut places = [None; 3];
        for (place, (there, flags)) in places.iter_mut().zip([
            (self.report.as_ref().filter(|_| self.not_started.is_none()).map(AsFd::as_fd), PollFlags::POLLIN),
            (self.service.as_ref().and_then(Service::pidfd).map(AsFd::as_fd), PollFlags::POLLIN),
            // Only POLLHUP is waited for, which needs no asking: the end of the zombie.
            (self.late.as_ref().map(|(process, _)| process.as_fd()), PollFlags::empty()),
        ]) {
            if let Some(there) = there {
                *place = Some(descriptors.len());
                descriptors.push(PollFd::new(there, flags));
            }
        }
        for there in self.control.descriptors().chain(self.awaited_reports()) {
            descriptors.push(PollFd::new(there, PollFlags::POLLIN));
        }
        let found = ppoll(&mut descriptors, timeout, None).is_ok_and(|ready| ready > 0);
        let is_ready = |place: usize| found && descriptors[place].any() == Some(true);
        let [report, adopted, late] = places.map(|place| place.is_some_and(is_ready));
        self.ready = Ready { report, adopted, late };
        self.now = now();
    }

    /// Leaves the processor and the status directory to the child that was just started, until it is the service: all
    /// that is to be written about it would only be in its way. A signal or a command ends this at once. It is a time
    /// and not the start report that ends it, since whoever is woken by an exec is in the way of what was executed.
    pub(super) fn let_it_execute(&mut self) {
        let mut fifos = self.control.descriptors();
        let mut descriptors: [PollFd<'_>; 3] = std::array::from_fn(|_| {
            PollFd::new(fifos.next().unwrap_or_else(|| self.signals.as_fd()), PollFlags::POLLIN)
        });
        let aside = if self.debts.owed().is_empty() { EXECUTION } else { BEGINNING };
        self.called = ppoll(&mut descriptors, Some(TimeSpec::from_duration(aside)), None).is_ok_and(|ready| ready > 0);
        self.ready.report = true;
    }
}
