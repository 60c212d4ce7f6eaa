//! Adoption: a supervise finds the living service of its dead predecessor, and goes on where that one stopped.

use nix::sys::signal::Signal;

use crate::common::{Pid, Sandbox, alive, eventually, log_texts, process_stat, signal};

pub(crate) const ALARMED: &str = "[app]\nalarm_interval : 60\npacing : 0.1\nalarm_mail : nobody@example.invalid\n\
                                  mail_transport : smtp://127.0.0.1:1\n";

/// A supervise that has adopted the service of a killed one; returns the service.
#[track_caller]
fn adopted(sandbox: &Sandbox, actions: &str) -> Pid {
    sandbox.start(actions, &[]);
    let service = sandbox.until_ready();
    let first = sandbox.kill_supervise();
    assert!(alive(service), "the service runs on");
    sandbox.start(actions, &[]);
    assert_ne!(sandbox.supervise_pid(), first);
    assert_eq!(sandbox.record().pid, Some(service), "no second copy");
    service
}

#[test]
fn the_living_service_is_adopted_and_not_started_again() {
    let sandbox = Sandbox::new();
    let service = adopted(&sandbox, "line starts ready");
    let state = sandbox.state();
    assert_eq!((state["adopted"].as_str(), state["state"].as_str()), ("yes", "up"));
    assert_eq!((state["starts"].as_str(), state["exits"].as_str()), ("1", "0"));
    assert_eq!(state["pid"], service.to_string());
    assert_ne!(process_stat(service).expect("it lives").parent, sandbox.supervise_pid());
    assert_eq!((sandbox.read("starts").lines().count(), sandbox.warnings().as_str()), (1, ""));
}

#[test]
fn the_stamp_of_the_record_stays_with_an_adopted_pid() {
    let sandbox = Sandbox::new();
    sandbox.start("ready", &[]);
    sandbox.until_ready();
    let before = sandbox.record();
    sandbox.kill_supervise();
    sandbox.start("ready", &[]);
    assert_eq!(sandbox.record(), before, "the pid did not change, so its last change is as long ago as it was");
}

#[test]
fn every_signal_command_works_on_an_adopted_service() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\nhup : default\n");
    let service = adopted(&sandbox, "ready signals");
    for (byte, name) in
        [("t", "TERM"), ("i", "INT"), ("h", "HUP"), ("a", "ALRM"), ("q", "QUIT"), ("1", "USR1"), ("2", "USR2")]
    {
        sandbox.write_control(byte.as_bytes());
        sandbox.until_said(&format!("got {name}"));
    }
    sandbox.write_control(b"p");
    eventually(&sandbox, "it is stopped", || process_stat(service).is_some_and(|stat| stat.state == 'T'));
    sandbox.write_control(b"c");
    sandbox.until_said("got CONT");
    sandbox.write_control(b"k");
    let second = sandbox.until_ready_after(service);
    sandbox.until_value("adopted", "no");
    assert_eq!(process_stat(second).expect("it lives").parent, sandbox.supervise_pid());
    sandbox.write_control(b"dk");
    sandbox.until_state("down");
    sandbox.write_control(b"x");
    sandbox.until_ended();
}

#[test]
fn with_kill_mode_group_commands_reach_the_group_of_an_adopted_service() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\nkill_mode : group\npacing : 0.1\n");
    let service = adopted(&sandbox, "ignore TERM child ready");
    let child = crate::stopping::until_child(&sandbox, 0);
    sandbox.write_control(b"p");
    eventually(&sandbox, "the child is stopped", || process_stat(child).is_some_and(|stat| stat.state == 'T'));
    signal(service, Signal::SIGKILL);
    sandbox.until_ready_after(service);
    sandbox.until_dead(child);
}

/// With `kill_mode : group` supervise is dead, and the service too; its child, the second answer, lives on in its group.
pub(crate) fn left_of_a_group(sandbox: &Sandbox) -> (Pid, Pid) {
    sandbox.write_conf("[app]\nkill_mode : group\npacing : 0.1\n");
    sandbox.start("child ready", &[]);
    let service = sandbox.until_ready();
    let child = crate::stopping::until_child(sandbox, 0);
    sandbox.kill_supervise();
    signal(service, Signal::SIGKILL);
    sandbox.until_dead(service);
    assert!(process_stat(child).is_some_and(|stat| stat.group == service), "it outlives the service");
    (service, child)
}

