//! What the table of `svc alarms` says of a message.

use std::time::SystemTime;

use crate::alarm::{Delivery, Kept, Place};
use crate::client::table::{Cell, Column, Row, Tone};
use crate::client::{Service, age};

/// The columns: the id is what is typed next.
pub(super) const COLUMNS: [Column; 7] = [
    Column { heading: "ID", right: false, least: 10, order: 0 },
    Column { heading: "MODULE", right: false, least: 8, order: 1 },
    Column { heading: "AGE", right: true, least: 7, order: 3 },
    Column { heading: "WHAT", right: false, least: 12, order: 2 },
    Column { heading: "NEXT", right: false, least: 8, order: 4 },
    Column { heading: "ATTEMPTS", right: true, least: 8, order: 6 },
    Column { heading: "TO", right: false, least: 12, order: 5 },
];

/// The row of a message in the spool of a service.
pub(super) fn row(service: &Service, kept: &Kept) -> Row {
    let what = match &kept.subject {
        Err(wrong) => Cell::from(format!("no message: {wrong}")).toned(Tone::Bad),
        // Time and host stand in the columns beside it, or are this machine's.
        Ok(subject) => subject.split_once("] ").map_or(subject.as_str(), |(_, what)| what).into(),
    };
    let missing: Vec<&str> = kept
        .recipients
        .iter()
        .filter(|(_, delivery)| *delivery == Delivery::ToCome || kept.place == Place::Failed)
        .map(|(line, _)| line.split_once(": ").map_or(line.as_str(), |(_, recipient)| recipient))
        .collect();
    let next = match kept.place {
        Place::Failed => Cell::from("failed").toned(Tone::Bad),
        Place::Queue if kept.due_in.is_zero() => "now".into(),
        Place::Queue => format!("in {}", age(kept.due_in)).into(),
    };
    let attempts = if kept.place == Place::Failed { "-".to_owned() } else { kept.attempts.to_string() };
    Row(vec![
        kept.id.clone().into(),
        service.shown().into(),
        age_of(kept).into(),
        what,
        next,
        attempts.into(),
        Cell::from(missing.join(", ")).or_short(match missing.as_slice() {
            [] | [_] => missing.join(""),
            [first, rest @ ..] => format!("{first} and {} more", rest.len()),
        }),
    ])
}

fn age_of(kept: &Kept) -> String {
    let time = kept.time.and_then(|time| SystemTime::now().duration_since(time).ok());
    time.map_or_else(|| "-".to_owned(), age)
}
