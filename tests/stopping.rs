//! How a service is brought to its end: `stop_timeout`, `kill_mode`, and signals to supervise itself.

use std::os::unix::process::CommandExt;

use nix::sys::signal::Signal;

use crate::common::{Pid, Sandbox, alive, eventually, eventually_some, process_stat, signal, supervise_program};

#[test]
fn stop_timeout_leads_to_kill() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\nalarm_interval : 60\nstop_timeout : 0.5\n");
    sandbox.start("ready signals", &[]);
    let service = sandbox.until_ready();
    sandbox.write_control(b"d");
    sandbox.until_said("got TERM");
    sandbox.until_state("down");
    assert!(!alive(service));
    assert_eq!(sandbox.value("last_exit").as_deref(), Some("signal KILL"));
    assert_eq!(sandbox.value("last_exit_expected").as_deref(), Some("yes"));
    assert_eq!((sandbox.count("window_exits"), sandbox.record().wanted), (0, b'd'));
    sandbox.until_warned("the service did not stop within 0.5 s of TERM and gets KILL");
}

#[test]
fn without_stop_timeout_d_never_kills() {
    let sandbox = Sandbox::new();
    // It says itself when so much time has passed.
    sandbox.start("ready until TERM sleep 2000 out unhurt signals", &[]);
    let service = sandbox.until_ready();
    sandbox.write_control(b"d");
    sandbox.until_said("unhurt");
    assert_eq!((sandbox.service_pid(), sandbox.value("state").as_deref()), (Some(service), Some("stopping")));
}

#[test]
fn u_does_not_call_off_the_kill_of_a_service_that_is_stopping() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\nstop_timeout : 0.5\n");
    sandbox.start("ready signals", &[]);
    let service = sandbox.until_ready();
    sandbox.write_control(b"du");
    sandbox.until_ready_after(service);
    sandbox.until_value("last_exit", "signal KILL");
}

#[test]
fn stop_timeout_applies_to_t_by_no_means() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\nstop_timeout : 0.2\n");
    sandbox.start("ready until TERM sleep 1000 out unhurt signals", &[]);
    let service = sandbox.until_ready();
    sandbox.write_control(b"t");
    sandbox.until_said("unhurt");
    assert_eq!(sandbox.service_pid(), Some(service));
}

/// The pid of a child that the service has said it has: the first is number 0.
#[track_caller]
pub(crate) fn until_child(sandbox: &Sandbox, number: usize) -> Pid {
    eventually_some(sandbox, "the service has a child", || {
        let stdout = sandbox.stdout();
        let mut children = stdout.lines().filter_map(|line| line.strip_prefix("child ")?.parse().ok());
        children.nth(number)
    })
}

#[test]
fn with_kill_mode_group_signals_reach_the_group() {
    for (mode, reached) in [("group", true), ("process", false)] {
        let sandbox = Sandbox::new();
        sandbox.write_conf(&format!("[app]\nkill_mode : {mode}\n"));
        sandbox.start("child ready signals", &[]);
        let service = sandbox.until_ready();
        let child = until_child(&sandbox, 0);
        sandbox.write_control(b"p");
        let stopped = |pid: Pid| process_stat(pid).is_some_and(|stat| stat.state == 'T');
        eventually(&sandbox, "the service is stopped", || stopped(service));
        if reached {
            eventually(&sandbox, "its child is stopped", || stopped(child));
        }
        assert_eq!(stopped(child), reached);
        sandbox.write_control(b"c1");
        sandbox.until_said("got USR1");
        if reached {
            sandbox.until_dead(child);
        }
        assert_eq!((alive(child), sandbox.service_pid()), (!reached, Some(service)));
    }
}

#[test]
fn with_kill_mode_group_what_is_left_of_the_group_gets_kill_before_the_next_start() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\nkill_mode : group\npacing : 0.1\n");
    sandbox.start("ignore TERM child ready until USR1 exit 3", &[]);
    let mut service = sandbox.until_ready();
    for round in 0..5 {
        let child = until_child(&sandbox, round);
        signal(service, Signal::SIGUSR1);
        service = sandbox.until_ready_after(service);
        sandbox.until_dead(child);
    }
}

#[test]
fn with_kill_mode_process_what_is_left_of_the_group_lives_on() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\npacing : 0.1\n");
    sandbox.start("child ready until USR1 exit 3", &[]);
    let service = sandbox.until_ready();
    let child = until_child(&sandbox, 0);
    signal(service, Signal::SIGUSR1);
    sandbox.until_ready_after(service);
    assert!(alive(child));
}

