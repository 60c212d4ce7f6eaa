//! The command that is run, laid out for its starts.

use std::env;
use std::ffi::OsString;
use std::fs;

use nix::unistd::Pid;

use crate::statusdir::Claim;
use crate::sys::Program;

/// What a start runs.
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

/// The words of a process, joined by blanks.
pub(super) fn command_of(pid: Pid) -> Option<Vec<u8>> {
    let mut words = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    if words.last() == Some(&0) {
        words.pop();
    }
    words.iter_mut().filter(|byte| **byte == 0).for_each(|byte| *byte = b' ');
    Some(words).filter(|words| !words.is_empty())
}
