//! What a record says of the service of a classic program, as the claim that this one would have written.

use nix::unistd::Pid;

use super::command::{Running, words_of};
use super::predecessor::Predecessor;
use super::texts::Line;
use crate::policy::{Ledger, Moment, Stamp, Wanted};
use crate::statusdir::{Claim, Debt, Directory, Record};
use crate::sys::{Pidfd, ProcStat, boot_ns, now};

/// The classic program stamps its record right after the fork; further apart, the process is another one.
const APART_NS: u64 = 2_000_000_000;

/// The status record. `None`: there is none, or these are not the bytes of one.
pub(super) fn record(dir: &Directory) -> Option<Record> {
    // One byte more than it has: what is longer is none.
    Record::decode(&dir.read("status", Record::LEN + 1).ok()?)
}

/// The process that a record names.
pub(super) fn process(record: &Record) -> Option<(Pid, ProcStat)> {
    let pid = Pid::from_raw(i32::try_from(record.pid?).ok()?);
    Some((pid, ProcStat::read(pid)?)).filter(|(_, stat)| stat.runs())
}

/// Whether this process was started when the record was stamped.
fn is_of_its_time(record: &Record, stat: &ProcStat) -> bool {
    let ago = boot_ns().saturating_sub(start_ns(stat));
    let started = now().stamp.0.saturating_sub(ago);
    started.abs_diff(record.stamp.0) <= APART_NS
}

/// The claim to go on from where no supervise lives: the one that was left, or one made of the record where only that
/// names a living service.
pub(super) fn claim_where_none_lives(
    left: Option<Claim>,
    dir: &Directory,
    boot: &str,
    command: Option<(&Running, u64)>,
    lines: &mut Vec<Line>,
) -> Option<Claim> {
    let is_known = |left: &Option<Claim>| match Predecessor::from_claim(left.clone(), boot) {
        Ok(predecessor) => predecessor.service.is_some(),
        Err(_) => true, // or perhaps it is: then nothing may be started
    };
    let Some((record, (pid, stat))) = record(dir).and_then(|record| Some((record, process(&record)?))) else {
        return left;
    };
    if is_known(&left) {
        return left;
    }
    if !is_of_its_time(&record, &stat) {
        lines.push(Line::warning(format!(
            "the status record names pid {pid}, which runs but was started at another time: it is not the service"
        )));
        return left;
    }
    let debts = left.map(|claim| claim.debts).unwrap_or_default();
    Some(claim(&record, boot, command, debts))
}

/// The claim, for a successor whose own COMMAND is `command`. `debts`: of an earlier claim.
pub(super) fn claim(record: &Record, boot: &str, command: Option<(&Running, u64)>, debts: Vec<Debt>) -> Claim {
    let service = process(record);
    let started_ns = service.map_or(0, |(_, stat)| start_ns(&stat));
    let now = now();
    let since_start = boot_ns().saturating_sub(started_ns);
    let ledger = Ledger {
        wanted: record.wanted,
        alarms_off: record.alarms_off,
        paused: record.paused,
        // When `d` was given is not known; it is given what time it has from now on.
        stopping: service.filter(|_| record.wanted == Wanted::Down).map(|_| now.moment),
        started: service.map(|_| Moment(now.moment.0.saturating_sub(since_start))),
        started_at: service.map_or(Stamp::default(), |_| record.stamp),
        starts: u64::from(service.is_some()),
        ..Ledger::default()
    };
    Claim {
        pid: record.pid.filter(|_| service.is_some()),
        started_between: (started_ns, started_ns),
        session: 0,
        boot: boot.to_owned(),
        left: false,
        command: service.map_or(0, |(pid, _)| command_number(pid, command)),
        ledger,
        debts,
    }
}

/// The number of the command that runs. What an interpreter runs has its words before those of the command.
fn command_number(pid: Pid, command: Option<(&Running, u64)>) -> u64 {
    let words = words_of(pid).unwrap_or_default();
    let runs = words.iter().map(|word| word.as_encoded_bytes()).collect::<Vec<_>>().join(&b' ');
    match command {
        Some((own, number)) if runs == own.text || runs.ends_with(&[b" ", own.text.as_slice()].concat()) => number,
        _ => Claim::command_number(words.iter().map(|word| word.as_encoded_bytes())),
    }
}

/// In nanoseconds since boot; the kernel tells it in ticks.
fn start_ns(stat: &ProcStat) -> u64 {
    stat.started * (1_000_000_000 / Pidfd::ticks_a_second())
}
