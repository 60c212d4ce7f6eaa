//! The words of supervise's command line, and what they mean together.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::prelude::*;

use crate::config::split_words;
use crate::statusdir::{Module, NameError};
use crate::supervisor::{ConfSource, Hook, Options};
use crate::text::escape;

/// What supervise is asked to do.
#[derive(Debug)]
pub(super) enum Asked {
    /// Supervise something.
    Run { options: Options, foreground: bool },
    /// Read a conf and say what is in it, for one module or all.
    Check { conf: PathBuf, module: Option<Module> },
    /// Say if it can go on where the supervise that asks stands.
    CanGoOn { options: Options },
    /// Say the version.
    Version,
    /// Say how it is used.
    Help,
}

/// Why a command line is refused.
#[derive(Debug)]
pub(super) struct Misuse(String);

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<lexopt::Error> for Misuse {
    fn from(error: lexopt::Error) -> Self {
        Self(escape(error.to_string().as_bytes()))
    }
}

fn misuse<T>(text: impl Into<String>) -> Result<T, Misuse> {
    Err(Misuse(text.into()))
}

/// What was typed, word by word; of an option that is given twice the last one counts.
#[derive(Debug, Default)]
struct Typed {
    status_dir: Option<OsString>,
    command: Option<OsString>,
    /// COMMAND as words of its own.
    words: Vec<OsString>,
    conf: Option<PathBuf>,
    hook: Option<OsString>,
    reset: Option<OsString>,
    log: Option<OsString>,
    foreground: bool,
    /// The form of daemontools: no option names the status directory.
    bare: bool,
    check: bool,
    take_over: bool,
    /// By a supervise that is to be upgraded; for nobody else.
    asked: bool,
}

/// Reads a command line, the program's name not included.
pub(super) fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Asked, Misuse> {
    let mut typed = Typed::default();
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Short('p') | Long("status-dir") => typed.status_dir = Some(parser.value()?),
            Short('f') | Long("command") => typed.command = Some(parser.value()?),
            Short('F') | Long("conf") => typed.conf = Some(parser.value()?.into()),
            Short('r') | Long("hook") => typed.hook = Some(parser.value()?),
            Short('t') | Long("hook-reset") => typed.reset = Some(parser.value()?),
            Long("log") => typed.log = Some(parser.value()?),
            Long("foreground") => typed.foreground = true,
            Long("check") => typed.check = true,
            Long("take-over") => typed.take_over = true,
            Long("can-go-on") => typed.asked = true,
            Short('v') | Long("version") => return Ok(Asked::Version),
            Short('h') | Long("help") => return Ok(Asked::Help),
            Short('u') => {
                typed.status_dir = Some(parser.value()?);
                typed.words.extend(parser.raw_args()?);
            }
            Value(word) => {
                if typed.status_dir.is_none() && !typed.check {
                    typed.bare = true;
                    typed.status_dir = Some(word);
                } else {
                    typed.words.push(word);
                }
                typed.words.extend(parser.raw_args()?);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    typed.meaning()
}

impl Typed {
    fn meaning(self) -> Result<Asked, Misuse> {
        if self.check {
            return self.check_meaning();
        }
        let Some(status_dir) = self.status_dir.as_ref() else {
            return misuse("no status directory: -p STATUS_DIR is missing");
        };
        let module = Module::from_status_dir(status_dir).map_err(|error| bad_name(status_dir, error))?;
        let mut warnings = Vec::new();
        let foreground = self.foreground || self.bare;
        let reset = self.reset()?;
        let command = match (&self.command, self.words.is_empty()) {
            (Some(_), false) => return misuse("COMMAND is given twice: with -f and as words of its own"),
            (Some(text), true) => Some(split("COMMAND", text, &mut warnings)?),
            (None, false) => Some(self.words.clone()),
            (None, true) if self.bare => return misuse("no COMMAND after the status directory"),
            (None, true) => None, // `command` in the conf may say it
        };
        let hook = match &self.hook {
            None => None,
            Some(text) => Some(Hook { words: split("HOOK", text, &mut warnings)?, reset }),
        };
        let conf = match (self.conf, &hook) {
            (Some(path), _) => ConfSource::Named(path),
            (None, Some(_)) => ConfSource::NotRead, // as the classic program has it
            (None, None) => ConfSource::Usual,
        };
        let inherit_output = match self.log.as_ref().map(|log| log.as_encoded_bytes()) {
            None => self.bare,
            Some(b"files") => false,
            Some(b"inherit") => true,
            Some(other) => return misuse(format!("--log {}: `files` or `inherit` is meant", escape(other))),
        };
        let take_over = self.take_over;
        let options = Options { module, command, conf, hook, inherit_output, take_over, warnings };
        Ok(if self.asked { Asked::CanGoOn { options } } else { Asked::Run { options, foreground } })
    }

    fn check_meaning(self) -> Result<Asked, Misuse> {
        if !self.words.is_empty() || self.command.is_some() {
            return misuse("--check starts nothing: it takes no COMMAND");
        }
        let module = match self.status_dir.as_ref() {
            None => None,
            Some(dir) => Some(Module::from_status_dir(dir).map_err(|error| bad_name(dir, error))?),
        };
        let conf = self.conf.unwrap_or_else(|| PathBuf::from("supervise.conf"));
        Ok(Asked::Check { conf, module })
    }

    /// `-t`: 0 is the same as none.
    fn reset(&self) -> Result<Option<Duration>, Misuse> {
        let Some(text) = self.reset.as_ref() else { return Ok(None) };
        match text.to_str().and_then(|text| text.trim().parse::<u32>().ok()) {
            Some(0) => Ok(None),
            Some(seconds) => Ok(Some(Duration::from_secs(u64::from(seconds)))),
            None => misuse(format!("-t {}: a number of seconds is meant", escape(text.as_encoded_bytes()))),
        }
    }
}

fn bad_name(dir: &OsString, error: NameError) -> Misuse {
    Misuse(format!("bad status directory `{}`: {error}", escape(dir.as_encoded_bytes())))
}

fn split(what: &str, text: &OsString, warnings: &mut Vec<String>) -> Result<Vec<OsString>, Misuse> {
    let (words, uneven) = split_words(text.as_encoded_bytes());
    if words.is_empty() {
        return misuse(format!("{what} is empty"));
    }
    if uneven {
        warnings.push(format!("the quotes in {what} do not come out even: it is split on blanks"));
    }
    Ok(words)
}

#[cfg(test)]
#[path = "arguments_tests.rs"]
mod tests;
