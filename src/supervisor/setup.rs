//! From a command line to a supervise that holds its lock: everything before the first decision.

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open};
use nix::sys::stat::{Mode, fstatat};
use nix::unistd::geteuid;

use super::claim_file::{ClaimFile, Left, OpenFailed};
use super::classic;
use super::command::{Running, ServiceCommand, words_of};
use super::conf::{ConfFile, Loaded, load};
use super::debts::Debts;
use super::options::{Options, StartError};
use super::parts::Parts;
use super::predecessor::Predecessor;
use super::svalarm::Svalarm;
use super::take_over::{Successor, TakenOver, take_over};
use super::texts;
use super::texts::{Line, not_a_fifo};
use super::turn::{Supervisor, Troubles};
use super::upgrade::Upgrade;
use crate::config::{KillMode, Settings};
use crate::exit_code;
use crate::policy::{Event, Policy};
use crate::statusdir::{Control, Directory, Lock, LockError, OkFifo, living_supervise};
use crate::sys::{self, why};
use crate::text::escape;

impl Supervisor {
    /// Makes what the status directory needs, takes the lock and looks for a predecessor. Nothing is started yet.
    ///
    /// # Errors
    /// [`StartError`]: the exit code and what to say. Nothing was left running, and nobody was disturbed.
    pub fn set_up(options: Options) -> Result<Box<Self>, StartError> {
        let at = path_text(&options);
        let system = |doing: &str, name: &str, errno: Errno| {
            StartError::new(exit_code::SYSTEM, format!("unable to {doing} {at}/{name}: {}", why(errno)))
        };
        let signals = sys::take_over_signals().map_err(|errno| {
            StartError::new(exit_code::SYSTEM, format!("unable to receive signals: {}", why(errno)))
        })?;
        let loaded = load(&options.conf, options.module.name());
        let command = command(&options, &loaded);
        if !options.module.path().exists() {
            check(&loaded, &command)?; // no service to adopt can be in a directory that is not there
        }
        let dir = Directory::make(options.module.path())
            .map_err(|error| StartError::new(exit_code::DIRECTORY, error.to_string()))?;
        for name in ["status", "state"] {
            if dir.has_folder(name) {
                return Err(system("write", name, Errno::EISDIR)); // perhaps the status directory of another module
            }
        }
        let boot = sys::boot_id();
        let taken_over = take_over_if_asked(&options, &dir, &boot, &loaded, &command)?;
        let lock = Lock::take(&dir).map_err(|error| {
            let text = match &error {
                LockError::Held(_) => format!("unable to lock {at}/lock: {error}"),
                LockError::System(errno) => format!("unable to open {at}/lock: {}", why(*errno)),
            };
            StartError { is_taken: matches!(error, LockError::Held(_)), ..StartError::new(exit_code::SYSTEM, text) }
        })?;
        let mut lines: Vec<Line> = options.warnings.iter().map(Line::warning).collect();
        match living_supervise(&dir) {
            Ok(None) => {}
            Ok(Some(pid)) => {
                let text = format!(
                    "another supervise lives here, though {at}/lock was removed or replaced under it: pid {pid}; \
                     nothing is started"
                );
                return Err(StartError { is_taken: true, ..StartError::new(exit_code::SYSTEM, text) });
            }
            Err(errno) => lines.push(Line::warning(format!(
                "unable to see if another supervise lives here, whose {at}/lock was removed: {}; this one goes on",
                why(errno)
            ))),
        }
        let (claim, left) = match ClaimFile::open(&dir) {
            Ok((file, left)) => (Some(file), left),
            Err(OpenFailed::NotMade(errno)) => {
                lines.push(Line::warning(texts::claim_failed(&at, errno)));
                (None, Left::Nothing)
            }
            // What it says may be that the service runs.
            Err(OpenFailed::Unreadable(errno)) => return Err(system("open", "claim", errno)),
        };
        let mut troubles = Troubles::default();
        if let Some(Err(errno)) = claim.as_ref().map(ClaimFile::fill) {
            troubles.claiming.fail(sys::now().moment);
            lines.push(Line::warning(texts::claim_failed(&at, errno)));
        }
        let is_lost = matches!(left, Left::Lost);
        let left = match left {
            Left::Claim(claim) => Some(*claim),
            Left::Nothing => None,
            Left::Damaged | Left::Lost => {
                let what = if is_lost { "was not written or is lost" } else { "is damaged" };
                lines.push(Line::warning(format!(
                    "{at}/claim {what}: if an earlier supervise left a service running, it is not known"
                )));
                None
            }
        };
        if boot.is_empty() {
            let what = sys::BOOT_ID;
            lines
                .push(Line::warning(format!("unable to read {what}: a successor knows the service by its start only")));
        }
        let left = match taken_over.as_ref() {
            None if options.take_over || is_lost => {
                let command = command.as_ref().ok().map(|command| (&command.running, command.number));
                classic::claim_where_none_lives(left, &dir, &boot, command, &mut lines).map_err(|cause| {
                    let text = format!("{cause}; so it is not known if a service still runs: nothing is started");
                    StartError::new(exit_code::SYSTEM, text)
                })?
            }
            None => left,
            Some(taken_over) => {
                lines.push(Line::notice(format!("took over from the supervise that was pid {}", taken_over.pid)));
                left
            }
        };
        let predecessor = Predecessor::from_claim(left, &boot).map_err(|doubt| {
            let (pid, cause) = (doubt.pid, doubt.cause);
            let text =
                format!("{cause}; so it is not known if the service still runs, as pid {pid}: nothing is started");
            StartError::new(exit_code::SYSTEM, text)
        })?;
        let command = match predecessor.service.as_ref() {
            // Where one was taken over, whose service has died in this moment, there is no way back.
            None if taken_over.is_none() => {
                check(&loaded, &command)?;
                command?
            }
            // A service that lives is not left alone because of a conf.
            service => command.or_else(|error| {
                lines
                    .extend(error.lines.iter().map(|text| Line::warning(format!("{text}; it goes on as it runs now"))));
                let words = service.and_then(|service| words_of(service.pid()));
                words.as_deref().and_then(ServiceCommand::new).ok_or(error)
            })?,
        };
        if let Some(owner) = another_user(&dir).filter(|_| predecessor.ledger.is_some()) {
            let from = if predecessor.service.is_some() { "its next start" } else { "now on" };
            let own = geteuid();
            lines.push(Line::warning(format!(
                "the supervise that died here ran as another user (uid {owner}): from {from} the service runs as uid {own}"
            )));
        }
        let control = Control::open(&dir, |name| lines.push(not_a_fifo(&at, name)))
            .map_err(|(name, errno)| system("make the fifo", name, errno))?;
        let ok = OkFifo::open(&dir).map_err(|errno| system("make the fifo", "ok", errno))?;
        let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty());
        let stdin_is_null = null.and_then(|null| nix::unistd::dup2_stdin(&null));
        if let Err(errno) = stdin_is_null {
            let why = why(errno);
            lines.push(Line::warning(format!("unable to open /dev/null: {why}; the service gets the caller's stdin")));
        }
        if loaded.settings.kill_mode == KillMode::Group
            && let Some((leader, session)) = predecessor.group
        {
            // Its supervise did not live to do it.
            match sys::end_group_of_dead(leader, session) {
                Ok(true) => {}
                Ok(false) => lines.push(Line::warning(format!(
                    "processes are left in the process group {leader}, which the dead service led; they may be others \
                     by now, and are not ended"
                ))),
                failed => lines.extend(texts::rest_not_ended(failed.map(drop))),
            }
        }
        let mut running = command.running.clone();
        if let Some(service) = predecessor.service.as_ref()
            && predecessor.command != command.number
        {
            lines.push(Line::warning("the service that runs has another COMMAND; this one counts from the next start"));
            let words = words_of(service.pid());
            running = words.as_deref().and_then(ServiceCommand::new).map_or(Running::default(), |known| known.running);
        }
        let now = sys::now();
        let policy = Policy::new(loaded.settings.rules(hook_rules(&options)));
        let adopted = predecessor.service.is_some();
        let pid_changed = predecessor.ledger.filter(|_| adopted).map_or(now.stamp, |ledger| ledger.started_at);
        let first = Some(Event::Begin { taken: predecessor.ledger, found: predecessor.found });
        let (service, debts) = (predecessor.service, Debts::take_over(predecessor.debts));
        let parts = Parts {
            stdin_is_null: stdin_is_null.is_ok(),
            options,
            at,
            dir,
            lock,
            control,
            ok,
            signals,
            loaded,
            claim,
            boot,
            command,
            running,
            policy,
            first,
            service,
            pid_changed,
            adopted,
            debts,
            troubles,
            svalarm: Svalarm::default(),
            upgrade: Upgrade::none(sys::started_from()),
            lines,
        };
        Ok(parts.assemble())
    }
}

