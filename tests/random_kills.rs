//! supervise is killed at random moments, over and over: never two copies of the service, never an alarm lost.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::adoption::ALARMED;
use crate::common::{Random, Sandbox, alive, eventually, signal};

/// As many supervises are killed in each test.
const ROUNDS: u64 = 100;

/// A service that takes a lock first; one that doesn't get it says so in `refused`.
pub(crate) const ALONE: &str = "alone one-at-a-time refused line starts";

#[test]
fn of_a_crashing_service_there_are_never_two() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\npacing : 0.1\n");
    let mut random = Random::of_this_moment();
    let actions = format!("{ALONE} sleep 15 exit 3");
    for round in 0..ROUNDS {
        sandbox.start(&actions, &[]);
        random.pass_some_time(Duration::from_millis(if round % 4 == 0 { 150 } else { 25 }));
        sandbox.kill_supervise();
    }
    assert_eq!(sandbox.read("refused"), "", "a second copy was started");
    sandbox.start(&actions, &[]);
    let starts = sandbox.read("starts").lines().count();
    sandbox.until_marks("starts", starts + 2);
    assert_eq!(sandbox.read("refused"), "", "a second copy was started");
}

#[test]
fn of_a_commanded_service_there_are_never_two() {
    let sandbox = Sandbox::new();
    sandbox.write_conf(ALARMED);
    let mut random = Random::of_this_moment();
    let actions = format!("{ALONE} ready");
    for _ in 0..ROUNDS {
        sandbox.start(&actions, &[]);
        for _ in 0..random.below(4) {
            let bytes = ["k", "du", "t", "d", "u", "o", "p", "c", "s", "n", "r"][random.below(11) as usize];
            sandbox.write_control(bytes.as_bytes());
            random.pass_some_time(Duration::from_millis(3));
        }
        random.pass_some_time(Duration::from_millis(2));
        sandbox.kill_supervise();
    }
    sandbox.start(&actions, &[]);
    sandbox.write_control(b"cu");
    sandbox.until_state("up");
    let service = sandbox.until_ready();
    assert_eq!(sandbox.read("refused"), "", "a second copy was started");
    sandbox.write_control(b"k");
    sandbox.until_ready_after(service);
}

#[test]
fn a_start_that_is_killed_at_any_moment_leaves_no_second_copy() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\npacing : 0.1\n");
    let mut random = Random::of_this_moment();
    let service = format!("./service {ALONE} ready");
    let args = ["-p", "status/app", "-f", &service, "--foreground"];
    for round in 0..ROUNDS {
        let supervise = sandbox.foreground(&args);
        random.pass_some_time(Duration::from_millis(6));
        signal(supervise.pid(), Signal::SIGKILL);
        assert_eq!(supervise.wait().code, None, "round {round}: it was ended by the signal and not by itself");
        if round % 5 == 0 {
            // So that the next one starts another.
            let living = sandbox.service_pid().filter(|pid| alive(*pid));
            living.into_iter().for_each(|pid| signal(pid, Signal::SIGKILL));
        }
    }
    sandbox.start(&format!("{ALONE} ready"), &[]);
    let service = sandbox.until_ready();
    let supervise = sandbox.supervise_pid();
    assert_eq!(sandbox.read("refused"), "", "a second copy was started");
    let mut all = [service, supervise];
    all.sort_unstable();
    eventually(&sandbox, "nothing else of all this is left", || sandbox.processes() == all);
}

#[test]
fn no_alarm_is_lost_and_none_is_written_twice() {
    let sandbox = Sandbox::new();
    sandbox.write_conf(&ALARMED.replace("[app]", "[global]"));
    let mut random = Random::of_this_moment();
    for round in 0..ROUNDS {
        // A module of its own for each, so that each has a first exit.
        let path = format!("status/round-{round}");
        let status = sandbox.status_dir(&path);
        let (once, lock) = (format!("once-{round}"), format!("lock-{round}"));
        let service = format!("./service alone {lock} refused from 1 {once} line {once} exit 3");
        let args = ["-p", &path, "-f", &service];
        sandbox.background(&args).expect_code(0);
        random.pass_some_time(Duration::from_millis(5));
        let supervise = status.count("supervise") as i32;
        signal(supervise, Signal::SIGKILL);
        sandbox.until_dead(supervise);
        let before = status.subjects();
        sandbox.background(&args).expect_code(0);
        eventually(&sandbox, "the exit is counted", || status.count("window_exits") >= 1);
        eventually(&sandbox, "it is alarmed", || !status.alarms().is_empty());
        eventually(&sandbox, "it is up again", || status.service_pid().is_some_and(alive));
        let subjects = status.subjects();
        assert_eq!((subjects.len(), status.alarms().len()), (1, 1), "round {round}: {before:?}, then {subjects:?}");
        assert_eq!(status.count("window_exits"), 1, "round {round}: counted once");
        assert_eq!(sandbox.read(&once).lines().count(), 1, "round {round}");
        status.write_control(b"dx");
        eventually(&sandbox, "supervise has ended", || status.lock_is_free());
    }
    assert_eq!(sandbox.read("refused"), "", "a second copy was started");
}

#[test]
fn a_give_up_that_is_killed_is_made_up_for() {
    let sandbox = Sandbox::new();
    sandbox.write_conf(&format!("{}max_tries : 1\n", ALARMED.replace("[app]", "[global]")));
    let mut random = Random::of_this_moment();
    for round in 0..ROUNDS / 4 {
        let path = format!("status/round-{round}");
        let status = sandbox.status_dir(&path);
        let starts = format!("starts-{round}");
        let service = format!("./service line {starts} exit 3");
        let args = ["-p", &path, "-f", &service];
        sandbox.background(&args).expect_code(0);
        // The second start is 0.1 s after the first, and its exit is the give-up.
        sandbox.until_lines(&starts, 2);
        random.pass_some_time(Duration::from_millis(3));
        let supervise = status.count("supervise") as i32;
        if !status.lock_is_free() && supervise > 1 {
            signal(supervise, Signal::SIGKILL);
            sandbox.until_dead(supervise);
        }
        // The start itself never gives up; but the next exit may come before the caller returns.
        sandbox.background(&args).expect_code(0);
        eventually(&sandbox, "it gives up", || status.value("state").as_deref() == Some("gave-up"));
        eventually(&sandbox, "it has ended", || status.lock_is_free());
        let subjects = status.subjects();
        let gave_up = subjects.iter().filter(|subject| subject.contains("gave up after")).count();
        assert!((1..=2).contains(&gave_up), "round {round}: {subjects:?}");
        assert_eq!(status.alarms().len(), subjects.len());
    }
}
