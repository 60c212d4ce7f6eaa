//! What is seen of a service: what its status directory and its process say together.

use std::path::Path;

use nix::errno::Errno;

use super::Service;
use super::fare::{Fare, State};
use super::in_parts::in_parts;
use super::liveness::{Liveness, stopped as stopped_supervise};
use super::look::{Records, Unreadable};
use super::owner::{refusal, shown};
use super::unrecorded::unrecorded;
use super::walk::{no_root, walk};
use crate::policy::{Stamp, Wanted};
use crate::statusdir::{Directory, ReadRecord};

/// Why a service needs somebody's attention, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// A limit was passed, and supervise gave up.
    GaveUp,
    /// There is no record, or none that can be read.
    Unreadable,
    /// No supervise lives, and nobody asked for that.
    NoSupervise,
    /// Its supervise is stopped: it obeys nothing, and restarts nothing.
    Stopped,
    /// It is down though it is wanted up.
    Down,
    /// It is on its way up again after an exit.
    Restarting,
    /// Its supervise.conf, or its last upgrade, has a problem.
    Refused,
    /// It has alarms that somebody did not get yet.
    Undelivered,
}

/// What the exit code of `svc status` tells, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// It is up.
    Up,
    /// It is down.
    Down,
    /// It has no supervise, or no readable record.
    Unwatched,
}

/// A service, and what is seen of it.
#[derive(Clone, Debug)]
pub struct Sight {
    /// The service.
    pub service: Service,
    /// What it does.
    pub state: State,
    /// Whether a supervise lives; `None`: nobody may tell us.
    pub supervise: Option<bool>,
    /// The pid of the supervise, if it lives and is stopped.
    pub stopped: Option<u32>,
    /// Its pid while it runs.
    pub pid: Option<u32>,
    /// When its state began.
    pub since: Option<Stamp>,
    /// What the operator asked for.
    pub wanted: Option<Wanted>,
    /// It is paused.
    pub paused: bool,
    /// Alarms are on.
    pub alarms: Option<bool>,
    /// What the long record says besides.
    pub record: Option<ReadRecord>,
    /// What is wrong with its status directory, in a line.
    pub problem: Option<String>,
}

impl AsRef<Service> for Sight {
    fn as_ref(&self) -> &Service {
        &self.service
    }
}

impl Sight {
    /// Looks at a service.
    #[must_use]
    pub fn of(service: Service) -> Self {
        let dir = Directory::open(&service.dir);
        Self::through(service, dir.as_ref().map_err(|errno| *errno))
    }

    /// Looks at it through its open status directory.
    fn through(service: Service, dir: Result<&Directory, Errno>) -> Self {
        match dir {
            Ok(dir) => Self::in_dir(service, dir),
            Err(errno) => {
                let problem = refusal(&service.dir, errno);
                Self::unreadable(service, problem)
            }
        }
    }

    /// Looks at many, on several processors: nearly all of it is the kernel's work.
    #[must_use]
    pub fn of_all(services: &[Service]) -> Vec<Self> {
        in_parts(services, |part| part.iter().cloned().map(Self::of).collect())
    }

    /// Looks at every service below the status root, by name.
    ///
    /// # Errors
    /// In words: the root can't be read.
    pub fn of_root(root: &Path) -> Result<Vec<Self>, String> {
        walk(root, Self::through).map_err(|error| no_root(root, &error))
    }

    /// A service of which nothing can be read, and why.
    #[must_use]
    pub fn unreadable(service: Service, problem: String) -> Self {
        Self {
            service,
            state: State::Unreadable,
            supervise: None,
            stopped: None,
            pid: None,
            since: None,
            wanted: None,
            paused: false,
            alarms: None,
            record: None,
            problem: Some(problem),
        }
    }

