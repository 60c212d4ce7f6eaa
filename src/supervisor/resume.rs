//! The other side of an upgrade: a supervise that goes on in the process of another version.

use std::os::fd::RawFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::claim_file::ClaimFile;
use super::command::{ServiceCommand, words_of};
use super::conf::{GONE, Loaded, load};
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
use crate::statusdir::{Control, Directory, Level, Lock, Logs, OkFifo};
use crate::sys::{self, Pidfd, Signals, Target, kill, why};

/// The kernel had no room for a signalfd, the conf can't be read, or nothing can be begun anew: tried again so soon.
/// Without signals supervise could do nothing, and without a supervise nobody would look after the service.
const BEFORE_ANOTHER: Duration = Duration::from_millis(100);
/// So often the conf is tried: half a second in which an exit would wait is less than a policy that is gone.
const ATTEMPTS: usize = 6;

impl Supervisor {
    /// Goes on where the version that handed over stopped. `None`: it can't, and holds nothing; what is handed over was
    /// not what it seemed when this version was asked.
    #[must_use]
    pub fn resume(options: Options, handed: HandOver) -> Option<Box<Self>> {
        let hook = handed.hook;
        let resumed = Self::go_on(options, handed);
        if let (None, Some(hook)) = (&resumed, hook) {
            // The start does not wait for it any more, nor does its time-out end it. It is a child that nobody has reaped.
            let _ = kill(Pid::from_raw(hook), Target::Group, Signal::SIGKILL); // it may have ended
        }
        resumed
    }

    fn go_on(options: Options, handed: HandOver) -> Option<Box<Self>> {
        let held = |number: RawFd| sys::inherited(number).ok();
        let (dir, lock, ok) = (held(handed.dir)?, held(handed.lock)?, held(handed.ok)?);
        let fifos = handed.fifos.iter().map(|&fifo| held(fifo)).collect::<Option<_>>()?;
        let pidfd = match handed.pidfd {
            Some(number) => Some(held(number)?),
            None => None,
        };
        let claim = handed.claim_file.and_then(held).map(ClaimFile::inherited);
        let control = Control::inherited(fifos).ok()?;
        let (signals, refused) = signals();
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
        lines.extend(refused.map(|errno| {
            Line::warning(format!("unable to make a signalfd, at first: {}; it was tried again", why(errno)))
        }));
        let handed_claim = handed.claim;
        let adopted = pidfd.is_some();
        let session = Pid::from_raw(handed_claim.session);
        let service =
            handed_claim.pid.and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw).map(|pid| match pidfd {
                Some(pidfd) => Service::adopted(Pidfd::of(pidfd, pid), handed_claim.started_between, session),
                None => Service::child(pid, handed_claim.started_between, session),
            });
        let (loaded, refused) = load_patiently(&options, handed.has_conf);
        lines.extend(refused.map(|problem| Line::warning(format!("{problem}, at first; it was tried again"))));
        let command = command(&options, &loaded).ok().or_else(|| {
            // The conf named one when this version was asked, and does not now.
            let words = service.as_ref().and_then(|service| words_of(service.pid()));
            ServiceCommand::new(&words.unwrap_or_else(|| split_words(&handed.running.text).0))
        })?;
        let mut troubles = Troubles::default();
        // By its name, in case that is another file by now. The one that was open is good enough.
        let claim = match (ClaimFile::open(&dir), claim) {
            (Ok((file, _)), _) => Ok(file),
            (Err(failed), Some(file)) => {
                lines.push(Line::warning(format!(
                    "unable to open {at}/claim: {}; it is written further where it was open, and a successor finds it if \
                     that is still the same file",
                    why(failed.errno())
                )));
                Ok(file)
            }
            (Err(failed), None) => Err(failed.errno()),
        };
        // Made anew, it needs room.
        if let Err(errno) = claim.as_ref().map_err(|&errno| errno).and_then(ClaimFile::fill) {
            troubles.claiming.fail(sys::now().moment);
            lines.push(Line::warning(texts::claim_failed(&at, errno)));
        }
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
            claim: claim.ok(),
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

impl Supervisor {
    /// Starts after an upgrade whose hand-over is of no use, as after a death of the other version. What the system refuses
    /// is tried again until it does not: nobody else would look after the service. `say` gets what is said, for who reads
    /// stderr; the log has it where it can be written.
    ///
    /// # Errors
    /// The exit code, where another supervise has the service by now, or no start will ever work.
    pub fn begin_anew(mut options: Options, say: impl Fn(&str)) -> Result<Box<Self>, u8> {
        options.take_over = false; // who has come meanwhile has the service
        let tell = |level, text: &str| {
            say(text);
            if let Ok(dir) = Directory::open(options.module.path()) {
                // The conf may not be read yet. It is not kept open: a descriptor may be what is missing.
                Logs::new(64 << 20, 1).line(&dir, sys::now().stamp, level, text);
            }
        };
        let mut refused: Option<String> = None;
        loop {
            let error = match Self::set_up(options.clone()) {
                Ok(mut supervisor) => {
                    supervisor.has_begun_anew();
                    supervisor.lines.extend(
                        refused
                            .map(|text| Line::warning(format!("{text}, at first; it was tried again, and has begun"))),
                    );
                    return Ok(supervisor);
                }
                Err(error) => error,
            };
            let text = error.lines.join("; ");
            if !error.may_pass() {
                tell(Level::Fatal, &format!("no upgrade: {text}; this supervise ends"));
                return Err(error.code);
            }
            if refused.is_none() {
                tell(
                    Level::Warning,
                    &format!("{text}; until it works it is tried again, and nobody supervises meanwhile"),
                );
                refused = Some(text);
            }
            std::thread::sleep(BEFORE_ANOTHER);
        }
    }
}

/// The signals, and why they could not be had at once.
fn signals() -> (Signals, Option<Errno>) {
    let mut refused = None;
    loop {
        match sys::take_over_signals() {
            Ok(signals) => return (signals, refused),
            Err(errno) => refused = Some(errno),
        }
        std::thread::sleep(BEFORE_ANOTHER);
    }
}

/// The conf, and why it could not be read at once. It could be when this version was asked, so it is tried for a while:
/// the policy of the other version is gone, and with it a window that is open.
fn load_patiently(options: &Options, had_conf: bool) -> (Loaded, Option<String>) {
    let attempt = || {
        let mut loaded = load(&options.conf, options.module.name());
        if had_conf && loaded.path.is_none() {
            loaded.problems.push(GONE.to_owned()); // the usual one, which need not be there at a start
        }
        loaded
    };
    let mut refused = None;
    for _ in 1..ATTEMPTS {
        let mut loaded = attempt();
        if loaded.read || !had_conf {
            return (loaded, refused);
        }
        refused = loaded.problems.pop();
        std::thread::sleep(BEFORE_ANOTHER);
    }
    (attempt(), None)
}
