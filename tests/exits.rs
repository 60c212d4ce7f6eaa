//! Which exits of a real service are expected, which are counted, and which raise an alarm.

use nix::sys::signal::Signal;

use crate::common::{Pid, Sandbox, eventually, signal};

/// What supervise made of the first exit: whether it was expected, and how many are in the window.
#[derive(Debug, PartialEq, Eq)]
enum Exit {
    Expected,
    Counted,
}
use Exit::{Counted, Expected};

/// Runs `./service ACTIONS` (its second run does nothing but wait), lets `act` bring it to its end, and looks.
#[track_caller]
fn exit_of(actions: &str, act: impl FnOnce(&Sandbox, Pid)) -> (Exit, String) {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\nalarm_interval : 60\npacing : 0.1\n");
    sandbox.start(&format!("from 1 runs line runs {actions}"), &[]);
    let service = sandbox.until_ready();
    act(&sandbox, service);
    sandbox.until_exits(1);
    let state = sandbox.state();
    let exit = match (state["last_exit_expected"].as_str(), state["window_exits"].as_str()) {
        ("yes", "0") => Expected,
        ("no", "1") => Counted,
        other => panic!("last_exit_expected and window_exits are {other:?}"),
    };
    (exit, state["last_exit"].clone())
}

/// The same for an exit that a write to svcontrol brings about.
#[track_caller]
fn exit_after(bytes: &str, actions: &str) -> (Exit, String) {
    exit_of(actions, |sandbox, _| sandbox.write_control(bytes.as_bytes()))
}

#[track_caller]
fn check(found: (Exit, String), exit: Exit, ended: &str) {
    assert_eq!(found, (exit, ended.to_owned()));
}

#[test]
fn an_exit_that_no_command_caused_is_unexpected_with_code_0_too() {
    for code in ["0", "1", "255"] {
        let actions = format!("ready until USR1 exit {code}");
        let found = exit_of(&actions, |_, service| signal(service, Signal::SIGUSR1));
        check(found, Counted, &format!("code {code}"));
    }
    for name in [Signal::SIGTERM, Signal::SIGKILL, Signal::SIGSEGV] {
        let found = exit_of("ready", |_, service| signal(service, name));
        check(found, Counted, &format!("signal {}", name.as_str().trim_start_matches("SIG")));
    }
}

#[test]
fn any_exit_after_d_is_expected() {
    check(exit_after("d", "ready"), Expected, "signal TERM");
    check(exit_after("d", "ready until TERM exit 9"), Expected, "code 9");
    check(exit_after("d", "ready until TERM kill SEGV"), Expected, "signal SEGV");
    check(exit_after("d", "core ready until TERM kill KILL"), Expected, "signal KILL");
}

#[test]
fn any_exit_after_term_to_supervise_is_expected() {
    let found = exit_of("ready until TERM kill SEGV", |sandbox, _| signal(sandbox.supervise_pid(), Signal::SIGTERM));
    check(found, Expected, "signal SEGV");
}

#[test]
fn after_d_and_u_a_crash_is_unexpected() {
    check(exit_after("du", "ready until CONT kill SEGV"), Counted, "signal SEGV");
    check(exit_after("du", "ready until CONT kill USR1"), Counted, "signal USR1");
    check(exit_after("dudu", "ready until CONT kill ABRT"), Counted, "signal ABRT");
}

#[test]
fn after_d_and_u_an_exit_by_term_int_kill_or_code_is_expected() {
    for name in ["TERM", "INT", "KILL"] {
        let found = exit_after("du", &format!("ready until CONT kill {name}"));
        check(found, Expected, &format!("signal {name}"));
    }
    check(exit_after("du", "ready until CONT exit 5"), Expected, "code 5");
    check(exit_after("du", "ready until CONT exit 0"), Expected, "code 0");
    check(exit_after("dud", "ready until CONT kill SEGV"), Expected, "signal SEGV");
}

#[test]
fn t_i_q_and_k_explain_an_exit_by_that_signal() {
    for (byte, name) in [("t", "TERM"), ("i", "INT"), ("q", "QUIT"), ("k", "KILL")] {
        check(exit_after(byte, "ready"), Expected, &format!("signal {name}"));
    }
}

#[test]
fn t_i_and_q_explain_an_exit_with_a_code() {
    for (byte, name) in [("t", "TERM"), ("i", "INT"), ("q", "QUIT")] {
        check(exit_after(byte, &format!("ready until {name} exit 3")), Expected, "code 3");
        check(exit_after(byte, &format!("ready until {name} exit 0")), Expected, "code 0");
    }
}

#[test]
fn t_i_and_q_explain_no_exit_by_another_signal() {
    for (byte, name, other) in [("t", "TERM", "SEGV"), ("i", "INT", "TERM"), ("q", "QUIT", "ABRT")] {
        let found = exit_after(byte, &format!("ready until {name} kill {other}"));
        check(found, Counted, &format!("signal {other}"));
    }
}

#[test]
fn each_of_several_signals_explains_its_own() {
    check(exit_after("ti", "ready until INT kill TERM"), Expected, "signal TERM");
    check(exit_after("it", "ready until TERM kill INT"), Expected, "signal INT");
    check(exit_after("ti", "ready until TERM kill KILL"), Counted, "signal KILL");
}

