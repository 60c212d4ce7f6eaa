//! The program `svc`: from its command line to its exit code.

mod alarm_rows;
mod alarm_test;
mod alarms;
mod arguments;
mod classic;
mod completions;
mod delivery;
mod exit;
mod interrupts;
mod limits;
mod printer;
mod report;
mod retry;
mod script_words;
mod status;
mod steer;
mod tail;
mod terminal;
mod watch;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::client::root;

/// Behind the help.
const MORE: &str = "\
Classic forms: svc -udopchaitkx12 DIR..., which waits for nothing;
               svc DIR restart | stop | start | status | exit | reconf | alarm on | alarm off

Exit codes: 0 it is so, 1 it is not, 99 not in time, 100 wrong use, 102 no supervise there, 111 a system call failed;
status: 0 all are up, 3 something is down, 4 something has no supervise or no readable record

More: svc(8)";

/// Sees and steers services through their status directories; no daemon is needed.
#[derive(Debug, Parser)]
#[command(name = "svc", version, disable_help_subcommand = true, after_help = MORE)]
pub(crate) struct Line {
    /// The status root: the folder that holds the status directories [default: $SUPERVISE_ROOT, else ./status]
    #[arg(long, global = true, value_name = "DIR")]
    root: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// How services fare: a table, JSON, or a live view
    Status(status::Arguments),
    #[command(flatten)]
    Steer(steer::Verb),
    /// The end of what services said
    Tail(tail::Arguments),
    #[command(flatten)]
    Alarms(alarms::Verb),
    /// A script that completes this command line: source it in your shell
    Completions(completions::Arguments),
}

/// Runs `svc` with these arguments, the program's name not included, and returns its exit code.
#[must_use]
pub fn main(arguments: Vec<OsString>) -> u8 {
    completions::answer_shell(); // does not come back where a shell asks what may follow
    if let Some(asked) = classic::read(&arguments) {
        return classic::run(asked);
    }
    let line = match Line::try_parse_from(std::iter::once("svc".into()).chain(arguments)) {
        Ok(line) => line,
        Err(error) => return exit::of_misuse(&error),
    };
    let root = root(line.root);
    match line.verb {
        Verb::Status(arguments) => status::run(&root, arguments),
        Verb::Steer(verb) => steer::run(&root, verb),
        Verb::Tail(arguments) => tail::run(&root, arguments),
        Verb::Alarms(verb) => alarms::run(&root, verb),
        Verb::Completions(arguments) => completions::run(&arguments),
    }
}

#[cfg(test)]
mod man_tests;
