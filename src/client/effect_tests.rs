//! Every verb against what the records can say before and after it.

use std::time::Duration;

use super::*;
use crate::policy::{Command, Stamp};
use crate::statusdir::{ReadRecord, Record, command_of};

/// What a supervise of ours publishes: `pid state wanted starts exits`, then further lines of the long record.
fn ours(pid: u32, state: &str, wanted: &str, starts: u32, exits: u32, more: &str) -> Fare {
    let text = format!(
        "module : web\npid : {pid}\nstate : {state}\nwanted : {wanted}\nstarts : {starts}\nexits : {exits}\n{more}"
    );
    let long = ReadRecord::decode(text.as_bytes());
    Fare::new(classic(pid, wanted, false, false).record, Some(long.unwrap()), Some(true))
}

/// What a classic program publishes.
fn classic(pid: u32, wanted: &str, paused: bool, alarms_off: bool) -> Fare {
    let wanted = match wanted {
        "up" => Wanted::Up,
        "down" => Wanted::Down,
        _ => Wanted::Once,
    };
    let record = Record { stamp: Stamp(0), paused, wanted, alarms_off, pid: (pid != 0).then_some(pid) };
    Fare::new(record, None, Some(true))
}

const SETTLE: Duration = Duration::from_millis(250);

/// A scene in which the bytes were obeyed and supervise lives; a new pid has settled.
fn settled<'a>(before: &'a Fare, now: &'a Fare) -> Scene<'a> {
    let fresh = now.pid.filter(|_| now.pid != before.pid).map(|pid| (pid, SETTLE));
    Scene { name: "web", before, now, life: Life::Lives, stopped: None, obeyed: true, fresh, settle: SETTLE }
}

/// The verdict in one line.
fn verdict(verb: Verb, scene: &Scene<'_>) -> String {
    match judge(verb, scene) {
        Verdict::Done(words) => format!("done: {words}"),
        Verdict::Failed(failure) => format!("failed: {}", failure.words),
        Verdict::NotYet(None) => "not yet".to_owned(),
        Verdict::NotYet(Some(time)) => format!("not yet, {} ms", time.as_millis()),
    }
}

#[track_caller]
fn expect(verb: Verb, before: &Fare, now: &Fare, expected: &str) {
    assert_eq!(verdict(verb, &settled(before, now)), expected, "{verb:?}\nbefore: {before:?}\nnow: {now:?}");
}

const VERBS: [Verb; 12] = [
    Verb::Start,
    Verb::Stop,
    Verb::Restart,
    Verb::Once,
    Verb::Kill,
    Verb::Pause,
    Verb::Continue,
    Verb::Exit,
    Verb::Reload,
    Verb::Upgrade,
    Verb::AlarmsOn,
    Verb::AlarmsOff,
];

#[test]
fn the_bytes_are_commands() {
    for verb in VERBS.into_iter().filter(|verb| *verb != Verb::Upgrade) {
        assert!(
            !verb.bytes().is_empty() && verb.bytes().into_iter().all(|byte| command_of(byte).is_some()),
            "{verb:?}"
        );
    }
    let text = |verb: Verb| String::from_utf8(verb.bytes()).unwrap();
    assert_eq!(VERBS.map(text).join(" "), "u d du o k p c dx r U n s");
    assert_eq!(text(Verb::Send(Command::Usr1)), "1");
    assert_eq!(text(Verb::Wait(Until::Up)), "");
}

#[test]
fn nothing_counts_before_the_bytes_were_obeyed() {
    let (down, up) = (ours(0, "down", "down", 1, 1, ""), ours(7, "up", "up", 2, 1, ""));
    for verb in VERBS {
        for (before, now) in [(&down, &down), (&down, &up), (&up, &down), (&up, &up)] {
            let scene = Scene { obeyed: false, ..settled(before, now) };
            assert_eq!(verdict(verb, &scene), "not yet", "{verb:?}");
        }
    }
}

