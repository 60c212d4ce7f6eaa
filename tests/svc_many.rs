//! Many services at once: all are told before the first is waited for, and what fails is named in the end.

use std::fs;

use crate::common::{Sandbox, StatusDir, alive, client_program, eventually};

/// Enough to be told apart from one after the other.
const MANY: usize = 100;

fn start_many(sandbox: &Sandbox, count: usize, actions: &str) -> Vec<StatusDir> {
    (0..count).map(|number| sandbox.start_module(&format!("m{number:03}"), actions)).collect()
}

#[test]
fn all_are_told_before_the_first_is_waited_for() {
    let sandbox = Sandbox::new();
    // Each ends only when the gate is opened, and that is done when all were told.
    let dirs = start_many(&sandbox, MANY, "ready until TERM until USR1 exit 0");
    let stop = sandbox.svc_in_background(&["stop", "--all"]);
    eventually(&sandbox, "every service was told to stop", || {
        dirs.iter().all(|dir| dir.value("state").as_deref() == Some("stopping"))
    });
    // Of two signals that wait the kernel brings the one with the lower number first.
    eventually(&sandbox, "every service was reached", || dirs.iter().all(|dir| dir.stdout().contains("got TERM")));
    let pids: Vec<i32> = dirs.iter().filter_map(StatusDir::service_pid).collect();
    assert_eq!(pids.len(), MANY, "none has ended yet");
    for dir in &dirs {
        dir.write_control(b"1");
    }
    let stopped = stop.wait().expect_code(0);
    assert_eq!((stopped.stdout.lines().count(), stopped.stderr.as_str()), (MANY, ""));
    assert!(!pids.into_iter().any(alive));
    let started = sandbox.svc(&["start", "m*"]).expect_code(0).stdout;
    assert_eq!(started.lines().filter(|line| line.contains(": started (pid ")).count(), MANY, "{started}");
    sandbox.svc(&["kill", "--all"]).expect_code(0);
}

#[test]
fn a_hundred_are_restarted_in_the_time_of_the_slowest() {
    let sandbox = Sandbox::new();
    let dirs = start_many(&sandbox, MANY, "ready until TERM sleep 200 exit 0");
    for dir in &dirs {
        eventually(&sandbox, "it is ready", || dir.stdout().contains("ready"));
    }
    let said = sandbox.svc(&["restart", "--all"]).expect_code(0).stdout;
    assert_eq!(said.lines().filter(|line| line.contains(": restarted (pid ")).count(), MANY, "{said}");
    // One after the other would have begun the last one's stop after 99 others had slept.
    let began = |dir: &StatusDir| {
        let exit: f64 = dir.value("last_exit_at").and_then(|time| time.parse().ok()).expect("it has exited");
        exit
    };
    let (first, last) = dirs.iter().map(began).fold((f64::MAX, 0.0_f64), |(low, high), at| (low.min(at), high.max(at)));
    assert!(last - first < 10.0, "all exits lie within {} s; one after the other they take 20", last - first);
    sandbox.svc(&["kill", "--all"]).expect_code(0);
}

#[test]
fn with_few_descriptors_they_take_turns() {
    let sandbox = Sandbox::new();
    start_many(&sandbox, 20, "ready");
    let svc = client_program("svc");
    let mut shell = sandbox.program("/bin/bash");
    // 44 descriptors: four services at a time.
    shell.args(["-c", &format!("ulimit -n 44; exec {} restart --all --settle 0.05", svc.display())]);
    let said = sandbox.run(shell).expect_code(0).stdout;
    assert_eq!(said.lines().filter(|line| line.contains(": restarted (pid ")).count(), 20, "{said}");
}

#[test]
fn those_that_failed_are_named_in_the_end_and_the_worst_code_counts() {
    let sandbox = Sandbox::new();
    start_many(&sandbox, 2, "ready");
    let deaf = sandbox.start_module("deaf", "ignore TERM ready");
    eventually(&sandbox, "it is deaf", || deaf.stdout().contains("ready"));
    let dead = sandbox.start_module("dead", "ready");
    dead.write_control(b"x");
    dead.write_control(b"k");
    eventually(&sandbox, "supervise has ended", || dead.lock_holders().is_empty());
    let ended = sandbox.svc(&["stop", "--timeout", "3", "m000", "deaf", "dead", "m001", "m001"]).expect_code(102);
    assert_eq!(ended.stdout.lines().count(), 2, "each once: {ended:?}");
    let mut failed: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!(failed.pop(), Some("svc: 2 of 4 failed: dead, deaf"), "{ended:?}");
    assert_eq!(failed.len(), 2, "{ended:?}");
    assert!(failed[0].starts_with("dead: no supervise there") && failed[1].starts_with("deaf: not down within 3 s"));
    sandbox.svc(&["stop", "--timeout", "0.1", "m000", "deaf"]).expect_code(99);
    let none = sandbox.svc(&["stop", "nobody", "m001"]).expect_code(102);
    assert_eq!((none.stdout.as_str(), none.stderr.lines().count()), ("m001: down already\n", 2), "{none:?}");
    assert!(none.stderr.ends_with("\nsvc: 1 of 2 failed: nobody\n"), "an unknown name is named too: {none:?}");
}

#[test]
fn what_changes_something_wants_names() {
    let sandbox = Sandbox::new();
    sandbox.start("ready", &[]);
    let service = sandbox.until_ready();
    for verb in ["start", "stop", "restart", "once", "kill", "pause", "continue", "exit", "reload", "upgrade"] {
        sandbox.svc(&[verb]).expect_code(100);
        sandbox.svc(&[verb, "--all", "app"]).expect_code(100);
    }
    sandbox.svc(&["signal", "HUP"]).expect_code(100);
    assert_eq!(sandbox.service_pid(), Some(service));
    assert!(!sandbox.log().contains("commands"), "{}", sandbox.log());
    fs::create_dir(sandbox.path("empty")).expect("the sandbox is writable");
    sandbox
        .svc(&["--root", "empty", "stop", "--all"])
        .expect_code(102)
        .expect_stderr(&["there is no service below empty"]);
    sandbox.svc(&["wait", "up"]).expect_code(0);
}

#[test]
fn on_a_terminal_a_line_tells_how_far_it_is() {
    let sandbox = Sandbox::new();
    let deaf = start_many(&sandbox, 3, "ignore TERM ready");
    eventually(&sandbox, "all are deaf", || deaf.iter().all(|dir| dir.stdout().contains("ready")));
    let mut script = sandbox.program("script");
    let command = format!("{} stop --all --timeout 0.5", client_program("svc").display());
    script.args(["-qec", &command, "typescript"]).env("TERM", "xterm");
    sandbox.run(script).expect_code(99);
    let text = sandbox.read("typescript");
    assert!(text.contains("0 of 3 waiting for m000, m001, m002"), "{text:?}");
    assert!(text.contains("svc: 3 of 3 failed: m000, m001, m002"), "{text:?}");
    let stop = sandbox.svc(&["stop", "--all", "--timeout", "0.1"]).expect_code(99);
    assert!(!stop.stderr.contains("waiting for"), "not where it is no terminal: {stop:?}");
    sandbox.svc(&["kill", "--all"]).expect_code(0);
}
