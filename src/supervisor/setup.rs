//! From a command line to a supervise that holds its lock: everything before the first decision.

use std::env;
use std::ffi::{OsStr, OsString};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::claim_file::{ClaimFile, Left, OpenFailed};
use super::conf::{ConfFile, Loaded, load};
use super::debts::Debts;
use super::options::{Options, StartError};
use super::predecessor::Predecessor;
use super::publish::Publisher;
use super::svalarm::Svalarm;
use super::texts::Line;
use super::turn::{Ready, Supervisor};
use super::{Caller, texts};
use crate::alarm;
use crate::config::Settings;
use crate::policy::{Event, Found, Policy};
use crate::statusdir::{Claim, Control, Directory, Lock, LockError, Logs, OkFifo, escape};
use crate::sys::{self, Program, why};

/// The command that is run.
#[derive(Debug)]
pub(super) struct ServiceCommand {
    pub(super) program: Program,
    /// Its words, joined by blanks.
    pub(super) text: Vec<u8>,
    /// [`Claim::command_number`]
    pub(super) number: u64,
}

impl ServiceCommand {
    /// `None`: there is no word, or one holds a NUL.
    pub(super) fn new(words: &[OsString]) -> Option<Self> {
        let bytes = || words.iter().map(|word| word.as_encoded_bytes());
        Some(Self {
            program: Program::new(words, env::var_os("PATH").as_deref())?,
            text: bytes().collect::<Vec<_>>().join(&b' '),
            number: Claim::command_number(bytes()),
        })
    }
}

impl Supervisor {
    /// Makes what the status directory needs, takes the lock and looks for a predecessor. Nothing is started yet.
    ///
    /// # Errors
    /// [`StartError`]: the exit code and what to say. Nothing was left running, and nobody was disturbed.
    pub fn set_up(options: Options) -> Result<Self, StartError> {
        let at = path_text(&options);
        let system = |doing: &str, name: &str, errno: Errno| {
            StartError::new(StartError::SYSTEM, format!("unable to {doing} {at}/{name}: {}", why(errno)))
        };
        let signals = sys::take_over_signals().map_err(|errno| {
            StartError::new(StartError::SYSTEM, format!("unable to receive signals: {}", why(errno)))
        })?;
        let loaded = load(&options.conf, options.module.name());
        let command = command(&options, &loaded)?;
        if loaded.refused && !options.module.path().exists() {
            return Err(refused(&loaded)); // no living service can be in a directory that is not there
        }
        let dir = Directory::make(options.module.path())
            .map_err(|error| StartError::new(StartError::DIRECTORY, error.to_string()))?;
        let lock = Lock::take(&dir).map_err(|error| {
            let text = match &error {
                LockError::Held(_) => format!("unable to lock {at}/lock: {error}"),
                LockError::System(errno) => format!("unable to open {at}/lock: {}", why(*errno)),
            };
            StartError::new(StartError::SYSTEM, text)
        })?;
        let mut lines: Vec<Line> = options.warnings.iter().map(Line::warning).collect();
        let (claim, left) = match ClaimFile::open(&dir) {
            Ok((file, left)) => (Some(file), left),
            Err(OpenFailed::NotMade(errno)) => {
                lines.push(Line::warning(texts::claim_failed(&at, errno)));
                (None, Left::Nothing)
            }
            // What it says may be that the service runs.
            Err(OpenFailed::Unreadable(errno)) => return Err(system("open", "claim", errno)),
        };
        if let Some(Err(errno)) = claim.as_ref().map(ClaimFile::fill) {
            lines.push(Line::warning(texts::claim_failed(&at, errno)));
        }
        let left = match left {
            Left::Claim(claim) => Some(*claim),
            Left::Nothing => None,
            Left::Damaged => {
                lines.push(Line::warning(format!(
                    "{at}/claim is damaged: if an earlier supervise left a service running, it is not known"
                )));
                None
            }
        };
        let boot = sys::boot_id();
        let predecessor = Predecessor::from_claim(left, &boot).map_err(|doubt| {
            let (pid, cause) = (doubt.pid, doubt.cause);
            let text =
                format!("{cause}; so it is not known if the service still runs, as pid {pid}: nothing is started");
            StartError::new(StartError::SYSTEM, text)
        })?;
        if loaded.refused && predecessor.found != Found::Alive {
            return Err(refused(&loaded));
        }
        let control = Control::open(&dir, |name| lines.push(not_a_fifo(&at, name)))
            .map_err(|(name, errno)| system("make the fifo", name, errno))?;
        let ok = OkFifo::open(&dir).map_err(|errno| system("make the fifo", "ok", errno))?;
        let watched = sys::watch_directory(std::os::fd::AsFd::as_fd(&dir)).is_ok();
        if let Ok(null) = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty()) {
            let _ = nix::unistd::dup2_stdin(&null);
        }
        let settings = &loaded.settings;
        let mut logs = Logs::new(settings.log_max_size, settings.log_backups);
        for (name, errno) in logs.open(&dir) {
            lines.push(Line::warning(format!("unable to open {at}/{name}: {}; its lines are lost", why(errno))));
        }
        conf_lines(&loaded, if loaded.read { "" } else { "; no alarm policy" }, &mut lines);
        let mut running = command.text.clone();
        if let Some(service) = predecessor.service.as_ref()
            && predecessor.command != command.number
        {
            lines.push(Line::warning("the service that runs has another COMMAND; this one counts from the next start"));
            running = command_of(service.pid()).unwrap_or(running);
        }
        let undelivered = alarm::count(&dir).unwrap_or_else(|errno| {
            lines.push(Line::warning(format!("unable to open {at}/alarms: {}", why(errno))));
            0
        });
        let now = sys::now();
        let policy = Policy::new(settings.rules(hook_rules(&options)));
        let adopted = predecessor.service.is_some();
        let pid_changed = predecessor.ledger.filter(|_| adopted).map_or(now.stamp, |ledger| ledger.started_at);
        let mut supervisor = Self {
            first: Some(Event::Begin { taken: predecessor.ledger, found: predecessor.found }),
            conf: conf_file(&loaded, now.stamp, ConfFile::default()),
            conf_generation: 0,
            settings: loaded.settings,
            host: host_name(),
            debts: Debts::take_over(predecessor.debts),
            service: predecessor.service,
            publisher: Publisher::default(),
            caller: Caller::none(),
            troubles: super::turn::Troubles::default(),
            ready: Ready::default(),
            report: None,
            not_started: None,
            hook: None,
            late: None,
            leaving: None,
            adopted,
            at,
            options,
            dir,
            lock,
            control,
            ok,
            watched,
            signals,
            logs,
            claim,
            boot,
            alarm_command: running.clone(),
            running,
            command,
            policy,
            pid_changed,
            undelivered,
            svalarm: Svalarm::default(),
            now,
            lines,
        };
        supervisor.look_for_svalarm();
        if undelivered > 0 {
            supervisor.deliver_now();
        }
        Ok(supervisor)
    }
}

