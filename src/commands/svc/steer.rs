//! `svc start`, `stop` and their like: from the words of the command line to an order, and from its outcomes to lines.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::completions::names;
use super::{exit, report::Report};
use crate::client::{self, Order, Service, Until, select};
use crate::policy::Command;
use crate::text::escape;

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
    /// Waits for a state, and asks for nothing
    Wait(Waited),
}

/// Which services.
#[derive(Debug, Args)]
pub(crate) struct Names {
    /// A module below the status root, the path of a status directory, or a pattern for either
    #[arg(value_name = "NAME", add = names(), required_unless_present = "all")]
    names: Vec<OsString>,
    /// Every service below the status root
    #[arg(long, conflicts_with = "names")]
    all: bool,
}

/// How long.
#[derive(Debug, Args)]
pub(crate) struct Waiting {
    /// Waits so long until it is so
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    timeout: Duration,
    /// Says nothing of what went well
    #[arg(short, long)]
    quiet: bool,
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
    #[arg(long, value_name = "SECONDS", default_value = "0.25", value_parser = seconds)]
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
    /// A module below the status root, the path of a status directory, or a pattern for either [default: all]
    #[arg(value_name = "NAME", add = names())]
    names: Vec<OsString>,
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

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|_| "not a time that can be waited for".to_owned())
}

/// Carries a verb out and returns the exit code.
pub(super) fn run(root: &Path, verb: Verb) -> u8 {
    use client::Verb as Asked;
    let (asked, names, waiting, no_wait, settle) = match verb {
        Verb::Start(line) => started(Asked::Start, line),
        Verb::Restart(line) => started(Asked::Restart, line),
        Verb::Once(line) => started(Asked::Once, line),
        Verb::Stop(line) => told(Asked::Stop, line),
        Verb::Kill(line) => told(Asked::Kill, line),
        Verb::Pause(line) => told(Asked::Pause, line),
        Verb::Continue(line) => told(Asked::Continue, line),
        Verb::Exit(line) => told(Asked::Exit, line),
        Verb::Reload(line) => told(Asked::Reload, line),
        Verb::Upgrade(line) => told(Asked::Upgrade, line),
        Verb::Signal(line) => {
            let waiting = Waiting { timeout: Duration::ZERO, quiet: line.quiet };
            (Asked::Send(line.signal), line.names.names, waiting, true, Duration::ZERO)
        }
        Verb::Wait(line) => {
            let until = match line.state {
                State::Up => Until::Up,
                State::Down => Until::Down,
                State::GaveUp => Until::GaveUp,
                State::Exited => Until::Exited,
            };
            (Asked::Wait(until), line.names, line.waiting, false, Duration::ZERO)
        }
    };
    let order = Order { verb: asked, wait: !no_wait, timeout: waiting.timeout, settle, kill_after: None };
    select_and_carry_out(root, &names, &order, waiting.quiet)
}

/// Turns alarms on or off, and returns the exit code: `svc alarm on` and `svc alarm off`.
pub(super) fn alarms(root: &Path, on: bool, names: &[OsString], timeout: Duration, wait: bool) -> u8 {
    let verb = if on { client::Verb::AlarmsOn } else { client::Verb::AlarmsOff };
    let order = Order { verb, wait, timeout, settle: Duration::ZERO, kill_after: None };
    select_and_carry_out(root, names, &order, false)
}

fn select_and_carry_out(root: &Path, names: &[OsString], order: &Order, quiet: bool) -> u8 {
    let (services, mut unknown) = select(root, names);
    if services.is_empty() && unknown.is_empty() {
        unknown.push(format!("there is no service below {}", escape(root.as_os_str().as_encoded_bytes())));
    }
    carry_out(&services, &unknown, order, quiet)
}

type Line = (client::Verb, Vec<OsString>, Waiting, bool, Duration);

fn told(verb: client::Verb, line: Told) -> Line {
    (verb, line.names.names, line.waiting, line.no_wait, Duration::ZERO)
}

fn started(verb: client::Verb, line: Started) -> Line {
    let (verb, names, waiting, no_wait, _) = told(verb, line.told);
    (verb, names, waiting, no_wait, line.settle)
}

/// Carries out an order and says what came of it, as it comes. `unknown`: what is to be said of names that name
/// nothing. Returns the exit code: the largest of all.
pub(super) fn carry_out(services: &[Service], unknown: &[String], order: &Order, quiet: bool) -> u8 {
    let mut report = Report::new(services, quiet);
    let mut code = if unknown.is_empty() { exit::DONE } else { exit::NO_SUPERVISE };
    for line in unknown {
        report.complain(line);
    }
    client::steer(services, order, &mut |place, outcome| {
        let this = exit::of(outcome);
        code = code.max(this);
        report.tell(&services[place].shown(), outcome.words(), this == exit::DONE);
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

    #[test]
    fn seconds_have_parts_and_an_end() {
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        for text in ["", "-1", "x", "NaN", "inf", "1e300"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
