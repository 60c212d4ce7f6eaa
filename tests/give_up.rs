//! Give-ups: the two limits of the alarm window, what they leave behind, and the alarms on the way there.

use nix::sys::signal::Signal;

use crate::common::{Sandbox, eventually, log_texts, signal, skip};

const ALARMED: &str = "[app]\nalarm_interval : 60\npacing : 0.1\nalarm_mail : nobody@example.invalid\n\
                       mail_transport : smtp://127.0.0.1:1\n";

#[track_caller]
fn sandbox_with(limits: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write_conf(&format!("{ALARMED}{limits}\n"));
    sandbox
}

/// Runs a crashing service in the foreground until supervise gives up.
#[track_caller]
fn until_given_up(sandbox: &Sandbox, actions: &str) {
    let service = format!("./service line starts {actions}");
    let supervise = sandbox.foreground(&["-p", "status/app", "-f", &service, "--foreground"]);
    supervise.wait().expect_code(1);
    assert_eq!(sandbox.value("state").as_deref(), Some("gave-up"));
    assert_eq!((sandbox.service_pid(), sandbox.lock_is_free()), (None, true));
    assert!(!sandbox.file("ok").exists());
}

#[test]
fn max_tries_allows_exactly_so_many_restarts() {
    for tries in [1, 3] {
        let sandbox = sandbox_with(&format!("max_tries : {tries}"));
        until_given_up(&sandbox, "exit 3");
        assert_eq!(sandbox.read("starts").lines().count(), tries + 1);
        let tries = tries as u64;
        assert_eq!((sandbox.count("starts"), sandbox.count("exits")), (tries + 1, tries + 1));
        assert_eq!(sandbox.count("window_exits"), tries + 1);
        let subjects = sandbox.subjects();
        assert_eq!(subjects.len(), 2, "one for the window, one for the give-up: {subjects:?}");
        let host = nix::unistd::gethostname().expect("a host has a name");
        let alarm = format!(" [Alarm: {}] Service app exited", host.display());
        let ends = [format!("{alarm}!"), format!("{alarm}, supervise gave up after {tries} tries!")];
        for end in &ends {
            assert!(subjects.iter().any(|subject| subject.ends_with(end)), "{end:?} in {subjects:?}");
        }
        for subject in subjects {
            // 2026-11-21 01:25:00
            let shape: String = subject.chars().take(19).map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
            assert_eq!(shape, "0000-00-00 00:00:00");
        }
    }
}

#[test]
fn a_give_up_is_a_notice_and_fatal() {
    let sandbox = sandbox_with("max_tries : 1");
    until_given_up(&sandbox, "exit 3");
    let text = "supervise refused to restart app any more and exited itself!";
    let said = |log: &str, level| log_texts(log, level).iter().filter(|line| line.contains(text)).count();
    assert_eq!(said(&sandbox.log(), "NOTICE"), 1);
    assert_eq!(said(&sandbox.warnings(), "FATAL"), 1);
    assert_eq!(sandbox.log().matches("service exited!").count(), 2);
    assert_eq!(sandbox.log().matches("supervise is trying to restart app...").count(), 1);
}

#[test]
fn a_start_after_a_give_up_is_fresh() {
    let sandbox = sandbox_with("max_tries : 2");
    until_given_up(&sandbox, "exit 3");
    sandbox.write_control_is_refused();
    sandbox.start("from 4 starts line starts exit 3", &[]);
    sandbox.until_ready();
    sandbox.until_exits(1);
    sandbox.until_value("starts", "2");
    assert_eq!((sandbox.count("window_exits"), sandbox.value("state").as_deref()), (1, Some("up")));
    assert_eq!(sandbox.record().wanted, b'u');
    eventually(&sandbox, "a new window has an alarm of its own", || sandbox.alarms().len() == 3);
}

impl Sandbox {
    /// Nobody reads svcontrol.
    #[track_caller]
    fn write_control_is_refused(&self) {
        let error = self.write_fifo("svcontrol", b"u").expect_err("nobody reads svcontrol");
        assert_eq!(error.raw_os_error(), Some(libc::ENXIO));
    }
}

/// Whether this kernel makes cores for the tests' service, and says so in the wait status.
pub(crate) fn cores_are_made() -> bool {
    let sandbox = Sandbox::new();
    let mut command = sandbox.program("./service");
    command.args(["core", "kill", "SEGV"]);
    let mut child = command.spawn().expect("the service can be run");
    let status = child.wait().expect("a child can be waited for");
    let made = std::os::unix::process::ExitStatusExt::core_dumped(&status);
    if !made {
        skip("the kernel makes no cores here: see core_pattern and the hard limit for them");
    }
    made
}

#[test]
fn max_tries_if_coredumped_gives_up_at_that_core() {
    if !cores_are_made() {
        return;
    }
    let sandbox = sandbox_with("max_tries_if_coredumped : 3");
    until_given_up(&sandbox, "core kill SEGV");
    assert_eq!(sandbox.read("starts").lines().count(), 3);
    assert_eq!((sandbox.count("window_coredumps"), sandbox.count("window_exits")), (3, 3));
    assert_eq!(sandbox.value("last_exit").as_deref(), Some("signal SEGV core"));
    let subjects = sandbox.subjects();
    assert_eq!(subjects.len(), 2, "{subjects:?}");
    assert!(subjects.iter().any(|subject| subject.ends_with("Service app exited with coredump!")), "{subjects:?}");
    assert!(subjects.iter().any(|subject| subject.ends_with("supervise gave up after 2 tries!")), "{subjects:?}");
    assert_eq!(sandbox.log().matches("service exited with coredump!").count(), 3);
}

