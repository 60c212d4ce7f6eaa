//! What is said of a failure: what has happened, with the last words of supervise's log, or the file to look into.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, fstatat};

use super::effect::{Failure, Life, See};
use super::fare::{Fare, State};
use super::look::Records;
use super::owner::shown;
use super::steer::Outcome;
use super::target::Refusal;
use super::verb::Verb;
use crate::policy::Wanted;
use crate::statusdir::{Directory, listed_holder, lock_is_held};
use crate::text::printable;

const LOG: &str = "supervise.log.wf";
/// The lines of a few turns are shorter than this.
const ENOUGH: usize = 8192;

/// The words of a failure, and where more stands. `log_before`: the [`log_length`] of before.
pub(super) fn failure_words(failure: &Failure, dir: &Directory, log_before: u64) -> String {
    let (words, at) = (&failure.words, shown(dir.path()));
    match failure.see {
        See::Nothing => words.clone(),
        See::Stderr => format!("{words} (see {at}/__stderr)"),
        See::Log => match failed_start(dir, log_before) {
            Some(line) => format!("not started: {line} (see {at}/{LOG})"),
            None => format!("{words} (see {at}/__stderr)"),
        },
    }
}

/// Where nobody can be told: that it is so already, or why not, with what the records say of the last supervise, and
/// what helps.
pub(super) fn no_supervise(refusal: Refusal, verb: Verb, dir: &Directory) -> Outcome {
    let Refusal::NoSupervise(words) = refusal else { return refusal.into() };
    let last = Fare::of(dir, Records::read(dir), Some(false)).ok();
    if let Some(words) = last.as_ref().and_then(|last| already(verb, dir, last)) {
        return Outcome::Done(words.to_owned());
    }
    Outcome::NoSupervise(match last.map(|last| (how_it_ended(dir, &last), last)) {
        Some((life, last)) if last.gave_up() || life == Life::Killed => {
            format!("{words}: {}; {}", end_words("it", life, &last), next_step(dir, &last))
        }
        Some((_, last)) => format!("{words}; {}", next_step(dir, &last)),
        None => format!("{words}, nor a record of one"),
    })
}

/// What needs no supervise to be so.
fn already(verb: Verb, dir: &Directory, last: &Fare) -> Option<&'static str> {
    match verb {
        _ if last.pid.is_some() => None,
        Verb::Stop if last.record.wanted == Wanted::Down => Some("down already"),
        Verb::Kill => Some("not running"),
        Verb::Exit if !somebody_has_the_lock(dir) => Some("exited already"),
        _ => None,
    }
}

/// Whether `lock` is held. Of who may not open the file it is asked by the kernel's list.
pub(super) fn somebody_has_the_lock(dir: &Directory) -> bool {
    lock_is_held(dir).unwrap_or_else(|_| listed_holder(dir).is_some())
}

/// How somebody gets a supervise there.
fn next_step(dir: &Directory, last: &Fare) -> String {
    let line = match last.long.as_ref().and_then(|long| long.text("command")) {
        Some(command) => format!("(supervise -p {} ... {})", shown(dir.path()), printable(command.as_bytes())),
        None => format!("(supervise -p {} ...)", shown(dir.path())),
    };
    let does = if last.pid.is_some() { "adopts it" } else { "starts it again" };
    format!("the same supervise command as before {does} {line}")
}

/// How a supervise ended that does not live any more: one that ends by itself leaves no pid and no `ok` (the classic
/// program may leave that).
pub(super) fn how_it_ended(dir: &Directory, last: &Fare) -> Life {
    let has_left_ok = || last.long.is_some() && fstatat(dir, "ok", AtFlags::AT_SYMLINK_NOFOLLOW).is_ok();
    if last.record.pid.is_some() || (!last.gave_up() && has_left_ok()) { Life::Killed } else { Life::Ended }
}