#[test]
fn start() {
    let down = ours(0, "down", "down", 1, 1, "");
    let up = ours(7, "up", "up", 1, 0, "");
    let new = ours(8, "up", "up", 2, 1, "");
    let crashed = ours(0, "pacing", "up", 2, 2, "last_exit : signal SEGV core\nlast_ran : 0.210000000\n");
    let crashed_and_up = ours(9, "up", "up", 3, 2, "last_exit : code 3\nlast_ran : 0.000000001\n");
    expect(Verb::Start, &down, &new, "done: started (pid 8)");
    expect(Verb::Start, &up, &up, "done: up already (pid 7)");
    expect(Verb::Start, &down, &crashed, "failed: started, but exited again after 0.2 s: signal SEGV core");
    expect(Verb::Start, &down, &crashed_and_up, "failed: started, but exited again after 0.0 s: code 3");
    // Unsettled: it may still exit.
    let young = Scene { fresh: Some((8, Duration::from_millis(50))), ..settled(&down, &new) };
    assert_eq!(verdict(Verb::Start, &young), "not yet, 200 ms");
    // One that was being stopped is not the one that was asked for.
    let stopping = ours(7, "stopping", "down", 1, 0, "");
    expect(Verb::Start, &stopping, &ours(7, "stopping", "up", 1, 0, ""), "not yet");
    expect(Verb::Start, &stopping, &ours(8, "up", "up", 2, 1, ""), "done: started (pid 8)");
    // A `d` of somebody else was in the fifo before.
    expect(Verb::Start, &up, &ours(7, "stopping", "up", 1, 0, ""), "not yet");
    expect(Verb::Start, &down, &ours(0, "hook", "up", 1, 1, ""), "not yet");
    expect(Verb::Start, &down, &ours(8, "stopping", "down", 2, 1, ""), "not yet");
    // It exited by itself and is back.
    expect(Verb::Start, &up, &ours(8, "up", "up", 2, 1, ""), "done: started (pid 8)");
}

#[test]
fn restart() {
    let up = ours(7, "up", "up", 1, 0, "");
    expect(Verb::Restart, &up, &up, "not yet");
    expect(Verb::Restart, &up, &ours(7, "stopping", "up", 1, 0, ""), "not yet");
    expect(Verb::Restart, &up, &ours(0, "pacing", "up", 1, 1, "last_exit : code 0\n"), "not yet");
    expect(Verb::Restart, &up, &ours(8, "up", "up", 2, 1, "last_exit : code 0\n"), "done: restarted (pid 8)");
    let again = ours(9, "up", "up", 3, 2, "last_exit : code 4\nlast_ran : 0.100000000\n");
    expect(Verb::Restart, &up, &again, "failed: restarted, but exited again after 0.1 s: code 4");
    expect(
        Verb::Restart,
        &ours(0, "down", "down", 1, 1, ""),
        &ours(8, "up", "up", 2, 1, ""),
        "done: restarted (pid 8)",
    );
}

#[test]
fn once() {
    let down = ours(0, "down", "down", 1, 1, "");
    expect(Verb::Once, &down, &ours(8, "up", "once", 2, 1, ""), "done: started once (pid 8)");
    let ran = ours(0, "down", "once", 2, 2, "last_exit : code 0\nlast_ran : 0.010000000\n");
    expect(Verb::Once, &down, &ran, "done: has run once: code 0");
    let bad = ours(0, "down", "once", 2, 2, "last_exit : code 1\nlast_ran : 2.000000000\n");
    expect(Verb::Once, &down, &bad, "failed: started, but exited again after 2 s: code 1");
    let up = ours(7, "up", "up", 1, 0, "");
    expect(
        Verb::Once,
        &up,
        &ours(7, "up", "once", 1, 0, ""),
        "done: up already (pid 7), and not restarted when it exits",
    );
    expect(Verb::Once, &up, &up, "not yet");
}

#[test]
fn stop_kill_pause_and_continue() {
    let up = ours(7, "up", "up", 1, 0, "");
    let down = ours(0, "down", "down", 1, 1, "");
    expect(Verb::Stop, &up, &down, "done: stopped");
    expect(Verb::Stop, &down, &down, "done: down already");
    expect(Verb::Stop, &up, &ours(7, "stopping", "down", 1, 0, ""), "not yet");
    expect(Verb::Stop, &up, &ours(0, "pacing", "up", 1, 1, ""), "not yet");
    expect(Verb::Kill, &up, &up, "not yet");
    expect(Verb::Kill, &up, &ours(0, "pacing", "up", 1, 1, ""), "done: killed");
    expect(Verb::Kill, &up, &ours(8, "up", "up", 2, 1, ""), "done: killed");
    expect(Verb::Kill, &down, &down, "done: not running");
    let paused = classic(7, "up", true, false);
    expect(Verb::Pause, &up, &paused, "done: paused");
    expect(Verb::Pause, &up, &up, "not yet");
    expect(Verb::Pause, &down, &down, "failed: not running, so it cannot be paused");
    expect(Verb::Continue, &paused, &up, "done: continued");
    expect(Verb::Continue, &paused, &paused, "not yet");
    expect(Verb::Continue, &down, &down, "done: not paused");
}

#[test]
fn alarms_and_signals() {
    let (on, off) = (classic(7, "up", false, false), classic(7, "up", false, true));
    expect(Verb::AlarmsOff, &on, &off, "done: alarms off");
    expect(Verb::AlarmsOff, &on, &on, "not yet");
    expect(Verb::AlarmsOn, &off, &on, "done: alarms on");
    expect(Verb::AlarmsOn, &off, &off, "not yet");
    expect(Verb::Send(Command::Hup), &on, &on, "done: told");
}