    fn in_dir(service: Service, dir: &Directory) -> Self {
        let records = Records::read(dir);
        let supervise = Liveness::seen(dir, records.state.as_ref().ok());
        let mut problems = Vec::new();
        let mut say = |name: &str, unreadable: Unreadable| {
            let path = service.dir.join(name);
            problems.push(match unreadable {
                Unreadable::System(errno) => refusal(&path, errno),
                Unreadable::Damaged => format!("damaged: {}", shown(&path)),
            });
        };
        let is_readable = records.record.is_ok();
        if let Err(unreadable) = records.record {
            say("status", unreadable);
        }
        match records.state {
            Ok(_) | Err(Unreadable::System(Errno::ENOENT)) => {} // the classic program writes none
            Err(unreadable) => say("state", unreadable),
        }
        if let (Liveness::Unknown(errno), true) = (supervise, is_readable) {
            say("ok", Unreadable::System(errno));
        }
        let problem = (!problems.is_empty()).then(|| problems.join("; "));
        let supervise = supervise.known();
        let stopped = records.state.as_ref().ok().filter(|_| supervise == Some(true));
        let stopped = stopped.and_then(|long| stopped_supervise(dir, Some(long)));
        match Fare::of(dir, records, supervise) {
            Ok(fare) if is_readable => Self { problem, stopped, ..Self::from_fare(service, supervise, fare) },
            // What else tells of it is shown, but it is not what scripts can read.
            fare => {
                let fare = fare.ok().or_else(|| unrecorded(dir, None).filter(|_| supervise == Some(true)));
                let problem = problem.unwrap_or_default();
                let problem = match &fare {
                    Some(fare) if supervise == Some(true) => format!("{}, but: {problem}", fare.words()),
                    _ => problem,
                };
                let pid = fare.as_ref().and_then(|fare| fare.pid);
                Self {
                    supervise,
                    stopped,
                    pid,
                    record: fare.and_then(|fare| fare.long),
                    ..Self::unreadable(service, problem)
                }
            }
        }
    }

    fn from_fare(service: Service, supervise: Option<bool>, fare: Fare) -> Self {
        Self {
            service,
            state: fare.state,
            supervise,
            stopped: None,
            pid: fare.pid,
            since: fare.since(),
            wanted: Some(fare.record.wanted),
            paused: fare.record.paused && fare.pid.is_some(),
            alarms: Some(!fare.record.alarms_off),
            record: fare.long,
            problem: None,
        }
    }

    /// What the exit code tells of it.
    #[must_use]
    pub fn level(&self) -> Level {
        match (self.state, self.supervise) {
            (State::Unreadable, _) | (_, Some(false) | None) => Level::Unwatched,
            _ if self.pid.is_some() => Level::Up,
            _ => Level::Down,
        }
    }

    /// Why it needs attention; `None`: it is as it is wanted.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        let is_wanted = self.wanted != Some(Wanted::Down);
        Some(match (self.state, self.supervise) {
            (State::GaveUp, _) => Trouble::GaveUp,
            (State::Unreadable, _) => Trouble::Unreadable,
            // `svc exit`, or `dx`, and it has ended as asked.
            (State::Down, Some(false)) if !is_wanted => return self.undelivered(),
            (_, Some(false) | None) => Trouble::NoSupervise,
            _ if self.stopped.is_some() => Trouble::Stopped,
            (State::Down, _) if self.wanted == Some(Wanted::Up) => Trouble::Down,
            (State::Hook | State::Pacing, _) => Trouble::Restarting,
            _ if self.conf_problem().or(self.upgrade_problem()).is_some() => Trouble::Refused,
            _ => return self.undelivered(),
        })
    }

    /// What is wrong with its supervise.conf, while a supervise lives that could read it anew.
    #[must_use]
    pub fn conf_problem(&self) -> Option<&str> {
        self.record.as_ref().filter(|_| self.supervise == Some(true))?.text("conf_problem")
    }

    /// Why its supervise could not be replaced by the program that is installed now, while it lives.
    #[must_use]
    pub fn upgrade_problem(&self) -> Option<&str> {
        let problem = self.record.as_ref().filter(|_| self.supervise == Some(true))?.text("upgrade_problem")?;
        Some(problem.split_once(' ').map_or(problem, |(_time, why)| why))
    }

    fn undelivered(&self) -> Option<Trouble> {
        self.number("undelivered").filter(|&count| count > 0).map(|_| Trouble::Undelivered)
    }

    /// A number of the long record.
    #[must_use]
    pub fn number(&self, key: &str) -> Option<u64> {
        self.record.as_ref()?.number(key)
    }
}

#[cfg(test)]
#[path = "sight_tests.rs"]
mod tests;
