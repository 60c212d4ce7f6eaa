//! How a service fares: what its records say, as far as it still holds.

use std::time::Duration;

use super::liveness::named_lives;
use super::look::{Records, Unreadable, wanted};
use super::owed::undelivered;
use super::process::Process;
use crate::policy::{Stamp, Wanted};
use crate::statusdir::{Directory, ReadRecord, Record};

/// What the service does; the words are those of the long record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It runs.
    Up,
    /// It runs, and was told to end.
    Stopping,
    /// The hook runs; the start follows.
    Hook,
    /// Its start waits for the pacing.
    Pacing,
    /// It does not run.
    Down,
    /// It does not run, and supervise gave up.
    GaveUp,
    /// Nothing can be read.
    Unreadable,
}

impl State {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Stopping => "stopping",
            Self::Hook => "hook",
            Self::Pacing => "pacing",
            Self::Down => "down",
            Self::GaveUp => "gave-up",
            Self::Unreadable => "unreadable",
        }
    }

    /// The state that a long record names, if its word is known here.
    fn of(long: &ReadRecord) -> Option<Self> {
        let word = long.text("state")?;
        let all = [Self::Up, Self::Stopping, Self::Hook, Self::Pacing, Self::Down, Self::GaveUp];
        all.into_iter().find(|state| state.word() == word)
    }
}

/// How a service fares. The status record counts: the classic program writes no other, and leaves alone the long record
/// that ours wrote before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fare {
    /// The 20 bytes, as they were written.
    pub record: Record,
    /// The long record, where it speaks of the same process.
    pub long: Option<ReadRecord>,
    /// The pid while the service runs. A supervise that was killed has left it in the record; then the process itself
    /// is asked.
    pub pid: Option<u32>,
    /// What it does.
    pub state: State,
}

impl Fare {
    /// What the records say, either alone if the other cannot be read. `supervise`: whether one lives, if that is known.
    ///
    /// # Errors
    /// Why the status record says nothing, where the long record says nothing either.
    pub fn of(dir: &Directory, records: Records, supervise: Option<bool>) -> Result<Self, Unreadable> {
        let agree = records.agree();
        let mut long = records.state.ok().filter(|_| agree);
        // Nobody keeps that number true any more, and svalarm goes on.
        if supervise == Some(false)
            && let (Some(long), Ok(count)) = (long.as_mut(), undelivered(dir))
        {
            long.set_number("undelivered", count);
        }
        let record = match records.record {
            Ok(record) => record,
            Err(unreadable) => long.as_ref().and_then(record_of).ok_or(unreadable)?,
        };
        // A supervise that gives up ends: where one lives, and it is not that one, it is a classic program's.
        let is_left = |long: &ReadRecord| {
            supervise == Some(true) && State::of(long) == Some(State::GaveUp) && named_lives(dir, long) == Some(false)
        };
        Ok(Self::new(record, long.filter(|long| !is_left(long)), supervise))
    }

    /// The same of what was read.
    pub(super) fn new(record: Record, long: Option<ReadRecord>, supervise: Option<bool>) -> Self {
        let is_ours = |pid: &u32| Process::at(*pid).is_some_and(|process| process.runs && process.is_of(record.stamp));
        let pid = if supervise == Some(true) { record.pid } else { record.pid.filter(is_ours) };
        let state = match (pid, long.as_ref().and_then(State::of)) {
            (Some(_), Some(state @ (State::Up | State::Stopping))) => state,
            (Some(_), _) => State::Up,
            (None, Some(State::GaveUp)) => State::GaveUp,
            (None, Some(state @ (State::Hook | State::Pacing))) if supervise == Some(true) => state,
            (None, _) => State::Down,
        };
        Self { record, long, pid, state }
    }

    /// A number of the long record.
    #[must_use]
    pub fn number(&self, key: &str) -> Option<u64> {
        self.long.as_ref()?.number(key)
    }

    /// When its state began. `None`: it went down when nobody looked.
    #[must_use]
    pub fn since(&self) -> Option<Stamp> {
        let said = self.long.as_ref().and_then(|long| long.time("since")).unwrap_or(self.record.stamp);
        (self.pid == self.record.pid).then_some(said)
    }

    /// A limit was passed.
    #[must_use]
    pub fn gave_up(&self) -> bool {
        self.state == State::GaveUp
    }

    /// It runs and was told to stop.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.state == State::Stopping
    }

    /// It is down and no start is due.
    #[must_use]
    pub fn stays_down(&self) -> bool {
        match (self.state, self.long.as_ref().and_then(State::of)) {
            (State::Down | State::GaveUp, Some(_)) => true,
            // What only the long record would show is told by what is wanted.
            (State::Down, None) => self.record.wanted != Wanted::Up,
            _ => false,
        }
    }

    /// How the service last ended.
    #[must_use]
    pub fn last_exit(&self) -> Option<&str> {
        self.long.as_ref()?.text("last_exit")
    }

    /// How long it had run then.
    #[must_use]
    pub fn last_ran(&self) -> Option<Duration> {
        self.long.as_ref()?.duration("last_ran")
    }

    /// `pid 7`.
    #[must_use]
    pub fn pid_words(&self) -> String {
        self.pid.map_or_else(|| "no pid".to_owned(), |pid| format!("pid {pid}"))
    }

    /// What it did when the records were written. Where a supervise was killed, that is what it did then.
    #[must_use]
    pub fn written_state(&self) -> State {
        let state = if self.record.pid.is_some() { State::Up } else { State::Down };
        self.long.as_ref().and_then(State::of).unwrap_or(state)
    }

    /// What it is: `stopping (pid 7)`, `down`, `waiting for its restart`.
    #[must_use]
    pub fn words(&self) -> String {
        let state = match self.state {
            State::Up | State::Stopping | State::Down | State::Unreadable => self.state.word(),
            State::Hook => "waiting for the hook",
            State::Pacing => "waiting for its restart",
            State::GaveUp => "given up",
        };
        let paused = if self.record.paused { ", paused" } else { "" };
        if self.pid.is_none() { state.to_owned() } else { format!("{state}{paused} ({})", self.pid_words()) }
    }
}