#[test]
fn other_signals_explain_nothing() {
    for (byte, name) in [("a", "ALRM"), ("1", "USR1"), ("2", "USR2")] {
        check(exit_after(byte, "ready"), Counted, &format!("signal {name}"));
        check(exit_after(byte, &format!("ready until {name} exit 3")), Counted, "code 3");
    }
    check(exit_after("c", "ready until CONT exit 3"), Counted, "code 3");
}

#[test]
fn code_0_after_o_is_expected_and_another_code_is_not() {
    let end = |_: &Sandbox, service| signal(service, Signal::SIGUSR1);
    let once = |actions: &str| {
        exit_of(actions, |sandbox, service| {
            sandbox.write_control(b"o");
            sandbox.until_value("wanted", "once");
            end(sandbox, service);
        })
    };
    check(once("ready until USR1 exit 0"), Expected, "code 0");
    check(once("ready until USR1 exit 3"), Counted, "code 3");
    check(once("ready"), Counted, "signal USR1");
}

#[test]
fn x_makes_nothing_expected() {
    check(exit_after("x1", "ready until USR1 exit 0"), Counted, "code 0");
    check(exit_after("x1", "ready until USR1 kill SEGV"), Counted, "signal SEGV");
}

#[test]
fn a_crash_under_a_pending_x_is_alarmed() {
    let sandbox = Sandbox::new();
    sandbox.write_conf(
        "[app]\nalarm_interval : 60\nmax_tries : 9\nalarm_mail : nobody@example.invalid\n\
         mail_transport : smtp://127.0.0.1:1\n",
    );
    let supervise = sandbox.foreground(&["-p", "status/app", "-f", "./service ready", "--foreground"]);
    let service = sandbox.until_ready();
    sandbox.write_control(b"x");
    eventually(&sandbox, "x is obeyed", || sandbox.log().contains("commands: x"));
    signal(service, Signal::SIGSEGV);
    supervise.wait().expect_code(0);
    let subjects = sandbox.subjects();
    assert_eq!(subjects.len(), 1, "{subjects:?}");
    assert!(subjects[0].ends_with("Service app exited!"), "{subjects:?}");
}

#[test]
fn control_scripts_that_silence_kill_and_unsilence_change_no_count() {
    let sandbox = Sandbox::new();
    sandbox.write_conf(
        "[app]\nalarm_interval : 60\nmax_tries : 1\npacing : 0.1\nalarm_mail : nobody@example.invalid\n\
         mail_transport : smtp://127.0.0.1:1\n",
    );
    sandbox.start("ready", &[]);
    let mut service = sandbox.until_ready();
    for round in 1..=5 {
        sandbox.write_control(b"s");
        sandbox.until_value("alarms", "no");
        signal(service, Signal::SIGKILL);
        service = sandbox.until_ready_after(service);
        sandbox.until_exits(round);
        sandbox.write_control(b"n");
        sandbox.until_value("alarms", "yes");
    }
    assert_eq!((sandbox.count("window_exits"), sandbox.alarms().len()), (0, 0));
    assert_eq!(sandbox.log().matches("service exited!").count(), 5, "they are logged");
    // With alarms on again, the next one counts.
    signal(service, Signal::SIGKILL);
    sandbox.until_value("window_exits", "1");
    eventually(&sandbox, "it is alarmed", || sandbox.alarms().len() == 1);
}

#[test]
fn an_expected_exit_is_logged_and_raises_no_alarm() {
    let sandbox = Sandbox::new();
    sandbox.write_conf(
        "[app]\nalarm_interval : 60\nmax_tries : 1\npacing : 0.1\nalarm_mail : nobody@example.invalid\n\
         mail_transport : smtp://127.0.0.1:1\n",
    );
    sandbox.start("ready", &[]);
    let mut service = sandbox.until_ready();
    for round in 1..=4 {
        sandbox.write_control(if round % 2 == 0 { b"du" } else { b"k" });
        service = sandbox.until_ready_after(service);
        sandbox.until_exits(round);
    }
    assert_eq!(sandbox.log().matches("service exited!").count(), 4);
    assert_eq!((sandbox.count("window_exits"), sandbox.alarms().len()), (0, 0));
    assert_eq!(sandbox.value("window_opened"), None);
}

#[test]
fn without_a_window_nothing_is_counted_and_the_other_classic_items_have_no_effect() {
    let sandbox = Sandbox::new();
    sandbox.write_conf(
        "[app]\nmax_tries : 1\nmax_tries_if_coredumped : 1\npacing : 0.1\nalarm_mail : nobody@example.invalid\n\
         mail_transport : smtp://127.0.0.1:1\n",
    );
    let told = "supervise.conf:5: alarm_mail: without effect, because alarm_interval is not set or 0";
    sandbox.start("core from 4 runs line runs kill SEGV", &[]).expect_stderr(&[told]);
    sandbox.until_ready();
    sandbox.until_exits(4);
    assert_eq!((sandbox.count("window_exits"), sandbox.alarms().len()), (0, 0));
}
