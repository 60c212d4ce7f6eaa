//! The loop. One turn: signals, commands, what has ended, what has been reported, the deadline; then all that is to
//! be written about it.

use nix::errno::Errno;
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
use super::texts::Line;
use super::upgrade::Upgrade;
use super::wait::Ready;
use crate::config::{KillMode, Settings};
use crate::policy::{Ended, Event, Moment, Now, Policy, Sig};
use crate::statusdir::{Control, Directory, Lock, Logs, OkFifo, command_of, is_ignored};
use crate::sys::{Pidfd, Signals, StartReport, Target, Wakeup, give_back_memory, now, why};

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

    /// Signals first, then one read from each fifo. What else the signals told is kept for its place in the turn.
    pub(super) fn listen(&mut self) {
        let wakeup = self.signals.take();
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
