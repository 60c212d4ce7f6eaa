//! Gives a command to many services at once and waits until each shows its effect, in one loop.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::Service;
use super::changes::Changes;
use super::liveness::{stopped_holder, stopped_words};
use super::run::Run;
use super::target::{Refusal, Target, Written, enter};
use super::verb::Verb;
use super::words::no_supervise;
use crate::statusdir::Directory;

/// What is asked of the services, and for how long it is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// What is asked.
    pub verb: Verb,
    /// Wait until it is so; else it is done once the bytes are written.
    pub wait: bool,
    /// For so long, counted for each service from its own beginning.
    pub timeout: Duration,
    /// A process that was started counts as up when it has run so long.
    pub settle: Duration,
    /// Send KILL where the process that is to end is still there after this time.
    pub kill_after: Option<Duration>,
}

/// What came of it for one service, in words that follow its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is so (or, where nothing is waited for, the bytes are written).
    Done(String),
    /// It did not become so.
    NotSo(String),
    /// It is not so yet.
    NotInTime(String),
    /// No supervise is there.
    NoSupervise(String),
    /// A system call failed.
    System(String),
}

impl Outcome {
    /// The words.
    #[must_use]
    pub fn words(&self) -> &str {
        match self {
            Self::Done(words)
            | Self::NotSo(words)
            | Self::NotInTime(words)
            | Self::NoSupervise(words)
            | Self::System(words) => words,
        }
    }
}

impl From<Refusal> for Outcome {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoSupervise(words) => Self::NoSupervise(words),
            Refusal::System(words) => Self::System(words),
        }
    }
}

/// Open at once for one service: its directory, `ok`, svcontrol.
const DESCRIPTORS_A_SERVICE: u64 = 3;
/// What is open besides, generously.
const OTHER_DESCRIPTORS: u64 = 32;

/// Carries out `order` on every service, and tells what came of each as soon as it is known, by its place in
/// `services`.
pub fn steer(services: &[Service], order: &Order, tell: &mut dyn FnMut(usize, &Outcome)) {
    if !order.wait || matches!(order.verb, Verb::Send(_)) {
        for (place, service) in services.iter().enumerate() {
            let outcome = write(service, &order.verb.bytes(), Some(order.verb));
            tell(place, &with_who_is_stopped(outcome, service));
        }
        return;
    }
    match Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC) {
        Ok(epoll) => Steering::new(services, order, epoll).run(tell),
        Err(errno) => {
            let outcome = Outcome::System(format!("unable to wait: {}", crate::sys::why(errno)));
            (0..services.len()).for_each(|place| tell(place, &outcome));
        }
    }
}

/// The same outcome, and why nothing will come of it for now.
fn with_who_is_stopped(outcome: Outcome, service: &Service) -> Outcome {
    if !matches!(outcome, Outcome::Done(_) | Outcome::System(_)) {
        return outcome;
    }
    let stopped = Directory::open(&service.dir).ok().and_then(|dir| stopped_holder(&dir));
    match (outcome, stopped.map(stopped_words)) {
        (Outcome::Done(words), Some(stopped)) => Outcome::Done(format!("{words}, but {stopped}")),
        (Outcome::System(words), Some(stopped)) => Outcome::System(format!("{words}: {stopped}")),
        (outcome, _) => outcome,
    }
}

/// Writes bytes to the supervise of one service and waits for nothing.
#[must_use]
pub fn write_only(service: &Service, bytes: &[u8]) -> Outcome {
    write(service, bytes, None)
}

/// The same. `verb`: what the bytes ask for, which may be so already where no supervise is.
fn write(service: &Service, bytes: &[u8], verb: Option<Verb>) -> Outcome {
    let nobody = |refusal: Refusal, dir: &Directory| match verb {
        Some(verb) => no_supervise(refusal, verb, dir),
        None => refusal.into(),
    };
    let mut target = match enter(&service.dir) {
        Ok(dir) => Target::new(dir),
        Err(refusal) => return refusal.into(),
    };
    match target.connect().and_then(|()| target.write(bytes)) {
        Ok(Written::Whole) => Outcome::Done("told".to_owned()),
        Ok(Written::NoReader) => nobody(Refusal::nobody(), &target.dir),
        Ok(Written::NoRoom) => Outcome::System("svcontrol is full: supervise does not read it".to_owned()),
        Err(refusal) => nobody(refusal, &target.dir),
    }
}