#[test]
fn with_kill_mode_group_d_and_the_stop_timeout_reach_the_group() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\nkill_mode : group\nstop_timeout : 0.3\n");
    sandbox.start("ignore TERM child ready", &[]);
    let service = sandbox.until_ready();
    let child = until_child(&sandbox, 0);
    sandbox.write_control(b"d");
    sandbox.until_state("down");
    sandbox.until_dead(child);
    assert!(!alive(service));
}

#[test]
fn term_and_int_to_supervise_stop_the_service_and_then_supervise() {
    for name in [Signal::SIGTERM, Signal::SIGINT] {
        let sandbox = Sandbox::new();
        let args = ["-p", "status/app", "-f", "./service ready until CONT exit 7", "--foreground"];
        let supervise = sandbox.foreground(&args);
        let service = sandbox.until_ready();
        signal(supervise.pid(), name);
        supervise.wait().expect_code(0);
        assert_eq!(sandbox.stdout(), format!("ready {service}\ngot TERM\ngot CONT\n"), "{name}");
        let state = sandbox.state();
        assert_eq!((state["last_exit"].as_str(), state["last_exit_expected"].as_str()), ("code 7", "yes"));
        assert_eq!((sandbox.record().wanted, sandbox.record().pid), (b'd', None));
        assert_eq!(sandbox.processes(), Vec::<Pid>::new());
    }
}

#[test]
fn a_terminal_s_interrupt_reaches_supervise_alone() {
    let sandbox = Sandbox::new();
    let supervise = sandbox.foreground(&["status/app", "./service", "line", "starts", "ready", "wait"]);
    let service = sandbox.until_marks("starts", 1)[0].pid;
    let groups = (process_stat(supervise.pid()).expect("it runs").group, process_stat(service).expect("it runs").group);
    assert_eq!(groups.1, service, "the service leads a group of its own");
    assert_ne!(groups.0, groups.1);
    // What ^C does: a signal to the foreground's group, which is supervise's. Here that is the tests' own group too.
    signal(supervise.pid(), Signal::SIGINT);
    supervise.wait().expect_code(0);
    assert!(!alive(service));
    assert_eq!(sandbox.value("last_exit").as_deref(), Some("signal TERM"));
}

#[test]
fn hup_to_supervise_reads_the_conf_again() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\n");
    let mut command = sandbox.command(&["-p", "status/app", "-f", "./service ready signals"]);
    // The tests themselves may run under nohup.
    // SAFETY: signal is safe to call between fork and exec, and the default action has no code.
    unsafe {
        command.pre_exec(|| {
            libc::signal(libc::SIGHUP, libc::SIG_DFL);
            Ok(())
        });
    }
    sandbox.run(command).expect_code(0);
    let service = sandbox.until_ready();
    sandbox.write_conf("[app]\nstop_timeout : 0.1\n");
    signal(sandbox.supervise_pid(), Signal::SIGHUP);
    let loads = || sandbox.log().matches("Finished loading configurations!").count();
    eventually(&sandbox, "the conf is read twice", || loads() == 2);
    assert_eq!(sandbox.service_pid(), Some(service));
    sandbox.write_control(b"d");
    sandbox.until_down();
}

#[test]
fn under_nohup_hup_to_supervise_stays_ignored() {
    for how in ["", "--foreground"] {
        let sandbox = Sandbox::new();
        sandbox.write_conf("[app]\n");
        let mut command = sandbox.program("/bin/sh");
        command.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]).arg(supervise_program());
        command.args(["-p", "status/app", "-F", "supervise.conf", "-f", "./service ready signals"]);
        command.args([how].iter().filter(|word| !word.is_empty()));
        let _supervise = sandbox.spawn(command);
        sandbox.until_ready();
        sandbox.until_state("up");
        let supervise = sandbox.supervise_pid();
        signal(supervise, Signal::SIGHUP);
        sandbox.write_control(b"1");
        sandbox.until_said("got USR1");
        let loads = || sandbox.log().matches("Finished loading configurations!").count();
        assert!(loads() <= 1, "HUP was ignored");
        sandbox.write_control(b"r");
        eventually(&sandbox, "r reads the conf", || loads() >= 2);
        assert_eq!((loads(), alive(supervise)), (2, true));
    }
}
