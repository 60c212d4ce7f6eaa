//! What a record says of the service of a classic program, as the claim that this one would have written.

use nix::errno::Errno;
use nix::unistd::Pid;

use super::command::{Running, words_of};
use super::predecessor::Predecessor;
use super::texts::Line;
use crate::policy::{Ledger, Moment, Stamp, Wanted};
use crate::statusdir::{Claim, Debt, Directory, Record};
use crate::sys::{Pidfd, ProcStat, boot_ns, now, why};

/// The classic program stamps its record right after the fork; further apart, the process is another one.
const APART_NS: u64 = 2_000_000_000;

/// The status record. `None`: there is none, or these are not the bytes of one.
///
/// # Errors
/// It can't be read, and why.
pub(super) fn record(dir: &Directory) -> Result<Option<Record>, String> {
    // One byte more than it has: what is longer is none.
    match dir.read("status", Record::LEN + 1) {
        Ok(bytes) => Ok(Record::decode(&bytes)),
        Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(format!("unable to read the status record: {}", why(errno))),
    }
}

/// The living process that a record names.
///
/// # Errors
/// It can't be told if it lives, and why.
pub(super) fn process(record: &Record) -> Result<Option<(Pid, ProcStat)>, String> {
    let Some(pid) = record.pid.and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw) else { return Ok(None) };
    let process = match Pidfd::open(pid) {
        Ok(process) => process,
        // No process; or a thread has the number, which is EINVAL or, on newer kernels, ENOENT.
        Err(Errno::ESRCH | Errno::EINVAL | Errno::ENOENT) => return Ok(None),
        Err(errno) => return Err(format!("unable to open process {pid}: {}", why(errno))),
    };
    match ProcStat::read(pid) {
        Some(stat) => Ok(Some((pid, stat)).filter(|(_, stat)| stat.runs())),
        None if process.is_unreaped() => Err(format!("unable to read /proc/{pid}/stat")),
        None => Ok(None),
    }
}

/// Whether this process was started when the record was stamped.
fn is_of_its_time(record: &Record, stat: &ProcStat) -> bool {
    let ago = boot_ns().saturating_sub(start_ns(stat));
    let started = now().stamp.0.saturating_sub(ago);
    started.abs_diff(record.stamp.0) <= APART_NS
}

/// The claim to go on from where no supervise lives: the one that was left, or one made of the record where only that
/// names a living service.
///
/// # Errors
/// It can't be told if one lives, and why.
pub(super) fn claim_where_none_lives(
    left: Option<Claim>,
    dir: &Directory,
    boot: &str,
    command: Option<(&Running, u64)>,
    lines: &mut Vec<Line>,
) -> Result<Option<Claim>, String> {
    let is_known = |left: &Option<Claim>| match Predecessor::from_claim(left.clone(), boot) {
        Ok(predecessor) => predecessor.service.is_some(),
        Err(_) => true, // or perhaps it is: then nothing may be started
    };
    if is_known(&left) {
        return Ok(left);
    }
    let Some(record) = record(dir)? else { return Ok(left) };
    let Some((pid, stat)) = process(&record)? else { return Ok(left) };
    if !is_of_its_time(&record, &stat) {
        lines.push(Line::warning(format!(
            "the status record names pid {pid}, which runs but was started at another time: it is not the service"
        )));
        return Ok(left);
    }
    let debts = left.map(|claim| claim.debts).unwrap_or_default();
    Ok(Some(claim(&record, Some((pid, stat)), boot, command, debts)))
}

/// The claim, for a successor whose own COMMAND is `command`. `service`: the process that the record names. `debts`: of an
/// earlier claim.
pub(super) fn claim(
    record: &Record,
    service: Option<(Pid, ProcStat)>,
    boot: &str,
    command: Option<(&Running, u64)>,
    debts: Vec<Debt>,
) -> Claim {
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
