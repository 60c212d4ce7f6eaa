//! Kernels that are old, and machines without /proc: what can't be known is said, and never made up.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::common::{
    Foreground, NO_PIDFD_GET_INFO, Pid, Refused, Sandbox, alive, can_refuse, eventually, no_links, process_stat,
    refusing, signal, skip, supervise_program, without_proc,
};

const WINDOW: &str = "[app]\nalarm_interval : 60\npacing : 0.1\n";

/// A call of supervise with `./service line starts ACTIONS`.
fn args(actions: &str) -> [String; 4] {
    ["-p", "status/app", "-f", &format!("./service line starts {actions}")].map(str::to_owned)
}

#[test]
fn without_proc_nothing_is_started_where_a_service_may_live() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(&[]);
    command.args(args("ready"));
    let Some(command) = without_proc(command) else { return };
    sandbox.background(&args("ready").each_ref().map(String::as_str)).expect_code(0);
    let service = sandbox.until_ready();
    sandbox.kill_supervise();
    let output = sandbox.run(command).expect_code(111);
    output.expect_stderr(&["/proc/sys/kernel/random/boot_id", &format!("pid {service}"), "nothing is started"]);
    assert!(alive(service));
    assert_eq!(sandbox.read("starts").lines().count(), 1);
    // With /proc it is known again.
    sandbox.background(&args("ready").each_ref().map(String::as_str)).expect_code(0);
    assert_eq!((sandbox.record().pid, sandbox.value("adopted").as_deref()), (Some(service), Some("yes")));
}

#[test]
fn a_service_that_was_started_without_proc_is_adopted_with_it() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(&[]);
    command.args(args("ready"));
    let Some(command) = without_proc(command) else { return };
    sandbox.run(command).expect_code(0);
    let service = sandbox.until_ready();
    sandbox.kill_supervise();
    sandbox.background(&args("ready").each_ref().map(String::as_str)).expect_code(0);
    assert_eq!((sandbox.record().pid, sandbox.value("adopted").as_deref()), (Some(service), Some("yes")));
    assert_eq!(sandbox.read("starts").lines().count(), 1);
    // One that was started so and is gone says nothing: that may have been in another boot.
    let mut command = sandbox.command(&[]);
    sandbox.write_control(b"dx");
    sandbox.until_ended();
    command.args(args("ready"));
    sandbox.run(without_proc(command).expect("as before")).expect_code(0);
    let second = sandbox.until_ready();
    sandbox.kill_supervise();
    signal(second, Signal::SIGKILL);
    eventually(&sandbox, "the service is gone", || process_stat(second).is_none());
    sandbox.background(&args("ready").each_ref().map(String::as_str)).expect_code(0);
    sandbox.until_ready_after(second);
    assert_eq!((sandbox.count("starts"), sandbox.count("exits")), (1, 0));
}

#[test]
fn without_pidfd_open_nothing_is_started_where_a_service_may_live() {
    let sandbox = Sandbox::new();
    if !can_refuse(&sandbox) {
        return;
    }
    sandbox.start("line starts ready", &[]);
    let service = sandbox.until_ready();
    sandbox.kill_supervise();
    let refused = [Refused { call: libc::SYS_pidfd_open, argument: None, errno: libc::ENOSYS }];
    let mut command = refusing(sandbox.command(&[]), &refused);
    command.args(args("ready"));
    let output = sandbox.run(command).expect_code(111);
    output.expect_stderr(&["Function not implemented", &format!("pid {service}"), "nothing is started"]);
    assert!(alive(service));
    assert_eq!(sandbox.read("starts").lines().count(), 1);
}

/// A service whose supervise was killed, and whose parent does not reap it before it is told to. The successor, on a
/// kernel that refuses it this, has adopted it.
#[track_caller]
fn adopted(sandbox: &Sandbox, actions: &str, refused: &[Refused]) -> (Foreground, Pid) {
    sandbox.write_conf(WINDOW);
    let (keeper, service) = left_behind(sandbox, actions);
    let mut command = refusing(sandbox.command(&[]), refused);
    command.args(args(actions));
    sandbox.run(command).expect_code(0);
    assert_eq!((sandbox.record().pid, sandbox.value("adopted").as_deref()), (Some(service), Some("yes")));
    (keeper, service)
}

/// The parent, and the service, whose supervise was killed.
#[track_caller]
fn left_behind(sandbox: &Sandbox, actions: &str) -> (Foreground, Pid) {
    let mut command = sandbox.program("./service");
    command.arg("keep").arg(supervise_program()).args(args(actions));
    let keeper = sandbox.spawn(command);
    let service = sandbox.until_ready();
    sandbox.until_state("up");
    sandbox.kill_supervise();
    (keeper, service)
}

