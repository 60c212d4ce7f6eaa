//! The classic forms: daemontools' `svc -d DIR`, and the classic script's `svc DIR stop`.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use super::arguments::Named;
use super::exit;
use super::script_words::{Word, is_verb, misuse, word};
use super::steer::carry_out;
use super::terminal::{say, say_plainly};
use crate::client::{Liveness, Look, Order, Outcome, Service, Unreadable, Verb, refusal, write_only};
use crate::commands::daemontools::{reason, service};
use crate::statusdir::Record;
use crate::sys::local_time;

/// The letters of daemontools, each of them a byte of svcontrol.
const LETTERS: &[u8] = b"udopchaitkx12";
/// The classic script gives TERM so long before it sends KILL.
const PATIENCE: Duration = Duration::from_secs(2);
/// And then it is waited for so long in all, as by the other verbs.
const TIMEOUT: Duration = Duration::from_secs(30);
/// As by the other verbs.
const SETTLE: Duration = Duration::from_millis(250);

/// What a command line in a classic form asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Bytes for several status directories.
    Letters { bytes: Vec<u8>, dirs: Vec<OsString> },
    /// A letter that stands for nothing.
    Unknown(char),
    /// A word of the classic script for one.
    Script { dir: OsString, word: Word },
    /// Words behind a status directory that mean nothing there, and what is wrong with them.
    Misuse(String),
}

/// Reads the arguments behind the program's name; `None`: they are in no classic form.
///
/// `-h` alone asks for help. A word of the script counts if the first argument is no verb of ours: a service that is
/// called like one is named by its path.
pub(super) fn read(arguments: &[OsString]) -> Option<Asked> {
    let (first, rest) = arguments.split_first()?;
    if is_letters(first) && (first != "-h" || !rest.is_empty()) {
        return Some(letters(arguments));
    }
    if first.as_bytes().starts_with(b"-") || first.is_empty() {
        return None;
    }
    match word(rest) {
        Some(word) => (!is_verb(first)).then(|| Asked::Script { dir: first.clone(), word }),
        // A mistyped verb is no folder.
        None => {
            let is_dir = || first.as_bytes().contains(&b'/') || service(first).dir.is_dir();
            (!is_verb(first) && is_dir()).then(|| Asked::Misuse(misuse(first, rest)))
        }
    }
}

fn is_letters(argument: &OsStr) -> bool {
    argument
        .as_bytes()
        .strip_prefix(b"-")
        .is_some_and(|letters| !letters.is_empty() && letters.iter().all(|letter| LETTERS.contains(letter)))
}

/// As getopt(3) reads them: options up to the first argument that is none, or `--`.
fn letters(arguments: &[OsString]) -> Asked {
    let mut bytes = Vec::new();
    let mut arguments = arguments.iter();
    let mut dirs: Vec<OsString> = Vec::new();
    for argument in arguments.by_ref() {
        match argument.as_bytes() {
            b"--" => break,
            [b'-', letters @ ..] if !letters.is_empty() => {
                if let Some(unknown) = letters.iter().find(|letter| !LETTERS.contains(letter)) {
                    return Asked::Unknown(char::from(*unknown));
                }
                bytes.extend_from_slice(letters);
            }
            _ => {
                dirs.push(argument.clone());
                break;
            }
        }
    }
    dirs.extend(arguments.cloned());
    Asked::Letters { bytes, dirs }
}

/// Does what is asked and returns the exit code.
pub(super) fn run(asked: Asked) -> u8 {
    match asked {
        Asked::Letters { bytes, dirs } => {
            dirs.iter().map(|dir| write_to(&service(dir), &bytes)).max().unwrap_or(exit::DONE)
        }
        Asked::Unknown(letter) => {
            say_plainly(&format!("svc: illegal option -- {}", letter.escape_default()));
            exit::MISUSE
        }
        Asked::Misuse(words) => {
            say(&words);
            exit::MISUSE
        }
        Asked::Script { dir, word } => script(service(&dir), word),
    }
}

/// One that fails does not keep the others from being told.
fn write_to(service: &Service, bytes: &[u8]) -> u8 {
    let outcome = write_only(service, bytes);
    let shown = service.shown();
    match &outcome {
        Outcome::Done(_) => {}
        Outcome::NoSupervise(_) if service.dir.is_dir() => {
            say_plainly(&format!("svc: warning: unable to control {shown}: supervise not running"));
        }
        Outcome::NoSupervise(_) => {
            let missing = reason(nix::errno::Errno::ENOENT);
            say_plainly(&format!("svc: warning: unable to chdir to {shown}: {missing}"));
        }
        other => say_plainly(&format!("svc: warning: unable to control {shown}: {}", other.words())),
    }
    exit::of(&outcome)
}

