//! The program `svalarm`: from its command line to its exit code.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;

use lexopt::prelude::*;

use crate::alarm::{Stay, deliver_copy, serve};
use crate::exit_code;
use crate::statusdir::Directory;
use crate::sys::{close_on_exec_from, why};
use crate::text::escape;

const HELP: &str = "\
svalarm delivers the alarms of one status directory. supervise starts it; nobody else has to.

  svalarm [--once] [--now] STATUS_DIR

      --once     one attempt for what is due, then it ends
      --now      what waits for a later attempt is tried now
  -v, --version  says the version
  -h, --help     says this

Without --once it ends when every alarm is delivered, and between two attempts while a supervise lives.

Exit codes: 0 done (or done for now), 3 another svalarm serves this directory, 100 wrong use, 111 a system call
failed, it is no status directory, or what became of an alarm could not be noted.

More: svalarm(8).
";

/// What is asked for.
enum Asked {
    Serve {
        dir: PathBuf,
        stay: Stay,
        now: bool,
    },
    /// To be one copy's process.
    Copy(usize),
    Print(&'static str),
}

/// Runs `svalarm` with these arguments, the program's name not included, and returns its exit code.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    match read(arguments) {
        Err(error) => {
            say(&escape(error.to_string().as_bytes()));
            say("try `svalarm --help`");
            exit_code::USAGE
        }
        Ok(Asked::Print(text)) => match io::stdout().write_all(text.as_bytes()) {
            Ok(()) => 0,
            Err(_) => exit_code::SYSTEM,
        },
        Ok(Asked::Copy(number)) => deliver_copy(number, io::stdin().lock(), io::stdout().lock()),
        Ok(Asked::Serve { dir, stay, now }) => {
            close_on_exec_from(3);
            let at = escape(dir.as_os_str().as_encoded_bytes());
            let opened = Directory::open(&dir).map_err(|errno| format!("unable to enter it: {}", why(errno)));
            opened.and_then(|dir| serve(dir, stay, now)).unwrap_or_else(|error| {
                say(&format!("{at}: {error}"));
                exit_code::SYSTEM
            })
        }
    }
}

fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Asked, lexopt::Error> {
    let mut parser = lexopt::Parser::from_args(arguments);
    let (mut dir, mut stay, mut now) = (None, Stay::WhileAlone, false);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("once") => stay = Stay::Never,
            Long("now") => now = true,
            Long("copy") => return Ok(Asked::Copy(parser.value()?.parse()?)),
            Short('v') | Long("version") => {
                return Ok(Asked::Print(concat!("svalarm ", env!("CARGO_PKG_VERSION"), "\n")));
            }
            Short('h') | Long("help") => return Ok(Asked::Print(HELP)),
            Value(value) if dir.is_none() => dir = Some(PathBuf::from(value)),
            other => return Err(other.unexpected()),
        }
    }
    let dir = dir.ok_or("no status directory is named")?;
    Ok(Asked::Serve { dir, stay, now })
}

/// A line on stderr; it may be closed.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "svalarm: {line}");
}
