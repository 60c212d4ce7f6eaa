//! The alarms that are owed: raised, in the claim, and on their way into the spool.

use nix::errno::Errno;

use super::backoff::Backoff;
use crate::alarm::{self, Facts};
use crate::policy::{Alarm, Ended, Exit, Moment, Stamp};
use crate::statusdir::{Claim, Debt, Directory, StderrMark};

/// The debts of one supervise.
#[derive(Debug, Default)]
pub(super) struct Debts {
    owed: Vec<Debt>,
    raised: u64,
    backoff: Backoff,
}

/// What became of a debt.
#[derive(Debug)]
pub(super) enum Paid {
    /// Its message file is in the spool.
    Stored(String),
    /// It could not be written; it stays owed.
    Failed(Errno),
}

impl Debts {
    pub(super) fn take_over(debts: Vec<Debt>) -> Self {
        let mut owed = debts;
        // Nobody will tell any more what was still to come when the predecessor died.
        for debt in &mut owed {
            if debt.alarm.exit.ended == Ended::Pending {
                debt.alarm.exit.ended = Ended::Unknown;
            }
        }
        Self { owed, raised: 0, backoff: Backoff::default() }
    }

    pub(super) fn owed(&self) -> &[Debt] {
        &self.owed
    }

    /// Takes on an alarm. Its id is the time, who raised it and a counter: no other alarm has the same.
    /// `stderr`: how far the service's own error output reaches.
    pub(super) fn raise(&mut self, alarm: Alarm, stderr: Option<StderrMark>) {
        self.raised += 1;
        let Stamp(time) = alarm.at;
        let id = format!("{time}.{}.{}", std::process::id(), self.raised);
        let debt = Debt { id, alarm, stderr, merged: 0 };
        if self.owed.len() < Claim::MAX_DEBTS {
            self.owed.push(debt);
        } else if let Some(last) = self.owed.last_mut() {
            // The claim has no room: the newest speaks for the one it replaces.
            let merged = last.merged.saturating_add(1);
            *last = Debt { merged, ..debt };
        }
    }

    /// The status of an exit is known: an alarm about it can be written.
    pub(super) fn settle(&mut self, exit: Exit) {
        for debt in &mut self.owed {
            if debt.alarm.exit.ended == Ended::Pending && debt.alarm.exit.pid == exit.pid {
                debt.alarm.exit.ended = exit.ended;
            }
        }
    }

    /// Nothing can be paid for now, and no time is set for it.
    pub(super) fn hold(&mut self) {
        self.backoff.succeed();
    }

    /// When to try again.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.backoff.deadline()
    }

    /// Writes every message that can be written now, and says what became of each. A debt that is paid is owed no
    /// more. `last`: there will be no other time to try.
    pub(super) fn pay(&mut self, now: Moment, dir: &Directory, facts: Facts<'_>, last: bool) -> Vec<Paid> {
        if !last && !self.backoff.allows(now) {
            return Vec::new();
        }
        let mut results = Vec::new();
        let mut failed = None;
        self.owed.retain(|debt| {
            if failed.is_some() || debt.alarm.exit.ended == Ended::Pending {
                return true;
            }
            match alarm::store(dir, &debt.id, &alarm::message(debt, facts, dir)) {
                Ok(()) => results.push(Paid::Stored(debt.id.clone())),
                Err(errno) => failed = Some(errno),
            }
            failed.is_some()
        });
        match failed {
            None => self.backoff.succeed(),
            Some(errno) if self.backoff.fail(now) => results.push(Paid::Failed(errno)),
            Some(_) => {}
        }
        results
    }
}

#[cfg(test)]
#[path = "debts_tests.rs"]
mod tests;
