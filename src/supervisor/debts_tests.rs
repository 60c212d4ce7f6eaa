//! Alarms that are owed: merging, settling, and a spool that cannot be written.

use std::fs;

use super::*;
use crate::config::Settings;
use crate::policy::{AlarmKind, Next};
use crate::statusdir::is_id;

/// The start of a run, so many nanoseconds after the boot.
fn run(moment: u64) -> RunStart {
    RunStart { moment: Some(Moment(moment)), stamp: Stamp(900_000_000 + moment) }
}

fn alarm(ended: Ended) -> Alarm {
    Alarm {
        kind: AlarmKind::Exited,
        exit: Exit { pid: 42, ended, peak_kib: None, cpu_us: None },
        at: Stamp(1_000_000_000),
        ran: None,
        window_exit: 1,
        window_coredumps: 0,
        window_ends: Stamp(61_000_000_000),
        next: Next::RestartNow,
    }
}

fn pay(debts: &mut Debts, now: Moment, dir: &Directory, last: bool) -> Vec<Paid> {
    let settings = Settings::default();
    let facts = Facts { host: "h", module: b"app", command: b"run", program: b"run", settings: &settings, conf: None };
    debts.pay(now, dir, facts, last)
}

fn folder() -> (tempfile::TempDir, Directory) {
    let folder = tempfile::tempdir().unwrap();
    let dir = Directory::open(folder.path()).unwrap();
    (folder, dir)
}

#[test]
fn each_alarm_is_a_file_and_is_owed_no_more() {
    let (folder, dir) = folder();
    let mut debts = Debts::default();
    debts.raise(alarm(Ended::Code(1)), run(1), "b", None);
    debts.raise(alarm(Ended::Code(2)), run(2), "b", None);
    let paid = pay(&mut debts, Moment(0), &dir, false);
    assert!(matches!(paid.as_slice(), [Paid::Stored(a), Paid::Stored(b)] if a != b), "{paid:?}");
    assert!(debts.owed().is_empty());
    assert_eq!(fs::read_dir(folder.path().join("alarms")).unwrap().count(), 2);
}

/// The id of an alarm that is raised now.
fn id(kind: AlarmKind, pid: i32, start: RunStart, boot: &str) -> String {
    let mut debts = Debts::default();
    let alarm = alarm(Ended::Unknown);
    debts.raise(Alarm { kind, exit: Exit { pid, ..alarm.exit }, ..alarm }, start, boot, None);
    debts.owed()[0].id.clone()
}

#[test]
fn an_id_is_made_of_what_is_known_of_the_run() {
    let usual = id(AlarmKind::Exited, 42, run(7), "b");
    assert_eq!(usual, "900000007.42.2.3990900417");
    assert!(is_id(&usual));
    // A successor knows no core and gives up nothing.
    for kind in [AlarmKind::Coredump, AlarmKind::GaveUp { tries: 3 }] {
        assert_eq!(id(kind, 42, run(7), "b"), usual, "{kind:?}");
    }
    let set_back = RunStart { moment: Some(Moment(8)), ..run(7) };
    for (another, why) in [
        (id(AlarmKind::Recovered, 42, run(7), "b"), "that it recovered is another alarm"),
        (id(AlarmKind::Exited, 43, run(7), "b"), "another process"),
        (id(AlarmKind::Exited, 42, run(8), "b"), "a later run that got the same number"),
        (id(AlarmKind::Exited, 42, set_back, "b"), "the clock was set back to the very instant"),
        (id(AlarmKind::Exited, 42, run(7), "c"), "a clock that begins at the same time in each boot"),
    ] {
        assert_ne!(another, usual, "{why}");
    }
    let recovered = id(AlarmKind::Recovered, 42, run(7), "b");
    assert!(recovered < usual && usual < id(AlarmKind::Recovered, 41, run(8), "b"), "by name they are in their order");
}

#[test]
fn what_began_nobody_knows_when_has_the_time_of_its_end() {
    let unknown = RunStart::default();
    assert!(id(AlarmKind::Exited, 42, unknown, "b").starts_with("1000000000.42.2."));
}

