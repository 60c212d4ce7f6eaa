//! `svc alarms retry`: delivers now what waits for a later attempt, and what has failed.

use std::collections::VecDeque;
use std::os::fd::AsFd as _;
use std::process::Child;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout};

use super::arguments::{Named, Waiting};
use super::delivery::{end_server, start};
use super::exit::{DONE, NOT_IN_TIME, NOT_SO, SYSTEM};
use super::report::{Ended, Report};
use crate::alarm::{self, BUSY, Delivery, Kept, Place};
use crate::client::{Liveness, Service};
use crate::statusdir::Directory;
use crate::sys::{Pidfd, why, why_io};

/// So many are at work at once: each delivers to several recipients at a time.
const AT_ONCE: usize = 8;
/// How often they are asked whether they have ended: an attempt takes as long as a relay does.
const LOOK: Duration = Duration::from_millis(20);

/// An svalarm that is told to end has nothing to wait for.
const END: Duration = Duration::from_secs(5);

/// The options of svalarm: what waits for a later attempt is tried too.
const NOW: [&str; 2] = ["--once", "--now"];

/// Delivers all of these now, failed ones too, and waits for the attempt. The answer is the exit code.
pub(super) fn retry(spools: Vec<(Service, Vec<Kept>)>, waiting: &Waiting) -> u8 {
    let began = Instant::now();
    let services = spools.iter().map(|(service, _)| service.clone()).collect();
    let mut report = Report::new(&Named::these(services), waiting.quiet);
    let mut code = DONE;
    let mut tell = |service: &Service, ended: &[Ended]| {
        code = code.max(report.over(&service.shown(), ended));
    };
    let mut to_do: VecDeque<_> = spools.into();
    let mut at_work: Vec<Retry> = Vec::new();
    loop {
        while at_work.len() < AT_ONCE
            && let Some((service, kept)) = to_do.pop_front()
        {
            match Retry::begin(service.clone(), kept) {
                Ok(retry) => at_work.push(retry),
                Err(error) => tell(&service, &[(SYSTEM, error)]),
            }
        }
        for over in at_work.extract_if(.., Retry::is_over) {
            tell(&over.service.clone(), &over.end());
        }
        if (at_work.is_empty() && to_do.is_empty()) || began.elapsed() >= waiting.timeout {
            break;
        }
        std::thread::sleep(LOOK);
    }
    for retry in at_work {
        leave_one(&retry.service);
        tell(&retry.service, &[(NOT_IN_TIME, "not over in time, and goes on".to_owned())]);
    }
    for (service, _) in to_do {
        tell(&service, &[(NOT_IN_TIME, "not begun in time".to_owned())]);
    }
    report.end();
    code
}

/// One spool that is being delivered.
struct Retry {
    service: Service,
    /// What was in it before.
    before: Vec<Kept>,
    svalarm: Child,
    /// The one that served the spool before was told to end, and ours starts once more when it has.
    ending: Option<(Pidfd, Instant)>,
    is_second: bool,
    /// How svalarm ended, or why that is not known.
    ended: Result<Option<i32>, String>,
    /// What could not be put back, and why.
    refused: Vec<Ended>,
}

impl Retry {
    fn begin(service: Service, before: Vec<Kept>) -> Result<Self, String> {
        let refused = requeue(&service, &before);
        let svalarm = start(&service.dir, &NOW)?;
        Ok(Self { service, before, svalarm, ending: None, is_second: false, ended: Ok(None), refused })
    }

    /// Whether the attempt is over.
    fn is_over(&mut self) -> bool {
        self.go_on().unwrap_or_else(|error| {
            self.ended = Err(error);
            true
        })
    }

    fn go_on(&mut self) -> Result<bool, String> {
        if let Some((server, told)) = &self.ending {
            if is_alive(server) && told.elapsed() < END {
                return Ok(false);
            }
            self.ending = None;
            self.svalarm = start(&self.service.dir, &NOW)?;
        }
        let Some(status) = self.svalarm.try_wait().map_err(|error| why_io(&error))? else { return Ok(false) };
        if status.code() == Some(i32::from(BUSY)) && !self.is_second {
            self.is_second = true;
            self.ending = end_server(&self.service.dir).map(|server| (server, Instant::now()));
            if self.ending.is_none() {
                self.svalarm = start(&self.service.dir, &NOW)?; // it has just ended by itself
            }
            return Ok(false);
        }
        self.ended = Ok(status.code());
        Ok(true)
    }

    /// What came of it.
    fn end(self) -> Vec<Ended> {
        let Self { service, before, ended, refused: mut lines, .. } = self;
        let left = Directory::open(&service.dir).and_then(|dir| alarm::list(&dir)).map_err(why);
        let (left, code) = match (left, ended) {
            (Ok(left), Ok(code)) => (left, code),
            (Err(error), _) | (_, Err(error)) => return vec![(SYSTEM, error)],
        };
        let mut is_missing = false;
        for kept in &left {
            for (recipient, delivery) in &kept.recipients {
                let why = match (delivery, kept.place) {
                    (Delivery::Accepted, _) => continue,
                    (Delivery::Refused(_), Place::Queue) => continue, // told of below, from `failed`
                    (Delivery::Refused(reason), Place::Failed) => format!("refused: {reason}"),
                    (Delivery::ToCome(reason), _) => reason.clone().unwrap_or_else(|| "still to come".to_owned()),
                };
                is_missing = true;
                lines.push((NOT_SO, format!("{} {recipient}: {why}", kept.id)));
            }
        }
        let gone = before.len().saturating_sub(left.len());
        if gone > 0 {
            lines.push((DONE, format!("{gone} delivered")));
        }
        if left.iter().any(|kept| kept.place == Place::Queue) {
            leave_one(&service);
        }
        if code == Some(i32::from(BUSY)) && is_missing {
            lines.push((NOT_SO, "another svalarm is at work there, and goes on by itself".to_owned()));
        }
        lines
    }
}

/// Where no supervise starts the next svalarm in time, one stays until all is delivered.
fn leave_one(service: &Service) {
    if Directory::open(&service.dir).is_ok_and(|dir| Liveness::of(&dir) != Liveness::Lives) {
        let _ = start(&service.dir, &[]); // it follows one that is at work
    }
}

fn is_alive(process: &Pidfd) -> bool {
    let mut poll = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    nix::poll::poll(&mut poll, PollTimeout::ZERO) == Ok(0)
}

/// Puts the failed ones back into the queue; the answer: a line for each that could not be.
fn requeue(service: &Service, kept: &[Kept]) -> Vec<Ended> {
    let failed = kept.iter().filter(|kept| kept.place == Place::Failed);
    let put_back = |kept: &Kept| {
        let dir = Directory::open(&service.dir).map_err(why)?;
        alarm::requeue(&dir, &kept.id)
    };
    failed
        .filter_map(|kept| put_back(kept).err().map(|error| format!("{} stays in alarms/failed: {error}", kept.id)))
        .map(|line| (NOT_SO, line))
        .collect()
}