#[test]
fn the_status_of_an_adopted_service_is_read_from_its_zombie() {
    for (how, ended) in [("exit 3", "code 3"), ("exit 0", "code 0"), ("kill SEGV", "signal SEGV")] {
        let sandbox = Sandbox::new();
        if !can_refuse(&sandbox) {
            return;
        }
        let actions = format!("ready until USR1 {how}");
        let (_keeper, service) = adopted(&sandbox, &actions, &[NO_PIDFD_GET_INFO]);
        signal(service, Signal::SIGUSR1);
        sandbox.until_ready_after(service);
        assert_eq!(process_stat(service).map(|stat| stat.state), Some('Z'), "nobody has reaped it");
        sandbox.until_value("exits", "1");
        let state = sandbox.state();
        assert_eq!((state["last_exit"].as_str(), state["last_exit_expected"].as_str()), (ended, "no"));
        assert_eq!(state["window_exits"], "1");
    }
}

#[test]
fn before_linux_6_15_a_status_that_can_t_be_read_is_unknown_at_once() {
    let sandbox = Sandbox::new();
    if !can_refuse(&sandbox) {
        return;
    }
    let refused = [&no_links()[..], &[NO_PIDFD_GET_INFO]].concat();
    let (_keeper, service) = adopted(&sandbox, "ready until USR1 exit 0", &refused);
    let exit = Instant::now();
    signal(service, Signal::SIGUSR1);
    sandbox.until_ready_after(service);
    sandbox.until_logged("unknown, ran");
    assert!(exit.elapsed() < Duration::from_secs(5), "there is nothing to wait for: {:?}", exit.elapsed());
    let state = sandbox.state();
    assert_eq!((state["last_exit"].as_str(), state["last_exit_expected"].as_str()), ("unknown", "no"));
    assert_eq!((state["exits"].as_str(), state["window_exits"].as_str()), ("1", "1"));
}

/// Whether the kernel tells the exit status of a process that is not a child.
fn kernel_tells_exit_statuses() -> bool {
    let tells = crate::adoption::kernel_tells_exit_statuses();
    if !tells {
        skip("Linux tells the status of a process that is not a child from 6.15 on");
    }
    tells
}

#[test]
fn a_status_that_the_kernel_hides_is_waited_for_and_then_unknown() {
    let sandbox = Sandbox::new();
    if !can_refuse(&sandbox) || !kernel_tells_exit_statuses() {
        return;
    }
    let (_keeper, service) = adopted(&sandbox, "ready until USR1 exit 0", &no_links());
    let exit = Instant::now();
    signal(service, Signal::SIGUSR1);
    sandbox.until_ready_after(service);
    let restarted = exit.elapsed();
    assert!(restarted < Duration::from_secs(4), "the restart does not wait for the status: {restarted:?}");
    sandbox.until_value("last_exit", "unknown"); // which is published after the restart
    sandbox.until_logged("unknown, ran");
    assert!(exit.elapsed() > Duration::from_secs(5), "it is waited for: {:?}", exit.elapsed());
    let state = sandbox.state();
    assert_eq!((state["last_exit"].as_str(), state["last_exit_expected"].as_str()), ("unknown", "no"));
    assert_eq!((state["exits"].as_str(), state["window_exits"].as_str()), ("1", "1"));
}

#[test]
fn a_status_that_comes_when_the_zombie_is_reaped_is_taken() {
    let sandbox = Sandbox::new();
    if !can_refuse(&sandbox) || !kernel_tells_exit_statuses() {
        return;
    }
    let (keeper, service) = adopted(&sandbox, "ready until USR1 exit 7", &no_links());
    signal(service, Signal::SIGUSR1);
    sandbox.until_ready_after(service);
    signal(keeper.pid(), Signal::SIGUSR1);
    sandbox.until_logged("code 7, ran");
    sandbox.until_value("last_exit", "code 7");
}