#[test]
fn with_kill_mode_group_a_successor_ends_what_a_dead_service_has_left_of_its_group() {
    let sandbox = Sandbox::new();
    let (service, child) = left_of_a_group(&sandbox);
    sandbox.start("child ready", &[]);
    sandbox.until_dead(child);
    sandbox.until_ready_after(service);
}

/// Whether the kernel tells the exit status of a process that is not a child: Linux 6.15 does.
pub(crate) fn kernel_tells_exit_statuses() -> bool {
    let release = nix::sys::utsname::uname().expect("uname cannot fail").release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(15))
}

/// In the foreground supervise is in its caller's session, where a group of that number may be of anybody else by now.
#[test]
fn with_kill_mode_group_nobody_is_ended_in_the_session_of_a_caller() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\nkill_mode : group\npacing : 0.1\n");
    let args = ["--foreground", "-p", "status/app", "-f", "./service child ready"];
    let supervise = sandbox.foreground(&args);
    let service = sandbox.until_ready();
    let child = crate::stopping::until_child(&sandbox, 0);
    sandbox.until_state("up");
    signal(supervise.pid(), Signal::SIGKILL);
    supervise.wait();
    signal(service, Signal::SIGKILL);
    sandbox.until_dead(service);
    let successor = sandbox.foreground(&args);
    sandbox.until_ready_after(service);
    sandbox.until_warned(&format!("processes are left in the process group {service}"));
    assert!(alive(child));
    // Nothing is left: nothing is said.
    signal(child, Signal::SIGKILL);
    sandbox.until_dead(child);
    assert_eq!(sandbox.warnings().lines().count(), 1, "{}", sandbox.warnings());
    sandbox.write_control(b"dkx");
    successor.wait();
}

#[test]
fn the_exit_of_an_adopted_service_is_noticed_and_its_status_is_never_made_up() {
    for (actions, ended) in [("exit 3", "code 3"), ("kill SEGV", "signal SEGV"), ("exit 0", "code 0")] {
        let sandbox = Sandbox::new();
        sandbox.write_conf(ALARMED);
        let service = adopted(&sandbox, &format!("line starts ready until USR1 {actions}"));
        signal(service, Signal::SIGUSR1);
        sandbox.until_ready_after(service);
        sandbox.until_exits(1);
        if kernel_tells_exit_statuses() {
            sandbox.until_value("last_exit", ended);
        } else {
            eventually(&sandbox, "a status is there", || sandbox.value("last_exit").is_some());
            let status = sandbox.value("last_exit").expect("it is there");
            assert!([ended, "unknown"].contains(&status.as_str()), "{status}");
        }
        sandbox.until_value("starts", "2");
        let state = sandbox.state();
        assert_eq!((state["last_exit_expected"].as_str(), state["window_exits"].as_str()), ("no", "1"));
        assert_eq!(sandbox.read("starts").lines().count(), 2);
        eventually(&sandbox, "it is alarmed", || sandbox.alarms().len() == 1);
        sandbox.until_logged("service exited!");
    }
}

