//! What was once wrong, in places where no other test looks.

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::bad_days::fill;
use crate::bad_limits::limit;
use crate::common::{
    Pid, Sandbox, after_a_delay, eventually, process_stat, signal, skip, supervise_program, with_status_on_a_small_disk,
};

const ALARMED: &str =
    "[global]\nalarm_interval : 60\nalarm_mail : nobody@example.invalid\nmail_transport : smtp://127.0.0.1:1\n";

/// A number in one of the files of `/proc/PID`.
#[track_caller]
fn proc_number(pid: Pid, file: &str, key: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')?.trim().parse().ok())
}

/// The time that a process has spent on a processor (Documentation/scheduler/sched-stats.rst).
#[track_caller]
fn processor_time(pid: Pid) -> Duration {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|time| time.parse().ok()).unwrap_or(0))
}

/// While the service sleeps for two seconds, supervise tries to write no more often than it should: each time makes
/// names in its own directory, and is not to be woken by them.
#[track_caller]
fn does_not_spin(sandbox: &Sandbox) {
    let supervise = sandbox.supervise_pid();
    // Calls of write(2) and its like (proc_pid_io(5)).
    let writes = || proc_number(supervise, "io", "syscw");
    let Some(before) = writes() else { return skip("this kernel does not count write calls") };
    sandbox.until_lines("over", 1);
    let spent = writes().expect("it lives") - before;
    assert!(spent < 40, "{spent} write calls in two seconds");
}

#[test]
fn a_record_that_cannot_be_written_is_no_reason_to_spin() {
    let sandbox = Sandbox::new();
    sandbox.start("line started until USR1 sleep 2000 line over wait", &[]);
    sandbox.until_lines("started", 1);
    sandbox.until_state("up");
    // A new file can be made, and nothing be written into it.
    let supervise = sandbox.supervise_pid();
    limit(&sandbox, None, supervise, "fsize", "0");
    sandbox.write_control(b"s1");
    sandbox.until_said("got USR1");
    does_not_spin(&sandbox);
    limit(&sandbox, None, supervise, "fsize", "max");
    // It is made good without anything to wake up for.
    sandbox.until_value("alarms", "no");
}

#[test]
fn a_record_that_finds_no_room_is_no_reason_to_spin() {
    let sandbox = Sandbox::new();
    with_status_on_a_small_disk(&sandbox, 256, || {
        let filler = fill(&sandbox.path("status"));
        let output = sandbox.start("line started sleep 2000 line over wait", &[]);
        assert_eq!(output.stderr.matches("is out of date").count(), 1, "it is told once: {}", output.stderr);
        // The long record, which names supervise, is what can't be written.
        let supervise = sandbox.lock_holders()[0];
        let before = proc_number(supervise, "io", "syscw");
        sandbox.until_lines("over", 1);
        let after = proc_number(supervise, "io", "syscw");
        let Some((before, after)) = before.zip(after) else { return skip("this kernel does not count write calls") };
        assert!(after - before < 40, "{} write calls in two seconds", after - before);
        fs::remove_file(filler).expect("it is there");
        eventually(&sandbox, "the records are written", || {
            sandbox.value("starts").is_some() && sandbox.service_pid().is_some()
        });
    });
}

#[test]
fn a_supervise_with_nothing_to_do_sleeps() {
    let sandbox = Sandbox::new();
    sandbox.write_conf(ALARMED);
    sandbox.start("ready until USR1 sleep 2000 out over ready", &["-F", "supervise.conf"]);
    let service = sandbox.until_ready();
    sandbox.until_state("up");
    let supervise = sandbox.supervise_pid();
    // A writer that has closed svcontrol is nothing to wake up for either.
    sandbox.write_control(b"1");
    sandbox.until_said("got USR1");
    sandbox.until_logged("commands: 1");
    let turns = || proc_number(supervise, "status", "voluntary_ctxt_switches").expect("the kernel counts them");
    let (turns_before, time_before) = (turns(), processor_time(supervise));
    sandbox.until_said("over");
    let (turns, time) = (turns() - turns_before, processor_time(supervise) - time_before);
    assert!(turns < 3 && time < Duration::from_millis(50), "{turns} turns and {time:?} in two seconds");
    assert_eq!(sandbox.service_pid(), Some(service));
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
fn at_the_end_nobody_is_said_to_try_again() {
    let sandbox = Sandbox::new();
    sandbox.write_conf(&format!("{ALARMED}max_tries : 1\n"));
    fs::copy(supervise_program(), sandbox.path("supervise")).expect("it can be copied");
    let mut command = sandbox.program(sandbox.path("supervise"));
    command.args(["-p", "status/app", "-F", "supervise.conf", "-f", "./service exit 3"]);
    sandbox.run(command).expect_code(0);
    sandbox.until_ended();
    let warnings = sandbox.warnings();
    let last: Vec<&str> =
        warnings.lines().filter(|line| line.contains("; 2 undelivered in status/app/alarms")).collect();
    assert_eq!(last.len(), 1, "{warnings}");
    assert!(last[0].ends_with("and nobody tries again before the next start or `svc alarms retry`"), "{warnings}");
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

#[test]
fn a_record_that_could_not_be_written_is_made_good() {
    let sandbox = Sandbox::new();
    // Neither of the records can be made anew: their place is taken by a folder that is not empty.
    for name in ["status.new", "state.new"] {
        fs::create_dir_all(sandbox.file(name).join("content")).expect("the sandbox is writable");
    }
    // Two seconds, in which what failed is tried again.
    let output = sandbox.start("sleep 2000 line over wait", &[]);
    output.expect_stderr(&["unable to write status/app/status: Is a directory; it is out of date"]);
    sandbox.until_lines("over", 1);
    assert_eq!(sandbox.warnings().matches("is out of date").count(), 1, "it is told once: {}", sandbox.warnings());
    for name in ["status.new", "state.new"] {
        fs::remove_dir_all(sandbox.file(name)).expect("it is there");
    }
    // Nothing else happens that would make supervise look.
    eventually(&sandbox, "the records are written", || {
        sandbox.value("starts").is_some() && sandbox.service_pid().is_some()
    });
}

#[test]
fn alarms_of_a_spool_that_could_not_be_opened_at_the_start_are_not_left_lying() {
    let sandbox = Sandbox::new();
    if !crate::traced::can_trace(&sandbox) {
        return;
    }
    sandbox.write_conf(ALARMED);
    sandbox.start("line started until USR1 exit 3", &[]);
    signal(sandbox.until_marks("started", 1)[0].pid, Signal::SIGUSR1);
    let service = sandbox.until_marks("started", 2)[1].pid;
    sandbox.until_warned("next attempt in 1");
    eventually(&sandbox, "svalarm has ended", || sandbox.processes().len() == 2);
    sandbox.kill_supervise();
    signal(service, Signal::SIGKILL);
    sandbox.until_dead(service);
    let mut command = sandbox.program("strace");
    command.args(["-o", "trace", "-P", "alarms", "-e", "inject=openat:error=EMFILE:when=1"]).arg(supervise_program());
    command.args(["--foreground", "-p", "status/app", "-f", "./service line started wait"]);
    let strace = sandbox.spawn(command);
    sandbox.until_marks("started", 3);
    sandbox.until_warned("unable to open status/app/alarms: Too many open files");
    // Nothing else happens that would make supervise look.
    after_a_delay(&sandbox, "what waits there is counted", || sandbox.value("undelivered").as_deref() == Some("1"));
    after_a_delay(&sandbox, "it is tried again", || sandbox.warnings().matches("next attempt in").count() > 1);
    sandbox.write_control(b"dkx");
    strace.wait();
}
