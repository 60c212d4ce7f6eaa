//! What was once wrong, in places where no other test looks.

use std::fs;

use nix::sys::signal::Signal;

use crate::common::{Pid, Sandbox, eventually, process_stat, signal, supervise_program};

const ALARMED: &str =
    "[global]\nalarm_interval : 60\nalarm_mail : nobody@example.invalid\nmail_transport : smtp://127.0.0.1:1\n";

/// Clock ticks (a hundredth of a second) that a process has spent on a processor.
fn ticks(pid: Pid) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
    let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_ascii_whitespace().collect();
    let number = |place: usize| fields[place - 3].parse::<u64>().expect("a number");
    number(14) + number(15)
}

#[test]
fn a_record_that_cannot_be_written_is_no_reason_to_spin() {
    let sandbox = Sandbox::new();
    // Neither of the records can be made anew: their place is taken by a folder that is not empty.
    for name in ["status.new", "state.new"] {
        fs::create_dir_all(sandbox.file(name).join("content")).expect("the sandbox is writable");
    }
    // Two seconds of a run in which nothing happens, but that what failed is due to be tried again.
    sandbox.start("line started sleep 2000 note over yes", &[]);
    sandbox.until_lines("started", 1);
    let supervise = sandbox.lock_holders()[0];
    let before = ticks(supervise);
    sandbox.until_lines("over", 1);
    let spent = ticks(supervise) - before;
    assert!(spent < 50, "{spent} hundredths of a second for waiting two seconds");
    // It is told once, and made good when there is room.
    assert_eq!(sandbox.warnings().matches("is out of date").count(), 1, "{}", sandbox.warnings());
    for name in ["status.new", "state.new"] {
        fs::remove_dir_all(sandbox.file(name)).expect("it is there");
    }
    eventually(&sandbox, "the records are written", || {
        sandbox.value("starts").is_some() && sandbox.record().pid.is_some()
    });
}

#[test]
fn a_conf_without_a_command_does_not_leave_a_living_service_alone() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\ncommand : ./service ready wait\n");
    let args = ["-p", "status/app", "-F", "supervise.conf"];
    sandbox.background(&args).expect_code(0);
    let service = sandbox.until_ready();
    sandbox.kill_supervise();
    sandbox.write_conf("[app]\ncommnd : ./service ready wait\n");
    let output = sandbox.background(&args).expect_code(0);
    assert!(output.stderr.contains("no COMMAND") && output.stderr.contains("is command meant?"), "{}", output.stderr);
    assert_eq!(sandbox.service_pid(), Some(service));
    sandbox.until_value("adopted", "yes");
    signal(service, Signal::SIGKILL);
    sandbox.until_ready_after(service);
}

#[test]
fn every_problem_of_the_conf_is_told_beside_a_missing_command() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\ncommnd : sleep 5\npacing : soon\n");
    let output = sandbox.background(&["-p", "status/app", "-F", "supervise.conf"]).expect_code(100);
    for text in ["supervise.conf:2: commnd:", "supervise.conf:3: pacing:", "no COMMAND"] {
        assert!(output.stderr.contains(text), "{text}: {}", output.stderr);
    }
    assert!(!sandbox.status_path().exists());
}

#[test]
fn the_file_that_is_refused_is_named_whole() {
    let sandbox = Sandbox::new();
    sandbox.write("my app", "not executable");
    let quoted = format!("'{}' x", sandbox.path("my app").display());
    sandbox.background(&["-p", "status/app", "-f", &quoted]).expect_code(0);
    let text = format!("unable to execute {}: Permission denied", sandbox.path("my app").display());
    sandbox.until_warned(&text);
}

#[test]
fn a_service_found_dead_has_no_invented_duration() {
    let sandbox = Sandbox::new();
    sandbox.write_conf(ALARMED);
    sandbox.start("line started wait", &["-F", "supervise.conf"]);
    sandbox.until_lines("started", 1);
    let service = sandbox.service_pid().expect("it runs");
    let supervise = sandbox.supervise_pid();
    signal(supervise, Signal::SIGKILL);
    sandbox.until_dead(supervise);
    signal(service, Signal::SIGKILL);
    sandbox.until_dead(service);
    sandbox.start("line started wait", &["-F", "supervise.conf"]);
    sandbox.until_lines("started", 2);
    assert_eq!(sandbox.value("last_ran"), None);
    eventually(&sandbox, "the alarm is in the spool", || sandbox.alarms().len() == 1);
    let text = fs::read_to_string(&sandbox.alarms()[0]).expect("a message");
    assert!(text.contains("ran for:     unknown\n"), "{text}");
}