#[test]
fn a_core_of_an_adopted_service_is_counted_when_its_status_is_known() {
    if !kernel_tells_exit_statuses() || !crate::give_up::cores_are_made() {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.write_conf(ALARMED);
    let service = adopted(&sandbox, "core ready until USR1 kill SEGV");
    signal(service, Signal::SIGUSR1);
    sandbox.until_ready_after(service);
    sandbox.until_value("last_exit", "signal SEGV core");
    sandbox.until_value("window_coredumps", "1");
    sandbox.until_value("window_exits", "1");
}

#[test]
fn commands_explain_the_exit_of_an_adopted_service() {
    for bytes in ["k", "t", "i", "q", "du"] {
        let sandbox = Sandbox::new();
        sandbox.write_conf(ALARMED);
        let service = adopted(&sandbox, "ready");
        sandbox.write_control(bytes.as_bytes());
        sandbox.until_ready_after(service);
        sandbox.until_exits(1);
        assert_eq!(sandbox.value("last_exit_expected").as_deref(), Some("yes"), "{bytes}");
        assert_eq!((sandbox.count("window_exits"), sandbox.alarms().len()), (0, 0), "{bytes}");
    }
}

#[test]
fn counts_and_window_are_taken_over() {
    let sandbox = Sandbox::new();
    sandbox.write_conf(&format!("{ALARMED}max_tries : 3\n"));
    sandbox.start("from 2 starts line starts exit 3", &[]);
    let mut service = sandbox.until_ready();
    sandbox.until_value("window_exits", "2");
    sandbox.until_state("up");
    let opened = sandbox.value("window_opened").expect("a window is open");
    sandbox.kill_supervise();
    sandbox.start("ready", &[]);
    assert_eq!(sandbox.record().pid, Some(service));
    let state = sandbox.state();
    assert_eq!((state["starts"].as_str(), state["exits"].as_str()), ("3", "2"));
    assert_eq!((state["window_exits"].as_str(), &state["window_opened"]), ("2", &opened));
    assert_eq!((state["last_exit"].as_str(), state["adopted"].as_str()), ("code 3", "yes"));
    // One more is allowed, the next is the give-up: as if no supervise had died.
    signal(service, Signal::SIGKILL);
    service = sandbox.until_ready_after(service);
    signal(service, Signal::SIGKILL);
    sandbox.until_ended();
    assert_eq!(sandbox.value("state").as_deref(), Some("gave-up"));
    assert_eq!((sandbox.count("window_exits"), sandbox.alarms().len()), (4, 2));
}

#[test]
fn alarms_off_is_taken_over() {
    let sandbox = Sandbox::new();
    sandbox.write_conf(ALARMED);
    sandbox.start("ready", &[]);
    let service = sandbox.until_ready();
    sandbox.write_control(b"s");
    sandbox.until_value("alarms", "no");
    sandbox.kill_supervise();
    sandbox.start("ready", &[]);
    assert_eq!((sandbox.record().alarms, sandbox.value("alarms").as_deref()), (b'x', Some("no")));
    signal(service, Signal::SIGKILL);
    sandbox.until_ready_after(service);
    sandbox.until_exits(1);
    assert_eq!((sandbox.count("window_exits"), sandbox.alarms().len()), (0, 0));
}

#[test]
fn wanted_down_is_taken_over_and_stderr_says_so() {
    let sandbox = Sandbox::new();
    sandbox.start("line starts ready", &[]);
    sandbox.until_ready();
    sandbox.write_control(b"d");
    sandbox.until_state("down");
    sandbox.kill_supervise();
    let output = sandbox.start("line starts ready", &[]);
    assert!(output.stderr.contains("down"), "{output:#?}");
    assert_eq!((sandbox.record().pid, sandbox.record().wanted), (None, b'd'));
    assert_eq!(sandbox.value("state").as_deref(), Some("down"));
    sandbox.write_control(b"u");
    sandbox.until_ready();
    assert_eq!(sandbox.read("starts").lines().count(), 2);
}

#[test]
fn a_service_that_is_stopping_is_adopted_as_such() {
    let sandbox = Sandbox::new();
    sandbox.write_conf(&format!("{ALARMED}stop_timeout : 3600\n"));
    sandbox.start("ready signals", &[]);
    let service = sandbox.until_ready();
    sandbox.write_control(b"d");
    sandbox.until_state("stopping");
    sandbox.kill_supervise();
    sandbox.start("ready signals", &[]);
    assert_eq!((sandbox.record().pid, sandbox.record().wanted), (Some(service), b'd'));
    assert_eq!(sandbox.value("state").as_deref(), Some("stopping"));
    signal(service, Signal::SIGKILL);
    sandbox.until_state("down");
    assert_eq!(sandbox.value("last_exit_expected").as_deref(), Some("yes"));
    assert_eq!((sandbox.count("window_exits"), sandbox.count("starts")), (0, 1));
}

#[test]
fn the_stop_timeout_goes_on_over_an_adoption() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\nstop_timeout : 1\n");
    sandbox.start("ready signals", &[]);
    let service = sandbox.until_ready();
    sandbox.write_control(b"d");
    sandbox.until_state("stopping");
    sandbox.kill_supervise();
    sandbox.start("ready signals", &[]);
    sandbox.until_state("down");
    assert!(!alive(service));
}

#[test]
fn once_is_taken_over() {
    let sandbox = Sandbox::new();
    sandbox.start("ready until USR1 exit 0", &[]);
    let service = sandbox.until_ready();
    sandbox.write_control(b"o");
    sandbox.until_value("wanted", "once");
    sandbox.kill_supervise();
    sandbox.start("ready until USR1 exit 0", &[]);
    assert_eq!((sandbox.record().pid, sandbox.record().wanted), (Some(service), 0));
    signal(service, Signal::SIGUSR1);
    sandbox.until_state("down");
    assert_eq!(sandbox.count("starts"), 1);
}

