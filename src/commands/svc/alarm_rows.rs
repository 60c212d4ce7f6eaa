//! What the table of `svc alarms` says of a message.

use std::time::SystemTime;

use crate::alarm::{Delivery, Kept, Place};
use crate::client::table::{Cell, Column, Row, Tone, cut};
use crate::client::{Service, age};

/// The columns. What one acts on stays longest: the id is what is typed next, and it matters who waits, and until when.
pub(super) const COLUMNS: [Column; 7] = [
    Column { heading: "ID", right: false, least: 10, order: 0 },
    Column { heading: "MODULE", right: false, least: 8, order: 1 },
    Column { heading: "AGE", right: true, least: 7, order: 5 },
    Column { heading: "WHAT", right: false, least: 8, order: 4 },
    Column { heading: "NEXT", right: false, least: 8, order: 2 },
    Column { heading: "ATTEMPTS", right: true, least: 8, order: 6 },
    Column { heading: "TO", right: false, least: 12, order: 3 },
];

/// The shortest beginning of an id: its seconds.
const BEGINNING: usize = 10;

/// So much of a recipient tells people apart where there is little room.
const SHORT_RECIPIENT: usize = 20;

/// The rows of the messages in these spools.
pub(super) fn rows(spools: &[(Service, Vec<Kept>)]) -> Vec<Row> {
    let mut ids: Vec<&str> = spools.iter().flat_map(|(_, kept)| kept).map(|kept| kept.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    spools.iter().flat_map(|(service, kept)| kept.iter().map(|kept| row(service, kept, &ids))).collect()
}

/// The row of a message in the spool of a service. `ids`: all that there are, sorted.
fn row(service: &Service, kept: &Kept, ids: &[&str]) -> Row {
    let name = service.shown();
    let what = match &kept.subject {
        Err(wrong) => Cell::from(format!("no message: {wrong}")).toned(Tone::Bad),
        Ok(subject) => {
            // Time and host stand in the columns beside it, or are this machine's.
            let what = subject.split_once("] ").map_or(subject.as_str(), |(_, what)| what);
            Cell::from(what).or_short(what.strip_prefix(&format!("Service {name} ")).unwrap_or(what))
        }
    };
    let missing: Vec<&str> = kept
        .recipients
        .iter()
        .filter(|(_, delivery)| matches!(delivery, Delivery::ToCome(_)) || kept.place == Place::Failed)
        .map(|(line, _)| line.split_once(": ").map_or(line.as_str(), |(_, recipient)| recipient))
        .collect();
    let next = match kept.place {
        Place::Failed => Cell::from("failed").toned(Tone::Bad),
        Place::Queue if kept.due_in.is_zero() => "now".into(),
        Place::Queue => format!("in {}", age(kept.due_in)).into(),
    };
    let attempts = if kept.place == Place::Failed { "-".to_owned() } else { kept.attempts.to_string() };
    Row(vec![
        Cell::from(&kept.id).or_short(beginning(&kept.id, ids)),
        name.into(),
        age_of(kept).into(),
        what,
        next,
        attempts.into(),
        Cell::from(missing.join(", ")).or_short(match missing.as_slice() {
            [] => String::new(),
            [one] => cut(one, SHORT_RECIPIENT),
            [first, rest @ ..] => format!("{} +{}", cut(first, SHORT_RECIPIENT - 3), rest.len()),
        }),
    ])
}

/// The id, or as much of it as no other one begins with, so that it can be typed.
fn beginning(id: &str, ids: &[&str]) -> String {
    let shared = |other: &&str| id.bytes().zip(other.bytes()).take_while(|(one, other)| one == other).count();
    let place = ids.partition_point(|other| *other < id);
    let neighbours = [place.checked_sub(1), Some(place + 1)].into_iter().flatten().filter_map(|place| ids.get(place));
    let length = neighbours.map(|other| shared(other) + 1).max().unwrap_or(0).max(BEGINNING);
    // The `…` must save something.
    id.get(..length).filter(|_| length + 1 < id.len()).map_or_else(|| id.to_owned(), |begin| format!("{begin}…"))
}

fn age_of(kept: &Kept) -> String {
    let time = kept.time.and_then(|time| SystemTime::now().duration_since(time).ok());
    time.map_or_else(|| "-".to_owned(), age)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;
    use crate::client::table::lines;

    fn kept(id: &str, what: &str, recipients: &[&str]) -> Kept {
        let recipients = recipients.iter().map(|line| ((*line).to_owned(), Delivery::ToCome(None))).collect();
        Kept {
            id: id.to_owned(),
            place: Place::Queue,
            subject: Ok(format!("2026-11-21 10:00:00 [Alarm: host] {what}")),
            time: None,
            recipients,
            attempts: 3,
            due_in: Duration::from_millis(8900),
        }
    }

    fn spools() -> Vec<(Service, Vec<Kept>)> {
        let service = |name: &str| Service { name: name.into(), dir: PathBuf::from(name) };
        let two = ["To: operations@example.invalid", "To: second@example.invalid"];
        vec![
            (service("web"), vec![kept("1795256683906077944.6548.1", "Service web exited!", &two)]),
            (
                service("worker/long-name"),
                vec![kept(
                    "1795256684898080393.6551.1",
                    "Service worker/long-name exited!",
                    &["To: a@example.invalid"],
                )],
            ),
        ]
    }

    #[test]
    fn on_a_narrow_terminal_what_one_acts_on_stays() {
        let rows = rows(&spools());
        assert_eq!(
            lines(&COLUMNS, &rows, Some(80), false),
            [
                "ID           MODULE            AGE  WHAT     NEXT      TO",
                "1795256683…  web                 -  exited!  in 8.9 s  operations@examp… +1",
                "1795256684…  worker/long-name    -  exited!  in 8.9 s  a@example.invalid",
            ]
        );
        for (width, headings) in [
            (80, &["ID", "MODULE", "NEXT", "TO"][..]),
            (60, &["ID", "MODULE", "NEXT", "TO"]),
            (40, &["ID", "MODULE", "NEXT"]),
            (200, &["ID", "MODULE", "AGE", "WHAT", "NEXT", "ATTEMPTS", "TO"]),
        ] {
            let lines = lines(&COLUMNS, &rows, Some(width), false);
            for heading in headings {
                assert!(lines[0].split_whitespace().any(|word| word == *heading), "{heading} in {width}: {lines:#?}");
            }
        }
    }

    #[test]
    fn a_beginning_belongs_to_one_id_only() {
        let ids = ["1000000000111.1", "1000000000112.1", "1000000000112.10", "2000000000000.1"];
        for (id, expected) in [
            (ids[0], "1000000000111…"),
            (ids[1], "1000000000112.1"),
            (ids[2], "1000000000112.10"),
            (ids[3], "2000000000…"),
        ] {
            assert_eq!(beginning(id, &ids), expected);
        }
        assert_eq!(beginning("short", &["short"]), "short");
    }
}
