//! The first event: fresh, or in the place of a supervise that died.

use super::*;

fn successor(ledger: Ledger, found: Found, rules: Rules) -> (Bench, Vec<Action>) {
    let mut bench = Bench::new(rules);
    bench.now.moment = Moment(2000 * SECOND);
    let actions = bench.send(Event::Begin { taken: Some(ledger), found });
    (bench, actions)
}

fn dead(ended: Ended) -> Found {
    Found::Dead(Exit { pid: 42, ended, peak_kib: None, cpu_us: None })
}

fn ledger_after(commands: &[Command]) -> Ledger {
    let mut bench = Bench::up(rules());
    for &command in commands {
        bench.command(command);
    }
    *bench.policy.ledger()
}

#[test]
fn a_fresh_start_is_up() {
    let mut bench = Bench::new(rules());
    assert_eq!(short(&bench.send(Event::Begin { taken: None, found: Found::Nothing })), "start");
    assert_eq!((bench.state(), bench.policy.ledger().starts), (State::Up, 1));
}

#[test]
fn a_living_service_is_adopted_with_all_that_was_asked_for() {
    let ledger = ledger_after(&[Command::AlarmsOff, Command::Pause]);
    let (bench, actions) = successor(ledger, Found::Alive, rules());
    assert_eq!(short(&actions), "STOP", "the kernel continued it when its supervise died");
    assert_eq!((bench.state(), bench.policy.ledger()), (State::Up, &ledger));
    let (bench, actions) = successor(ledger_after(&[Command::Down]), Found::Alive, rules());
    assert_eq!((short(&actions).as_str(), bench.state()), ("", State::Stopping));
}

#[test]
fn a_service_found_dead_is_one_unexpected_exit_and_is_started_at_once() {
    let (bench, actions) = successor(ledger_after(&[]), dead(Ended::Unknown), rules());
    assert_eq!(short(&actions), "alarm+start");
    assert_eq!((bench.window(), bench.policy.ledger().exits, bench.last_expected()), (Some((1, 0)), 1, false));
    let (_, actions) = successor(ledger_after(&[]), dead(CORE), with_hook(None));
    assert_eq!(short(&actions), "alarm-core+start", "without the hook");
    let ran = actions.iter().any(|action| matches!(action, Action::Raise(Alarm { ran: Some(_), .. }, _)));
    assert!(!ran, "nobody saw it end");
}

#[test]
fn a_start_by_the_operator_never_gives_up() {
    let mut ledger = ledger_after(&[]);
    let opened = Moment(1990 * SECOND);
    ledger.window = Some(Window { opened, opened_at: Stamp(0), exits: 5, coredumps: 5 });
    let limits = Rules { max_tries: limit(3), max_coredumps: limit(3), ..rules() };
    let (mut bench, actions) = successor(ledger, dead(CORE), limits);
    assert_eq!(short(&actions), "start");
    assert_eq!(bench.window(), Some((6, 6)));
    bench.wait(2.0);
    assert_eq!(short(&bench.send(exit(CRASH))), "alarm-gave-up-6+give-up");
}

#[test]
fn wanted_down_stays_down() {
    for found in [Found::Nothing, dead(Ended::Unknown)] {
        let ledger = Ledger { stopping: None, ..ledger_after(&[Command::Down]) };
        let (bench, actions) = successor(ledger, found, rules());
        assert_eq!((short(&actions).as_str(), bench.state()), ("", State::Down));
        assert!(actions.contains(&Action::Tell(Told::LeftDown)));
        assert_eq!(bench.window(), None);
    }
}

#[test]
fn once_is_not_started_twice() {
    let (bench, actions) = successor(ledger_after(&[Command::Once]), dead(Ended::Unknown), rules());
    assert_eq!((short(&actions).as_str(), bench.state()), ("alarm", State::Down));
    let mut ledger = ledger_after(&[Command::Once]);
    ledger.start_due = true;
    let (_, actions) = successor(ledger, Found::Nothing, rules());
    assert_eq!(short(&actions), "start", "but a start that was due is done");
}

#[test]
fn a_start_that_was_due_waits_no_longer() {
    let mut bench = Bench::up(with_hook(None));
    bench.send(exit(CRASH));
    let (next, actions) = successor(*bench.policy.ledger(), Found::Nothing, with_hook(None));
    assert_eq!((short(&actions).as_str(), next.state()), ("start", State::Up));
}

#[test]
fn what_was_sent_explains_an_exit_found_later() {
    let mut ledger = ledger_after(&[Command::Kill]);
    ledger.sent = ledger.sent.map(|sent| sent.map(|_| Moment(1995 * SECOND)));
    let (bench, actions) = successor(ledger, dead(Ended::Unknown), rules());
    assert_eq!((short(&actions).as_str(), bench.last_expected()), ("start", true));
}

#[test]
fn a_window_that_is_over_is_not_taken_over() {
    let mut ledger = ledger_after(&[]);
    ledger.window = Some(Window { opened: Moment(1900 * SECOND), opened_at: Stamp(0), exits: 5, coredumps: 0 });
    let (bench, _) = successor(ledger, Found::Alive, rules());
    assert_eq!(bench.window(), None);
}

/// Nobody counts so far, but a claim may say that somebody did.
#[test]
fn counts_that_are_full_stay_full() {
    let mut bench = Bench::new(rules());
    let opened = bench.now.moment;
    let taken = Ledger {
        starts: u64::MAX,
        exits: u64::MAX,
        hook_count: u32::MAX,
        window: Some(Window { opened, opened_at: bench.now.stamp, exits: u32::MAX, coredumps: u32::MAX }),
        ..Ledger::default()
    };
    bench.send(Event::Begin { taken: Some(taken), found: Found::Alive });
    bench.send(exit(CORE));
    bench.wait(2.0);
    bench.send(Event::Deadline);
    let ledger = bench.policy.ledger();
    assert_eq!((ledger.starts, ledger.exits, bench.window()), (u64::MAX, u64::MAX, Some((u32::MAX, u32::MAX))));
}

#[test]
fn whoever_finds_an_exit_raises_it_about_the_same_run() {
    let run = |actions: &[Action]| {
        actions.iter().find_map(|action| if let Action::Raise(_, run) = action { Some(*run) } else { None })
    };
    let mut bench = Bench::up(rules());
    let ledger = *bench.policy.ledger();
    let seen = run(&bench.send(exit(CRASH)));
    assert_eq!(seen, Some(RunStart { moment: ledger.started, stamp: ledger.started_at }));
    // Killed before the next service has written its claim: what it left is older than the exit.
    let (_, actions) = successor(ledger, dead(Ended::Unknown), rules());
    assert_eq!(run(&actions), seen);
    // And one that is raised late, because only the status told that no command was the cause.
    let mut bench = Bench::up(rules());
    bench.command(Command::Kill);
    assert_eq!(run(&bench.send(exit(Ended::Pending))), None);
    bench.wait(1.0);
    assert_eq!(run(&bench.send(Event::StatusKnown(CRASH))), seen);
}
