//! The command that is run, laid out for its starts.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::rc::Rc;

use nix::unistd::Pid;

use crate::statusdir::Claim;
use crate::sys::Program;

/// What runs, or ran last, for texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Running {
    /// Its words, joined by blanks.
    pub(super) text: Vec<u8>,
    /// The first of them.
    pub(super) program: Vec<u8>,
}

/// What a start runs.
#[derive(Debug)]
pub(super) struct ServiceCommand {
    pub(super) program: Rc<Program>,
    pub(super) running: Running,
    /// [`Claim::command_number`]
    pub(super) number: u64,
}

impl ServiceCommand {
    /// `None`: there is no word, or one holds a NUL.
    pub(super) fn new(words: &[OsString]) -> Option<Self> {
        let bytes = || words.iter().map(|word| word.as_encoded_bytes());
        Some(Self {
            program: Program::new(words, env::var_os("PATH").as_deref())?.into(),
            running: Running {
                text: bytes().collect::<Vec<_>>().join(&b' '),
                program: bytes().next().unwrap_or_default().to_vec(),
            },
            number: Claim::command_number(bytes()),
        })
    }
}

/// The words of a process.
pub(super) fn words_of(pid: Pid) -> Option<Vec<OsString>> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words = bytes.strip_suffix(b"\0").unwrap_or(&bytes).split(|&byte| byte == 0);
    Some(words.map(|word| OsString::from_vec(word.to_vec())).collect()).filter(|_| !bytes.is_empty())
}
