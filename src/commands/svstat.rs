//! The program `svstat`: says in one line how each service fares, in the words of daemontools 0.76.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::fstatat;

use super::daemontools::{reason, service};
use crate::client::{Liveness, Records, Unreadable};
use crate::policy::{Stamp, Wanted};
use crate::statusdir::{Directory, Record};
use crate::sys::now;

const HELP: &str = "\
svstat says in one line how each service fares, as the svstat of daemontools does.

  svstat DIR...   DIR is the path of a status directory, else a module below $SUPERVISE_ROOT or ./status

  --version       says the version
  --help          says this

Exit codes: 0 whatever there is to say; 111 it could not be said.

More: svstat(8).
";

/// What could not be written to stdout.
const SYSTEM: u8 = 111;

/// Runs `svstat` with these arguments, the program's name not included, and returns its exit code.
#[must_use]
pub fn main(arguments: Vec<OsString>) -> u8 {
    let mut out = String::new();
    for (place, name) in arguments.into_iter().enumerate() {
        // As with daemontools, there are no options; these two are no likely folders.
        match name.to_str() {
            Some("--help") if place == 0 => {
                out.push_str(HELP);
                break;
            }
            Some("--version") if place == 0 => {
                out.push_str(concat!("svstat ", env!("CARGO_PKG_VERSION"), "\n"));
                break;
            }
            _ => {
                out.push_str(&line(&name));
                out.push('\n');
            }
        }
    }
    io::stdout().write_all(out.as_bytes()).map_or(SYSTEM, |()| 0)
}

/// The line of one service, without its end.
fn line(name: &OsStr) -> String {
    let service = service(name);
    let shown = service.shown();
    let said = match Directory::open(&service.dir) {
        Ok(dir) => said(&dir),
        Err(errno) => format!("unable to chdir: {}", reason(errno)),
    };
    format!("{shown}: {said}")
}

fn said(dir: &Directory) -> String {
    // A service is normally up, unless there is a file `down`. That is daemontools' word for how it begins; supervise
    // does not look at it.
    let normally_up = match fstatat(dir, "down", AtFlags::empty()) {
        Ok(_) => false,
        Err(Errno::ENOENT) => true,
        Err(errno) => return format!("unable to stat down: {}", reason(errno)),
    };
    match (Liveness::of(dir), Records::read(dir).record) {
        // A supervise that ends by itself removes `ok`; where there is no record either, there never was one.
        (Liveness::Gone, Err(Unreadable::System(Errno::ENOENT))) => {
            format!("unable to open ok: {}", reason(Errno::ENOENT))
        }
        (Liveness::Gone, _) => "supervise not running".to_owned(),
        (Liveness::Unknown(errno), _) => format!("unable to open ok: {}", reason(errno)),
        (Liveness::Lives, Err(Unreadable::System(errno))) => format!("unable to open status: {}", reason(errno)),
        (Liveness::Lives, Err(Unreadable::Damaged)) => "unable to read status: bad format".to_owned(),
        (Liveness::Lives, Ok(record)) => fares(&record, now().stamp, normally_up),
    }
}

/// `up (pid 7) 5 seconds, normally down, paused, want down`.
fn fares(record: &Record, now: Stamp, normally_up: bool) -> String {
    let mut text = match record.pid {
        Some(pid) => format!("up (pid {pid}) "),
        None => "down ".to_owned(),
    };
    // Whole seconds are taken from whole seconds, as daemontools does; a clock that was set back makes it 0.
    text.push_str(&format!("{} seconds", now.seconds().saturating_sub(record.stamp.seconds())));
    let is_up = record.pid.is_some();
    for (holds, words) in [
        (is_up && !normally_up, ", normally down"),
        (!is_up && normally_up, ", normally up"),
        (is_up && record.paused, ", paused"),
        (!is_up && record.wanted == Wanted::Up, ", want up"),
        (is_up && record.wanted == Wanted::Down, ", want down"),
    ] {
        if holds {
            text.push_str(words);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_phrase_has_its_condition() {
        for (pid, wanted, paused, normally_up, expected) in [
            (Some(7), Wanted::Up, false, true, "up (pid 7) 5 seconds"),
            (Some(7), Wanted::Once, false, true, "up (pid 7) 5 seconds"),
            (Some(7), Wanted::Up, true, true, "up (pid 7) 5 seconds, paused"),
            (Some(7), Wanted::Down, true, false, "up (pid 7) 5 seconds, normally down, paused, want down"),
            (None, Wanted::Up, true, true, "down 5 seconds, normally up, want up"),
            (None, Wanted::Down, false, true, "down 5 seconds, normally up"),
            (None, Wanted::Down, false, false, "down 5 seconds"),
            (None, Wanted::Up, false, false, "down 5 seconds, want up"),
        ] {
            let record = Record { stamp: Stamp(10_900_000_000), paused, wanted, alarms_off: false, pid };
            assert_eq!(fares(&record, Stamp(15_100_000_000), normally_up), expected);
        }
        let later =
            Record { stamp: Stamp(9_000_000_000), paused: false, wanted: Wanted::Up, alarms_off: false, pid: None };
        assert_eq!(fares(&later, Stamp(0), false), "down 0 seconds, want up");
    }
}
