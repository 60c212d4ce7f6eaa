//! The command bytes on a real service: what each does to it, and what the two records say then.

use nix::sys::signal::Signal;

use crate::common::{Record, Sandbox, alive, eventually, log_texts, process_stat, signal};

/// Bytes 12, 13 and 14 of the status record, and what the long record says of the same.
#[track_caller]
fn until_flags(sandbox: &Sandbox, paused: bool, wanted: u8, alarms: u8) {
    let shown = |record: &Record| (record.paused, record.wanted, record.alarms, record.zero);
    eventually(sandbox, &format!("the record says {paused} {wanted} {alarms}"), || {
        shown(&sandbox.record()) == (u8::from(paused), wanted, alarms, 0)
    });
    let word = |yes| if yes { "yes" } else { "no" };
    sandbox.until_value("paused", word(paused));
    sandbox.until_value(
        "wanted",
        if wanted == b'u' {
            "up"
        } else if wanted == b'd' {
            "down"
        } else {
            "once"
        },
    );
    sandbox.until_value("alarms", word(alarms == b'o'));
}

#[test]
fn each_signal_byte_sends_its_signal() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\nhup : default\n");
    sandbox.start("ready signals", &[]);
    let service = sandbox.until_ready();
    for (byte, name) in
        [("t", "TERM"), ("i", "INT"), ("h", "HUP"), ("a", "ALRM"), ("q", "QUIT"), ("1", "USR1"), ("2", "USR2")]
    {
        sandbox.write_control(byte.as_bytes());
        sandbox.until_said(&format!("got {name}"));
    }
    assert_eq!(sandbox.stdout().matches("got ").count(), 7, "one signal a byte: {}", sandbox.stdout());
    until_flags(&sandbox, false, b'u', b'o');
    assert_eq!((sandbox.service_pid(), sandbox.warnings().as_str()), (Some(service), ""));
}

#[test]
fn h_does_not_end_a_service_that_was_given_hup_ignored() {
    let sandbox = Sandbox::new();
    sandbox.start("ready", &[]);
    let service = sandbox.until_ready();
    sandbox.write_control(b"hp");
    eventually(&sandbox, "it lives, and is stopped", || process_stat(service).is_some_and(|stat| stat.state == 'T'));
}

#[test]
fn a_signal_that_ends_the_service_is_followed_by_a_restart() {
    for byte in ["t", "i", "a", "q", "1", "2", "k"] {
        let sandbox = Sandbox::new();
        sandbox.write_conf("[app]\npacing : 0.1\n");
        sandbox.start("ready", &[]);
        let service = sandbox.until_ready();
        sandbox.write_control(byte.as_bytes());
        sandbox.until_ready_after(service);
        assert!(!alive(service));
        sandbox.until_value("starts", "2");
        until_flags(&sandbox, false, b'u', b'o');
    }
}

#[test]
fn p_stops_the_service_and_c_continues_it() {
    let sandbox = Sandbox::new();
    sandbox.start("ready signals", &[]);
    let service = sandbox.until_ready();
    let stopped = || process_stat(service).is_some_and(|stat| stat.state == 'T');
    sandbox.write_control(b"p");
    eventually(&sandbox, "the service is stopped", stopped);
    until_flags(&sandbox, true, b'u', b'o');
    sandbox.write_control(b"1c");
    sandbox.until_said("got USR1");
    assert!(!stopped());
    until_flags(&sandbox, false, b'u', b'o');
}

#[test]
fn d_sends_term_then_cont_and_the_service_stays_down() {
    let sandbox = Sandbox::new();
    sandbox.start("ready until CONT exit 0", &[]);
    let service = sandbox.until_ready();
    sandbox.write_control(b"d");
    sandbox.until_state("down");
    assert_eq!(sandbox.stdout(), format!("ready {service}\ngot TERM\ngot CONT\n"));
    until_flags(&sandbox, false, b'd', b'o');
    assert_eq!((sandbox.service_pid(), sandbox.count("starts")), (None, 1));
}

#[test]
fn d_ends_a_paused_service() {
    let sandbox = Sandbox::new();
    sandbox.start("ready", &[]);
    let service = sandbox.until_ready();
    sandbox.write_control(b"p");
    until_flags(&sandbox, true, b'u', b'o');
    sandbox.write_control(b"d");
    sandbox.until_state("down");
    assert!(!alive(service));
    assert_eq!(sandbox.value("last_exit").as_deref(), Some("signal TERM"));
    until_flags(&sandbox, false, b'd', b'o');
}

