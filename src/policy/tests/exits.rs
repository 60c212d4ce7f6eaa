//! Which exits are expected, what is counted, and when there is an alarm or a give-up.

use super::*;

#[test]
fn every_exit_that_nobody_asked_for_is_unexpected() {
    for ended in [Ended::Code(0), Ended::Code(1), CRASH, CORE, KILLED, TERMINATED, Ended::Unknown] {
        let mut bench = Bench::up(rules());
        bench.send(exit(ended));
        assert!(!bench.last_expected(), "{ended:?}");
        assert_eq!(bench.window(), Some((1, u32::from(ended == CORE))));
    }
}

#[test]
fn every_exit_after_down_is_expected() {
    for ended in [Ended::Code(0), Ended::Code(1), CRASH, CORE, KILLED, TERMINATED, Ended::Unknown] {
        for stop in [Event::Command(Command::Down), Event::Terminate] {
            let mut bench = Bench::up(rules());
            bench.send(stop);
            bench.wait(3600.0);
            let actions = bench.send(exit(ended));
            assert!(bench.last_expected(), "{ended:?}");
            assert_eq!(bench.window(), None);
            assert!(!short(&actions).contains("alarm"));
        }
    }
}

#[test]
fn after_down_and_up_a_crash_is_unexpected() {
    for (ended, expected) in [
        (Ended::Code(0), true),
        (Ended::Code(1), true),
        (TERMINATED, true),
        (Ended::Signal { number: 2, core: false }, true),
        (KILLED, true),
        (Ended::Unknown, true),
        (CRASH, false),
        (CORE, false),
        (Ended::Signal { number: 15, core: true }, false),
        (Ended::Signal { number: 1, core: false }, false),
    ] {
        let mut bench = Bench::up(rules());
        bench.command(Command::Down);
        bench.command(Command::Up);
        let actions = bench.send(exit(ended));
        assert_eq!(bench.last_expected(), expected, "{ended:?}");
        assert!(short(&actions).ends_with("start"), "the operator asked for it: no pacing");
        bench.command(Command::Down);
        bench.command(Command::Up);
        bench.command(Command::Down);
        bench.send(exit(ended));
        assert!(bench.last_expected(), "{ended:?}: wanted down after all");
    }
}

#[test]
fn a_signal_explains_the_exit_that_it_causes_for_ten_seconds() {
    let by = |number, core| Ended::Signal { number, core };
    for (command, ended, expected) in [
        (Command::Kill, by(9, false), true),
        (Command::Kill, by(15, false), false),
        (Command::Kill, Ended::Code(3), true),
        (Command::Kill, Ended::Unknown, true),
        (Command::Kill, CRASH, false),
        (Command::Term, by(15, false), true),
        (Command::Term, by(9, false), false),
        (Command::Term, by(15, true), false),
        (Command::Term, Ended::Code(0), true),
        (Command::Int, by(2, false), true),
        (Command::Int, by(3, false), false),
        (Command::Quit, by(3, false), true),
        (Command::Quit, by(3, true), true),
        (Command::Quit, by(6, true), false),
        (Command::Hup, by(1, false), false),
        (Command::Alrm, by(14, false), false),
        (Command::Usr1, by(10, false), false),
        (Command::Usr2, Ended::Code(0), false),
        (Command::Kill, Ended::NotStarted { step: 6, errno: 2 }, false),
    ] {
        for (seconds, in_time) in [(0.0, true), (10.0, true), (10.001, false)] {
            let mut bench = Bench::up(rules());
            bench.command(command);
            bench.wait(seconds);
            bench.send(exit(ended));
            assert_eq!(bench.last_expected(), expected && in_time, "{command:?} {ended:?} {seconds}");
        }
    }
}

#[test]
fn a_signal_explains_no_exit_of_the_next_run() {
    let mut bench = Bench::up(rules());
    bench.command(Command::Kill);
    assert_eq!(short(&bench.send(exit(KILLED))), "start");
    bench.wait(2.0);
    assert_eq!(short(&bench.send(exit(KILLED))), "alarm+start");
}

#[test]
fn once_is_over_with_the_exit() {
    let mut bench = Bench::up(rules());
    bench.command(Command::Once);
    assert_eq!(short(&bench.send(exit(Ended::Code(0)))), "");
    assert_eq!((bench.state(), bench.last_expected()), (State::Down, true));
    assert_eq!(short(&bench.command(Command::Once)), "start");
    assert_eq!(short(&bench.send(exit(Ended::Code(1)))), "alarm", "a bad end is alarmed, and not followed by a start");
    assert_eq!((bench.state(), bench.last_expected()), (State::Down, false));
    bench.command(Command::Up);
    bench.command(Command::Down);
    bench.command(Command::Once);
    assert_eq!(short(&bench.send(exit(Ended::Code(0)))), "start", "`o` while it stops is for the next run");
    assert_eq!(short(&bench.send(exit(Ended::Code(0)))), "");
}