#[test]
fn reload_is_seen_by_the_time_of_the_reading() {
    let before = ours(7, "up", "up", 1, 0, "conf : a\nconf_read : 1.000000000\n");
    let read = |more: &str| ours(7, "up", "up", 1, 0, &format!("conf : a\nconf_read : 2.000000000\n{more}"));
    let refused = ours(7, "up", "up", 1, 0, "conf : a\nconf_read : 1.000000000\nconf_problem : a:3: x\n");
    expect(Verb::Reload, &before, &before, "not yet");
    expect(Verb::Reload, &before, &read(""), "done: reloaded");
    expect(Verb::Reload, &before, &read("conf_problem : a:1: y\n"), "done: reloaded, but: a:1: y");
    expect(Verb::Reload, &before, &refused, "failed: not reloaded: a:3: x");
    let none = ours(7, "up", "up", 1, 0, "");
    expect(Verb::Reload, &none, &none, "failed: not reloaded: it has no supervise.conf");
    let old = classic(7, "up", false, false);
    expect(Verb::Reload, &old, &old, "done: told to reload");
}

#[test]
fn upgrade_is_seen_by_its_keys() {
    let before = ours(7, "up", "up", 1, 0, "version : 1\n");
    let problem = |text: &str| ours(7, "up", "up", 1, 0, &format!("version : 1\nupgrade_problem : {text}\n"));
    expect(Verb::Upgrade, &before, &before, "not yet");
    let upgraded = ours(7, "up", "up", 1, 0, "version : 2\nupgraded : 5.000000000\n");
    expect(Verb::Upgrade, &before, &upgraded, "done: upgraded to 2");
    expect(Verb::Upgrade, &before, &problem("5.000000000 it says no"), "failed: not upgraded: it says no");
    expect(Verb::Upgrade, &before, &problem("it says no"), "failed: not upgraded: it says no");
    expect(Verb::Upgrade, &problem("5.0 no"), &problem("5.0 no"), "not yet");
    expect(Verb::Upgrade, &problem("5.0 no"), &problem("6.0 no"), "failed: not upgraded: no");
}

#[test]
fn exit_is_seen_by_the_end_of_supervise() {
    let (up, down) = (ours(7, "up", "up", 1, 0, ""), ours(0, "down", "down", 1, 1, ""));
    expect(Verb::Exit, &up, &down, "not yet");
    let gone = |now| Scene { life: Life::Killed, ..settled(&up, now) };
    assert_eq!(verdict(Verb::Exit, &gone(&down)), "done: exited");
    assert_eq!(
        verdict(Verb::Exit, &gone(&up)),
        "failed: supervise was killed while the service was up; the service goes on, pid 7"
    );
}

#[test]
fn the_end_of_supervise_is_told() {
    let (up, down) = (ours(7, "up", "up", 1, 0, ""), ours(0, "down", "up", 1, 1, ""));
    let gave_up = ours(0, "gave-up", "up", 2, 2, "last_exit : code 3\nwindow_exits : 2\n");
    let pacing = ours(0, "pacing", "up", 1, 1, "");
    let left = ours(7, "stopping", "down", 1, 0, "");
    let found_dead = Fare::new(left.record, left.long.clone(), Some(false));
    for verb in VERBS.into_iter().filter(|verb| *verb != Verb::Exit) {
        let gone = |life, now| verdict(verb, &Scene { life, ..settled(&up, now) });
        let goes_on = "failed: supervise was killed while the service was up; the service goes on, pid 7";
        assert_eq!(gone(Life::Killed, &up), goes_on);
        let gave_up_words = "failed: supervise gave up after 2 exits in the alarm window; the last exit was code 3";
        assert_eq!(gone(Life::Ended, &gave_up), gave_up_words);
        assert_eq!(verdict(verb, &settled(&up, &gave_up)), gave_up_words, "it says so before it ends");
        if verb == Verb::Kill {
            assert_eq!(gone(Life::Killed, &pacing), "done: killed");
            continue;
        }
        assert_eq!(gone(Life::Ended, &down), "failed: supervise has ended");
        let waited = "failed: supervise was killed while the service waited for its restart";
        assert_eq!(gone(Life::Killed, &pacing), waited);
        let both = "failed: supervise was killed while the service was stopping; the service has ended too";
        assert_eq!(gone(Life::Killed, &found_dead), if verb == Verb::Stop { "done: stopped" } else { both });
    }
    expect(Verb::Stop, &gave_up, &ours(0, "down", "down", 0, 0, ""), "done: down already");
    let stopped = ours(0, "down", "down", 1, 1, "");
    assert_eq!(verdict(Verb::Stop, &Scene { life: Life::Ended, ..settled(&up, &stopped) }), "done: stopped");
}