#[test]
fn a_paused_service_is_paused_again() {
    let sandbox = Sandbox::new();
    sandbox.start("ready", &[]);
    let service = sandbox.until_ready();
    sandbox.write_control(b"p");
    sandbox.until_value("paused", "yes");
    sandbox.kill_supervise();
    sandbox.start("ready", &[]);
    assert_eq!((sandbox.record().pid, sandbox.record().paused), (Some(service), 1));
    assert_eq!(sandbox.value("paused").as_deref(), Some("yes"));
    eventually(&sandbox, "it is stopped", || process_stat(service).is_some_and(|stat| stat.state == 'T'));
    sandbox.write_control(b"c");
    eventually(&sandbox, "it goes on", || process_stat(service).is_some_and(|stat| stat.state != 'T'));
    sandbox.until_value("paused", "no");
}

#[test]
fn another_command_counts_from_the_next_start() {
    let sandbox = Sandbox::new();
    sandbox.start("ready", &[]);
    let service = sandbox.until_ready();
    sandbox.kill_supervise();
    let output = sandbox.start("out another ready", &[]);
    let warnings = log_texts(&sandbox.warnings(), "WARNING");
    assert!(warnings.iter().any(|text| text.to_lowercase().contains("command")), "{warnings:?}");
    assert!(output.stderr.to_lowercase().contains("command"), "{output:#?}");
    assert_eq!((sandbox.record().pid, sandbox.stdout().contains("another")), (Some(service), false));
    assert_eq!(sandbox.value("command").as_deref(), Some("./service ready"), "that is what runs");
    sandbox.write_control(b"k");
    sandbox.until_ready_after(service);
    assert!(sandbox.stdout().contains("another"));
    sandbox.until_value("command", "./service out another ready");
}

#[test]
fn a_refused_conf_is_a_warning_where_a_living_service_is_to_be_adopted() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\npacing : 0.1\n");
    sandbox.start("ready", &[]);
    let service = sandbox.until_ready();
    sandbox.kill_supervise();
    sandbox.write_conf("[app]\npacing : soon\nkill_mode : none\n");
    let output = sandbox.start("ready", &[]);
    let output = output.expect_stderr(&["supervise.conf:2: pacing", "supervise.conf:3: kill_mode"]);
    assert_eq!((sandbox.record().pid, output.code), (Some(service), Some(0)));
    let warnings = log_texts(&sandbox.warnings(), "WARNING");
    assert!(warnings.iter().any(|text| text.contains("supervise.conf:2: pacing")), "{warnings:?}");
    sandbox.write_control(b"k");
    sandbox.until_ready_after(service);
}

#[test]
fn a_foreground_supervise_is_succeeded_too() {
    let sandbox = Sandbox::new();
    let args = ["-p", "status/app", "--foreground", "-f", "./service line starts ready"];
    let first = sandbox.foreground(&args);
    let service = sandbox.until_ready();
    sandbox.until_state("up");
    signal(first.pid(), Signal::SIGKILL);
    assert_eq!(first.wait().code, None, "ended by a signal");
    let second = sandbox.foreground(&args);
    sandbox.until_value("adopted", "yes");
    assert_eq!((sandbox.record().pid, sandbox.supervise_pid()), (Some(service), second.pid()));
    signal(second.pid(), Signal::SIGTERM);
    second.wait().expect_code(0);
    assert!(!alive(service));
    assert_eq!(sandbox.read("starts").lines().count(), 1);
}

#[test]
fn a_service_can_be_adopted_many_times() {
    let sandbox = Sandbox::new();
    sandbox.start("line starts ready", &[]);
    let service = sandbox.until_ready();
    for _ in 0..20 {
        sandbox.kill_supervise();
        sandbox.start("line starts ready", &[]);
        assert_eq!(sandbox.record().pid, Some(service));
    }
    assert_eq!(sandbox.read("starts").lines().count(), 1);
}

#[test]
fn a_signal_for_an_adopted_service_that_has_just_ended_is_nothing_to_speak_of() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\npacing : 0.1\n");
    let service = adopted(&sandbox, "ready");
    let supervise = sandbox.supervise_pid();
    signal(supervise, Signal::SIGSTOP);
    eventually(&sandbox, "supervise is stopped", || process_stat(supervise).is_some_and(|stat| stat.state == 'T'));
    signal(service, Signal::SIGKILL);
    eventually(&sandbox, "the service is gone", || process_stat(service).is_none());
    sandbox.write_control(b"1");
    signal(supervise, Signal::SIGCONT);
    sandbox.until_ready_after(service);
    sandbox.until_exits(1);
    assert_eq!(sandbox.warnings(), "");
}
