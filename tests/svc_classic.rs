//! The classic forms: daemontools' `svc -d`, `svstat` and `svok`, and the classic script's `svc DIR stop`.

use std::fs;

use crate::common::{Sandbox, StatusDir, alive, eventually, log_texts};

/// The bytes that supervise obeyed, in their order, however many came at once.
fn obeyed(dir: &StatusDir) -> String {
    let bytes = |text: String| text.strip_prefix("commands: ").map(str::to_owned);
    log_texts(&dir.log(), "NOTICE").into_iter().filter_map(bytes).collect()
}

#[test]
fn letters_are_written_to_every_directory() {
    let sandbox = Sandbox::new();
    let (a, b) = (sandbox.start_module("a", "ready signals"), sandbox.start_module("b", "ready signals"));
    let ended = sandbox.svc(&["-t12", "status/a", "./status/b/"]).expect_code(0);
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("", ""));
    for dir in [&a, &b] {
        eventually(&sandbox, "all are obeyed", || obeyed(dir) == "t12");
    }
    // A name that is no path here is a module; a failing one does not keep the others.
    let ended = sandbox.svc(&["-a", "-i", "--", "none", "a", "status"]).expect_code(102);
    assert_eq!(
        ended.stderr,
        "svc: warning: unable to chdir to none: file does not exist\nsvc: warning: unable to control status: supervise not running\n"
    );
    eventually(&sandbox, "it is obeyed", || obeyed(&a) == "t12ai");
    sandbox.svc(&["-udopchaitkx12", "b"]).expect_code(0);
    eventually(&sandbox, "all are obeyed", || obeyed(&b) == "t12udopchaitkx12");
    sandbox.svc(&["-d"]).expect_code(0);
    sandbox.svc(&["-d", "-z", "a"]).expect_code(100).expect_stderr(&["svc: illegal option -- z"]);
    sandbox.svc(&["-z", "a"]).expect_code(100);
    assert_eq!(obeyed(&a), "t12ai");
    let help = sandbox.svc(&["-h"]).expect_code(0).stdout;
    assert!(help.starts_with("Sees and steers services") && help.contains("svc -udopchaitkx12 DIR"), "{help}");
}

#[test]
fn letters_are_not_waited_for() {
    let sandbox = Sandbox::new();
    sandbox.start("ignore TERM ready", &[]);
    let service = sandbox.until_ready();
    sandbox.svc(&["-d", "status/app"]).expect_code(0);
    sandbox.until_state("stopping");
    assert!(alive(service));
}

#[test]
fn svstat_says_what_daemontools_says() {
    let sandbox = Sandbox::new();
    sandbox.start("ready", &[]);
    let pid = sandbox.until_ready();
    let said = |expected: &str| {
        let line = sandbox.run(sandbox.client("svstat", &["status/app"])).expect_code(0).stdout;
        // The seconds are as they are.
        let words: Vec<&str> = line.trim_end_matches('\n').split(' ').collect();
        let place = words.iter().position(|word| word.starts_with("second")).unwrap_or_else(|| panic!("{line}"));
        assert!(words[place - 1].parse::<u64>().is_ok_and(|seconds| seconds < 100), "{line}");
        let shown: Vec<&str> =
            words.iter().enumerate().filter(|(i, _)| *i != place - 1).map(|(_, word)| *word).collect();
        assert_eq!(shown.join(" "), format!("status/app: {expected}"), "{line}");
    };
    said(&format!("up (pid {pid}) seconds"));
    sandbox.svc(&["pause", "app"]).expect_code(0);
    said(&format!("up (pid {pid}) seconds, paused"));
    fs::write(sandbox.file("down"), "").expect("the sandbox is writable");
    said(&format!("up (pid {pid}) seconds, normally down, paused"));
    sandbox.svc(&["stop", "app"]).expect_code(0);
    said("down seconds");
    fs::remove_file(sandbox.file("down")).expect("it is there");
    said("down seconds, normally up");
    sandbox.svc(&["exit", "app"]).expect_code(0);
    let ended = sandbox.run(sandbox.client("svstat", &["status/app", "app", "status", "none"])).expect_code(0);
    assert_eq!(
        ended.stdout,
        "status/app: supervise not running\napp: supervise not running\nstatus: unable to open ok: file does not exist\n\
         none: unable to chdir: file does not exist\n"
    );
    assert_eq!(sandbox.run(sandbox.client("svstat", &[])).expect_code(0).stdout, "");
}

