//! The alarms that are owed: raised, in the claim, and on their way into the spool.

use std::time::Duration;

use nix::errno::Errno;

use crate::alarm::{self, Facts};
use crate::policy::{Alarm, Ended, Exit, Moment, Stamp};
use crate::statusdir::{Claim, Debt, Directory};

/// A spool that could not be written is tried again after this time, and after twice as long each time.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// But at least so often.
const LAST_RETRY: Duration = Duration::from_secs(60);

/// The debts of one supervise.
#[derive(Debug, Default)]
pub(super) struct Debts {
    owed: Vec<Debt>,
    raised: u64,
    retry: Option<(Moment, Duration)>,
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
        Self { owed, raised: 0, retry: None }
    }

    pub(super) fn owed(&self) -> &[Debt] {
        &self.owed
    }

    /// Takes on an alarm. Its id is the time, who raised it and a counter: no other alarm has the same.
    pub(super) fn raise(&mut self, alarm: Alarm, dir: &Directory) {
        self.raised += 1;
        let Stamp(time) = alarm.at;
        let id = format!("{time}.{}.{}", std::process::id(), self.raised);
        let debt = Debt { id, alarm, stderr: alarm::mark(dir), merged: 0 };
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

    /// When to try again.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.retry.map(|(at, _)| at)
    }

    /// Writes every message that can be written now, and says what became of each. A debt that is paid is owed no
    /// more.
    pub(super) fn pay(&mut self, now: Moment, dir: &Directory, facts: Facts<'_>) -> Vec<Paid> {
        if self.retry.is_some_and(|(at, _)| now < at) {
            return Vec::new();
        }
        let mut results = Vec::new();
        let mut failed = false;
        self.owed.retain(|debt| {
            if failed || debt.alarm.exit.ended == Ended::Pending {
                return true;
            }
            match alarm::store(dir, &debt.id, &alarm::message(debt, facts, dir)) {
                Ok(()) => results.push(Paid::Stored(debt.id.clone())),
                Err(errno) => {
                    failed = true;
                    if self.retry.is_none() {
                        results.push(Paid::Failed(errno)); // said once, however often it is tried
                    }
                }
            }
            failed
        });
        let delay = self.retry.map_or(FIRST_RETRY, |(_, delay)| (delay * 2).min(LAST_RETRY));
        self.retry = failed.then_some((now + delay, delay));
        results
    }
}
