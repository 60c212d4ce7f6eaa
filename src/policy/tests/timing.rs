//! Pacing, the stop timeout, the hook, and what a reload moves.

use super::*;

#[test]
fn a_service_that_ran_longer_than_the_pacing_is_restarted_at_once() {
    let mut bench = Bench::up(rules());
    assert_eq!(short(&bench.send(exit(CRASH))), "alarm+start");
    bench.wait(0.999);
    assert_eq!(short(&bench.send(exit(CRASH))), "");
    assert_eq!(bench.state(), State::Pacing);
    bench.wait(0.0009);
    assert_eq!(short(&bench.send(Event::Deadline)), "", "not yet");
    assert_eq!(short(&bench.deadline()), "start");
}

#[test]
fn up_and_once_cut_the_pacing() {
    for command in [Command::Up, Command::Once] {
        let mut bench = Bench::up(rules());
        bench.send(exit(CRASH));
        bench.send(exit(CRASH));
        assert_eq!(bench.state(), State::Pacing);
        assert_eq!(short(&bench.command(command)), "start");
        for _ in 0..3 {
            bench.command(Command::Down);
            bench.command(command);
            assert_eq!(short(&bench.send(exit(TERMINATED))), "start", "given while stopping, for the start after it");
        }
        bench.command(Command::Up);
        bench.send(exit(CRASH));
        assert_eq!(bench.state(), State::Pacing, "once: the next start is paced again");
    }
}

#[test]
fn down_cancels_a_start_that_is_due() {
    let mut bench = Bench::up(rules());
    bench.send(exit(CRASH));
    bench.send(exit(CRASH));
    bench.command(Command::Down);
    assert_eq!((bench.state(), bench.policy.ledger().start_due), (State::Down, false));
    bench.wait(10.0);
    assert_eq!(short(&bench.send(Event::Deadline)), "");
}

#[test]
fn a_refused_fork_is_tried_again_after_the_pacing_and_never_counted() {
    let mut bench = Bench::up(rules());
    bench.send(exit(CRASH));
    let exits = bench.policy.ledger().exits;
    for _ in 0..3 {
        assert_eq!(short(&bench.send(Event::ForkRefused)), "");
        assert_eq!(bench.state(), State::Pacing);
        assert_eq!(bench.policy.next_deadline().map(|at| at.since(bench.now.moment)), Some(Duration::from_secs(1)));
        assert_eq!(short(&bench.deadline()), "start");
    }
    assert_eq!((bench.policy.ledger().exits, bench.policy.ledger().starts, bench.window()), (exits, 2, Some((1, 0))));
}

#[test]
fn kill_follows_term_only_where_it_is_told_to() {
    let mut bench = Bench::up(rules());
    bench.command(Command::Down);
    assert_eq!(bench.policy.next_deadline(), None);
    let mut bench = Bench::up(Rules { stop_timeout: Some(Duration::from_secs(5)), ..rules() });
    assert_eq!(short(&bench.command(Command::Down)), "TERM+CONT");
    bench.wait(4.0);
    assert_eq!(short(&bench.command(Command::Down)), "TERM+CONT");
    assert_eq!(bench.policy.next_deadline().map(|at| at.since(bench.now.moment)), Some(Duration::from_secs(1)));
    assert_eq!(short(&bench.deadline()), "KILL");
    assert_eq!(bench.policy.next_deadline(), None, "once is enough");
    bench.send(exit(KILLED));
    assert!(bench.last_expected());
}

#[test]
fn kill_after_the_stop_timeout_also_serves_a_restart() {
    let mut bench = Bench::up(Rules { stop_timeout: Some(Duration::from_secs(5)), ..rules() });
    bench.command(Command::Down);
    bench.command(Command::Up);
    assert_eq!(short(&bench.deadline()), "KILL");
    assert_eq!(short(&bench.send(exit(KILLED))), "start");
    assert!(bench.last_expected());
}

#[test]
fn the_hook_runs_before_every_restart() {
    let mut bench = Bench::up(with_hook(None));
    for cause in [None, Some(Command::Kill)] {
        cause.map(|command| bench.command(command));
        let actions = short(&bench.send(exit(KILLED)));
        assert!(actions.ends_with("hook1"), "{actions}");
        bench.wait(5.0);
        assert_eq!(short(&bench.send(Event::HookEnded)), "start");
        bench.wait(5.0);
    }
    bench.command(Command::Down);
    bench.command(Command::Up);
    assert_eq!(short(&bench.send(exit(TERMINATED))), "hook1");
    assert_eq!(short(&bench.send(Event::HookEnded)), "start", "the pacing was cut");
    bench.command(Command::Down);
    assert_eq!(short(&bench.send(exit(TERMINATED))), "", "no restart, no hook");
    assert_eq!(short(&bench.command(Command::Up)), "start", "nor for a start that follows no exit");
}

#[test]
fn the_start_follows_the_hook_when_the_pacing_allows() {
    let mut bench = Bench::up(with_hook(None));
    bench.send(exit(CRASH));
    bench.send(Event::HookEnded);
    bench.wait(0.1);
    bench.send(exit(CRASH));
    bench.wait(0.1);
    assert_eq!(short(&bench.send(Event::HookEnded)), "");
    assert_eq!(bench.state(), State::Pacing);
    assert_eq!(short(&bench.deadline()), "start");
}

#[test]
fn up_cuts_the_pacing_and_not_the_hook() {
    let mut bench = Bench::up(with_hook(None));
    bench.send(exit(CRASH));
    bench.send(Event::HookEnded);
    bench.send(exit(CRASH));
    assert_eq!(short(&bench.command(Command::Up)), "");
    assert_eq!(short(&bench.send(Event::HookEnded)), "start");
}