#[test]
fn a_classic_program_is_judged_by_its_record() {
    let (down, up) = (classic(0, "down", false, false), classic(7, "up", false, false));
    let new = classic(8, "up", false, false);
    expect(Verb::Start, &down, &up, "done: started (pid 7)");
    expect(Verb::Start, &up, &up, "done: up already (pid 7)");
    expect(Verb::Start, &classic(7, "down", false, false), &up, "not yet");
    expect(Verb::Restart, &up, &up, "not yet");
    expect(Verb::Restart, &up, &new, "done: restarted (pid 8)");
    expect(Verb::Stop, &up, &down, "done: stopped");
    let crashed = Scene { fresh: Some((7, SETTLE / 2)), ..settled(&down, &new) };
    assert_eq!(verdict(Verb::Start, &crashed), "failed: started, but exited again");
    let ran = classic(0, "once", false, false);
    let once = Scene { fresh: Some((7, SETTLE / 2)), ..settled(&down, &ran) };
    assert_eq!(verdict(Verb::Once, &once), "done: has run once");
}

#[test]
fn waiting_is_for_a_state() {
    let wait =
        |until, now: &Fare, life| verdict(Verb::Wait(until), &Scene { life, obeyed: false, ..settled(now, now) });
    let up = ours(7, "up", "up", 1, 0, "");
    let stopping = ours(7, "stopping", "down", 1, 0, "");
    let pacing = ours(0, "pacing", "up", 1, 1, "");
    let down = ours(0, "down", "down", 1, 1, "");
    let gave_up = ours(0, "gave-up", "up", 1, 1, "");
    for (until, now, living, dead) in [
        (Until::Up, &up, "done: up (pid 7)", "failed: supervise has ended"),
        (Until::Up, &stopping, "not yet", "failed: supervise has ended"),
        (Until::Up, &pacing, "not yet", "failed: supervise has ended"),
        (Until::Up, &gave_up, "not yet", "failed: supervise gave up; the last exit was unknown"),
        (Until::Down, &up, "not yet", "failed: supervise has ended"),
        (Until::Down, &pacing, "not yet", "done: down"),
        (Until::Down, &down, "done: down", "done: down"),
        (Until::GaveUp, &gave_up, "done: gave up", "done: gave up"),
        (Until::GaveUp, &down, "not yet", "failed: supervise has ended"),
        (Until::Exited, &up, "not yet", "done: exited"),
        (Until::Exited, &gave_up, "not yet", "done: exited"),
    ] {
        assert_eq!(wait(until, now, Life::Lives), living, "{until:?} {now:?}");
        assert_eq!(wait(until, now, Life::Ended), dead, "{until:?} {now:?}");
    }
    assert_eq!(wait(Until::Down, &classic(0, "up", false, false), Life::Lives), "not yet");
    assert_eq!(wait(Until::Down, &classic(0, "once", false, false), Life::Lives), "done: down");
}

#[test]
fn what_stands_in_the_way_is_said() {
    let (up, stopping) = (ours(7, "up", "up", 1, 0, ""), ours(7, "stopping", "down", 1, 0, ""));
    let thirty = Duration::from_secs(30);
    assert_eq!(
        not_in_time(Verb::Stop, &settled(&up, &stopping), thirty),
        "not down within 30 s: it is stopping (pid 7); it does not end by TERM, and `svc kill web` would end it"
    );
    assert_eq!(
        not_in_time(Verb::Start, &Scene { obeyed: false, ..settled(&up, &up) }, SETTLE),
        "not up within 0.2 s: supervise has not obeyed yet"
    );
    assert_eq!(
        not_in_time(Verb::Wait(Until::Down), &Scene { obeyed: false, ..settled(&up, &up) }, thirty),
        "not down within 30 s: it is up (pid 7)"
    );
    for verb in [Verb::Start, Verb::Once, Verb::Restart, Verb::Wait(Until::Up)] {
        let said = not_in_time(verb, &settled(&up, &stopping), thirty);
        assert!(said.ends_with("does not end by TERM, and `svc kill web` would end it"), "{said}");
    }
    let hook = ours(0, "hook", "up", 1, 1, "");
    let said = not_in_time(Verb::Start, &settled(&hook, &hook), thirty);
    assert_eq!(said, "not up within 30 s: it is waiting for the hook");
    let paused = classic(7, "up", true, false);
    assert_eq!(
        not_in_time(Verb::Stop, &settled(&paused, &paused), thirty),
        "not down within 30 s: it is up, paused (pid 7); `svc continue web` lets it go on"
    );
    assert_eq!(
        not_in_time(Verb::Continue, &settled(&paused, &paused), thirty),
        "not continued within 30 s: it is up, paused (pid 7)"
    );
}
