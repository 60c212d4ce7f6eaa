//! `svc alarm test`: a message to everybody who gets the alarms of a service, and who has got it.

mod compose;

use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::Signal;

use self::compose::{Composed, compose};
use super::arguments::{Names, Waiting};
use super::delivery::start;
use super::exit::{DONE, NOT_IN_TIME, NOT_SO, SYSTEM};
use super::interrupts::{Interrupts, code_of};
use super::limits::allow_many_files;
use super::report::{Ended, Report};
use super::terminal::say;
use crate::alarm::{self, BUSY, Delivery, Kept, Place};
use crate::client::{Service, refusal};
use crate::statusdir::Directory;
use crate::sys::{why, why_io};

/// How often the spools are looked at: an attempt takes as long as a relay does.
const LOOK: Duration = Duration::from_millis(50);
/// Where another svalarm serves the spool, it is asked to look again after so long.
const AFTER_BUSY: Duration = Duration::from_secs(2);
/// So many svalarms of ours are at work at once. More of them would only want for memory.
const AT_ONCE: usize = 64;

/// Tests all of them at once, and returns the exit code.
pub(super) fn run(root: &Path, names: &Names, waiting: &Waiting) -> u8 {
    // Before anything is sent: what is in a spool is taken back, whatever ends this.
    let interrupts = match Interrupts::new() {
        Ok(interrupts) => interrupts,
        Err(errno) => {
            say(&format!("unable to receive signals: {}", why(errno)));
            return SYSTEM;
        }
    };
    allow_many_files();
    let named = names.find(root);
    let mut report = Report::new(&named, waiting.quiet);
    let mut code = named.code;
    let mut tell = |service: &Service, ended: &[Ended]| {
        code = code.max(report.over(&service.shown(), ended));
    };
    let began = Instant::now();
    let mut tests = Vec::new();
    for (number, service) in named.services.iter().enumerate() {
        match Test::begin(service, number) {
            Ok(test) => tests.push(test),
            Err(ended) => tell(service, &[ended]),
        }
    }
    let mut signal = None;
    while !tests.is_empty() && signal.is_none() && began.elapsed() < waiting.timeout {
        let mut room = AT_ONCE.saturating_sub(tests.iter().filter(|test| test.svalarm.is_some()).count());
        for test in tests.extract_if(.., |test| test.is_over(&mut room)) {
            tell(test.service, &test.end(None));
        }
        if !tests.is_empty() {
            signal = interrupts.wait(LOOK);
        }
    }
    for test in tests {
        tell(test.service, &test.end(signal));
    }
    report.end();
    code
}

/// One service.
struct Test<'a> {
    service: &'a Service,
    dir: Directory,
    recipients: Vec<String>,
    id: String,
    /// At work for us. A supervise that lives does not know of this message.
    svalarm: Option<Child>,
    /// The next one is not started before.
    next_start: Instant,
    /// Why it can't go on.
    problem: Option<String>,
}

impl<'a> Test<'a> {
    /// Puts the message into the spool.
    fn begin(service: &'a Service, number: usize) -> Result<Self, Ended> {
        let dir = Directory::open(&service.dir).map_err(|errno| (SYSTEM, refusal(&service.dir, errno)))?;
        let Composed { recipients, text, id } = compose(service, &dir, number)?;
        alarm::submit(&dir, &id, &text).map_err(|errno| (SYSTEM, refusal(&service.dir.join("alarms"), errno)))?;
        Ok(Self { service, dir, recipients, id, svalarm: None, next_start: Instant::now(), problem: None })
    }

    /// Sees whether there is nothing more to wait for; else that an svalarm is at work, again and again. `room`: so many
    /// more may be.
    fn is_over(&mut self, room: &mut usize) -> bool {
        self.go_on(room).unwrap_or_else(|problem| {
            self.problem = Some(problem);
            true
        })
    }

    fn go_on(&mut self, room: &mut usize) -> Result<bool, String> {
        let mut kept = alarm::list(&self.dir).map_err(why)?.into_iter();
        let Some(kept) = kept.find(|kept| kept.id == self.id && kept.place == Place::Queue) else { return Ok(true) };
        match self.svalarm.as_mut() {
            None if kept.due_in.is_zero() && Instant::now() >= self.next_start && *room > 0 => {
                self.svalarm = Some(start(&self.service.dir, &["--once"])?);
                *room -= 1;
            }
            None => {}
            Some(child) => match child.try_wait().map_err(|error| why_io(&error))? {
                None => {}
                Some(status) if status.success() => self.svalarm = None,
                // Another one is at work there, and has been told to look.
                Some(status) if status.code() == Some(i32::from(BUSY)) => {
                    self.svalarm = None;
                    self.next_start = Instant::now() + AFTER_BUSY;
                }
                Some(status) => return Err(format!("svalarm ended with {status}: see supervise.log.wf")),
            },
        }
        Ok(false)
    }

    /// Takes back what is still there. The answer: a line for each recipient. `signal`: what cut it short.
    fn end(mut self, signal: Option<Signal>) -> Vec<Ended> {
        let left = alarm::list(&self.dir).unwrap_or_else(|errno| {
            self.problem.get_or_insert_with(|| why(errno));
            Vec::new()
        });
        let left: Vec<Kept> = left.into_iter().filter(|kept| kept.id == self.id).collect();
        // It is no alarm: nobody is to be woken by it next week, and it is nothing to keep.
        for place in [Place::Queue, Place::Failed] {
            if let Err(errno) = alarm::remove(&self.dir, place, &self.id)
                && errno != Errno::ENOENT
            {
                let refusal = refusal(&self.service.dir.join("alarms"), errno);
                self.problem.get_or_insert_with(|| format!("unable to withdraw it: {refusal}"));
            }
        }
        // An svalarm that is still at work goes on with what else waits there.
        match self.problem {
            Some(problem) => vec![(SYSTEM, problem)],
            None => self.recipients.iter().map(|recipient| self.outcome(&left, recipient, signal)).collect(),
        }
    }

    fn outcome(&self, left: &[Kept], recipient: &str, signal: Option<Signal>) -> Ended {
        let fate = |place: Place| {
            let kept = left.iter().find(|kept| kept.place == place)?;
            kept.recipients.iter().find(|(line, _)| *line == recipient).map(|(_, delivery)| delivery)
        };
        match (fate(Place::Failed), fate(Place::Queue), signal) {
            (Some(Delivery::Refused(reason)), _, _) | (_, Some(Delivery::Refused(reason)), _) => {
                (NOT_SO, format!("{recipient}: refused: {reason}"))
            }
            (_, Some(Delivery::ToCome(_)), Some(signal)) => {
                (code_of(signal), format!("{recipient}: interrupted, and withdrawn"))
            }
            (_, Some(Delivery::ToCome(reason)), None) => {
                let reason = reason.as_deref().unwrap_or("no answer yet");
                (NOT_IN_TIME, format!("{recipient}: not delivered in time, and withdrawn: {reason}"))
            }
            _ => (DONE, format!("{recipient}: delivered")),
        }
    }
}
