//! The last step before the loop: what was opened, read and decided becomes a supervise.

use std::ffi::OsStr;
use std::os::fd::AsFd;

use nix::unistd::Pid;

use super::Caller;
use super::claim_file::ClaimFile;
use super::command::{Running, ServiceCommand};
use super::conf::{ConfFile, Loaded};
use super::debts::Debts;
use super::options::Options;
use super::publish::Publisher;
use super::service::Service;
use super::setup::{conf_file, conf_lines};
use super::svalarm::Svalarm;
use super::texts::Line;
use super::turn::{Supervisor, Troubles};
use super::upgrade::Upgrade;
use super::wait::Ready;
use crate::alarm;
use crate::policy::{Event, Policy, Stamp};
use crate::statusdir::{Control, Directory, Lock, Logs, OkFifo};
use crate::sys::{self, Signals, why};
use crate::text::escape;

/// What a supervise is made of; the names are those of [`Supervisor`].
pub(super) struct Parts {
    pub(super) options: Options,
    pub(super) at: String,
    pub(super) dir: Directory,
    pub(super) lock: Lock,
    pub(super) control: Control,
    pub(super) ok: OkFifo,
    pub(super) signals: Signals,
    pub(super) stdin_is_null: bool,
    pub(super) loaded: Loaded,
    pub(super) claim: Option<ClaimFile>,
    pub(super) boot: String,
    pub(super) command: ServiceCommand,
    pub(super) running: Running,
    pub(super) policy: Policy,
    pub(super) first: Option<Event>,
    pub(super) service: Option<Service>,
    pub(super) pid_changed: Stamp,
    pub(super) adopted: bool,
    pub(super) debts: Debts,
    pub(super) troubles: Troubles,
    pub(super) svalarm: Svalarm,
    pub(super) upgrade: Upgrade,
    pub(super) lines: Vec<Line>,
}

impl Parts {
    /// The supervisor that is made of them.
    pub(super) fn assemble(mut self) -> Box<Supervisor> {
        let settings = &self.loaded.settings;
        let logs = Logs::new(settings.log_max_size, settings.log_backups);
        conf_lines(&self.loaded, if self.loaded.read { "" } else { "; no alarm policy" }, &mut self.lines);
        let now = sys::now();
        // Not on the stack, where it would keep every later call a page further down.
        Box::new(Supervisor {
            conf: conf_file(&self.loaded, now.stamp, ConfFile::default()),
            conf_generation: 0,
            settings: self.loaded.settings,
            host: host_name(),
            publisher: Publisher::new(),
            caller: Caller::none(),
            ready: Ready::default(),
            woken: sys::Wakeup::default(),
            report: None,
            not_started: None,
            called: false,
            stop_after_exec: false,
            refused_file: None,
            hook: None,
            late: None,
            exit_code: None,
            watched: sys::watch_directory(self.dir.as_fd()).is_ok(),
            logs,
            alarmed: self.running.clone(),
            undelivered: 0,
            now,
            first: self.first,
            debts: self.debts,
            service: self.service,
            troubles: self.troubles,
            adopted: self.adopted,
            at: self.at,
            options: self.options,
            dir: self.dir,
            lock: self.lock,
            control: self.control,
            ok: self.ok,
            signals: self.signals,
            session: sys::own_session().unwrap_or(Pid::from_raw(0)),
            stdin_is_null: self.stdin_is_null,
            claim: self.claim,
            boot: self.boot,
            running: self.running,
            command: self.command,
            policy: self.policy,
            pid_changed: self.pid_changed,
            svalarm: self.svalarm,
            upgrade: self.upgrade,
            lines: self.lines,
        })
    }
}

impl Supervisor {
    /// Opens the logs and looks into the spool: what the service need not wait for.
    pub(super) fn open_the_rest(&mut self) {
        let at = &self.at;
        for (name, errno) in self.logs.open(&self.dir) {
            self.lines.push(Line::warning(format!("unable to open {at}/{name}: {}; its lines are lost", why(errno))));
        }
        match alarm::make(&self.dir).and_then(|()| alarm::count(&self.dir)) {
            Ok(undelivered) => self.undelivered = undelivered,
            Err(errno) => {
                let what = format!("unable to open {at}/alarms: {}; what waits there is not known", why(errno));
                let seconds = self.deliver_later().as_secs();
                self.lines.push(Line::warning(format!("{what}, trying again in {seconds} s")));
            }
        }
        self.look_for_svalarm();
        if self.undelivered > 0 {
            self.deliver_now();
        }
    }
}

fn host_name() -> String {
    let name = nix::unistd::gethostname().unwrap_or_default();
    escape(OsStr::as_encoded_bytes(&name))
}
