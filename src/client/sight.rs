//! What is seen of a service: what its status directory and its process say together.

use std::panic::resume_unwind;
use std::thread;

use nix::errno::Errno;

use super::owner::refusal;
use super::process::Process;
use super::{Liveness, Look, Service, Unreadable};
use crate::policy::{Stamp, Wanted};
use crate::statusdir::{ReadRecord, Record};

/// Fewer are looked at before a thread has begun.
const MANY: usize = 200;
/// More would wait for each other in the kernel.
const MOST_THREADS: usize = 4;

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

    fn from_word(word: &str) -> Option<Self> {
        let all = [Self::Up, Self::Stopping, Self::Hook, Self::Pacing, Self::Down, Self::GaveUp];
        all.into_iter().find(|state| state.word() == word)
    }
}

/// Why a service needs somebody's attention, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// A limit was passed, and supervise gave up.
    GaveUp,
    /// There is no record, or none that can be read.
    Unreadable,
    /// No supervise lives, and nobody asked for that.
    NoSupervise,
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

impl Sight {
    /// Looks at a service.
    #[must_use]
    pub fn of(service: Service) -> Self {
        let look = Look::at(&service.dir).map(|look| {
            // Both records are written one after the other: in between they tell of different processes.
            if pids_agree(&look) { look } else { Look::at(&service.dir).unwrap_or(look) }
        });
        match look {
            Ok(look) => Self::from_look(service, look),
            Err(errno) => {
                let problem = refusal(&service.dir, errno);
                Self::unreadable(service, problem)
            }
        }
    }

    /// Looks at many, on several processors: nearly all of it is the kernel's work.
    #[must_use]
    pub fn of_all(services: &[Service]) -> Vec<Self> {
        let all = |services: &[Service]| services.iter().cloned().map(Self::of).collect::<Vec<_>>();
        if services.len() < MANY {
            return all(services);
        }
        let processors = thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
        thread::scope(|scope| {
            let parts = services.chunks(services.len().div_ceil(processors));
            let threads: Vec<_> = parts.map(|part| scope.spawn(move || all(part))).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
        })
    }

    /// A service of which nothing can be read, and why.
    #[must_use]
    pub fn unreadable(service: Service, problem: String) -> Self {
        Self {
            service,
            state: State::Unreadable,
            supervise: None,
            pid: None,
            since: None,
            wanted: None,
            paused: false,
            alarms: None,
            record: None,
            problem: Some(problem),
        }
    }

    fn from_look(service: Service, look: Look) -> Self {
        let mut problems = Vec::new();
        let mut say = |name: &str, unreadable: &Unreadable| {
            let path = service.dir.join(name);
            problems.push(match unreadable {
                Unreadable::System(errno) => refusal(&path, *errno),
                Unreadable::Damaged => format!("damaged: {}", crate::text::escape(path.as_os_str().as_encoded_bytes())),
            });
        };
        // What another program left there tells of another process: the status record is the one that all write.
        let stale = !pids_agree(&look);
        let Look { supervise, record, state } = look;
        if let Err(unreadable) = &record {
            say("status", unreadable);
        }
        match &state {
            Ok(_) | Err(Unreadable::System(Errno::ENOENT)) => {} // the classic program writes none
            Err(unreadable) => say("state", unreadable),
        }
        let long = state.ok().filter(|_| !stale);
        let lives = match supervise {
            Liveness::Lives => Some(true),
            Liveness::Gone => Some(false),
            // `ok` is for supervise's own user. Others see the process that the long record names.
            Liveness::Unknown(errno) => {
                let named = long.as_ref().and_then(|long| long.number("supervise")?.try_into().ok());
                let lives = named.and_then(Process::at).map(|process| process.runs);
                if lives.is_none() && record.is_ok() {
                    say("ok", &Unreadable::System(errno));
                }
                lives
            }
        };
        let problem = (!problems.is_empty()).then(|| problems.join("; "));
        let Ok(record) = record else {
            return Self { supervise: lives, record: long, ..Self::unreadable(service, problem.unwrap_or_default()) };
        };
        Self { problem, ..Self::from_records(service, lives, record, long) }
    }

    fn from_records(service: Service, lives: Option<bool>, record: Record, long: Option<ReadRecord>) -> Self {
        // A supervise that was killed has left the record as it was: then the process itself is asked.
        let is_ours = |pid: &u32| Process::at(*pid).is_some_and(|process| process.runs && process.is_of(record.stamp));
        let pid = if lives == Some(true) { record.pid } else { record.pid.filter(is_ours) };
        let said = long.as_ref().and_then(|long| State::from_word(long.text("state")?));
        let state = match (pid, said) {
            (Some(_), Some(state @ (State::Up | State::Stopping))) => state,
            (Some(_), _) => State::Up,
            (None, Some(State::GaveUp)) => State::GaveUp,
            (None, Some(state @ (State::Hook | State::Pacing))) if lives == Some(true) => state,
            (None, _) => State::Down,
        };
        // It says when it was last seen up; nobody knows when it went down.
        let died_unseen = pid.is_none() && record.pid.is_some();
        let since = long.as_ref().and_then(|long| long.time("since")).unwrap_or(record.stamp);
        Self {
            service,
            state,
            supervise: lives,
            pid,
            since: Some(since).filter(|_| !died_unseen),
            wanted: Some(record.wanted),
            paused: record.paused && pid.is_some(),
            alarms: Some(!record.alarms_off),
            record: long,
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

/// Whether both records tell of the same process, as far as both can be read.
fn pids_agree(look: &Look) -> bool {
    match (&look.record, &look.state) {
        (Ok(record), Ok(long)) => record.pid == long.pid(),
        _ => true,
    }
}

#[cfg(test)]
#[path = "sight_tests.rs"]
mod tests;