fn take_over_if_asked(
    options: &Options,
    dir: &Directory,
    boot: &str,
    loaded: &Loaded,
    command: &Result<ServiceCommand, StartError>,
) -> Result<Option<TakenOver>, StartError> {
    if !options.take_over {
        return Ok(None);
    }
    let can_start = check(loaded, command).is_ok();
    let command = command.as_ref().ok().map(|command| (&command.running, command.number));
    take_over(dir, Successor { boot, command, can_start })
        .map_err(|doubt| StartError::new(exit_code::SYSTEM, format!("unable to take over: {doubt}")))
}

/// As whom the last supervise ran, if not as us: the long record belongs to whoever wrote it.
fn another_user(dir: &Directory) -> Option<u32> {
    let stat = fstatat(dir, "state", AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
    Some(stat.st_uid).filter(|&owner| owner != geteuid().as_raw())
}

/// The status directory as the operator named it, for texts.
pub(super) fn path_text(options: &Options) -> String {
    escape(options.module.path().as_os_str().as_encoded_bytes())
}

pub(super) fn command(options: &Options, loaded: &Loaded) -> Result<ServiceCommand, StartError> {
    let usage = |text: &str| StartError::new(exit_code::USAGE, text);
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

/// Refuses a start with a conf that has a bad value, or without a command; every problem is told at once.
fn check(loaded: &Loaded, command: &Result<ServiceCommand, StartError>) -> Result<(), StartError> {
    let missing = command.as_ref().err().map_or(&[][..], |error| error.lines.as_slice());
    if !loaded.refused && missing.is_empty() {
        return Ok(());
    }
    let mut lines = problem_texts(loaded);
    lines.extend_from_slice(missing);
    Err(StartError { code: exit_code::USAGE, lines, is_taken: false })
}

/// A file that is no conf at all has a problem in every line.
const PROBLEMS_SHOWN: usize = 50;

fn problem_texts(loaded: &Loaded) -> Vec<String> {
    let mut texts: Vec<String> = loaded.problems.iter().take(PROBLEMS_SHOWN).cloned().collect();
    texts.extend(loaded.problem().filter(|_| loaded.worst >= PROBLEMS_SHOWN).cloned());
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
        problem: loaded.problem().cloned(),
    }
}

/// The default settings hold where a conf could not be read.
pub(super) fn has_recipients(settings: &Settings) -> bool {
    let mail = !settings.alarm_mail.is_empty() && settings.mail_transport != Some(crate::config::Transport::None);
    mail || !settings.alarm_gsm.is_empty() || settings.alarm_exec.is_some() || settings.alarm_webhook.is_some()
}