#[test]
fn an_alarm_quotes_no_stderr_that_the_service_does_not_write() {
    let sandbox = Sandbox::new();
    sandbox.write_conf(ALARMED);
    fs::create_dir_all(sandbox.status_path()).expect("the sandbox is writable");
    sandbox.write("status/app/__stderr", "of another run\n");
    let args = ["--log", "inherit", "-p", "status/app", "-F", "supervise.conf", "-f", "./service err elsewhere exit 3"];
    let _supervise = sandbox.foreground(&[&["--foreground"], &args[..]].concat());
    eventually(&sandbox, "the alarm is in the spool", || sandbox.alarms().len() == 1);
    let text = fs::read_to_string(&sandbox.alarms()[0]).expect("a message");
    assert!(!text.contains("of another run"), "{text}");
}

#[test]
fn an_alarm_is_delivered_also_where_the_current_folder_is_gone() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("gone")).expect("the sandbox is writable");
    let (service, sink) = (sandbox.path("service"), sandbox.path("sink"));
    let conf = format!("[app]\nalarm_exec : {} delivered {}\n", service.display(), sink.display());
    sandbox.write("gone/supervise.conf", conf);
    let status = sandbox.status_path().to_str().expect("a plain path").to_owned();
    let actions = format!("{} ready", service.display());
    let mut command = sandbox.command(&["-p", &status, "-F", "supervise.conf", "-f", &actions]);
    command.current_dir(sandbox.path("gone"));
    sandbox.run(command).expect_code(0);
    let service = sandbox.until_ready();
    fs::remove_dir_all(sandbox.path("gone")).expect("it is there");
    signal(service, Signal::SIGKILL);
    sandbox.until_lines("sink", 1);
}

#[test]
fn at_the_end_too_it_is_told_that_nobody_delivers() {
    let sandbox = Sandbox::new();
    sandbox.write_conf(ALARMED);
    fs::copy(supervise_program(), sandbox.path("supervise")).expect("it can be copied");
    sandbox.write("svalarm", "not executable");
    let mut command = sandbox.program(sandbox.path("supervise"));
    command.args(["-p", "status/app", "-F", "supervise.conf", "-f", "./service ready"]);
    sandbox.run(command).expect_code(0);
    let service = sandbox.until_ready();
    signal(service, Signal::SIGKILL);
    sandbox.until_warned("unable to run svalarm: Permission denied; 1 undelivered");
    sandbox.write_control(b"dx");
    sandbox.until_ended();
    sandbox.until_warned("unable to run svalarm: Permission denied; alarms may be left in status/app/alarms");
}

#[test]
fn what_a_hook_can_t_open_is_told() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\npacing : 0.1\n");
    sandbox.start("line started ready wait", &["-F", "supervise.conf", "-r", "./service note hooks"]);
    let service = sandbox.until_ready();
    fs::remove_file(sandbox.file("__stderr")).expect("it is there");
    fs::create_dir(sandbox.file("__stderr")).expect("the sandbox is writable");
    signal(service, Signal::SIGKILL);
    sandbox.until_lines("started", 2);
    // Once by the hook, and once by the service.
    eventually(&sandbox, "both are told", || {
        sandbox.warnings().matches("unable to open status/app/__stderr").count() == 2
    });
}

#[test]
fn a_backslash_is_a_backslash_in_the_log() {
    let sandbox = Sandbox::new();
    sandbox.background(&["-p", "status/app", "-f", "no\\such"]).expect_code(0);
    sandbox.until_warned("unable to execute no\\x5csuch: No such file or directory");
}

#[test]
fn where_it_is_not_known_if_the_service_lives_nothing_is_started() {
    let sandbox = Sandbox::new();
    sandbox.start("line started wait", &[]);
    sandbox.until_lines("started", 1);
    let service = sandbox.service_pid().expect("it runs");
    sandbox.kill_supervise();
    let claim = sandbox.file("claim");
    fs::remove_file(&claim).expect("it is there");
    fs::create_dir_all(claim.join("content")).expect("the sandbox is writable");
    let output = sandbox.background(&["-p", "status/app", "-f", "./service line started wait"]).expect_code(111);
    assert!(output.stderr.contains("unable to open status/app/claim"), "{}", output.stderr);
    assert!(process_stat(service).is_some());
    sandbox.until_lines("started", 1);
}
