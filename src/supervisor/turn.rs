//! The loop. One turn: signals, commands, what has ended, what has been reported, the deadline; then all that is to
//! be written about it.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use nix::unistd::Pid;

use super::Caller;
use super::backoff::Backoff;
use super::claim_file::ClaimFile;
use super::command::{Running, ServiceCommand};
use super::conf::ConfFile;
use super::debts::Debts;
use super::helper::Helper;
use super::options::Options;
use super::publish::Publisher;
use super::service::Service;
use super::svalarm::Svalarm;
use super::texts::{self, Line};
use super::upgrade::Upgrade;
use crate::config::{KillMode, Settings};
use crate::policy::{Ended, Event, Exit, Moment, Now, Policy, Sig};
use crate::statusdir::{Control, Directory, Lock, Logs, OkFifo, command_of, is_ignored};
use crate::sys::{
    ExitStatus, Pidfd, Report, Signals, StartReport, Step, Target, Wakeup, give_back_memory, kill, now, reap_next, why,
};
use crate::text::escape;

/// The exit status of an adopted service is waited for so long (docs/operation.md, "Adoption").
const LATE_STATUS: Duration = Duration::from_secs(5);

/// A child has most often become the service after a fifth of a millisecond, and twice that on a busy machine. What is
/// to be written about it can wait as long.
const EXECUTION: Duration = Duration::from_micros(500);
/// With an alarm there is more to write, and svalarm to be started: the new service's first milliseconds are left to it.
const BEGINNING: Duration = Duration::from_millis(3);

/// Of the commands of one turn so many are logged.
const COMMANDS_LOGGED: usize = 64;

/// A running supervise.
#[derive(Debug)]
pub struct Supervisor {
    pub(super) options: Options,
    /// The status directory in texts.
    pub(super) at: String,
    pub(super) dir: Directory,
    /// Held until the process ends.
    pub(super) lock: Lock,
    pub(super) control: Control,
    pub(super) ok: OkFifo,
    /// The kernel tells when a name in the status directory changes.
    pub(super) watched: bool,
    pub(super) signals: Signals,
    pub(super) logs: Logs,
    /// `None`: it could not be opened so far.
    pub(super) claim: Option<ClaimFile>,
    pub(super) boot: String,
    pub(super) host: String,
    pub(super) settings: Settings,
    pub(super) conf: ConfFile,
    pub(super) conf_generation: u32,
    /// What the next start runs.
    pub(super) command: ServiceCommand,
    pub(super) running: Running,
    /// What the alarms that are owed are about.
    pub(super) alarmed: Running,
    pub(super) policy: Policy,
    pub(super) first: Option<Event>,
    pub(super) service: Option<Service>,
    /// The one that supervise leads, in which the service is started; 0: it leads none.
    pub(super) session: Pid,
    pub(super) pid_changed: crate::policy::Stamp,
    pub(super) adopted: bool,
    /// The start report of the service that was started last, until its exec.
    pub(super) report: Option<StartReport>,
    /// It failed before its exec, and is about to exit.
    pub(super) not_started: Option<Ended>,
    /// Something came while supervise stood aside for a child.
    pub(super) called: bool,
    /// The service is to be stopped once it has been executed.
    pub(super) stop_after_exec: bool,
    /// The file that the kernel refused to execute, as it was found in PATH.
    pub(super) refused_file: Option<String>,
    /// The running hook.
    pub(super) hook: Option<Helper>,
    /// An adopted service that has ended, whose status is still to come, until then at the latest.
    pub(super) late: Option<(Pidfd, Moment)>,
    pub(super) debts: Debts,
    pub(super) undelivered: u64,
    pub(super) svalarm: Svalarm,
    pub(super) upgrade: Upgrade,
    pub(super) publisher: Publisher,
    pub(super) caller: Caller,
    pub(super) stdin_is_null: bool,
    pub(super) troubles: Troubles,
    pub(super) ready: Ready,
    /// What signals told and was not seen to yet.
    pub(super) woken: Wakeup,
    pub(super) now: Now,
    /// What is to be logged at the end of the turn.
    pub(super) lines: Vec<Line>,
    /// Once supervise is done.
    pub(super) exit_code: Option<u8>,
}

