//! What others can read: the status record and the long record, written when something in them changed.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::stat::Mode;

use super::backoff::Backoff;
use crate::policy::{Moment, Stamp, State, View};
use crate::statusdir::{Directory, LongRecord, Record, Replaced};

/// Everything that the two records are made of, but for what never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) view: View,
    pub(super) pid: Option<u32>,
    pub(super) pid_changed: Stamp,
    pub(super) next_start: Option<Stamp>,
    pub(super) adopted: bool,
    /// Counts the readings of supervise.conf.
    pub(super) conf_generation: u32,
    /// Counts the attempts to upgrade.
    pub(super) upgrade_generation: u32,
    pub(super) undelivered: u64,
}

/// What the long record says besides.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fixed<'a> {
    pub(super) module: &'a [u8],
    pub(super) upgraded: Option<Stamp>,
    pub(super) upgrade_problem: Option<&'a str>,
    pub(super) command: &'a [u8],
    pub(super) conf: Option<&'a [u8]>,
    pub(super) conf_read: Option<Stamp>,
    pub(super) conf_problem: Option<&'a str>,
}

/// Anybody may read the records.
const MODE: Mode = Mode::from_bits_truncate(0o644);

/// Remembers what was published.
#[derive(Debug)]
pub(super) struct Publisher {
    status: Replaced,
    state: Replaced,
    record: Option<[u8; Record::LEN]>,
    /// What was tried last.
    shown: Option<Shown>,
    backoff: Backoff,
}

impl Publisher {
    /// Nothing was published so far.
    pub(super) fn new() -> Self {
        let (status, state) = (Replaced::new("status"), Replaced::new("state"));
        Self { status, state, record: None, shown: None, backoff: Backoff::default() }
    }

    /// Nothing more will be published.
    pub(super) fn tidy(&mut self, dir: &Directory) {
        self.status.tidy(dir.as_fd());
        self.state.tidy(dir.as_fd());
    }

    /// Writes what changed, and what could not be written when its time to be tried again has come. The answer:
    /// something was done in the directory.
    ///
    /// # Errors
    /// The file's name, and why it could not be written; said once, until it works again.
    pub(super) fn publish(
        &mut self,
        dir: &Directory,
        shown: Shown,
        fixed: Fixed<'_>,
        now: Moment,
    ) -> (bool, Result<(), (&'static str, Errno)>) {
        // `next_start` is a wall time that is worked out anew each turn; the moment in the view tells if it moved.
        let is_old = self.shown.is_some_and(|old| Shown { next_start: shown.next_start, ..old } == shown);
        if is_old && (self.backoff.deadline().is_none() || !self.backoff.allows(now)) {
            return (false, Ok(()));
        }
        self.shown = Some(shown);
        let written = self.write_record(dir, &shown).and_then(|()| {
            let text = long_record(&shown, fixed).encode();
            self.state.replace(dir.as_fd(), text.as_bytes(), MODE).map_err(|errno| ("state", errno))
        });
        match written {
            Ok(()) => self.backoff.succeed(),
            Err(failed) if self.backoff.fail(now) => return (true, Err(failed)),
            Err(_) => {}
        }
        (true, Ok(()))
    }

    fn write_record(&mut self, dir: &Directory, shown: &Shown) -> Result<(), (&'static str, Errno)> {
        let record = record(shown).encode();
        if self.record != Some(record) {
            self.record = None;
            self.status.replace(dir.as_fd(), &record, MODE).map_err(|errno| ("status", errno))?;
            self.record = Some(record);
        }
        Ok(())
    }

    /// When to try again what could not be written.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.backoff.deadline()
    }
}

fn record(shown: &Shown) -> Record {
    let ledger = &shown.view.ledger;
    Record {
        stamp: shown.pid_changed,
        paused: ledger.paused,
        wanted: ledger.wanted,
        alarms_off: ledger.alarms_off,
        pid: shown.pid,
    }
}

fn long_record<'a>(shown: &Shown, fixed: Fixed<'a>) -> LongRecord<'a> {
    let ledger = &shown.view.ledger;
    LongRecord {
        module: fixed.module,
        supervise: std::process::id(),
        version: env!("CARGO_PKG_VERSION"),
        upgraded: fixed.upgraded,
        upgrade_problem: fixed.upgrade_problem,
        command: fixed.command,
        conf: fixed.conf,
        conf_read: fixed.conf_read,
        conf_problem: fixed.conf_problem,
        pid: shown.pid,
        state: match shown.view.state {
            State::Down | State::Left => "down",
            State::Up => "up",
            State::Stopping => "stopping",
            State::Pacing => "pacing",
            State::Hook { .. } => "hook",
            State::GaveUp => "gave-up",
        },
        since: shown.view.since,
        wanted: ledger.wanted,
        paused: ledger.paused,
        alarms_off: ledger.alarms_off,
        adopted: shown.adopted,
        next_start: shown.next_start,
        last_exit: ledger.last_exit,
        starts: ledger.starts,
        exits: ledger.exits,
        window: ledger.window,
        undelivered: shown.undelivered,
    }
}
