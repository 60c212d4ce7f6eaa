//! The tests of this room, by what they are about.

mod classic;
mod describe;
mod dialect;
mod file;
mod further;
mod layers;
mod random;
mod words;

use super::{Conf, Problem, Settings, Severity, parse};

/// What module `web` gets from a file, with the problems that concern it.
fn web(text: impl AsRef<[u8]>) -> (Settings, Vec<Problem>) {
    let resolved = parse(text.as_ref()).resolve(b"web");
    (resolved.settings, resolved.problems)
}

/// What one item in [global] makes of the defaults, with an alarm window so that classic keys count.
fn one(item: impl AsRef<[u8]>) -> (Settings, Vec<Problem>) {
    let mut text = b"[global]\nalarm_interval : 60\n".to_vec();
    text.extend_from_slice(item.as_ref());
    web(text)
}

/// The defaults, with an alarm window.
fn with_window() -> Settings {
    let alarm_interval = Some(std::time::Duration::from_secs(60));
    Settings { alarm_interval, ..Settings::default() }
}

/// Each problem as it is printed, with a `!` before it where it refuses.
fn told(problems: &[Problem]) -> Vec<String> {
    let mark = |problem: &Problem| {
        if problem.severity == Severity::Refused { "!" } else { "" }
    };
    problems.iter().map(|problem| format!("{}{problem}", mark(problem))).collect()
}

fn names(conf: &Conf) -> Vec<&[u8]> {
    conf.modules().collect()
}
