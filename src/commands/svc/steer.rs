//! `svc start`, `stop` and their like: from the words of the command line to an order, and from its outcomes to lines.

use std::path::Path;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::arguments::{Named, Names, NamesOrAll, Waiting, seconds};
use super::{exit, report::Report};
use crate::client::{self, Order, Until};
use crate::policy::Command;

/// The verbs that steer.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Wanted up, and up
    Start(Started),
    /// Wanted down, and down: TERM, and CONT
    Stop(Told),
    /// Up under another pid
    Restart(Started),
    /// Up, or run through, and not restarted when it exits
    Once(Started),
    /// KILL; restarted if wanted up
    Kill(Told),
    /// Stopped by STOP
    Pause(Told),
    /// Continued by CONT
    Continue(Told),
    /// Down, and supervise gone
    Exit(Told),
    /// supervise.conf read again
    Reload(Told),
    /// supervise replaced by the program that is installed now
    Upgrade(Told),
    /// A signal sent to the service; waits for nothing
    Signal(Signalled),
    /// Waits until it is up, down, gave-up or exited, and asks for nothing
    Wait(Waited),
}

/// A verb that tells something to supervise.
#[derive(Debug, Args)]
pub(crate) struct Told {
    #[command(flatten)]
    names: Names,
    #[command(flatten)]
    waiting: Waiting,
    /// Does not wait: done once the command is written
    #[arg(long, conflicts_with = "timeout")]
    no_wait: bool,
}

/// A verb that starts a process.
#[derive(Debug, Args)]
pub(crate) struct Started {
    #[command(flatten)]
    told: Told,
    /// A new process counts as up when it has run so long
    #[arg(long, value_name = "SECONDS", default_value = "0.25", value_parser = seconds, allow_negative_numbers = true)]
    settle: Duration,
}

/// `svc signal`.
#[derive(Debug, Args)]
pub(crate) struct Signalled {
    /// TERM, INT, HUP, ALRM, QUIT, USR1, USR2, KILL, STOP or CONT, with or without SIG
    #[arg(value_name = "SIGNAL", value_parser = signal, hide_possible_values = true, add = super::completions::signals())]
    signal: Command,
    #[command(flatten)]
    names: Names,
    /// Says nothing of what went well
    #[arg(short, long)]
    quiet: bool,
}

/// `svc wait`.
#[derive(Debug, Args)]
pub(crate) struct Waited {
    /// The state to wait for
    #[arg(value_name = "STATE")]
    state: State,
    #[command(flatten)]
    names: NamesOrAll,
    #[command(flatten)]
    waiting: Waiting,
}

/// What `svc wait` waits for.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum State {
    /// The service runs
    Up,
    /// It is down, and no start is due
    Down,
    /// Supervise gave up
    GaveUp,
    /// Supervise has ended
    Exited,
}

/// The signals that a byte stands for.
pub(super) const SIGNALS: [(&str, Command); 10] = [
    ("TERM", Command::Term),
    ("INT", Command::Int),
    ("HUP", Command::Hup),
    ("ALRM", Command::Alrm),
    ("QUIT", Command::Quit),
    ("USR1", Command::Usr1),
    ("USR2", Command::Usr2),
    ("KILL", Command::Kill),
    ("STOP", Command::Pause),
    ("CONT", Command::Continue),
];

fn signal(text: &str) -> Result<Command, String> {
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let known = SIGNALS.iter().find(|(known, _)| *known == name);
    known.map(|&(_, command)| command).ok_or_else(|| {
        let names: Vec<&str> = SIGNALS.iter().map(|&(name, _)| name).collect();
        format!("supervise sends only {}", names.join(", "))
    })
}

/// Carries a verb out and returns the exit code.
pub(super) fn run(root: &Path, verb: Verb) -> u8 {
    use client::Verb as Asked;
    match verb {
        Verb::Start(line) => start(root, Asked::Start, line),
        Verb::Restart(line) => start(root, Asked::Restart, line),
        Verb::Once(line) => start(root, Asked::Once, line),
        Verb::Stop(line) => tell(root, Asked::Stop, line),
        Verb::Kill(line) => tell(root, Asked::Kill, line),
        Verb::Pause(line) => tell(root, Asked::Pause, line),
        Verb::Continue(line) => tell(root, Asked::Continue, line),
        Verb::Exit(line) => tell(root, Asked::Exit, line),
        Verb::Reload(line) => tell(root, Asked::Reload, line),
        Verb::Upgrade(line) => tell(root, Asked::Upgrade, line),
        Verb::Signal(line) => {
            let order = Order { wait: false, ..order(Asked::Send(line.signal), Duration::ZERO) };
            carry_out(line.names.find(root), &order, line.quiet)
        }
        Verb::Wait(line) => {
            let until = match line.state {
                State::Up => Until::Up,
                State::Down => Until::Down,
                State::GaveUp => Until::GaveUp,
                State::Exited => Until::Exited,
            };
            let order = order(Asked::Wait(until), line.waiting.timeout);
            carry_out(Named::find(root, &line.names.names).or_none(root), &order, line.waiting.quiet)
        }
    }
}

fn order(verb: client::Verb, timeout: Duration) -> Order {
    Order { verb, wait: true, timeout, settle: Duration::ZERO, kill_after: None }
}

/// Carries out a verb that starts nothing, and returns the exit code.
pub(super) fn tell(root: &Path, verb: client::Verb, line: Told) -> u8 {
    let order = Order { wait: !line.no_wait, ..order(verb, line.waiting.timeout) };
    carry_out(line.names.find(root), &order, line.waiting.quiet)
}

fn start(root: &Path, verb: client::Verb, Started { told, settle }: Started) -> u8 {
    let order = Order { wait: !told.no_wait, settle, ..order(verb, told.waiting.timeout) };
    carry_out(told.names.find(root), &order, told.waiting.quiet)
}

/// Carries out an order and says what came of it, as it comes. Returns the exit code: the largest of all.
pub(super) fn carry_out(named: Named, order: &Order, quiet: bool) -> u8 {
    let mut report = Report::new(&named, quiet);
    let mut code = named.code;
    client::steer(&named.services, order, &mut |place, outcome| {
        let ended = (exit::of(outcome), outcome.words().to_owned());
        code = code.max(report.over(&named.services[place].shown(), &[ended]));
    });
    report.end();
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_has_its_name_with_and_without_sig() {
        for (name, command) in SIGNALS {
            for text in [name.to_owned(), format!("SIG{name}"), name.to_ascii_lowercase()] {
                assert_eq!(signal(&text), Ok(command), "{text}");
            }
        }
        for text in ["", "SIG", "SEGV", "9", "SIGSIGTERM"] {
            let error = signal(text).unwrap_err();
            assert!(SIGNALS.iter().all(|(name, _)| error.contains(name)), "{error}");
        }
    }
}
