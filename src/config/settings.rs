//! What one module gets from supervise.conf, ready to use.

use std::ffi::OsString;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use super::keys::KEYS;
use super::transport::Transport;
use crate::policy::{HookRules, Rules};

/// The shortest alarm window: a shorter `alarm_interval` counts as this one, as ever.
pub(super) const SHORTEST_WINDOW: Duration = Duration::from_secs(60);

/// Every key of supervise.conf with the value that holds for one module. The default is what holds where
/// the file says nothing (docs/man/supervise.conf.5).
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// `alarm_interval`: the alarm window, 60 s and up; `None`: the classic keys are without effect.
    pub alarm_interval: Option<Duration>,
    /// `max_tries`: restarts in a window; `None`: no limit.
    pub max_tries: Option<NonZeroU32>,
    /// `max_tries_if_coredumped`: exits with a core in a window; `None`: no limit.
    pub max_tries_if_coredumped: Option<NonZeroU32>,
    /// `alarm_mail`: `user` or `user@domain`, each once.
    pub alarm_mail: Vec<String>,
    /// `alarm_gsm`: at most 10 telephone numbers, each once.
    pub alarm_gsm: Vec<String>,
    /// `command`: the words of what to run where the command line names nothing; the first is not empty
    /// and none holds a NUL, so they can be executed as they are.
    pub command: Option<Vec<OsString>>,
    /// `pacing`: from start to start, 0.1 s and up.
    pub pacing: Duration,
    /// `stop_timeout`: from TERM to KILL; `None`: never.
    pub stop_timeout: Option<Duration>,
    /// `kill_mode`: who gets the signals.
    pub kill_mode: KillMode,
    /// `hup`: what the service finds for SIGHUP.
    pub hup: Hup,
    /// `hook_timeout`: until a hook is killed; above 0.
    pub hook_timeout: Duration,
    /// `log_max_size`: of supervise.log and supervise.log.wf each, in bytes; above 0.
    pub log_max_size: u64,
    /// `log_backups`: old log files that are kept, 0 to 1000.
    pub log_backups: u32,
    /// `mail_transport`; `None`: sendmail if it is installed, else `smtp://localhost`.
    pub mail_transport: Option<Transport>,
    /// `mail_from`: the sender, `user` or `user@domain`; `None`: `supervise@HOST`.
    pub mail_from: Option<String>,
    /// `mail_password_file`: as written, so a relative one starts at the current folder. Whether others
    /// can read it is for its reader to see.
    pub mail_password_file: Option<PathBuf>,
    /// `gsm_command`: words as in `command`; `None`: the program `gsmsend-script`, if it is installed.
    pub gsm_command: Option<Vec<OsString>>,
    /// `alarm_exec`: words as in `command`.
    pub alarm_exec: Option<Vec<OsString>>,
    /// `alarm_webhook`: an `http://` or `https://` address with a host.
    pub alarm_webhook: Option<String>,
    /// `alarm_recovered`: whether to say so when the service runs again.
    pub alarm_recovered: bool,
}

/// Who gets a signal that is meant for the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KillMode {
    /// The service's own process.
    Process,
    /// Its process group.
    Group,
}

/// What the service finds for SIGHUP when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hup {
    /// SIG_IGN, as the classic program left it.
    Ignored,
    /// SIG_DFL.
    Default,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            alarm_interval: None,
            max_tries: None,
            max_tries_if_coredumped: None,
            alarm_mail: Vec::new(),
            alarm_gsm: Vec::new(),
            command: None,
            pacing: Duration::from_secs(1),
            stop_timeout: None,
            kill_mode: KillMode::Process,
            hup: Hup::Ignored,
            hook_timeout: Duration::from_secs(60),
            log_max_size: 64 << 20,
            log_backups: 1,
            mail_transport: None,
            mail_from: None,
            mail_password_file: None,
            gsm_command: None,
            alarm_exec: None,
            alarm_webhook: None,
            alarm_recovered: false,
        }
    }
}

impl Settings {
    /// The numbers that the policy decides by. `hook` is `Some` where there is a hook (`-r`), with the time
    /// that resets its count (`-t`); a time of 0 is none.
    ///
    /// `alarm_exec` and `alarm_webhook` work without `alarm_interval`: the window is then the shortest one
    /// and has no limits.
    pub fn rules(&self, hook: Option<Option<Duration>>) -> Rules {
        let interval = self.alarm_interval.filter(|interval| !interval.is_zero());
        let further_alarm = self.alarm_exec.is_some() || self.alarm_webhook.is_some();
        Rules {
            window: interval.map(|interval| interval.max(SHORTEST_WINDOW)).or(further_alarm.then_some(SHORTEST_WINDOW)),
            max_tries: interval.and(self.max_tries),
            max_coredumps: interval.and(self.max_tries_if_coredumped),
            pacing: self.pacing,
            stop_timeout: self.stop_timeout,
            recovered: self.alarm_recovered,
            hook: hook
                .map(|reset| HookRules { reset: reset.filter(|reset| !reset.is_zero()), timeout: self.hook_timeout }),
        }
    }

    /// Every key with its value as supervise.conf would say it, in the order of the man page; empty where
    /// nothing is set and there is no default to name. Without control characters; bytes that are not
    /// UTF-8 are shown as `\xNN`.
    pub fn describe(&self) -> Vec<(&'static str, String)> {
        KEYS.iter().map(|key| (key.name, (key.show)(self))).collect()
    }

    /// Takes the effect from the classic keys where there is no window for them.
    pub(super) fn without_window_nothing_classic(&mut self) {
        if self.alarm_interval.is_none() {
            self.max_tries = None;
            self.max_tries_if_coredumped = None;
            self.alarm_mail.clear();
            self.alarm_gsm.clear();
        }
    }
}
