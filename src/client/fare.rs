//! How a service fares at one moment, by the status record and what the long record adds to it.

use std::time::Duration;

use super::look::{Unreadable, records};
use crate::policy::{Stamp, Wanted};
use crate::statusdir::{Directory, ReadRecord, Record};

/// supervise replaces `status` before `state`: a look in between is repeated so often.
const LOOKS: usize = 3;

/// How a service fares. The status record counts: the classic program writes no other, and leaves alone the long record
/// that ours wrote before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fare {
    /// The 20 bytes.
    pub record: Record,
    /// The long record, where it speaks of the same process.
    pub long: Option<ReadRecord>,
}

impl Fare {
    /// What the records say, either alone if the other cannot be read.
    ///
    /// # Errors
    /// Why the status record says nothing, where the long record says nothing either.
    pub fn read(dir: &Directory) -> Result<Self, Unreadable> {
        let mut looks = 1;
        loop {
            let (record, state) = records(dir);
            let has_state = state.is_ok();
            let fare = Self::of(record, state.ok());
            if looks == LOOKS || !has_state || fare.as_ref().is_ok_and(|fare| fare.long.is_some()) {
                return fare;
            }
            looks += 1;
        }
    }

    fn of(record: Result<Record, Unreadable>, long: Option<ReadRecord>) -> Result<Self, Unreadable> {
        match record {
            Ok(record) => {
                let agrees = |long: &ReadRecord| long.pid() == record.pid && wanted(long) == Some(record.wanted);
                Ok(Self { record, long: long.filter(agrees) })
            }
            Err(unreadable) => {
                let long = long.ok_or(unreadable)?;
                let record = Record {
                    stamp: long.time("since").unwrap_or(Stamp(0)),
                    paused: long.flag("paused") == Some(true),
                    wanted: wanted(&long).ok_or(unreadable)?,
                    alarms_off: long.flag("alarms") == Some(false),
                    pid: long.pid(),
                };
                Ok(Self { record, long: Some(long) })
            }
        }
    }

    /// A number of the long record.
    #[must_use]
    pub fn number(&self, key: &str) -> Option<u64> {
        self.long.as_ref()?.number(key)
    }

    fn state(&self) -> Option<&str> {
        self.long.as_ref()?.text("state")
    }

    /// A limit was passed.
    #[must_use]
    pub fn gave_up(&self) -> bool {
        self.state() == Some("gave-up")
    }

    /// It runs and was told to stop.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.state() == Some("stopping")
    }

    /// It is down and no start is due.
    #[must_use]
    pub fn stays_down(&self) -> bool {
        match self.state() {
            Some(state) => matches!(state, "down" | "gave-up"),
            None => self.record.pid.is_none() && self.record.wanted != Wanted::Up,
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
        self.record.pid.map_or_else(|| "no pid".to_owned(), |pid| format!("pid {pid}"))
    }

    /// `stopping (pid 7)`, `down`.
    #[must_use]
    pub fn words(&self) -> String {
        let down = self.record.pid.is_none();
        let state = self.state().unwrap_or(if down { "down" } else { "up" });
        let paused = if self.record.paused { ", paused" } else { "" };
        if down { state.to_owned() } else { format!("{state}{paused} ({})", self.pid_words()) }
    }
}

fn wanted(long: &ReadRecord) -> Option<Wanted> {
    match long.text("wanted")? {
        "up" => Some(Wanted::Up),
        "down" => Some(Wanted::Down),
        "once" => Some(Wanted::Once),
        _ => None,
    }
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

    #[test]
    fn a_long_record_of_another_time_is_left_alone() {
        let read = |state: &str| Fare::read(&dir(Some(UP), Some(state)).1).unwrap();
        assert!(read(STATE).long.is_some());
        for other in [STATE.replace("pid : 7", "pid : 8"), STATE.replace("wanted : up", "wanted : down")] {
            let fare = read(&other);
            assert_eq!((fare.record, fare.long), (UP, None));
        }
        assert_eq!(read("").long, None);
    }

    #[test]
    fn either_record_will_do() {
        let (_folder, only_state) = dir(None, Some(STATE));
        assert_eq!(Fare::read(&only_state).unwrap().record, UP);
        let (_folder, only_status) = dir(Some(UP), None);
        let fare = Fare::read(&only_status).unwrap();
        assert_eq!((fare.record, fare.words().as_str(), fare.stays_down()), (UP, "up (pid 7)", false));
        let (_folder, none) = dir(None, None);
        assert_eq!(Fare::read(&none), Err(Unreadable::System(nix::errno::Errno::ENOENT)));
        let (_folder, empty) = dir(None, Some("module : a\n"));
        assert!(Fare::read(&empty).is_err());
    }
}