/// What failed last time, so that it is said once and not with every turn.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    pub(super) claiming: Backoff,
    pub(super) mending: bool,
    pub(super) mending_ok: bool,
    pub(super) lock_is_lost: bool,
    pub(super) no_recipients: bool,
}

/// What poll found.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ready {
    /// Something else came.
    no_signal: bool,
    report: bool,
    adopted: bool,
    late: bool,
}

impl Supervisor {
    /// Starts the service, or takes over a living one, and keeps it running. Returns the exit code once there is
    /// nothing left to do.
    #[must_use]
    pub fn run(mut self: Box<Self>, caller: Caller) -> u8 {
        self.caller = if self.stdin_is_null { caller } else { caller.kept() };
        self.now = now();
        match self.first.take() {
            Some(first) => {
                self.event(first);
                self.open_the_rest();
            }
            None => {
                self.open_the_rest();
                self.turn(); // it goes on in the middle of a life
            }
        }
        let mut settled = false;
        loop {
            if let Some(code) = self.end_turn() {
                return code;
            }
            if !std::mem::replace(&mut settled, true) {
                give_back_memory(); // what only the start needed
            }
            self.wait();
            self.turn();
        }
    }

    fn turn(&mut self) {
        self.listen();
        if self.ready.adopted {
            self.adopted_ended();
        }
        if std::mem::take(&mut self.woken.child) {
            self.reap();
        }
        self.read_report();
        self.watch_late();
        if std::mem::take(&mut self.woken.directory) || !self.watched {
            self.mend_names();
        }
        if self.policy.next_deadline().is_some_and(|deadline| deadline <= self.now.moment) {
            self.event(Event::Deadline);
        }
        // What came while supervise stood aside does not wait for what is to be written.
        if std::mem::take(&mut self.called) {
            self.listen();
            if std::mem::take(&mut self.woken.child) {
                self.reap();
            }
            if std::mem::take(&mut self.woken.directory) {
                self.mend_names();
            }
        }
        self.deliver_when_due();
        self.upgrade_when_asked();
    }

    /// Waits until something happens or a deadline passes.
    fn wait(&mut self) {
        let deadlines = [
            self.policy.next_deadline(),
            self.late.as_ref().map(|(_, until)| *until),
            self.debts.deadline(),
            self.publisher.deadline(),
            // While a child writes its own, supervise writes none.
            self.troubles.claiming.deadline().filter(|_| self.report.is_none()),
            self.svalarm.deadline(),
            self.upgrade.deadline(),
        ];
        let timeout =
            deadlines.into_iter().flatten().min().map(|deadline| TimeSpec::from_duration(deadline.since(now().moment)));
        let mut descriptors = Vec::with_capacity(7);
        descriptors.push(PollFd::new(self.signals.as_fd(), PollFlags::POLLIN));
        let mut places = [None; 3];
        for (place, (there, flags)) in places.iter_mut().zip([
            (self.report.as_ref().filter(|_| self.not_started.is_none()).map(AsFd::as_fd), PollFlags::POLLIN),
            (self.service.as_ref().and_then(Service::pidfd).map(AsFd::as_fd), PollFlags::POLLIN),
            // Only POLLHUP is waited for, which needs no asking: the end of the zombie.
            (self.late.as_ref().map(|(process, _)| process.as_fd()), PollFlags::empty()),
        ]) {
            if let Some(there) = there {
                *place = Some(descriptors.len());
                descriptors.push(PollFd::new(there, flags));
            }
        }
        for there in self.control.descriptors().chain(self.awaited_reports()) {
            descriptors.push(PollFd::new(there, PollFlags::POLLIN));
        }
        let found = ppoll(&mut descriptors, timeout, None).is_ok_and(|ready| ready > 0);
        let is_ready = |place: usize| found && descriptors[place].any() == Some(true);
        let [report, adopted, late] = places.map(|place| place.is_some_and(is_ready));
        self.ready = Ready { no_signal: found && !is_ready(0), report, adopted, late };
        self.now = now();
    }