struct Steering<'a> {
    services: &'a [Service],
    order: &'a Order,
    epoll: Epoll,
    changes: Changes<usize>,
    /// Those that are still to be told.
    waiting: VecDeque<usize>,
    /// Those that are told, and whose effect is waited for, by their place.
    runs: BTreeMap<usize, Run>,
    /// So many at a time: each needs descriptors.
    at_once: usize,
}

impl<'a> Steering<'a> {
    fn new(services: &'a [Service], order: &'a Order, epoll: Epoll) -> Self {
        let changes = Changes::new();
        if let Some(inotify) = changes.descriptor() {
            let _ = epoll.add(inotify, EpollEvent::new(EpollFlags::EPOLLIN, CHANGES)); // else it is looked for
        }
        let at_once = room_for(services.len());
        let waiting = (0..services.len()).collect();
        Self { services, order, epoll, changes, waiting, runs: BTreeMap::new(), at_once }
    }

    fn run(mut self, tell: &mut dyn FnMut(usize, &Outcome)) {
        loop {
            let mut due = self.begin(tell);
            if self.runs.is_empty() && self.waiting.is_empty() {
                return;
            }
            if due.is_empty() {
                due = self.wait();
            }
            let now = Instant::now();
            due.extend(self.runs.iter().filter(|(_, run)| run.wake <= now).map(|(&place, _)| place));
            due.sort_unstable();
            due.dedup();
            for place in due {
                let Some(run) = self.runs.get_mut(&place) else { continue };
                if let Some(outcome) = run.step(place, self.order, &self.epoll, now) {
                    self.runs.remove(&place);
                    tell(place, &outcome);
                }
            }
        }
    }

    /// Tells as many as there is room for. Returns those that were told just now.
    fn begin(&mut self, tell: &mut dyn FnMut(usize, &Outcome)) -> Vec<usize> {
        let mut begun = Vec::new();
        while self.runs.len() < self.at_once
            && let Some(place) = self.waiting.pop_front()
        {
            match Run::start(&self.services[place], place, self.order, &mut self.changes, &self.epoll) {
                Ok(run) => {
                    self.runs.insert(place, run);
                    begun.push(place);
                }
                Err(outcome) => tell(place, &outcome),
            }
        }
        begun
    }

    /// Waits until something happens or a run wants to be looked at. Returns those that something happened to.
    fn wait(&mut self) -> Vec<usize> {
        let wake = self.runs.values().map(|run| run.wake).min();
        let left = wake.map_or(Duration::ZERO, |wake| wake.saturating_duration_since(Instant::now()));
        // Rounded up: a wait that ends a little early is followed by one of nothing, again and again.
        let milliseconds = u16::try_from(left.as_micros().div_ceil(1000)).unwrap_or(u16::MAX);
        let mut events = [EpollEvent::empty(); 256];
        // Interrupted: the deadlines hold all the same.
        let count = self.epoll.wait(&mut events, EpollTimeout::from(milliseconds)).unwrap_or(0);
        let mut due = Vec::new();
        for event in &events[..count] {
            match event.data() {
                CHANGES => due.extend(self.changes.take()),
                place => due.extend(usize::try_from(place)),
            }
        }
        due
    }
}

/// Stands for inotify where else a service's place stands.
const CHANGES: u64 = u64::MAX;

/// How many services can be steered at once. Raises the limit of descriptors where it is needed and may be raised.
fn room_for(services: usize) -> usize {
    let needed = DESCRIPTORS_A_SERVICE * services as u64 + OTHER_DESCRIPTORS;
    let limit = match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, hard)) if soft < needed => {
            let raised = needed.min(hard);
            if setrlimit(Resource::RLIMIT_NOFILE, raised, hard).is_ok() { raised } else { soft }
        }
        Ok((soft, _)) => soft,
        Err(_) => 256,
    };
    usize::try_from(limit.saturating_sub(OTHER_DESCRIPTORS) / DESCRIPTORS_A_SERVICE).unwrap_or(usize::MAX).max(1)
}
