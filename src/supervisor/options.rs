//! What a supervise is told on its command line, and why it may refuse to start.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::exit_code;
use crate::statusdir::Module;

/// What the command line says, checked and ready to use.
#[derive(Clone, Debug)]
pub struct Options {
    /// The status directory and its module.
    pub module: Module,
    /// The words of the command; `None`: `command` in the conf says it.
    pub command: Option<Vec<OsString>>,
    /// Where the policy comes from.
    pub conf: ConfSource,
    /// What runs before every restart.
    pub hook: Option<Hook>,
    /// The service writes where supervise's own output goes, instead of to `__stdout` and `__stderr`.
    pub inherit_output: bool,
    /// A living supervise of this status directory is to be replaced.
    pub take_over: bool,
    /// What is odd about the command line, for the log and the caller.
    pub warnings: Vec<String>,
}

/// Where the policy comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfSource {
    /// `-F` names it: that it can't be opened is a problem.
    Named(PathBuf),
    /// `supervise.conf` in the current folder, if there is one.
    Usual,
    /// With `-r` and without `-F` none is read.
    NotRead,
}

/// The hook of `-r` and `-t`.
#[derive(Clone, Debug)]
pub struct Hook {
    /// The words of its command.
    pub words: Vec<OsString>,
    /// The exit count starts anew after this time; `None`: it is always 1.
    pub reset: Option<Duration>,
}

/// A start that did not come to be: nothing was left running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartError {
    /// One of [`crate::exit_code`].
    pub code: u8,
    /// What to say, a line each.
    pub lines: Vec<String>,
    /// Another supervise has the status directory.
    pub(super) is_taken: bool,
}

impl StartError {
    pub(super) fn new(code: u8, line: impl Into<String>) -> Self {
        Self { code, lines: vec![line.into()], is_taken: false }
    }

    /// The same start may work later, without anybody doing something else.
    pub(super) fn may_pass(&self) -> bool {
        self.code != exit_code::USAGE && !self.is_taken
    }
}
