//! Every state times every event, against a table that people can read.

use std::fmt::Write as _;

use super::*;

/// A policy in each state, with rules under which every one of them can be reached.
fn in_state(state: &str) -> Bench {
    let mut bench = Bench::up(Rules { stop_timeout: Some(Duration::from_secs(5)), ..with_hook(None) });
    match state {
        "down" => {
            bench.command(Command::Down);
            bench.send(exit(TERMINATED));
        }
        "up" => {}
        "stopping" => {
            bench.command(Command::Down);
        }
        "hook" => {
            bench.send(exit(CRASH));
        }
        "pacing" => {
            bench.send(exit(CRASH));
            bench.send(Event::HookEnded);
            bench.send(exit(CRASH));
            bench.send(Event::HookEnded);
        }
        "gave-up" => {
            bench.policy.rules.max_coredumps = limit(1);
            bench.send(exit(CORE));
        }
        "left" => {
            bench.command(Command::Exit);
            bench.send(exit(CRASH));
        }
        other => panic!("no state {other}"),
    }
    assert_eq!(name(bench.state()), state);
    bench.wait(0.5);
    bench
}

fn name(state: State) -> &'static str {
    match state {
        State::Down => "down",
        State::Up => "up",
        State::Stopping => "stopping",
        State::Pacing => "pacing",
        State::Hook { .. } => "hook",
        State::GaveUp => "gave-up",
        State::Left => "left",
    }
}

const STATES: [&str; 7] = ["down", "up", "stopping", "pacing", "hook", "gave-up", "left"];

fn events() -> Vec<(String, Event, f64)> {
    let commands = Command::ALL.into_iter().map(|command| (format!("{command:?}"), Event::Command(command), 0.0));
    let reloaded = Rules { pacing: Duration::from_millis(100), ..with_hook(None) };
    let others = [
        ("Terminate", Event::Terminate, 0.0),
        ("Reloaded", Event::Reloaded(reloaded), 0.0),
        ("Exited", exit(CRASH), 0.0),
        ("StatusKnown", Event::StatusKnown(CORE), 0.0),
        ("ForkRefused", Event::ForkRefused, 0.0),
        ("NotSent", Event::NotSent(Sig::Stop), 0.0),
        ("HookEnded", Event::HookEnded, 0.0),
        ("Deadline early", Event::Deadline, 0.0),
        ("Deadline late", Event::Deadline, 1000.0),
    ];
    commands.chain(others.map(|(name, event, wait)| (name.to_owned(), event, wait))).collect()
}

#[test]
fn every_state_answers_every_event() {
    let mut table = format!("{:<15}", "");
    for state in STATES {
        let _ = write!(table, "| {state:<26}");
    }
    for (event_name, event, wait) in events() {
        let _ = write!(table, "\n{event_name:<15}");
        for state in STATES {
            let mut bench = in_state(state);
            bench.wait(wait);
            let actions = short(&bench.send(event.clone()));
            let _ = write!(table, "| {:<26}", format!("{actions} > {}", name(bench.state())));
        }
    }
    let table: Vec<&str> = table.lines().map(str::trim_end).collect();
    let expected: Vec<&str> = include_str!("table.txt").lines().collect();
    for (found, expected) in table.iter().zip(&expected) {
        assert_eq!(found, expected, "the whole table:\n{}", table.join("\n"));
    }
    assert_eq!(table.len(), expected.len(), "the whole table:\n{}", table.join("\n"));
}