#[test]
fn a_give_up_at_the_window_s_first_exit_is_its_only_alarm() {
    if !cores_are_made() {
        return;
    }
    let sandbox = sandbox_with("max_tries_if_coredumped : 1");
    until_given_up(&sandbox, "core kill SEGV");
    assert_eq!(sandbox.read("starts").lines().count(), 1);
    let subjects = sandbox.subjects();
    assert_eq!(subjects.len(), 1, "{subjects:?}");
    assert!(subjects[0].ends_with("Service app exited, supervise gave up after 0 tries!"), "{subjects:?}");
}

#[test]
fn exits_without_a_core_are_not_counted_as_coredumps() {
    let sandbox = sandbox_with("max_tries_if_coredumped : 1");
    sandbox.start("from 3 starts line starts kill KILL", &[]);
    sandbox.until_ready();
    sandbox.until_exits(3);
    assert_eq!((sandbox.count("window_coredumps"), sandbox.count("window_exits")), (0, 3));
}

#[test]
fn a_core_by_quit_after_q_is_expected_and_any_other_core_is_not() {
    if !cores_are_made() {
        return;
    }
    for (byte, actions, expected) in [
        ("q", "core ready", "yes"),
        ("q", "core ready until QUIT kill SEGV", "no"),
        ("t", "core ready until TERM kill QUIT", "no"),
        ("d", "core ready until TERM kill SEGV", "yes"),
        ("du", "core ready until CONT kill QUIT", "no"),
    ] {
        let sandbox = sandbox_with("");
        sandbox.start(&format!("from 1 runs line runs {actions}"), &[]);
        sandbox.until_ready();
        sandbox.write_control(byte.as_bytes());
        sandbox.until_exits(1);
        let state = sandbox.state();
        assert!(state["last_exit"].ends_with(" core"), "{byte} {actions}: {state:?}");
        assert_eq!(state["last_exit_expected"], expected, "{byte} {actions}");
        let counted = u64::from(expected == "no");
        assert_eq!((sandbox.count("window_exits"), sandbox.count("window_coredumps")), (counted, counted));
    }
}

#[test]
fn a_window_has_one_alarm_for_its_first_exit() {
    let sandbox = sandbox_with("");
    sandbox.start("from 5 starts line starts exit 3", &[]);
    sandbox.until_ready();
    sandbox.until_value("window_exits", "5");
    sandbox.until_state("up");
    let subjects = sandbox.subjects();
    assert_eq!(subjects.len(), 1, "{subjects:?}");
    assert!(subjects[0].ends_with("Service app exited!"), "{subjects:?}");
    assert_eq!(sandbox.log().matches("service exited!").count(), 5, "all are logged");
}

#[test]
fn the_first_alarm_of_a_core_says_so() {
    if !cores_are_made() {
        return;
    }
    let sandbox = sandbox_with("");
    sandbox.start("core from 2 starts line starts kill ABRT", &[]);
    sandbox.until_ready();
    sandbox.until_exits(2);
    let subjects = sandbox.subjects();
    assert_eq!(subjects.len(), 1, "{subjects:?}");
    assert!(subjects[0].ends_with("Service app exited with coredump!"), "{subjects:?}");
}

#[test]
fn with_alarms_off_there_is_no_give_up_and_no_alarm() {
    let sandbox = sandbox_with("max_tries : 1");
    sandbox.start("from 5 starts line starts until USR1 exit 3", &[]);
    sandbox.write_control(b"s");
    sandbox.until_value("alarms", "no");
    for round in 1..=5 {
        let service = sandbox.until_marks("starts", round)[round - 1].pid;
        signal(service, Signal::SIGUSR1);
    }
    sandbox.until_ready();
    sandbox.until_exits(5);
    assert_eq!((sandbox.count("window_exits"), sandbox.alarms().len()), (0, 0));
    assert_eq!(sandbox.value("state").as_deref(), Some("up"));
}

#[test]
fn an_alarm_that_nobody_is_to_receive_is_logged_and_not_spooled() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\nalarm_interval : 60\nmax_tries : 2\npacing : 0.1\n");
    until_given_up(&sandbox, "exit 3");
    assert_eq!(sandbox.alarms().len(), 0);
    assert!(sandbox.log().contains("an alarm is raised, but nobody is to receive it"), "{}", sandbox.log());
}

#[test]
fn mail_transport_none_takes_the_mail_recipients_away() {
    let sandbox = Sandbox::new();
    sandbox.write_conf(&format!("{ALARMED}mail_transport : none\nmax_tries : 1\n"));
    until_given_up(&sandbox, "exit 3");
    assert_eq!(sandbox.alarms().len(), 0);
    assert!(sandbox.log().contains("nobody is to receive it"), "{}", sandbox.log());
}

#[test]
fn s_takes_back_no_message_that_was_raised_before() {
    let sandbox = sandbox_with("");
    sandbox.start("from 1 starts line starts exit 3", &[]);
    sandbox.until_ready();
    eventually(&sandbox, "an alarm was raised", || sandbox.alarms().len() == 1);
    sandbox.write_control(b"s");
    sandbox.until_value("alarms", "no");
    assert_eq!(sandbox.alarms().len(), 1);
}