#[test]
fn a_service_found_as_a_zombie_is_dead_and_its_status_is_read() {
    let sandbox = Sandbox::new();
    // Adopted, it would be restarted behind the pacing.
    sandbox.write_conf(&WINDOW.replace("0.1", "3600"));
    let (_keeper, service) = left_behind(&sandbox, "ready until USR1 exit 7");
    signal(service, Signal::SIGUSR1);
    sandbox.until_dead(service);
    assert_eq!(process_stat(service).map(|stat| stat.state), Some('Z'));
    sandbox.background(&args("ready until USR1 exit 7").each_ref().map(String::as_str)).expect_code(0);
    sandbox.until_ready_after(service);
    let state = sandbox.state();
    assert_eq!((state["last_exit"].as_str(), state["last_exit_expected"].as_str()), ("code 7", "no"));
    assert_eq!((state["starts"].as_str(), state["adopted"].as_str()), ("2", "no"));
}

#[test]
fn before_linux_6_9_signals_reach_the_group_of_an_adopted_service() {
    let sandbox = Sandbox::new();
    if !can_refuse(&sandbox) {
        return;
    }
    sandbox.write_conf("[app]\nkill_mode : group\npacing : 0.1\n");
    sandbox.start("ignore TERM child ready", &[]);
    let service = sandbox.until_ready();
    let child = crate::stopping::until_child(&sandbox, 0);
    sandbox.kill_supervise();
    // PIDFD_SIGNAL_PROCESS_GROUP, the one flag of pidfd_send_signal(2).
    let flag = Refused { call: libc::SYS_pidfd_send_signal, argument: Some((3, 1 << 2)), errno: libc::EINVAL };
    let command = sandbox.command(&["-p", "status/app", "-f", "./service ignore TERM child ready"]);
    sandbox.run(refusing(command, &[flag])).expect_code(0);
    assert_eq!(sandbox.record().pid, Some(service));
    sandbox.write_control(b"p");
    let stopped = |pid: Pid| process_stat(pid).is_some_and(|stat| stat.state == 'T');
    eventually(&sandbox, "both are stopped", || stopped(service) && stopped(child));
    signal(service, Signal::SIGKILL);
    sandbox.until_ready_after(service);
    sandbox.until_dead(child);
    assert_eq!(sandbox.warnings(), "");
}

/// pidfd_open(2) says of a process group without its leader what it says of a thread.
#[test]
fn on_older_kernels_too_what_a_dead_service_has_left_of_its_group_is_ended() {
    let sandbox = Sandbox::new();
    if !can_refuse(&sandbox) {
        return;
    }
    let (service, child) = crate::adoption::left_of_a_group(&sandbox);
    eventually(&sandbox, "it is reaped", || process_stat(service).is_none());
    let old = Refused { call: libc::SYS_pidfd_open, argument: Some((0, service as u32)), errno: libc::EINVAL };
    let command = sandbox.command(&["-p", "status/app", "-f", "./service child ready"]);
    sandbox.run(refusing(command, &[old])).expect_code(0);
    sandbox.until_dead(child);
    sandbox.until_ready_after(service);
    assert_eq!(sandbox.warnings(), "");
}

#[test]
fn a_signal_that_may_not_be_sent_is_a_warning() {
    let sandbox = Sandbox::new();
    if !can_refuse(&sandbox) {
        return;
    }
    let refused = [Refused { call: libc::SYS_kill, argument: Some((1, libc::SIGUSR1 as u32)), errno: libc::EPERM }];
    let command = sandbox.command(&["-p", "status/app", "-f", "./service ready signals"]);
    sandbox.run(refusing(command, &refused)).expect_code(0);
    sandbox.until_ready();
    sandbox.write_control(b"1");
    sandbox.until_warned("[WARNING]");
    assert!(sandbox.warnings().contains("unable to send Usr1 to the service"), "{}", sandbox.warnings());
    sandbox.write_control(b"2");
    sandbox.until_said("got USR2");
    assert!(!sandbox.stdout().contains("USR1"));
}

#[test]
fn a_kill_that_may_not_be_sent_is_not_said_to_have_been() {
    let sandbox = Sandbox::new();
    if !can_refuse(&sandbox) {
        return;
    }
    sandbox.write_conf("[app]\nstop_timeout : 0.3\n");
    let refused = [Refused { call: libc::SYS_kill, argument: Some((1, libc::SIGKILL as u32)), errno: libc::EPERM }];
    let command = sandbox.command(&["-p", "status/app", "-f", "./service ignore TERM ready signals"]);
    sandbox.run(refusing(command, &refused)).expect_code(0);
    let service = sandbox.until_ready();
    sandbox.write_control(b"d");
    sandbox.until_warned("unable to send Kill to the service");
    sandbox.write_control(b"s"); // another turn
    sandbox.until_value("alarms", "no");
    assert!(alive(service) && !sandbox.warnings().contains("gets KILL"), "{}", sandbox.warnings());
}
