//! The alarms that are owed: raised, in the claim, and on their way into the spool.

use nix::errno::Errno;

use super::backoff::Backoff;
use crate::alarm::{self, Facts, LastWords, Stored};
use crate::policy::{Alarm, AlarmKind, Ended, Exit, Moment, RunStart, Stamp};
use crate::statusdir::{Claim, Debt, Directory, short_sum};

/// The debts of one supervise.
#[derive(Debug, Default)]
pub(super) struct Debts {
    owed: Vec<Debt>,
    backoff: Backoff,
}

/// What became of a debt.
#[derive(Debug)]
pub(super) enum Paid {
    /// Its message file is in the spool now.
    Stored(String),
    /// It was there before: a supervise that was killed had stored it, and could tell nobody.
    WasThere(String, Stored),
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
        Self { owed, backoff: Backoff::default() }
    }

    pub(super) fn owed(&self) -> &[Debt] {
        &self.owed
    }

    /// Takes on an alarm about the run of the service that began then, in this boot. `stderr`: how far the service's own
    /// error output reaches, and the end of it.
    pub(super) fn raise(&mut self, alarm: Alarm, start: RunStart, boot: &str, stderr: Option<LastWords>) {
        let (stderr, said) = stderr.unzip();
        let debt = Debt { id: id_of(&alarm, start, boot), alarm, stderr, said, merged: 0 };
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
        self.owed.retain_mut(|debt| {
            if failed.is_some() || debt.alarm.exit.ended == Ended::Pending {
                return true;
            }
            match alarm::store(dir, &debt.id, &alarm::message(debt, facts, dir)) {
                Ok(Stored::New) => results.push(Paid::Stored(debt.id.clone())),
                Ok(place) => results.push(Paid::WasThere(debt.id.clone(), place)),
                Err(errno) => {
                    failed = Some(errno);
                    debt.said = None; // it can take long, and is in the file
                }
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

/// The id of an alarm: when the run began that it is about (Unix time in nanoseconds, by which alarms are sorted), its
/// pid, 1 for its recovery or 2 for its end, and a number made of this boot and its clock.
///
/// All of this is in the claim that the run itself has written. So whoever finds its end, this supervise or a successor
/// that was told of nothing, makes the same id; and no other run has it, also where the wall clock was set back.
fn id_of(alarm: &Alarm, start: RunStart, boot: &str) -> String {
    // What began nobody knows when, no successor finds again.
    let Stamp(began) = if start.moment.is_some() { start.stamp } else { alarm.at };
    let what = match alarm.kind {
        AlarmKind::Recovered => 1,
        // One end has one alarm: what a successor knows of it may be less.
        AlarmKind::Exited | AlarmKind::Coredump | AlarmKind::GaveUp { .. } => 2,
    };
    let moment = start.moment.map_or(0, |moment| moment.0);
    format!("{began}.{}.{what}.{}", alarm.exit.pid, short_sum(format!("{boot} {moment}").as_bytes()))
}

#[cfg(test)]
#[path = "debts_tests.rs"]
mod tests;
