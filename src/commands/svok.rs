//! The program `svok`: says by its exit code whether a supervise lives.

use std::ffi::OsString;
use std::io::{self, Write};

use super::daemontools::{reason, service};
use crate::client::Liveness;
use crate::statusdir::Directory;

/// A supervise lives.
const LIVES: u8 = 0;
/// None does; also wrong use.
const NONE: u8 = 100;
/// It cannot be told.
const SYSTEM: u8 = 111;

const HELP: &str = "\
svok says by its exit code whether a supervise lives in a status directory.

  svok DIR      DIR is the path of a status directory, else a module below $SUPERVISE_ROOT or ./status

  --version     says the version
  --help        says this

Exit codes: 0 it lives; 100 it does not, or wrong use; 111 it cannot be told.

More: svok(8).
";

/// Runs `svok` with these arguments, the program's name not included, and returns its exit code.
#[must_use]
pub fn main(arguments: Vec<OsString>) -> u8 {
    let mut arguments = arguments.into_iter();
    let Some(name) = arguments.next() else {
        return complain("usage: svok dir", NONE);
    };
    // As with daemontools, there are no options and what follows DIR is not looked at; these two are no likely folders.
    match name.to_str() {
        Some("--help") => return print(HELP),
        Some("--version") => return print(concat!("svok ", env!("CARGO_PKG_VERSION"), "\n")),
        _ => {}
    }
    let service = service(&name);
    let shown = service.shown();
    match Directory::open(&service.dir).map(|dir| Liveness::of(&dir)) {
        Ok(Liveness::Lives) => LIVES,
        Ok(Liveness::Gone) => NONE,
        Ok(Liveness::Unknown(errno)) => {
            complain(&format!("fatal: unable to open {shown}/ok: {}", reason(errno)), SYSTEM)
        }
        Err(errno) => {
            let is_missing = matches!(errno, nix::errno::Errno::ENOENT | nix::errno::Errno::ENOTDIR);
            let code = if is_missing { NONE } else { SYSTEM };
            complain(&format!("fatal: unable to chdir to {shown}: {}", reason(errno)), code)
        }
    }
}

fn complain(text: &str, code: u8) -> u8 {
    let _ = writeln!(io::stderr(), "svok: {text}"); // it may be closed
    code
}

fn print(text: &str) -> u8 {
    io::stdout().write_all(text.as_bytes()).map_or(SYSTEM, |()| LIVES)
}
