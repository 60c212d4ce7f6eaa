//! `U`: the program at the path that this one was started from is asked if it can go on from here, and executed in the
//! place of this one if it says yes.

use std::ffi::{CString, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::{Pid, pipe2};

use super::answer::{self, ASKS};
use super::claim_file::ClaimFile;
use super::hand_over::{HandOver, VARIABLE};
use super::helper::Helper;
use super::service::Service;
use super::texts::Line;
use super::turn::Supervisor;
use crate::policy::{Ended, Moment, Stamp};
use crate::statusdir::ended_text;
use crate::sys::{Launch, Output, Program, Target, kill, launch, pass_exec, why};
use crate::text::{escape, printable};

/// A program that takes longer to say yes would take long to begin.
const PATIENCE: Duration = Duration::from_secs(10);

/// A script can't be executed by a descriptor that is closed by it (execveat(2), ENOENT), and a program not without its
/// loader.
const NOT_ALONE: &str = " (it is a script, or the loader that it names is missing)";

/// The upgrades of one supervise.
#[derive(Debug)]
pub(super) struct Upgrade {
    /// What is opened; `None`: it could not be told at the start.
    path: Option<PathBuf>,
    /// `U` came, and is not seen to yet.
    asked: bool,
    attempt: Option<Attempt>,
    /// When this version took the place of another.
    pub(super) done: Option<Stamp>,
    /// Why the last attempt failed, after its time.
    pub(super) problem: Option<String>,
    /// Counts what there is to publish.
    pub(super) generation: u32,
}

#[derive(Debug)]
enum Attempt {
    /// It runs as a child, and is to say if it can go on.
    Asked { child: Helper, answer: OwnedFd, program: Rc<Program>, until: Moment },
    /// It can.
    Agreed(Rc<Program>),
}

impl Upgrade {
    /// There was none yet.
    pub(super) fn none(path: Option<PathBuf>) -> Self {
        Self { path, asked: false, attempt: None, done: None, problem: None, generation: 0 }
    }

    /// There was one just now. `asked`: there is to be another.
    pub(super) fn done(path: Option<PathBuf>, asked: bool, at: Stamp) -> Self {
        Self { asked, done: Some(at), ..Self::none(path) }
    }

    pub(super) fn ask(&mut self) {
        self.asked = true;
    }

    /// Until then the program that is asked has time.
    pub(super) fn deadline(&self) -> Option<Moment> {
        match self.attempt.as_ref()? {
            Attempt::Asked { until, .. } => Some(*until),
            Attempt::Agreed(_) => None,
        }
    }

    /// The child that is asked has this pid.
    pub(super) fn asks(&self, pid: Pid) -> bool {
        matches!(&self.attempt, Some(Attempt::Asked { child, .. }) if child.pid() == pid)
    }

    /// It only waits for what is half done.
    pub(super) fn has_agreed(&self) -> bool {
        matches!(self.attempt, Some(Attempt::Agreed(_)))
    }

    fn path_text(&self) -> String {
        self.path.as_ref().map_or_else(String::new, |path| escape(path.as_os_str().as_encoded_bytes()))
    }
}

impl Supervisor {
    /// Asks the other program, if `U` came, and ends one that has not answered in time.
    #[inline(never)] // its variables would be on the stack of every turn
    pub(super) fn upgrade_when_asked(&mut self) {
        if self.upgrade.deadline().is_some_and(|until| until <= self.now.moment)
            && let Some(Attempt::Asked { child, .. }) = self.upgrade.attempt.take()
        {
            let _ = kill(child.pid(), Target::Group, Signal::SIGKILL); // it may have ended
            let seconds = PATIENCE.as_secs();
            self.upgrade_failed(&format!("{} has not answered within {seconds} s", self.upgrade.path_text()));
        }
        if self.upgrade.attempt.is_none() && self.exit_code.is_none() && std::mem::take(&mut self.upgrade.asked) {
            match self.ask_program() {
                Ok(attempt) => self.upgrade.attempt = Some(attempt),
                Err(problem) => self.upgrade_failed(&problem),
            }
        }
    }

    fn ask_program(&self) -> Result<Attempt, String> {
        let path = self.upgrade.path.as_ref().ok_or("it is not known which file this one was started from")?;
        let name = self.upgrade.path_text();
        let unable = |doing: &'static str| move |errno| format!("unable to {doing}: {}", why(errno));
        // O_PATH: it need not be readable to be executed.
        let file = open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(|errno| format!("unable to open {name}: {}", why(errno)))?;
        let question = self.hand_over().write().map_err(unable("make a file in memory"))?;
        let (answer, tell) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).map_err(unable("make a pipe"))?;
        let program = Program::of_file(file, &words(Some(ASKS))).ok_or("this one was started without a name")?;
        let program = Rc::new(program);
        let launched = launch(Launch {
            program: &program,
            output: Output::Dialogue { question: question.as_fd(), answer: tell.as_fd() },
            own_session: false,
            hup_ignored: false,
            ends_with_parent: Some(Pid::this()),
            claim: None,
        })
        .map_err(unable("start a process"))?;
        Ok(Attempt::Asked { child: Helper::new(launched), answer, program, until: self.now.moment + PATIENCE })
    }

    /// The child that was asked was reaped.
    #[inline(never)] // its variables would be on the stack of every turn
    pub(super) fn asked_ended(&mut self, ended: Ended) {
        let Some(Attempt::Asked { child, answer, program, .. }) = self.upgrade.attempt.take() else { return };
        let name = self.upgrade.path_text();
        if let Some(errno) = child.failure() {
            // The file itself is there: it was opened.
            let missing = if errno == Errno::ENOENT { NOT_ALONE } else { "" };
            return self.upgrade_failed(&format!("unable to execute {name}: {}{missing}", why(errno)));
        }
        match (answer::read(answer.as_fd()), ended) {
            (Some(Ok(())), Ended::Code(0)) => self.upgrade.attempt = Some(Attempt::Agreed(program)),
            (Some(Err(reason)), _) => self.upgrade_failed(&format!("{name} says no: {}", printable(&reason))),
            (_, ended) => self.upgrade_failed(&format!("{name} gave no answer ({})", ended_text(ended))),
        }
    }

    fn upgrade_failed(&mut self, problem: &str) {
        self.no_upgrade(problem, "goes on");
    }

    /// This version was executed, and could not use what it was handed: it has started as after a death of the other.
    pub fn has_begun_anew(&mut self) {
        self.no_upgrade("what was handed over could not be used", "has begun anew");
    }

    fn no_upgrade(&mut self, problem: &str, instead: &str) {
        let (seconds, nanos) = (self.now.stamp.seconds(), self.now.stamp.nanos());
        self.upgrade.problem = Some(format!("{seconds}.{nanos:09} {problem}"));
        self.upgrade.generation = self.upgrade.generation.wrapping_add(1);
        let version = env!("CARGO_PKG_VERSION");
        self.lines.push(Line::warning(format!("no upgrade: {problem}; version {version} {instead}")));
    }

    /// Where the start of a helper is told: as long as one is between fork and exec, the exec has to wait.
    pub(super) fn awaited_reports(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let helpers = [self.hook.as_ref(), self.svalarm.running.as_ref()];
        helpers.into_iter().flatten().filter_map(Helper::report).filter(|_| self.upgrade.has_agreed())
    }

    /// Executes the program that agreed, once nothing is half done. Returns only if it is not executed.
    pub(super) fn upgrade_when_ready(&mut self) {
        if !self.upgrade.has_agreed() {
            return;
        }
        let hook = self.hook.as_mut().is_none_or(Helper::is_executed);
        let svalarm = self.svalarm.running.as_mut().is_none_or(Helper::is_executed);
        if self.report.is_some() || self.late.is_some() || self.exit_code.is_some() || !hook || !svalarm {
            return;
        }
        let Some(Attempt::Agreed(program)) = self.upgrade.attempt.take() else { return };
        let Err(errno) = self.execute(&program);
        self.upgrade_failed(&format!("unable to execute {}: {}", self.upgrade.path_text(), why(errno)));
        self.publish();
        self.write_lines();
    }

    fn execute(&self, program: &Program) -> Result<std::convert::Infallible, Errno> {
        let program = program.with_words(&words(None)).ok_or(Errno::EINVAL)?;
        let question = self.hand_over().write()?;
        let value = format!("{} {}", question.as_raw_fd(), std::process::id());
        let variable = [VARIABLE.to_bytes(), b"=", value.as_bytes()].concat();
        let variable = CString::new(variable).map_err(|_| Errno::EINVAL)?;
        let mut passed = self.held();
        passed.push(question.as_fd());
        let opened = passed.iter().try_for_each(|&fd| pass_exec(fd, true));
        let failed = opened.err().unwrap_or_else(|| program.replace_process(&variable));
        for fd in passed {
            let _ = pass_exec(fd, false); // of one that is open it can't be refused
        }
        Err(failed)
    }

    /// The descriptors that the next program gets beside the hand-over itself.
    fn held(&self) -> Vec<BorrowedFd<'_>> {
        let pidfd = self.service.as_ref().and_then(Service::pidfd).map(AsFd::as_fd);
        let claim = self.claim.as_ref().map(ClaimFile::to_hand_over);
        let mut held = vec![self.dir.as_fd(), self.lock.as_fd(), self.ok.as_fd()];
        held.extend(self.control.descriptors().chain(claim).chain(pidfd));
        held
    }

    fn hand_over(&self) -> HandOver {
        let service = self.service.as_ref();
        HandOver {
            claim: self.claim_now(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            supervise: std::process::id(),
            path: self.upgrade.path.clone(),
            dir: self.dir.as_raw_fd(),
            lock: self.lock.as_fd().as_raw_fd(),
            ok: self.ok.as_fd().as_raw_fd(),
            fifos: self.control.descriptors().map(|fd| fd.as_raw_fd()).collect(),
            claim_file: self.claim.as_ref().map(|claim| claim.to_hand_over().as_raw_fd()),
            pidfd: service.and_then(Service::pidfd).map(|pidfd| pidfd.as_fd().as_raw_fd()),
            hook: self.hook.as_ref().map(|hook| hook.pid().as_raw()),
            svalarm: self.svalarm.running.as_ref().map(|svalarm| svalarm.pid().as_raw()),
            standing: self.policy.standing(),
            pid_changed: self.pid_changed,
            asked_again: self.upgrade.asked,
            has_conf: self.conf.read.is_some(),
            running: self.running.clone(),
        }
    }
}

/// The words that this process was started with, with an option before those of the user.
fn words(option: Option<&str>) -> Vec<OsString> {
    let mut words = crate::sys::words();
    if let Some(option) = option {
        words.insert(words.len().min(1), option.into());
    }
    words
}