#[test]
fn d_takes_the_paused_flag_from_a_service_that_runs_on() {
    let sandbox = Sandbox::new();
    sandbox.start("ready signals", &[]);
    let service = sandbox.until_ready();
    sandbox.write_control(b"p");
    until_flags(&sandbox, true, b'u', b'o');
    sandbox.write_control(b"d");
    until_flags(&sandbox, false, b'd', b'o');
    sandbox.until_said("got CONT");
    sandbox.until_state("stopping");
    assert_eq!(sandbox.service_pid(), Some(service));
}

#[test]
fn u_starts_a_service_that_is_down() {
    let sandbox = Sandbox::new();
    sandbox.start("ready", &[]);
    let service = sandbox.until_ready();
    sandbox.write_control(b"d");
    sandbox.until_state("down");
    sandbox.write_control(b"u");
    sandbox.until_ready_after(service);
    until_flags(&sandbox, false, b'u', b'o');
}

#[test]
fn u_to_a_running_service_changes_nothing() {
    let sandbox = Sandbox::new();
    sandbox.start("ready signals", &[]);
    let service = sandbox.until_ready();
    sandbox.write_control(b"u1");
    sandbox.until_said("got USR1");
    assert_eq!((sandbox.service_pid(), sandbox.count("starts")), (Some(service), 1));
}

#[test]
fn du_in_one_write_restarts_without_a_pause() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\nalarm_interval : 60\npacing : 3600\n");
    sandbox.start("ready", &[]);
    let service = sandbox.until_ready();
    sandbox.write_control(b"du");
    sandbox.until_ready_after(service);
    sandbox.until_value("starts", "2");
    assert_eq!(sandbox.value("last_exit_expected").as_deref(), Some("yes"));
    assert_eq!((sandbox.count("exits"), sandbox.count("window_exits")), (1, 0));
    until_flags(&sandbox, false, b'u', b'o');
}

#[test]
fn o_starts_a_service_that_is_down_and_does_not_start_it_again() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\npacing : 0.1\n");
    sandbox.start("ready until USR1 exit 3", &[]);
    let first = sandbox.until_ready();
    sandbox.write_control(b"d1");
    sandbox.until_state("down");
    sandbox.write_control(b"o");
    let second = sandbox.until_ready_after(first);
    until_flags(&sandbox, false, 0, b'o');
    signal(second, Signal::SIGUSR1);
    sandbox.until_state("down");
    until_flags(&sandbox, false, 0, b'o');
    assert_eq!((sandbox.count("starts"), sandbox.service_pid()), (2, None));
}

#[test]
fn o_to_a_running_service_makes_this_run_its_last() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\npacing : 0.1\n");
    sandbox.start("ready", &[]);
    let service = sandbox.until_ready();
    sandbox.write_control(b"o");
    until_flags(&sandbox, false, 0, b'o');
    assert_eq!(sandbox.service_pid(), Some(service));
    sandbox.write_control(b"k");
    sandbox.until_state("down");
    assert_eq!(sandbox.count("starts"), 1);
}

#[test]
fn k_after_o_or_d_starts_nothing() {
    let sandbox = Sandbox::new();
    sandbox.start("ready signals", &[]);
    let service = sandbox.until_ready();
    sandbox.write_control(b"d");
    sandbox.until_said("got TERM");
    assert!(alive(service), "d never kills");
    sandbox.write_control(b"k");
    sandbox.until_state("down");
    until_flags(&sandbox, false, b'd', b'o');
}

#[test]
fn x_waits_for_the_service_and_sends_it_nothing() {
    let sandbox = Sandbox::new();
    let supervise = sandbox.foreground(&["-p", "status/app", "-f", "./service ready signals", "--foreground"]);
    let service = sandbox.until_ready();
    sandbox.write_control(b"x");
    sandbox.write_control(b"1");
    sandbox.until_said("got USR1");
    assert_eq!(sandbox.stdout(), format!("ready {service}\ngot USR1\n"));
    assert!(alive(supervise.pid()));
    sandbox.write_control(b"k");
    supervise.wait().expect_code(0);
    assert_eq!((sandbox.service_pid(), sandbox.count("starts")), (None, 1));
    assert!(!sandbox.file("ok").exists());
}