/// What the status record would say.
fn record_of(long: &ReadRecord) -> Option<Record> {
    Some(Record {
        stamp: long.time("since").unwrap_or(Stamp(0)),
        paused: long.flag("paused") == Some(true),
        wanted: wanted(long)?,
        alarms_off: long.flag("alarms") == Some(false),
        pid: long.pid(),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A status directory with these records.
    fn dir(record: Option<Record>, state: Option<&str>) -> (tempfile::TempDir, Directory) {
        let folder = tempfile::tempdir().unwrap();
        if let Some(record) = record {
            fs::write(folder.path().join("status"), record.encode()).unwrap();
        }
        if let Some(state) = state {
            fs::write(folder.path().join("state"), state).unwrap();
        }
        let dir = Directory::open(folder.path()).unwrap();
        (folder, dir)
    }

    const UP: Record =
        Record { stamp: Stamp(5_000_000_000), paused: false, wanted: Wanted::Up, alarms_off: true, pid: Some(7) };
    const STATE: &str = "module : a\npid : 7\nstate : up\nsince : 5.000000000\nwanted : up\nalarms : no\n";

    /// What is read while a supervise lives.
    fn read(dir: &Directory) -> Result<Fare, Unreadable> {
        Fare::of(dir, Records::read(dir), Some(true))
    }

    #[test]
    fn a_long_record_of_another_time_is_left_alone() {
        let read = |state: &str| read(&dir(Some(UP), Some(state)).1).unwrap();
        assert!(read(STATE).long.is_some());
        for other in [STATE.replace("pid : 7", "pid : 8"), STATE.replace("wanted : up", "wanted : down")] {
            let fare = read(&other);
            assert_eq!((fare.record, fare.long, fare.state), (UP, None, State::Up));
        }
        assert_eq!(read("").long, None);
        let later = read(&STATE.replace("wanted : up", "wanted : perhaps").replace("state : up", "state : dreaming"));
        assert!(later.long.is_some() && later.state == State::Up, "another version's words contradict nothing");
    }

    #[test]
    fn a_give_up_of_another_supervise_is_left_alone() {
        let down = Record { pid: None, ..UP };
        let said = |supervise: u32| {
            let state = format!("module : a\nsupervise : {supervise}\npid : 0\nstate : gave-up\nwanted : up\n");
            let (_folder, dir) = dir(Some(down), Some(&state));
            let living = read(&dir).unwrap();
            let dead = Fare::of(&dir, Records::read(&dir), Some(false)).unwrap();
            assert!(dead.gave_up(), "nobody has taken its place");
            (living.state, living.long.is_some())
        };
        assert_eq!(said(std::process::id()), (State::GaveUp, true), "it says so before it ends");
        assert_eq!(said(0x7fff_fff0), (State::Down, false), "a classic supervise lives in the directory of a dead one");
    }

    #[test]
    fn what_a_killed_supervise_has_left_is_asked_of_the_process() {
        let own = std::process::id();
        let now = crate::sys::now().stamp;
        let age = Duration::from_nanos(crate::sys::boot_ns()) - Process::at(own).unwrap().started;
        let started = Stamp(now.0 - u64::try_from(age.as_nanos()).unwrap());
        let fare = |pid: u32, stamp: Stamp| {
            let record = Record { stamp, pid: Some(pid), ..UP };
            let long = ReadRecord::decode(STATE.replace("pid : 7", &format!("pid : {pid}")).as_bytes());
            let fare = Fare::new(record, long, Some(false));
            (fare.pid, fare.state, fare.since().is_some())
        };
        assert_eq!(fare(own, started), (Some(own), State::Up, true));
        assert_eq!(fare(own, Stamp(started.0 - 60_000_000_000)), (None, State::Down, false), "a stranger");
        assert_eq!(fare(0x7fff_fff0, started), (None, State::Down, false));
    }

    #[test]
    fn either_record_will_do() {
        let (_folder, only_state) = dir(None, Some(STATE));
        assert_eq!(read(&only_state).unwrap().record, UP);
        let (_folder, only_status) = dir(Some(UP), None);
        let fare = read(&only_status).unwrap();
        assert_eq!((fare.record, fare.words().as_str(), fare.stays_down()), (UP, "up (pid 7)", false));
        let (_folder, none) = dir(None, None);
        assert_eq!(read(&none), Err(Unreadable::System(nix::errno::Errno::ENOENT)));
        let (_folder, empty) = dir(None, Some("module : a\n"));
        assert!(read(&empty).is_err());
    }
}