#[test]
fn one_alarm_a_window() {
    let mut bench = Bench::up(rules());
    assert_eq!(short(&bench.send(exit(CORE))), "alarm-core+start");
    for number in 2..=30 {
        bench.wait(1.5);
        assert_eq!(short(&bench.send(exit(CRASH))), "start");
        assert_eq!(bench.window(), Some((number, 1)));
    }
    bench.wait(60.0);
    assert_eq!(short(&bench.send(exit(CRASH))), "alarm+start", "the window of the first one is over");
    assert_eq!(bench.window(), Some((1, 0)));
}

#[test]
fn the_window_ends_when_its_time_is_over() {
    let mut bench = Bench::up(rules());
    bench.send(exit(CORE));
    bench.wait(30.0);
    bench.send(exit(CRASH));
    bench.wait(29.999);
    bench.send(Event::Deadline);
    assert_eq!(bench.window(), Some((2, 1)));
    bench.wait(0.001); // a later exit has not moved it
    bench.send(Event::Deadline);
    assert_eq!(bench.window(), None);
    assert_eq!(bench.policy.next_deadline(), None, "nothing more to wake up for");
}

#[test]
fn the_exit_after_max_tries_restarts_is_a_give_up() {
    let mut bench = Bench::up(Rules { max_tries: limit(2), ..rules() });
    assert_eq!(short(&bench.send(exit(CRASH))), "alarm+start");
    bench.wait(5.0);
    assert_eq!(short(&bench.send(exit(CRASH))), "start");
    bench.wait(5.0);
    assert_eq!(short(&bench.send(exit(CRASH))), "alarm-gave-up-2+give-up");
    assert_eq!(bench.state(), State::GaveUp);
    assert_eq!(short(&bench.command(Command::Up)), "", "nothing is decided any more");
    assert_eq!(bench.policy.next_deadline(), None);
}

#[test]
fn expected_exits_are_no_tries() {
    let mut bench = Bench::up(Rules { max_tries: limit(1), ..rules() });
    bench.send(exit(CRASH));
    for _ in 0..20 {
        bench.wait(1.5);
        bench.command(Command::Kill);
        assert_eq!(short(&bench.send(exit(KILLED))), "start");
    }
    assert_eq!(bench.window(), Some((1, 0)));
}

#[test]
fn the_limit_of_coredumps_is_a_give_up_when_it_is_reached() {
    let mut bench = Bench::up(Rules { max_coredumps: limit(2), ..rules() });
    assert_eq!(short(&bench.send(exit(CORE))), "alarm-core+start");
    bench.wait(2.0);
    assert_eq!(short(&bench.send(exit(CRASH))), "start");
    bench.wait(2.0);
    assert_eq!(short(&bench.send(exit(CORE))), "alarm-gave-up-2+give-up");
    let mut bench = Bench::up(Rules { max_coredumps: limit(1), ..rules() });
    assert_eq!(short(&bench.send(exit(CORE))), "alarm-gave-up-0+give-up", "the only alarm of the window");
}

#[test]
fn with_alarms_off_nothing_is_counted() {
    let mut bench = Bench::up(Rules { max_tries: limit(1), ..rules() });
    bench.command(Command::AlarmsOff);
    for _ in 0..20 {
        bench.wait(2.0);
        assert_eq!(short(&bench.send(exit(CORE))), "start");
        assert!(!bench.last_expected());
    }
    assert_eq!(bench.window(), None);
    bench.command(Command::AlarmsOn);
    bench.wait(2.0);
    assert_eq!(short(&bench.send(exit(CRASH))), "alarm+start");
}

#[test]
fn without_a_window_nothing_is_counted_and_nothing_limits() {
    let mut bench = Bench::up(Rules { window: None, max_tries: limit(1), max_coredumps: limit(1), ..rules() });
    for _ in 0..20 {
        bench.wait(2.0);
        assert_eq!(short(&bench.send(exit(CORE))), "start");
    }
    assert_eq!(bench.window(), None);
}

#[test]
fn a_crash_under_a_pending_exit_is_alarmed() {
    let mut bench = Bench::up(rules());
    bench.command(Command::Exit);
    bench.command(Command::Up);
    assert_eq!(short(&bench.send(exit(CRASH))), "alarm+leave");
    assert_eq!(bench.state(), State::Left);
}

#[test]
fn what_an_alarm_tells() {
    let mut bench = Bench::up(rules());
    let exit = Exit { pid: 7, ended: CORE, peak_kib: Some(100), cpu_us: Some((1, 2)) };
    let actions = bench.send(Event::Exited(exit));
    let stamp = bench.now.stamp;
    let expected = Alarm {
        kind: AlarmKind::Coredump,
        exit,
        at: stamp,
        ran: Some(Duration::from_secs(100)),
        window_exit: 1,
        window_coredumps: 1,
        window_ends: Stamp(stamp.0 + 60 * SECOND),
        next: Next::RestartNow,
    };
    let run = RunStart { moment: Some(Moment(1000 * SECOND)), stamp: Stamp(5000 * SECOND) };
    assert_eq!(actions[1], Action::Raise(expected, run), "after the line for the log");
}