#[test]
fn x_is_not_taken_back_by_u_or_o() {
    for byte in ["u", "o"] {
        let sandbox = Sandbox::new();
        let supervise = sandbox.foreground(&["-p", "status/app", "-f", "./service ready signals", "--foreground"]);
        sandbox.until_ready();
        sandbox.write_control(b"x");
        sandbox.write_control(byte.as_bytes());
        sandbox.write_control(b"1");
        sandbox.until_said("got USR1");
        sandbox.write_control(b"k");
        supervise.wait().expect_code(0);
        assert_eq!(sandbox.service_pid(), None);
        assert_eq!(sandbox.processes(), Vec::<i32>::new());
    }
}

#[test]
fn echo_dx_stops_the_service_and_then_supervise() {
    let sandbox = Sandbox::new();
    let supervise = sandbox.foreground(&["-p", "status/app", "-f", "./service ready", "--foreground"]);
    let service = sandbox.until_ready();
    let mut shell = sandbox.program("/bin/sh");
    shell.args(["-c", "echo dx > status/app/svcontrol"]);
    sandbox.run(shell).expect_code(0);
    supervise.wait().expect_code(0);
    assert!(!alive(service));
    assert_eq!(sandbox.value("last_exit_expected").as_deref(), Some("yes"));
    assert_eq!(sandbox.warnings(), "", "the newline of echo is nothing to speak of");
}

#[test]
fn x_with_the_service_down_ends_supervise_now() {
    let sandbox = Sandbox::new();
    let supervise = sandbox.foreground(&["-p", "status/app", "-f", "./service ready", "--foreground"]);
    sandbox.until_ready();
    sandbox.write_control(b"d");
    sandbox.until_state("down");
    sandbox.write_control(b"x");
    supervise.wait().expect_code(0);
    assert_eq!(sandbox.record().wanted, b'd');
}

#[test]
fn s_turns_alarms_off_and_n_turns_them_on() {
    let sandbox = Sandbox::new();
    sandbox.start("ready", &[]);
    let service = sandbox.until_ready();
    until_flags(&sandbox, false, b'u', b'o');
    sandbox.write_control(b"s");
    until_flags(&sandbox, false, b'u', b'x');
    sandbox.write_control(b"k");
    sandbox.until_ready_after(service);
    until_flags(&sandbox, false, b'u', b'x');
    sandbox.write_control(b"n");
    until_flags(&sandbox, false, b'u', b'o');
}

#[test]
fn r_reads_the_conf_again() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\nstop_timeout : 0\n");
    sandbox.start("ready signals", &[]);
    sandbox.until_ready();
    let before = sandbox.value("conf_read").expect("a conf was read");
    sandbox.write_control(b"r");
    eventually(&sandbox, "conf_read is later", || sandbox.value("conf_read").is_some_and(|now| now > before));
    sandbox.until_logged("Finished loading configurations!");
    until_flags(&sandbox, false, b'u', b'o');
}

/// The numbers in the warnings about unknown bytes, in their order.
pub(crate) fn unknown_bytes(sandbox: &Sandbox) -> Vec<u64> {
    let number = |text: String| text.split(|c: char| !c.is_ascii_digit()).find(|word| !word.is_empty())?.parse().ok();
    log_texts(&sandbox.warnings(), "WARNING").into_iter().filter_map(number).collect()
}

#[test]
fn the_unknown_bytes_of_one_write_are_one_warning_with_their_number() {
    let sandbox = Sandbox::new();
    sandbox.start("ready signals", &[]);
    let service = sandbox.until_ready();
    sandbox.write_control(b"z?\xff1Y\x01D\x80");
    sandbox.until_said("got USR1");
    sandbox.write_control(b"e");
    eventually(&sandbox, "both writes are warned of", || unknown_bytes(&sandbox).len() >= 2);
    assert_eq!(unknown_bytes(&sandbox), [7, 1], "{}", sandbox.warnings());
    assert_eq!(sandbox.warnings().lines().count(), 2);
    assert_eq!(sandbox.service_pid(), Some(service));
}

#[test]
fn newline_blank_and_nul_are_ignored() {
    let sandbox = Sandbox::new();
    sandbox.start("ready signals", &[]);
    let service = sandbox.until_ready();
    sandbox.write_control(b"\n \0\0  \n\n1\n \0");
    sandbox.until_said("got USR1");
    sandbox.write_control(b"\n 2");
    sandbox.until_said("got USR2");
    assert_eq!((sandbox.warnings().as_str(), sandbox.service_pid()), ("", Some(service)));
}