/// The status directory as the operator named it, for texts.
fn path_text(options: &Options) -> String {
    escape(options.module.path().as_os_str().as_encoded_bytes())
}

fn command(options: &Options, loaded: &Loaded) -> Result<ServiceCommand, StartError> {
    let usage = |text: &str| StartError::new(StartError::USAGE, text);
    let words = options
        .command
        .as_ref()
        .or(loaded.settings.command.as_ref())
        .ok_or_else(|| usage("there is no COMMAND: neither on the command line nor as `command` in the conf"))?;
    ServiceCommand::new(words).ok_or_else(|| usage("COMMAND has no word, or one with a NUL byte"))
}

/// The rules of `-r` and `-t`, as [`Settings::rules`] takes them.
pub(super) fn hook_rules(options: &Options) -> Option<Option<std::time::Duration>> {
    options.hook.as_ref().map(|hook| hook.reset)
}

fn refused(loaded: &Loaded) -> StartError {
    StartError { code: StartError::USAGE, lines: problem_texts(loaded) }
}

/// A file that is no conf at all has a problem in every line.
const PROBLEMS_SHOWN: usize = 50;

fn problem_texts(loaded: &Loaded) -> Vec<String> {
    let mut texts: Vec<String> = loaded.problems.iter().take(PROBLEMS_SHOWN).cloned().collect();
    let more = loaded.problems.len() - texts.len();
    if more > 0 {
        texts.push(format!("and {more} more problems: `supervise --check` says them all"));
    }
    texts
}

/// What to say about a conf that was read, or could not be; `then`: what holds instead of one that does not count.
pub(super) fn conf_lines(loaded: &Loaded, then: &str, lines: &mut Vec<Line>) {
    lines.extend(problem_texts(loaded).into_iter().map(|text| Line::warning(text + then)));
    if loaded.read && then.is_empty() {
        lines.push(Line::notice("Finished loading configurations!"));
    }
}

/// What the long record says of a conf. `old` holds on where the new one could not be read.
pub(super) fn conf_file(loaded: &Loaded, now: crate::policy::Stamp, old: ConfFile) -> ConfFile {
    ConfFile {
        path: loaded.path.clone().or(old.path),
        read: if loaded.read { Some(now) } else { old.read },
        problem: loaded.problems.first().cloned(),
    }
}

/// The default settings hold where a conf could not be read.
pub(super) fn has_recipients(settings: &Settings) -> bool {
    let mail = !settings.alarm_mail.is_empty() && settings.mail_transport != Some(crate::config::Transport::None);
    mail || !settings.alarm_gsm.is_empty() || settings.alarm_exec.is_some() || settings.alarm_webhook.is_some()
}

/// The name stood for something else, which was removed.
pub(super) fn not_a_fifo(at: &str, name: &str) -> Line {
    Line::warning(format!("{at}/{name} was no fifo and is replaced by one"))
}

/// The words of a process, joined by blanks.
fn command_of(pid: nix::unistd::Pid) -> Option<Vec<u8>> {
    let mut words = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    if words.last() == Some(&0) {
        words.pop();
    }
    words.iter_mut().filter(|byte| **byte == 0).for_each(|byte| *byte = b' ');
    Some(words).filter(|words| !words.is_empty())
}

fn host_name() -> String {
    let name = nix::unistd::gethostname().unwrap_or_default();
    escape(OsStr::as_encoded_bytes(&name))
}
