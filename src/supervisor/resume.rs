//! The other side of an upgrade: a supervise that goes on in the process of another version.

use std::os::fd::RawFd;
use std::time::Duration;

use nix::unistd::Pid;

use super::claim_file::ClaimFile;
use super::command::{ServiceCommand, words_of};
use super::conf::load;
use super::debts::Debts;
use super::hand_over::HandOver;
use super::helper::Helper;
use super::options::Options;
use super::parts::Parts;
use super::service::Service;
use super::setup::{command, hook_rules, path_text};
use super::svalarm::Svalarm;
use super::texts::{self, Line};
use super::turn::{Supervisor, Troubles};
use super::upgrade::Upgrade;
use crate::config::split_words;
use crate::policy::Policy;
use crate::statusdir::{Control, Directory, Lock, OkFifo};
use crate::sys::{self, Pidfd, Signals};

/// The kernel had no room for a signalfd: tried again so soon. Without it supervise could do nothing, and without a
/// supervise nobody would look after the service.
const WITHOUT_SIGNALS: Duration = Duration::from_millis(100);

impl Supervisor {
    /// Goes on where the version that handed over stopped. `None`: it can't, and holds nothing; what is handed over was
    /// not what it seemed when this version was asked.
    #[must_use]
    pub fn resume(options: Options, handed: HandOver) -> Option<Box<Self>> {
        let held = |number: RawFd| sys::inherited(number).ok();
        let (dir, lock, ok) = (held(handed.dir)?, held(handed.lock)?, held(handed.ok)?);
        let fifos = handed.fifos.iter().map(|&fifo| held(fifo)).collect::<Option<_>>()?;
        let pidfd = match handed.pidfd {
            Some(number) => Some(held(number)?),
            None => None,
        };
        let control = Control::inherited(fifos).ok()?;
        let signals = signals();
        if let Some(path) = handed.path.as_deref() {
            sys::set_name_after(path);
        }
        let at = path_text(&options);
        let dir = Directory::inherited(dir, options.module.path());
        let mut lines = vec![Line::notice(format!(
            "upgraded from version {} to version {}; the service runs on",
            handed.version,
            env!("CARGO_PKG_VERSION")
        ))];
        let handed_claim = handed.claim;
        let adopted = pidfd.is_some();
        let session = Pid::from_raw(handed_claim.session);
        let service =
            handed_claim.pid.and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw).map(|pid| match pidfd {
                Some(pidfd) => Service::adopted(Pidfd::of(pidfd, pid), handed_claim.started_between, session),
                None => Service::child(pid, handed_claim.started_between, session),
            });
        let loaded = load(&options.conf, options.module.name());
        let command = command(&options, &loaded).ok().or_else(|| {
            // The conf named one when this version was asked, and does not now.
            let words = service.as_ref().and_then(|service| words_of(service.pid()));
            ServiceCommand::new(&words.unwrap_or_else(|| split_words(&handed.running.text).0))
        })?;
        let mut troubles = Troubles::default();
        let claim = match ClaimFile::open(&dir) {
            Ok((file, _)) => Some(file),
            Err(failed) => {
                troubles.claiming.fail(sys::now().moment);
                lines.push(Line::warning(texts::claim_failed(&at, failed.errno())));
                None
            }
        };
        let policy = Policy::go_on(loaded.settings.rules(hook_rules(&options)), handed_claim.ledger, handed.standing);
        let helper = |pid: Option<i32>| pid.map(|pid| Helper::handed_over(Pid::from_raw(pid)));
        let parts = Parts {
            at,
            dir,
            lock: Lock::inherited(lock),
            control,
            ok: OkFifo::inherited(ok),
            signals,
            stdin_is_null: true,
            loaded,
            claim,
            boot: handed_claim.boot,
            command,
            running: handed.running,
            policy,
            first: None,
            service,
            pid_changed: handed.pid_changed,
            adopted,
            debts: Debts::take_over(handed_claim.debts),
            troubles,
            svalarm: Svalarm::handed_over(helper(handed.svalarm)),
            upgrade: Upgrade::done(handed.path, handed.asked_again, sys::now().stamp),
            lines,
            options,
        };
        let mut supervisor = parts.assemble();
        supervisor.hook = helper(handed.hook);
        // A pending SIGCHLD was lost when the signals were brought into a known state, and names may have changed.
        supervisor.woken = sys::Wakeup { child: true, directory: true, ..sys::Wakeup::default() };
        Some(supervisor)
    }
}

fn signals() -> Signals {
    loop {
        match sys::take_over_signals() {
            Ok(signals) => return signals,
            Err(_) => std::thread::sleep(WITHOUT_SIGNALS),
        }
    }
}