/// What became of a supervise, which is called so, and of its service.
pub(super) fn end_words(supervise: &str, life: Life, last: &Fare) -> String {
    if last.gave_up() {
        let after = match last.number("window_exits") {
            None | Some(0) => String::new(),
            Some(1) => " after 1 exit in the alarm window".to_owned(),
            Some(exits) => format!(" after {exits} exits in the alarm window"),
        };
        return format!("{supervise} gave up{after}; the last exit was {}", last.last_exit().unwrap_or("unknown"));
    }
    if life != Life::Killed {
        return format!("{supervise} has ended");
    }
    let meanwhile = match last.written_state() {
        State::Up => "the service was up",
        State::Stopping => "the service was stopping",
        State::Hook => "the hook ran",
        State::Pacing => "the service waited for its restart",
        State::Down | State::GaveUp | State::Unreadable => "the service was down",
    };
    let service = match (last.pid, last.record.pid) {
        (Some(pid), _) => format!("; the service goes on, pid {pid}"),
        (None, Some(_)) => "; the service has ended too".to_owned(),
        (None, None) => String::new(),
    };
    format!("{supervise} was killed while {meanwhile}{service}")
}

/// Seconds as people say them: `30`, `0.2`.
pub(super) fn seconds(time: Duration) -> String {
    let text = format!("{:.1}", time.as_secs_f64());
    text.strip_suffix(".0").filter(|whole| *whole != "0").unwrap_or(&text).to_owned()
}

/// How much of the warnings is there now: what is written later stands behind it.
pub(super) fn log_length(dir: &Directory) -> u64 {
    fstatat(dir, LOG, AtFlags::AT_SYMLINK_NOFOLLOW).map_or(0, |stat| u64::try_from(stat.st_size).unwrap_or(0))
}

/// What the log says since then of a start that failed. It says nothing where the service itself ended with the code of
/// a failed exec.
fn failed_start(dir: &Directory, since: u64) -> Option<String> {
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let log = File::from(openat(dir, LOG, flags, Mode::empty()).ok()?);
    if !log.metadata().is_ok_and(|meta| meta.is_file()) {
        return None;
    }
    let mut bytes = vec![0; ENOUGH];
    let length = log.read_at(&mut bytes, since).ok()?;
    let text = String::from_utf8_lossy(&bytes[..length]);
    let told = |line: &str| Some(line.strip_prefix("[FATAL] ")?.split_once("  ")?.1.to_owned());
    let what = text.lines().filter_map(told).find(|text| text.starts_with("unable to "))?;
    // What follows there: `; restart in 0.9 s`.
    Some(printable(what.rsplit_once("; ").map_or(what.as_str(), |(what, _)| what).as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::fs::{OpenOptions, write};
    use std::io::Write as _;

    use super::*;

    #[test]
    fn only_what_was_said_since_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(LOG);
        write(&path, "[FATAL] 2026-11-21 01:25:00  unable to execute ./old: No such file; restart in 1.000 s\n")
            .unwrap();
        let dir = Directory::open(folder.path()).unwrap();
        let since = log_length(&dir);
        assert_eq!(failed_start(&dir, since), None);
        let mut log = OpenOptions::new().append(true).open(&path).unwrap();
        let new = "[WARNING] 2026-11-21 01:25:00  x\n[FATAL] 2026-11-21 01:25:00  unable to execute ./n\u{1b}; w: No; stays down\n";
        log.write_all(new.as_bytes()).unwrap();
        assert_eq!(failed_start(&dir, since).as_deref(), Some("unable to execute ./n\\x1b; w: No"));
        let failure = Failure { words: "started, but exited again: code 127".to_owned(), see: See::Log };
        let at = folder.path().display();
        assert_eq!(
            failure_words(&failure, &dir, since),
            format!("not started: unable to execute ./n\\x1b; w: No (see {at}/supervise.log.wf)")
        );
        let nothing = log_length(&dir);
        assert!(failure_words(&failure, &dir, nothing).ends_with(&format!("code 127 (see {at}/__stderr)")));
    }
}
