//! The question that `U` puts to another version of the program, and its answer.

use std::io::Read;
use std::os::fd::BorrowedFd;

use super::claim_file::{ClaimFile, Left};
use super::conf::load;
use super::hand_over::HandOver;
use super::options::Options;
use crate::statusdir::Directory;
use crate::sys::why;
use crate::text::{escape, printable};

/// The hidden option that asks. It stands before the words of the running one's own command line, so that those are
/// judged too; and no older version knows it.
pub(super) const ASKS: &str = "--can-go-on";

const YES: &[u8] = b"supervise upgrade 1: yes\n";
const NO: &[u8] = b"supervise upgrade 1: no: ";
/// A reason is a line in a log and a value in the long record; in characters.
const LONGEST_REASON: usize = 500;

/// Reads the answer of a child that has ended: yes, or the reason why not. `None`: it gave none.
pub(super) fn read(from: BorrowedFd<'_>) -> Option<Result<(), Vec<u8>>> {
    let mut bytes = [0; YES.len() + NO.len() + 4 * LONGEST_REASON];
    let length = nix::unistd::read(from, &mut bytes).ok()?;
    match &bytes[..length] {
        YES => Some(Ok(())),
        other => Some(Err(other.strip_prefix(NO)?.strip_suffix(b"\n")?.to_vec())),
    }
}

/// The answer of this version, for a supervise with these options that hands over what is read from `handed`.
#[must_use]
pub fn can_go_on(options: &Options, handed: impl Read) -> Vec<u8> {
    match judge(options, handed) {
        Ok(()) => YES.to_vec(),
        Err(reason) => {
            let reason: String = printable(reason.as_bytes()).chars().take(LONGEST_REASON).collect();
            [NO, reason.as_bytes(), b"\n"].concat()
        }
    }
}

fn judge(options: &Options, handed: impl Read) -> Result<(), String> {
    let handed = HandOver::read(handed).ok_or("it can't read what is handed over")?;
    let path = options.module.path();
    let at = escape(path.as_os_str().as_encoded_bytes());
    let dir = Directory::open(path).map_err(|errno| format!("unable to enter {at}: {}", why(errno)))?;
    // It may be written in this very moment.
    let readable = (0..3).any(|_| matches!(ClaimFile::read(&dir), Ok(Left::Claim(_))));
    if !readable {
        return Err(format!("it can't read {at}/claim"));
    }
    // The pid stands among the first lines.
    let state = dir.read("state", 4096).map_err(|errno| format!("unable to read {at}/state: {}", why(errno)))?;
    let supervise = format!("supervise : {}", handed.supervise);
    if !state.split(|&byte| byte == b'\n').any(|line| line == supervise.as_bytes()) {
        return Err(format!("{at}/state is not of the supervise that asks"));
    }
    let loaded = load(&options.conf, options.module.name());
    if loaded.refused || (handed.has_conf && !loaded.read) {
        return Err(loaded.problem().cloned().unwrap_or_else(|| "its supervise.conf is gone".to_owned()));
    }
    if options.command.is_none() && loaded.settings.command.is_none() {
        return Err("there is no COMMAND any more".to_owned());
    }
    Ok(())
}