#[test]
fn svstat_says_what_is_wanted() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\npacing : 100\n");
    sandbox.start("ready from 1 gate exit 1", &[]);
    sandbox.until_state("pacing");
    let stat = || sandbox.run(sandbox.client("svstat", &["app"])).expect_code(0).stdout;
    assert!(stat().ends_with(" seconds, normally up, want up\n"), "{}", stat());
    let deaf = sandbox.start_module("deaf", "ignore TERM ready");
    eventually(&sandbox, "it is ready", || deaf.stdout().contains("ready"));
    deaf.write_control(b"d");
    eventually(&sandbox, "it is stopping", || deaf.value("state").as_deref() == Some("stopping"));
    let said = sandbox.run(sandbox.client("svstat", &["deaf"])).expect_code(0).stdout;
    assert!(said.ends_with(" seconds, want down\n"), "{said}");
}

#[test]
fn svok_says_whether_a_supervise_lives() {
    let sandbox = Sandbox::new();
    let svok = |args: &[&str]| sandbox.run(sandbox.client("svok", args));
    svok(&["status/app"]).expect_code(100);
    svok(&[]).expect_code(100).expect_stderr(&["usage: svok dir"]);
    sandbox.start("ready", &[]);
    for dir in ["status/app", "app", "./status/app/"] {
        let ended = svok(&[dir]).expect_code(0);
        assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("", ""));
    }
    sandbox.kill_supervise();
    assert!(sandbox.file("ok").exists(), "what is left of one that was killed counts for nothing");
    assert_eq!(svok(&["status/app"]).expect_code(100).stderr, "");
}

#[test]
fn the_words_of_the_classic_script() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\npacing : 0.1\n");
    sandbox.start("ready", &[]);
    let pid = sandbox.until_ready();
    let script = |words: &[&str]| sandbox.svc(&[&["./status/app"], words].concat());
    let status = |alarm: &str, pid: i32| {
        let said = script(&["status"]).expect_code(0).stdout;
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(
            (lines.len(), lines[0], lines[2]),
            (3, &*format!("pid: {pid}"), &*format!("alarm: {alarm}")),
            "{said}"
        );
        let time = lines[1].strip_prefix("start time: ").unwrap_or_else(|| panic!("{said}"));
        let form: String = time.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
        assert_eq!(form, "99999999 99:99:99", "{said}");
    };
    status("ON", pid);
    script(&["alarm", "off"]).expect_code(0);
    status("OFF", pid);
    script(&["alarm", "on"]).expect_code(0);
    assert_eq!(script(&["reconf"]).expect_code(0).stdout, "./status/app: reloaded\n");
    script(&["restart"]).expect_code(0);
    let new = sandbox.service_pid().expect("it is up");
    assert!(new != pid && !alive(pid));
    status("ON", new);
    script(&["stop"]).expect_code(0);
    status("ON", 0);
    script(&["start"]).expect_code(0);
    assert!(sandbox.service_pid().is_some_and(alive));
    script(&["exit"]).expect_code(0);
    assert!(sandbox.lock_is_free());
    let ended = script(&["status"]).expect_code(102);
    assert!(
        ended.stdout.starts_with("pid: 0\nstart time: ") && ended.stderr.contains("no supervise there"),
        "{ended:?}"
    );
    script(&["start"]).expect_code(102);
    assert_eq!(script(&["stop"]).expect_code(0).stdout, "./status/app: down already\n");
    assert_eq!(obeyed(&sandbox), "snrdududx", "no KILL where TERM was enough");
}

#[test]
fn the_classic_script_kills_what_does_not_end_by_term() {
    let sandbox = Sandbox::new();
    sandbox.start("ignore TERM ready", &[]);
    let first = sandbox.until_ready();
    sandbox.svc(&["app", "restart"]).expect_code(0);
    let second = sandbox.until_ready_after(first);
    sandbox.svc(&["app", "stop"]).expect_code(0);
    assert!(!alive(first) && !alive(second));
    assert_eq!(obeyed(&sandbox), "dukdk");
    sandbox.svc(&["start", "app"]).expect_code(0);
    sandbox.until_ready_after(second);
    sandbox.svc(&["app", "exit"]).expect_code(0);
    assert!(sandbox.log().contains("commands: k"));
}

#[test]
fn a_service_that_is_called_like_a_verb_is_named_by_its_path() {
    let sandbox = Sandbox::new();
    let stop = sandbox.start_module("stop", "ready");
    eventually(&sandbox, "it is ready", || stop.stdout().contains("ready"));
    let pid = stop.service_pid();
    sandbox.svc(&["stop", "restart"]).expect_code(102).expect_stderr(&["restart"]);
    assert_eq!(stop.service_pid(), pid, "the verb is ours");
    sandbox.svc(&["status/stop", "restart"]).expect_code(0);
    assert!(stop.service_pid().is_some() && stop.service_pid() != pid);
    assert_eq!(sandbox.svc(&["stop", "stop"]).expect_code(0).stdout, "stop: stopped\n");
}