#[test]
fn a_successor_that_raises_it_again_writes_nothing_new() {
    let (folder, dir) = folder();
    let mut debts = Debts::default();
    debts.raise(alarm(Ended::Code(1)), run(1), "b", None);
    assert!(matches!(pay(&mut debts, Moment(0), &dir, false).as_slice(), [Paid::Stored(_)]));
    let mut successor = Debts::default();
    successor.raise(Alarm { at: Stamp(2_000_000_000), ..alarm(Ended::Unknown) }, run(1), "b", None);
    let paid = pay(&mut successor, Moment(0), &dir, false);
    assert!(matches!(paid.as_slice(), [Paid::WasThere(_, Stored::Waiting)]), "{paid:?}");
    assert!(successor.owed().is_empty());
    assert_eq!(fs::read_dir(folder.path().join("alarms")).unwrap().count(), 1);
}

#[test]
fn what_is_pending_waits_for_its_status() {
    let (_folder, dir) = folder();
    let mut debts = Debts::default();
    debts.raise(alarm(Ended::Pending), run(1), "b", None);
    assert!(pay(&mut debts, Moment(0), &dir, false).is_empty());
    debts.settle(Exit { pid: 7, ended: Ended::Code(9), peak_kib: None, cpu_us: None });
    assert_eq!(debts.owed().len(), 1, "that was another one");
    debts.settle(Exit { pid: 42, ended: Ended::Code(9), peak_kib: None, cpu_us: None });
    assert_eq!(debts.owed()[0].alarm.exit.ended, Ended::Code(9));
    assert_eq!(pay(&mut debts, Moment(0), &dir, false).len(), 1);
}

#[test]
fn what_a_predecessor_waited_for_does_not_come_any_more() {
    let mut debts = Debts::default();
    debts.raise(alarm(Ended::Pending), run(1), "b", None);
    let debts = Debts::take_over(debts.owed().to_vec());
    assert_eq!(debts.owed()[0].alarm.exit.ended, Ended::Unknown);
}

#[test]
fn a_spool_that_cannot_be_written_is_tried_again_later_and_told_once() {
    let (folder, dir) = folder();
    fs::write(folder.path().join("alarms"), "no folder").unwrap();
    let mut debts = Debts::default();
    debts.raise(alarm(Ended::Code(1)), run(1), "b", None);
    assert!(matches!(pay(&mut debts, Moment(0), &dir, false).as_slice(), [Paid::Failed(_)]));
    assert!(pay(&mut debts, Moment(1), &dir, false).is_empty(), "not yet");
    let again = debts.deadline().unwrap();
    assert!(pay(&mut debts, again, &dir, false).is_empty(), "said once");
    assert_eq!(debts.owed().len(), 1);
    fs::remove_file(folder.path().join("alarms")).unwrap();
    assert!(matches!(pay(&mut debts, again, &dir, true).as_slice(), [Paid::Stored(_)]), "the last chance is taken");
    assert_eq!(debts.deadline(), None);
}

#[test]
fn where_there_is_no_room_the_newest_speaks_for_the_one_it_replaces() {
    let mut debts = Debts::default();
    for code in 0..12 {
        debts.raise(alarm(Ended::Code(code)), run(code.into()), "b", None);
    }
    let last = debts.owed().last().unwrap();
    assert_eq!((debts.owed().len(), last.merged, last.alarm.exit.ended), (Claim::MAX_DEBTS, 4, Ended::Code(11)));
}

#[test]
fn a_core_that_is_known_late_changes_no_subject() {
    let mut debts = Debts::default();
    debts.raise(alarm(Ended::Pending), run(1), "b", None);
    debts.settle(Exit { pid: 42, ended: Ended::Signal { number: 11, core: true }, peak_kib: None, cpu_us: None });
    let debt = &debts.owed()[0].alarm;
    assert_eq!((debt.kind, debt.exit.ended), (AlarmKind::Exited, Ended::Signal { number: 11, core: true }));
}