#[test]
fn a_status_that_comes_late_changes_no_decision() {
    let mut bench = Bench::up(Rules { max_coredumps: limit(1), ..rules() });
    assert_eq!(short(&bench.send(exit(Ended::Pending))), "alarm+start");
    assert_eq!(bench.window(), Some((1, 0)));
    bench.wait(2.0);
    assert_eq!(short(&bench.send(Event::StatusKnown(CORE))), "settle");
    assert_eq!(bench.window(), Some((1, 1)));
    assert_eq!(bench.policy.ledger().last_exit.map(|last| last.ended), Some(CORE));
    assert_eq!(short(&bench.send(exit(CRASH))), "alarm-gave-up-1+give-up", "the limit holds at the next exit");
}

#[test]
fn a_late_status_is_for_its_own_exit_and_its_own_window() {
    let mut bench = Bench::up(rules());
    bench.send(exit(Ended::Pending));
    bench.wait(2.0);
    bench.send(exit(Ended::Code(1)));
    bench.send(Event::StatusKnown(CORE));
    assert_eq!(bench.policy.ledger().last_exit.map(|last| last.ended), Some(Ended::Code(1)));
    assert_eq!(bench.window(), Some((2, 1)));
    assert_eq!(short(&bench.send(Event::StatusKnown(CORE))), "", "nothing is pending any more");

    let mut bench = Bench::up(rules());
    bench.send(exit(Ended::Pending));
    bench.wait(61.0);
    bench.send(exit(Ended::Code(1)));
    bench.send(Event::StatusKnown(CORE));
    assert_eq!(bench.window(), Some((1, 0)), "this is another window");
}

#[test]
fn an_unknown_status_after_a_signal_of_ours_is_expected() {
    let mut bench = Bench::up(rules());
    bench.command(Command::Kill);
    assert_eq!(short(&bench.send(exit(Ended::Pending))), "start");
    assert_eq!(short(&bench.send(Event::StatusKnown(Ended::Unknown))), "settle");
    assert!(bench.last_expected());
}

#[test]
fn a_start_that_failed_counts_as_an_exit() {
    let mut bench = Bench::new(Rules { max_tries: limit(1), ..rules() });
    bench.send(Event::Begin { taken: None, found: Found::Nothing });
    assert_eq!(short(&bench.send(exit(Ended::NotStarted { step: 6, errno: 2 }))), "alarm");
    assert_eq!(bench.state(), State::Pacing);
    assert_eq!(short(&bench.deadline()), "start");
    assert_eq!(short(&bench.send(exit(Ended::NotStarted { step: 6, errno: 2 }))), "alarm-gave-up-1+give-up");
}

#[test]
fn a_late_status_shows_that_no_command_was_the_cause() {
    let mut bench = Bench::up(rules());
    bench.command(Command::Term);
    assert_eq!(short(&bench.send(exit(Ended::Pending))), "start");
    assert_eq!(bench.window(), None);
    bench.wait(1.0);
    assert_eq!(short(&bench.send(Event::StatusKnown(CORE))), "alarm-core+settle");
    assert_eq!((bench.window(), bench.last_expected()), (Some((1, 1)), false));
}

#[test]
fn a_pending_status_is_settled_before_supervise_leaves() {
    let mut bench = Bench::up(Rules { max_tries: limit(1), ..rules() });
    bench.send(exit(CRASH));
    bench.wait(2.0);
    assert_eq!(short(&bench.send(exit(Ended::Pending))), "alarm-gave-up-1+settle+give-up");
    let mut bench = Bench::up(rules());
    bench.send(exit(Ended::Pending));
    bench.command(Command::Down);
    bench.send(exit(TERMINATED));
    assert_eq!(short(&bench.command(Command::Exit)), "settle+leave");
}

#[test]
fn a_signal_that_could_not_be_sent_explains_nothing_and_pauses_nothing() {
    let mut bench = Bench::up(rules());
    bench.command(Command::Pause);
    bench.send(Event::NotSent(Sig::Stop));
    assert!(!bench.policy.ledger().paused);
    bench.command(Command::Kill);
    bench.send(Event::NotSent(Sig::Kill));
    bench.send(exit(KILLED));
    assert!(!bench.last_expected());
}

#[test]
fn down_explains_no_exit_of_the_next_run() {
    let mut bench = Bench::up(rules());
    bench.command(Command::Down);
    bench.send(exit(TERMINATED));
    assert_eq!(bench.policy.ledger().stopping, None, "a successor would stop the next run otherwise");
    bench.command(Command::Up);
    bench.wait(2.0);
    assert_eq!(short(&bench.send(exit(CRASH))), "alarm+start");
}
