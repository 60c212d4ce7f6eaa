//! What the table of `svc status` says of a service.

use std::time::Duration;

use super::age::age;
use super::in_parts::in_parts;
use super::liveness::stopped_words;
use super::table::{Cell, Column, Row, Tone};
use super::{Sight, State, Trouble};
use crate::policy::{Stamp, Wanted};
use crate::text::printable;

/// The columns. PID and the exit are what is looked for most, the window least. The last one is for notes.
pub const COLUMNS: [Column; 9] = [
    Column { heading: "MODULE", right: false, least: 12, order: 0 },
    Column { heading: "STATE", right: false, least: 20, order: 1 },
    Column { heading: "PID", right: true, least: 7, order: 2 },
    Column { heading: "SINCE", right: true, least: 7, order: 3 },
    Column { heading: "STARTS", right: true, least: 6, order: 5 },
    Column { heading: "LAST EXIT", right: false, least: 12, order: 4 },
    Column { heading: "WINDOW", right: false, least: 6, order: 7 },
    Column { heading: "ALARMS", right: false, least: 6, order: 6 },
    Column { heading: "NOTE", right: false, least: 12, order: 8 },
];

/// What is not known, or does not apply.
const NONE: &str = "-";

/// So many names stand before a note that services share.
const NAMED: usize = 3;

/// The row of a service at this time.
#[must_use]
pub fn row(sight: &Sight, now: Stamp) -> Row {
    let name = Cell::from(sight.service.shown());
    let state = Cell::from(state_words(sight)).toned(tone(sight));
    if sight.state == State::Unreadable {
        return Row(vec![name, state, sight.problem.clone().unwrap_or_default().into()]);
    }
    let number = |key: &str| sight.number(key).map_or_else(|| NONE.to_owned(), |number| number.to_string());
    Row(vec![
        name,
        state,
        sight.pid.map_or_else(|| NONE.to_owned(), |pid| pid.to_string()).into(),
        sight.since.map_or_else(|| NONE.to_owned(), |since| age(time_since(since, now))).into(),
        number("starts").into(),
        last_exit(sight, now),
        window(sight),
        alarms(sight),
        note(sight).into(),
    ])
}

/// The rows of many.
#[must_use]
pub fn rows(sights: &[Sight], now: Stamp) -> Vec<Row> {
    in_parts(sights, |part| part.iter().map(|sight| row(sight, now)).collect())
}

/// How long ago that was; a clock that was set back makes it now.
#[must_use]
pub fn time_since(then: Stamp, now: Stamp) -> Duration {
    Duration::from_nanos(now.0.saturating_sub(then.0))
}

/// `up`, `down, wanted up`, `paused, no supervise`, …
#[must_use]
pub fn state_words(sight: &Sight) -> String {
    let mut words = if sight.paused { "paused" } else { sight.state.word() }.to_owned();
    if sight.state == State::Unreadable || sight.state == State::GaveUp {
        return words;
    }
    match sight.supervise {
        Some(true) => {}
        Some(false) => words.push_str(", no supervise"),
        None => words.push_str(", supervise unknown"),
    }
    if sight.supervise == Some(true) {
        match (sight.state, sight.wanted) {
            (State::Down, Some(Wanted::Up)) => words.push_str(", wanted up"),
            (State::Up, Some(Wanted::Once)) => words.push_str(", once"),
            (State::Up, Some(Wanted::Down)) => words.push_str(", wanted down"),
            _ => {}
        }
        if sight.stopped.is_some() {
            words.push_str(", supervise stopped");
        } else if sight.conf_problem().is_some() {
            words.push_str(", conf problem");
        } else if sight.upgrade_problem().is_some() {
            words.push_str(", not upgraded");
        }
    }
    words
}

/// What is wrong besides its state, in a line; empty where nothing is.
fn note(sight: &Sight) -> String {
    let unreadable = sight.problem.clone().filter(|_| sight.state != State::Unreadable); // which stands in its row
    let conf = sight.conf_problem().map(|problem| format!("conf: {problem}"));
    let upgrade = sight.upgrade_problem().map(|problem| format!("upgrade: {problem}"));
    let stopped = sight.stopped.map(stopped_words);
    let notes: Vec<String> = [unreadable, stopped, conf, upgrade].into_iter().flatten().collect();
    notes.join("; ")
}