#[test]
fn a_hook_that_runs_too_long_is_killed() {
    let mut bench = Bench::up(with_hook(None));
    bench.send(exit(CRASH));
    bench.policy.ledger.window = None;
    assert_eq!(short(&bench.deadline()), "kill-hook+start");
    assert_eq!(short(&bench.send(Event::HookEnded)), "", "its end is old news");
}

#[test]
fn down_and_exit_kill_the_hook() {
    let mut bench = Bench::up(with_hook(None));
    bench.send(exit(CRASH));
    assert_eq!(short(&bench.command(Command::Down)), "kill-hook");
    let mut bench = Bench::up(with_hook(None));
    bench.send(exit(CRASH));
    assert_eq!(short(&bench.command(Command::Exit)), "kill-hook+leave");
}

#[test]
fn the_count_of_the_hook() {
    let count = |bench: &mut Bench, wait: f64| {
        bench.wait(wait);
        let actions = short(&bench.send(exit(CRASH)));
        bench.send(Event::HookEnded);
        if bench.state() == State::Pacing {
            bench.command(Command::Up);
        }
        actions.trim_start_matches("alarm+").to_owned()
    };
    let mut bench = Bench::up(with_hook(Some(10)));
    assert_eq!(
        [0.0, 1.0, 9.9, 10.0, 0.5].map(|wait| count(&mut bench, wait)),
        ["hook1", "hook2", "hook3", "hook1", "hook2"]
    );
    let mut bench = Bench::up(with_hook(None));
    assert_eq!([0.0, 1.0, 0.1].map(|wait| count(&mut bench, wait)), ["hook1", "hook1", "hook1"]);
}

#[test]
fn no_hook_after_a_give_up() {
    let mut bench = Bench::up(Rules { max_coredumps: limit(1), ..with_hook(None) });
    assert_eq!(short(&bench.send(exit(CORE))), "alarm-gave-up-0+give-up");
}

#[test]
fn a_reload_moves_what_is_pending() {
    let mut bench = Bench::up(rules());
    bench.send(exit(CRASH));
    bench.send(exit(CRASH));
    let pacing = |seconds| Rules { pacing: Duration::from_secs(seconds), ..rules() };
    bench.send(Event::Reloaded(pacing(5)));
    assert_eq!(bench.policy.view().next_start, Some(bench.now.moment + Duration::from_secs(5)));
    bench.wait(3.0);
    assert_eq!(short(&bench.send(Event::Reloaded(pacing(2)))), "start", "that moment has passed");

    bench.send(Event::Reloaded(Rules { window: Some(Duration::from_secs(600)), ..rules() }));
    bench.wait(500.0);
    bench.send(Event::Deadline);
    assert_eq!(bench.window(), Some((2, 0)), "the window became longer");
    bench.send(Event::Reloaded(rules()));
    assert_eq!(bench.window(), None, "and is over with the shorter one");

    bench.command(Command::Down);
    bench.wait(10.0);
    let rules = Rules { stop_timeout: Some(Duration::from_secs(5)), ..rules() };
    assert_eq!(short(&bench.send(Event::Reloaded(rules))), "KILL");
}

#[test]
fn a_new_limit_holds_from_the_next_exit() {
    let mut bench = Bench::up(rules());
    for _ in 0..5 {
        bench.send(exit(CRASH));
        bench.wait(2.0);
        bench.command(Command::Up);
    }
    assert_eq!(short(&bench.send(Event::Reloaded(Rules { max_tries: limit(2), ..rules() }))), "");
    assert_eq!(short(&bench.send(exit(CRASH))), "alarm-gave-up-5+give-up");
}

#[test]
fn recovered_is_told_once_after_a_whole_window() {
    let rules = Rules { recovered: true, ..rules() };
    let mut bench = Bench::up(rules.clone());
    assert_eq!(short(&bench.deadline_if_any()), "", "nothing was alarmed");
    assert_eq!(short(&bench.send(exit(CRASH))), "alarm+start");
    bench.wait(50.0);
    assert_eq!(short(&bench.send(exit(CRASH))), "start", "the same window");
    let mut said = Vec::new();
    for _ in 0..4 {
        said.push((
            short(&bench.deadline_if_any()),
            bench.policy.ledger().started.map(|at| bench.now.moment.since(at)),
        ));
    }
    let recovered: Vec<_> = said.iter().filter(|(words, _)| words == "recovered").collect();
    assert_eq!(recovered.len(), 1, "{said:?}");
    assert_eq!(recovered[0].1, Some(Duration::from_secs(60)), "since the last start");

    assert_eq!(short(&bench.send(exit(CRASH))), "alarm+start");
    bench.command(Command::AlarmsOff);
    bench.wait(100.0);
    assert_eq!(short(&bench.send(Event::Deadline)), "", "alarms are off");
    bench.command(Command::AlarmsOn);
    assert_eq!(short(&bench.deadline()), "recovered", "it is still true");

    assert_eq!(short(&bench.send(exit(CRASH))), "alarm+start");
    bench.send(Event::Reloaded(Rules { recovered: false, ..rules.clone() }));
    bench.send(Event::Reloaded(rules));
    bench.wait(100.0);
    assert_eq!(short(&bench.send(Event::Deadline)), "", "it was not asked for in between");
}

#[test]
fn a_refused_fork_ends_a_supervise_that_is_to_exit() {
    let mut bench = Bench::up(rules());
    bench.command(Command::Exit);
    assert_eq!(short(&bench.send(Event::ForkRefused)), "leave");
}
