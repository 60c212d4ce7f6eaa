//! The facts of an alarm, one a key: what a program gets in its environment and a webhook in its JSON object.

use std::path::Path;
use std::time::Duration;

use super::message::Facts;
use crate::policy::{Alarm, AlarmKind, Ended, Next, Stamp};
use crate::statusdir::{Debt, ended_text};
use crate::text::escape;

/// One fact; docs/alarms.md lists them all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fact {
    /// Small letters and underscores.
    pub(super) key: String,
    /// One line of escaped text.
    pub(super) value: String,
}

impl Fact {
    /// The value is a decimal number, with or without a fraction.
    pub(super) fn is_number(&self) -> bool {
        NUMBERS.contains(&self.key.as_str())
    }
}

const NUMBERS: [&str; 13] = [
    "pid",
    "time",
    "exit_code",
    "ran",
    "peak_kib",
    "cpu_user",
    "cpu_system",
    "window_exit",
    "window_coredumps",
    "window_ends",
    "tries",
    "merged",
    "running_for",
];

/// The facts of an alarm, in the order of docs/alarms.md. What is not known is left out.
pub(super) fn of(debt: &Debt, facts: Facts<'_>, core_file: Option<&Path>) -> Vec<Fact> {
    let Alarm { kind, exit, at, ran, window_exit, window_coredumps, window_ends, next } = debt.alarm;
    let mut out = Vec::new();
    let recovered = kind == AlarmKind::Recovered;
    let mut fact = |key: &str, value: Option<String>| {
        out.extend(value.map(|value| Fact { key: key.to_owned(), value }));
    };
    let micros = |micros: u64| seconds(Duration::from_micros(micros));
    fact("kind", Some(kind_word(kind).to_owned()));
    fact("host", Some(escape(facts.host.as_bytes())));
    fact("module", Some(escape(facts.module)));
    fact("command", Some(escape(facts.command)));
    fact("pid", Some(exit.pid.to_string()));
    fact("time", Some(stamp(at)));
    if recovered {
        fact("running_for", ran.map(seconds));
        return out;
    }
    fact("ended", Some(ended_word(exit.ended)));
    fact("exit_code", exit_code(exit.ended).map(|code| code.to_string()));
    fact("signal", signal_name(exit.ended));
    fact("core", Some(if exit.ended.dumped_core() { "yes" } else { "no" }.to_owned()));
    fact("core_file", core_file.map(|path| escape(path.as_os_str().as_encoded_bytes())));
    fact("ran", ran.map(seconds));
    fact("peak_kib", exit.peak_kib.map(|kib| kib.to_string()));
    fact("cpu_user", exit.cpu_us.map(|cpu| micros(cpu.0)));
    fact("cpu_system", exit.cpu_us.map(|cpu| micros(cpu.1)));
    fact("window_exit", Some(window_exit.to_string()));
    fact("window_coredumps", Some(window_coredumps.to_string()));
    fact("window_ends", Some(stamp(window_ends)));
    fact("next", Some(next_word(next).to_owned()));
    if let AlarmKind::GaveUp { tries } = kind {
        fact("tries", Some(tries.to_string()));
    }
    fact("merged", Some(debt.merged).filter(|merged| *merged > 0).map(|merged| merged.to_string()));
    out
}

fn kind_word(kind: AlarmKind) -> &'static str {
    match kind {
        AlarmKind::Exited => "exited",
        AlarmKind::Coredump => "coredump",
        AlarmKind::GaveUp { .. } => "gave-up",
        AlarmKind::Recovered => "recovered",
    }
}

fn next_word(next: Next) -> &'static str {
    match next {
        Next::RestartNow | Next::RestartAfter(_) | Next::RestartAfterHook => "restart",
        Next::StaysDown => "stays-down",
        Next::Exits => "supervise-exits",
        Next::GivesUp => "gives-up",
    }
}

/// As `last_exit` in the long record says it.
fn ended_word(ended: Ended) -> String {
    match ended {
        Ended::Code(_) | Ended::Signal { .. } => ended_text(ended),
        Ended::NotStarted { .. } => "not started".to_owned(),
        Ended::Unknown | Ended::Pending => "unknown".to_owned(),
    }
}

fn exit_code(ended: Ended) -> Option<u8> {
    match ended {
        Ended::Code(code) => Some(code),
        Ended::Signal { .. } | Ended::NotStarted { .. } | Ended::Unknown | Ended::Pending => None,
    }
}

fn signal_name(ended: Ended) -> Option<String> {
    let text = ended_text(ended);
    Some(text.strip_prefix("signal ")?.trim_end_matches(" core").to_owned())
}

fn seconds(time: Duration) -> String {
    format!("{}.{:06}", time.as_secs(), time.subsec_micros())
}

fn stamp(at: Stamp) -> String {
    format!("{}.{:09}", at.seconds(), at.nanos())
}