/// All that is wrong besides the state, `web: conf: ...`, for one that is looked at closely; empty where nothing is.
#[must_use]
pub fn detail(sight: &Sight) -> String {
    let unreadable = sight.problem.clone().filter(|_| sight.state == State::Unreadable);
    let parts: Vec<String> = unreadable.into_iter().chain([note(sight)]).filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        return String::new();
    }
    printable(format!("{}: {}", sight.service.shown(), parts.join("; ")).as_bytes())
}

/// The notes of all of them, a line each: what several share is said once, `web, db and 3 more: conf: ...`.
#[must_use]
pub fn notes<'a>(sights: impl IntoIterator<Item = &'a Sight>) -> Vec<String> {
    let mut names: Vec<(String, Vec<String>)> = Vec::new();
    for sight in sights {
        let note = note(sight);
        match names.iter_mut().find(|(other, _)| *other == note) {
            _ if note.is_empty() => {}
            Some((_, names)) => names.push(sight.service.shown()),
            None => names.push((note, vec![sight.service.shown()])),
        }
    }
    let who = |names: &[String]| match names.get(NAMED..).unwrap_or_default() {
        [] => names.join(", "),
        rest => format!("{} and {} more", names[..NAMED].join(", "), rest.len()),
    };
    names.iter().map(|(note, names)| printable(format!("{}: {note}", who(names)).as_bytes())).collect()
}

/// What its state means to whoever looks.
#[must_use]
pub fn tone(sight: &Sight) -> Tone {
    match sight.trouble() {
        Some(Trouble::GaveUp | Trouble::Unreadable | Trouble::NoSupervise | Trouble::Stopped | Trouble::Down) => {
            Tone::Bad
        }
        Some(Trouble::Restarting | Trouble::Refused) => Tone::Busy,
        Some(Trouble::Undelivered) | None => match sight.state {
            State::Down => Tone::Quiet,
            State::Up if !sight.paused => Tone::Good,
            _ => Tone::Busy,
        },
    }
}

fn last_exit(sight: &Sight, now: Stamp) -> Cell {
    let Some(record) = sight.record.as_ref() else { return NONE.into() };
    let Some(ended) = record.text("last_exit") else { return NONE.into() };
    match record.time("last_exit_at") {
        Some(at) => Cell::from(format!("{ended}, {} ago", age(time_since(at, now)))).or_short(ended),
        None => ended.into(),
    }
}

/// The unexpected exits in the alarm window.
fn window(sight: &Sight) -> Cell {
    let exits = sight.number("window_exits").filter(|&exits| exits > 0);
    let Some(exits) = exits else { return NONE.into() };
    let text = if exits == 1 { "1 exit".to_owned() } else { format!("{exits} exits") };
    match sight.number("window_coredumps").filter(|&cores| cores > 0) {
        None => Cell::from(text).or_short(exits.to_string()),
        Some(cores) => {
            let plural = if cores == 1 { "" } else { "s" };
            Cell::from(format!("{text}, {cores} core{plural}")).or_short(format!("{exits}, {cores} core{plural}"))
        }
    }
}

fn alarms(sight: &Sight) -> Cell {
    let Some(on) = sight.alarms else { return NONE.into() };
    let word = if on { "on" } else { "off" };
    match sight.number("undelivered").filter(|&count| count > 0) {
        None if on => word.into(),
        None => Cell::from(word).toned(Tone::Busy),
        Some(count) => {
            Cell::from(format!("{word}, {count} undelivered")).or_short(format!("{word}, {count}!")).toned(Tone::Bad)
        }
    }
}

/// `12 services: 9 up, 2 down, 1 gave-up`, in the order of the states; one without a supervise is named apart.
#[must_use]
pub fn summary<'a>(sights: impl IntoIterator<Item = &'a Sight>) -> String {
    let (mut all, mut counts) = (0, std::collections::BTreeMap::<_, usize>::new());
    for sight in sights {
        all += 1;
        let unwatched =
            sight.supervise != Some(true) && matches!(sight.state, State::Up | State::Stopping | State::Down);
        let word =
            if unwatched { format!("{}, no supervise", sight.state.word()) } else { sight.state.word().to_owned() };
        *counts.entry((unwatched, sight.state, word)).or_default() += 1;
    }
    let parts: Vec<String> = counts.iter().map(|((_, _, word), count)| format!("{count} {word}")).collect();
    let noun = if all == 1 { "service" } else { "services" };
    format!("{all} {noun}: {}", parts.join("; ")).trim_end_matches([':', ' ']).to_owned()
}