fn script(service: Service, word: Word) -> u8 {
    let (verb, kills) = match word {
        Word::Restart => (Verb::Restart, true),
        Word::Stop => (Verb::Stop, true),
        Word::Exit => (Verb::Exit, true),
        Word::Start => (Verb::Start, false),
        Word::Reconf => (Verb::Reload, false),
        Word::AlarmOn => (Verb::AlarmsOn, false),
        Word::AlarmOff => (Verb::AlarmsOff, false),
        Word::Status => return status(&service),
    };
    let order = Order { verb, wait: true, timeout: TIMEOUT, settle: SETTLE, kill_after: kills.then_some(PATIENCE) };
    carry_out(Named::these(vec![service]), &order, false)
}

/// The three lines of the classic script, also of a supervise that has ended: then the exit code says so.
fn status(service: &Service) -> u8 {
    let shown = service.shown();
    let look = match Look::at(&service.dir) {
        Ok(look) => look,
        Err(errno) => {
            say_plainly(&format!("{shown}: unable to enter it: {}", refusal(&service.dir, errno)));
            return if errno == nix::errno::Errno::ENOENT { exit::NO_SUPERVISE } else { exit::SYSTEM };
        }
    };
    let printed = match &look.record {
        Ok(record) => io::stdout().write_all(lines(record).as_bytes()).is_ok(),
        Err(unreadable) => {
            let reason = match unreadable {
                Unreadable::System(errno) => refusal(&service.dir.join("status"), *errno),
                Unreadable::Damaged => unreadable.to_string(),
            };
            say_plainly(&format!("{shown}: unable to read status: {reason}"));
            matches!(unreadable, Unreadable::System(nix::errno::Errno::ENOENT)) // nothing was ever written there
        }
    };
    match look.supervise {
        _ if !printed => exit::SYSTEM,
        Liveness::Gone => {
            say_plainly(&format!("{shown}: no supervise there"));
            exit::NO_SUPERVISE
        }
        Liveness::Lives | Liveness::Unknown(_) => exit::DONE,
    }
}

fn lines(record: &Record) -> String {
    let time = local_time(record.stamp);
    format!(
        "pid: {}\nstart time: {:04}{:02}{:02} {:02}:{:02}:{:02}\nalarm: {}\n",
        record.pid.unwrap_or(0),
        time.year,
        time.month,
        time.day,
        time.hour,
        time.minute,
        time.second,
        if record.alarms_off { "OFF" } else { "ON" }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(words: &[&str]) -> Option<Asked> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        read(&words)
    }

    fn letters_for(bytes: &str, dirs: &[&str]) -> Option<Asked> {
        Some(Asked::Letters { bytes: bytes.into(), dirs: dirs.iter().map(OsString::from).collect() })
    }

    #[test]
    fn letters_come_before_directories() {
        assert_eq!(asked(&["-d", "a"]), letters_for("d", &["a"]));
        assert_eq!(asked(&["-udopchaitkx12", "a", "-d", "b"]), letters_for("udopchaitkx12", &["a", "-d", "b"]));
        assert_eq!(asked(&["-d", "-u", "--", "-x"]), letters_for("du", &["-x"]));
        assert_eq!(asked(&["-h", "a"]), letters_for("h", &["a"]));
        assert_eq!(asked(&["-t"]), letters_for("t", &[]));
        assert_eq!(asked(&["-d", "-z", "a"]), Some(Asked::Unknown('z')));
        for ours in [&["-h"][..], &["--help"], &["-V"], &["-"], &["--"], &["-s", "a"], &["-dU", "a"], &[]] {
            assert_eq!(asked(ours), None, "{ours:?}");
        }
    }

    #[test]
    fn a_word_of_the_script_follows_a_directory() {
        let script = |dir: &str, word| Some(Asked::Script { dir: dir.into(), word });
        for (words, word) in [
            (&["restart"][..], Word::Restart),
            (&["stop"], Word::Stop),
            (&["start"], Word::Start),
            (&["status"], Word::Status),
            (&["exit"], Word::Exit),
            (&["reconf"], Word::Reconf),
            (&["alarm", "on"], Word::AlarmOn),
            (&["alarm", "off"], Word::AlarmOff),
        ] {
            for dir in ["web", "status/web", "./status/", "/stop"] {
                assert_eq!(asked(&[&[dir], words].concat()), script(dir, word), "{dir} {words:?}");
            }
            assert_eq!(asked(&[&["start"], words].concat()), None, "svc start {words:?} is ours");
        }
        // What is neither a verb nor a folder is a mistyped verb.
        for ours in
            [&["status", "web"][..], &["web", "kill"], &["web", "alarm"], &["web", "stop", "x"], &["--all", "stop"]]
        {
            assert_eq!(asked(ours), None, "{ours:?}");
        }
        for folder in ["./web", "src"] {
            assert!(matches!(asked(&[folder, "stpo"]), Some(Asked::Misuse(_))), "{folder}");
            assert!(matches!(asked(&[folder]), Some(Asked::Misuse(_))), "{folder}");
        }
    }
}