    /// Leaves the processor and the status directory to the child that was just started, until it is the service: all
    /// that is to be written about it would only be in its way. A signal or a command ends this at once. It is a time
    /// and not the start report that ends it, since whoever is woken by an exec is in the way of what was executed.
    pub(super) fn let_it_execute(&mut self) {
        let mut fifos = self.control.descriptors();
        let mut descriptors: [PollFd<'_>; 3] = std::array::from_fn(|_| {
            PollFd::new(fifos.next().unwrap_or_else(|| self.signals.as_fd()), PollFlags::POLLIN)
        });
        let aside = if self.debts.owed().is_empty() { EXECUTION } else { BEGINNING };
        self.called = ppoll(&mut descriptors, Some(TimeSpec::from_duration(aside)), None).is_ok_and(|ready| ready > 0);
        self.ready.report = true;
    }

    /// Signals first, then one read from each fifo. What else the signals told is kept for its place in the turn.
    fn listen(&mut self) {
        let no_signal = std::mem::take(&mut self.ready.no_signal);
        let wakeup = if no_signal { Wakeup::default() } else { self.signals.take() };
        self.woken.child |= wakeup.child;
        self.woken.directory |= wakeup.directory;
        if wakeup.terminate {
            self.lines.push(Line::notice("supervise was sent TERM or INT: down, and exit"));
            self.event(Event::Terminate);
        }
        if wakeup.reload {
            self.read_conf();
        }
        self.obey_fifos();
    }

    pub(super) fn obey_fifos(&mut self) {
        let mut bytes = Vec::with_capacity(COMMANDS_LOGGED);
        self.control.read(&mut bytes);
        let mut unknown = 0_u32;
        let mut known = String::new();
        let line = self.lines.len(); // before what they bring about
        for byte in bytes {
            match command_of(byte) {
                Some(command) => {
                    self.event(Event::Command(command));
                    if known.len() < COMMANDS_LOGGED {
                        known.push(char::from(byte));
                    }
                }
                None if is_ignored(byte) => {}
                None => unknown += 1,
            }
        }
        if !known.is_empty() {
            let more = if known.len() < COMMANDS_LOGGED { "" } else { "..." };
            self.lines.insert(line.min(self.lines.len()), Line::notice(format!("commands: {known}{more}")));
        }
        if unknown > 0 {
            self.lines.push(Line::warning(format!(
                "{unknown} unknown {} on svcontrol ignored",
                if unknown == 1 { "byte" } else { "bytes" }
            )));
        }
    }

    /// Reaps every child that has ended.
    pub(super) fn reap(&mut self) {
        loop {
            let group = self.settings.kill_mode == KillMode::Group;
            let service = self.service.as_ref();
            let mut rest = Ok(());
            let reaped = reap_next(group.then_some(|pid| {
                if service.is_some_and(|service| service.is_child(pid)) {
                    rest = kill(pid, Target::Group, nix::sys::signal::Signal::SIGKILL);
                }
            }));
            self.lines.extend(texts::rest_not_ended(rest));
            let Some(reaped) = reaped else { return };
            if self.hook.as_ref().is_some_and(|hook| hook.pid() == reaped.pid) {
                self.hook_ended(reaped.ended);
            } else if self.svalarm.is(reaped.pid) {
                self.svalarm_ended(reaped.ended);
            } else if self.upgrade.asks(reaped.pid) {
                self.asked_ended(reaped.ended);
            } else if self.service.as_ref().is_some_and(|service| service.is_child(reaped.pid)) {
                let ended = self.last_report().unwrap_or(reaped.ended);
                self.service_ended(Exit {
                    pid: reaped.pid.as_raw(),
                    ended,
                    peak_kib: Some(reaped.peak_kib),
                    cpu_us: Some(reaped.cpu_us),
                });
            }
        }
    }

    /// The service is gone. What was said before this was known counts as said before it.
    fn service_ended(&mut self, exit: Exit) {
        self.service = None;
        self.pid_changed = self.now.stamp;
        self.adopted = false;
        self.listen();
        self.event(Event::Exited(exit));
    }

    /// What the child told of its start, now that it has ended. The answer: it never became the service.
    fn last_report(&mut self) -> Option<Ended> {
        let mut report = self.report.take()?;
        let (reports, _) = report.read();
        self.take_reports(reports);
        self.not_started.take()
    }

    fn take_reports(&mut self, reports: Vec<Report>) {
        for report in reports {
            if report.step.is_fatal() {
                let (step, errno) = (report.step as u8, report.errno as i32);
                self.not_started = Some(Ended::NotStarted { step, errno });
                self.refused_file = self.command.program.candidate(report.file).map(|file| escape(file.to_bytes()));
            }
            // A claim that can't be written is said once, whoever tries.
            if report.step != Step::Claim || self.troubles.claiming.fail(self.now.moment) {
                self.lines.extend(texts::step_failed(report, &self.at));
            }
        }
    }

    /// Reads what the child has told, if it may have told something.
    pub(super) fn read_report(&mut self) {
        if !std::mem::take(&mut self.ready.report) {
            return;
        }
        let Some(report) = self.report.as_mut() else { return };
        let (reports, is_over) = report.read();
        self.take_reports(reports);
        if is_over && self.not_started.is_none() {
            self.report = None; // it has become the service
            if std::mem::take(&mut self.stop_after_exec) && !self.signal(Sig::Stop) {
                self.event(Event::NotSent(Sig::Stop));
            }
        }
    }

    fn adopted_ended(&mut self) {
        let Some(process) = self.service.as_ref().and_then(Service::pidfd) else { return };
        let pid = process.pid().as_raw();
        if self.settings.kill_mode == KillMode::Group {
            let rest = process.signal(Target::Group, nix::sys::signal::Signal::SIGKILL);
            self.lines.extend(texts::rest_not_ended(rest));
        }
        let ended = match process.exit_status() {
            ExitStatus::Known(ended) => ended,
            ExitStatus::AfterReaping => Ended::Pending,
            ExitStatus::Unknown => Ended::Unknown,
        };
        if ended == Ended::Pending {
            let process = self.service.take().and_then(Service::into_pidfd);
            self.late = process.map(|process| (process, self.now.moment + LATE_STATUS));
        }
        self.service_ended(Exit { pid, ended, peak_kib: None, cpu_us: None });
    }

    /// The status of an adopted service that has ended is there, or will never be.
    fn watch_late(&mut self) {
        let Some((process, until)) = self.late.as_ref() else { return };
        if !self.ready.late && *until > self.now.moment {
            return;
        }
        let ended = match process.exit_status() {
            ExitStatus::Known(ended) => ended,
            ExitStatus::AfterReaping | ExitStatus::Unknown => Ended::Unknown,
        };
        self.late = None;
        self.event(Event::StatusKnown(ended));
    }

    fn hook_ended(&mut self, ended: Ended) {
        let Some(mut hook) = self.hook.take() else { return };
        self.lines.extend(hook.troubles().into_iter().filter_map(|report| texts::step_failed(report, &self.at)));
        match hook.failure() {
            Some(errno) => self.lines.push(Line::warning(format!(
                "unable to run the hook {}: {}; the start goes on without it",
                self.hook_name(),
                why(errno)
            ))),
            None if ended != Ended::Code(0) => {
                let how = crate::statusdir::ended_text(ended);
                self.lines.push(Line::warning(format!("the hook ended badly ({how}); the start goes on")));
            }
            None => {}
        }
        self.event(Event::HookEnded);
    }

    /// The program that the hook is, for texts.
    pub(super) fn hook_name(&self) -> String {
        let word = self.options.hook.as_ref().and_then(|hook| hook.words.first());
        escape(word.map_or(b"", |word| word.as_encoded_bytes()))
    }

    /// Sends a signal to the service, if there is one. False: it may not be sent, and the service is not stopped already.
    pub(super) fn signal(&mut self, sig: Sig) -> bool {
        // A child that were stopped before its exec would keep the lock for ever, and supervise from an upgrade.
        match sig {
            Sig::Stop if self.report.is_some() => {
                self.stop_after_exec = true;
                return true;
            }
            Sig::Cont => self.stop_after_exec = false,
            _ => {}
        }
        let target = match self.settings.kill_mode {
            KillMode::Process => Target::Process,
            KillMode::Group => Target::Group,
        };
        let sent = self.service.as_ref().map_or(Ok(()), |service| service.signal(sig, target));
        if let Err(errno) = sent {
            let text = if errno == Errno::EPERM { "it runs as another user".to_owned() } else { why(errno) };
            self.lines.push(Line::warning(format!("unable to send {sig:?} to the service: {text}")));
        }
        sent.is_ok() || sig == Sig::Stop && self.service.as_ref().is_some_and(Service::stands_still)
    }
}
