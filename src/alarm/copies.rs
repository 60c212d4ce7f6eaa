//! The copies that are on their way: a process each, with a deadline.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::copy::{Outcome, REFUSED, SENT, UNREACHABLE};
use super::slots::Slot;
use super::times;
use super::ways::Way;
use crate::policy::Moment;
use crate::sys::{Target, ends_with_parent, kill, why_io};

/// This program, also where its file was replaced: each copy is delivered by a process of its own.
const PROGRAM: &str = "/proc/self/exe";
/// A reason is shorter.
const SAID: u64 = 4096;

/// Which copy of which message, and where it goes.
#[derive(Clone, Debug)]
pub(super) struct Addressed {
    /// The message.
    pub(super) id: String,
    /// The recipient's place in it.
    pub(super) number: usize,
    pub(super) way: Way,
    /// Copies with the same destination go to the same relay, program or web address.
    pub(super) destination: String,
    /// It was tried before.
    pub(super) again: bool,
}

#[derive(Debug)]
struct Copy {
    addressed: Addressed,
    child: Child,
    /// How long it may take, and until when that is.
    limit: Duration,
    deadline: Moment,
    killed: bool,
    /// What it said up to now.
    said: Vec<u8>,
    _slot: Option<Slot>,
}

/// All copies of one svalarm.
#[derive(Debug)]
pub(super) struct Copies {
    running: Vec<Copy>,
    deadline: Duration,
}

impl Copies {
    pub(super) fn new() -> Self {
        Self { running: Vec::new(), deadline: times::deadline() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// How many go this way now, and how many of them were tried before.
    pub(super) fn count(&self, way: Way) -> (usize, usize) {
        let there = self.running.iter().filter(|copy| copy.addressed.way == way);
        let (again, first): (Vec<_>, Vec<_>) = there.partition(|copy| copy.addressed.again);
        (first.len() + again.len(), again.len())
    }

    /// When the first of them has to be looked at, if it does not end before.
    pub(super) fn next_deadline(&self) -> Option<Moment> {
        self.running.iter().filter(|copy| !copy.killed).map(|copy| copy.deadline).min()
    }

    /// Lets a copy go; it reads the message from its file.
    pub(super) fn start(
        &mut self,
        message: File,
        addressed: Addressed,
        slot: Option<Slot>,
        now: Moment,
    ) -> std::io::Result<()> {
        let mut command = Command::new(PROGRAM);
        command.arg0("svalarm"); // for ps(1)
        command.args(["--copy", &addressed.number.to_string()]);
        command.stdin(message).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        ends_with_parent(&mut command);
        let child = command.spawn()?;
        if let Some(stdout) = child.stdout.as_ref() {
            let _ = fcntl(stdout, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)); // it is a pipe, which can do that
        }
        let (limit, deadline) = (self.deadline, now + self.deadline);
        self.running.push(Copy { addressed, child, limit, deadline, killed: false, said: Vec::new(), _slot: slot });
        Ok(())
    }

    /// Takes the copies that have come to an end, with what became of them, and ends those that do not.
    pub(super) fn reap(&mut self, now: Moment) -> Vec<(Addressed, Outcome)> {
        let mut ended = Vec::new();
        for (place, copy) in self.running.iter_mut().enumerate() {
            match copy.child.try_wait() {
                Ok(None) if copy.deadline <= now && !copy.killed => copy.end_or_extend(),
                Ok(None) => {}
                Ok(Some(_)) | Err(_) => ended.push(place),
            }
        }
        ended.into_iter().rev().map(|place| self.running.swap_remove(place)).map(Copy::outcome).collect()
    }

    /// Ends them all.
    pub(super) fn kill(&mut self) {
        for copy in &mut self.running {
            copy.kill();
            let _ = copy.child.wait();
        }
        self.running.clear();
    }
}

impl Copy {
    /// Its time is over. A relay that has the whole mail gets more: to ask again would be to send it twice.
    fn end_or_extend(&mut self) {
        self.listen();
        let more = times::to_take_a_mail();
        if self.said.starts_with(SENT.as_bytes()) && self.limit < more {
            self.limit += more;
            self.deadline = self.deadline + more;
        } else {
            self.kill(); // its end comes as a signal
        }
    }

    fn kill(&mut self) {
        self.killed = true;
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(0));
        let _ = kill(pid, Target::Group, Signal::SIGKILL);
    }

    /// Takes what it has said, without waiting for more.
    fn listen(&mut self) {
        if let Some(stdout) = self.child.stdout.as_mut() {
            let _ = stdout.take(SAID).read_to_end(&mut self.said); // EAGAIN, at its end
        }
    }

    fn outcome(mut self) -> (Addressed, Outcome) {
        self.listen();
        let said = String::from_utf8_lossy(&self.said);
        let said = said.strip_prefix(SENT).unwrap_or(&said).trim().to_owned();
        let outcome = match self.child.wait().map(|status| (status.code(), status)) {
            _ if self.killed => Outcome::Unreachable(format!("no end within {} s", self.limit.as_secs_f64())),
            Ok((Some(0), _)) => Outcome::Accepted,
            Ok((Some(code), _)) if code == i32::from(REFUSED) => Outcome::Refused(said),
            Ok((Some(code), _)) if code == i32::from(UNREACHABLE) => Outcome::Unreachable(said),
            Ok((Some(_), _)) if !said.is_empty() => Outcome::Again(said),
            Ok((_, status)) => Outcome::Again(format!("its delivery ended with {status}")),
            Err(error) => Outcome::Again(why_io(&error)),
        };
        (self.addressed, outcome)
    }
}
