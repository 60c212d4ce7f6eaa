//! `svc`: each verb on a real service, and what it says when the effect is seen or something else happened
//! (docs/operation.md, section 23).

use nix::sys::signal::Signal;

use crate::common::{Sandbox, alive, eventually, eventually_some, process_stat, signal};

/// Stops supervise itself, so that it reads nothing, and lets it go on in the end.
struct Frozen(i32);

impl Frozen {
    fn new(supervise: i32) -> Self {
        signal(supervise, Signal::SIGSTOP);
        Self(supervise)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        signal(self.0, Signal::SIGCONT);
    }
}

#[test]
fn stop_returns_when_it_is_down_and_start_when_it_is_up() {
    let sandbox = Sandbox::new();
    sandbox.start("ready", &[]);
    let service = sandbox.until_ready();
    assert_eq!(sandbox.svc(&["stop", "app"]).expect_code(0).stdout, "app: stopped\n");
    assert!(!alive(service));
    assert_eq!((sandbox.service_pid(), sandbox.record().wanted), (None, b'd'));
    assert_eq!(sandbox.svc(&["stop", "app"]).expect_code(0).stdout, "app: down already\n");
    assert_eq!(
        sandbox.svc(&["stop", "status/app/"]).expect_code(0).stdout,
        "status/app: down already\n",
        "by its path"
    );
    let said = sandbox.svc(&["start", "app"]).expect_code(0).stdout;
    let service = sandbox.service_pid().expect("it is up");
    assert_eq!(said, format!("app: started (pid {service})\n"));
    assert_eq!(sandbox.svc(&["start", "app"]).expect_code(0).stdout, format!("app: up already (pid {service})\n"));
    assert_eq!(sandbox.service_pid(), Some(service));
}

#[test]
fn restart_is_another_pid_and_up() {
    let sandbox = Sandbox::new();
    sandbox.start("ready", &[]);
    let old = sandbox.until_ready();
    let said = sandbox.svc(&["restart", "app"]).expect_code(0).stdout;
    let new = sandbox.service_pid().expect("it is up");
    assert_eq!(said, format!("app: restarted (pid {new})\n"));
    assert!(new != old && !alive(old) && alive(new));
    assert!(sandbox.log().contains("commands: du"), "in one write: {}", sandbox.log());
    sandbox.svc(&["stop", "app"]).expect_code(0);
    sandbox.svc(&["restart", "app"]).expect_code(0);
    assert!(sandbox.service_pid().is_some_and(alive), "one that is down is started");
}

#[test]
fn a_start_that_does_not_last_is_told_in_words() {
    let sandbox = Sandbox::new();
    sandbox.write("gate", "closed\n");
    sandbox.start("core from 1 gate sleep 100 kill SEGV", &[]);
    sandbox.until_ready();
    for (verb, words) in [("restart", "restarted"), ("start", "started")] {
        sandbox.write("gate", "");
        let said = sandbox.svc(&[verb, "--settle", "10", "app"]).expect_code(1).stderr;
        let (start, end) = said.split_once(": signal SEGV").unwrap_or_else(|| panic!("{said}"));
        assert!(start.starts_with(&format!("app: {words}, but exited again after ")), "{said}");
        assert!(end == " core (see status/app/__stderr)\n" || end == " (see status/app/__stderr)\n", "{said}");
        sandbox.write("gate", "closed\n");
        sandbox.svc(&["stop", "app"]).expect_code(0);
    }
    sandbox.write("gate", "");
    sandbox.svc(&["start", "--settle", "0", "app"]).expect_code(0);
    sandbox.svc(&["stop", "app"]).expect_code(0);
    sandbox.write("gate", "closed\n");
    sandbox.svc(&["start", "--settle", "20", "--timeout", "3", "app"]).expect_code(0);
}

#[test]
fn a_program_that_cannot_be_executed_is_named() {
    let sandbox = Sandbox::new();
    std::os::unix::fs::symlink("service", sandbox.path("program")).expect("the sandbox is writable");
    sandbox.background(&["-p", "status/app", "-f", "./program ready"]).expect_code(0);
    sandbox.until_ready();
    std::fs::remove_file(sandbox.path("program")).expect("it is there");
    let expected = "app: not started: unable to execute ./program: No such file or directory \
                    (see status/app/supervise.log.wf)\n";
    for verb in ["restart", "start", "once"] {
        assert_eq!(sandbox.svc(&[verb, "app"]).expect_code(1).stderr, expected);
        sandbox.svc(&["stop", "app"]).expect_code(0);
    }
    // A service that ends with the code of a failed exec has nothing in the log.
    let other = sandbox.start_module("other", "exit 127");
    sandbox.svc(&["stop", "other"]).expect_code(0);
    sandbox.svc(&["start", "other"]).expect_code(1).expect_stderr(&["other: started, but exited again", "code 127"]);
    assert_eq!(other.warnings(), "");
}

#[test]
fn once_is_done_when_it_runs_or_has_run() {
    let sandbox = Sandbox::new();
    let job = sandbox.start_module("job", "exit 0");
    eventually(&sandbox, "it ran", || job.count("exits") > 0);
    sandbox.svc(&["stop", "job"]).expect_code(0);
    assert_eq!(sandbox.svc(&["once", "job"]).expect_code(0).stdout, "job: has run once: code 0\n");
    assert_eq!(job.value("state").as_deref(), Some("down"));
    sandbox.start_module("bad", "exit 3");
    sandbox.svc(&["stop", "bad"]).expect_code(0);
    let said = sandbox.svc(&["once", "bad"]).expect_code(1).stderr;
    assert!(
        said.starts_with("bad: started, but exited again after ")
            && said.ends_with(" s: code 3 (see status/bad/__stderr)\n"),
        "{said}"
    );
    sandbox.start("ready", &[]);
    let service = sandbox.until_ready();
    let said = sandbox.svc(&["once", "app"]).expect_code(0).stdout;
    assert_eq!(said, format!("app: up already (pid {service}), and not restarted when it exits\n"));
    assert_eq!((sandbox.record().wanted, sandbox.service_pid()), (0, Some(service)));
}

#[test]
fn kill_pause_continue_and_signal() {
    let sandbox = Sandbox::new();
    sandbox.start("ready signals", &[]);
    let service = sandbox.until_ready();
    assert_eq!(sandbox.svc(&["pause", "app"]).expect_code(0).stdout, "app: paused\n");
    assert_eq!(sandbox.record().paused, 1);
    eventually(&sandbox, "it is stopped", || process_stat(service).is_some_and(|stat| stat.state == 'T'));
    let hint = format!("app: up already (pid {service}), but paused: `svc continue app` lets it go on\n");
    assert_eq!(sandbox.svc(&["start", "app"]).expect_code(0).stdout, hint);
    assert_eq!(sandbox.record().paused, 1, "`u` does not continue it");
    let up = format!("app: up, paused (pid {service})\n");
    assert_eq!(sandbox.svc(&["wait", "up", "app"]).expect_code(0).stdout, up);
    assert_eq!(sandbox.svc(&["continue", "app"]).expect_code(0).stdout, "app: continued\n");
    assert_eq!(sandbox.record().paused, 0);
    for name in ["HUP", "SIGUSR1", "usr2"] {
        assert_eq!(sandbox.svc(&["signal", name, "app"]).expect_code(0).stdout, "app: told\n");
    }
    sandbox.until_said("got USR1");
    sandbox.until_said("got USR2");
    assert_eq!(sandbox.svc(&["kill", "app"]).expect_code(0).stdout, "app: killed\n");
    assert!(!alive(service));
    sandbox.svc(&["signal", "SEGV", "app"]).expect_code(100).expect_stderr(&["TERM, INT, HUP, ALRM, QUIT"]);
    sandbox.start_module("down", "ready"); // TERM ends this one
    sandbox.svc(&["stop", "down"]).expect_code(0);
    sandbox.svc(&["kill", "down"]).expect_code(0);
    sandbox.svc(&["pause", "down"]).expect_code(1).expect_stderr(&["down: not running, so it cannot be paused"]);
}

#[test]
fn exit_returns_when_supervise_is_gone() {
    let sandbox = Sandbox::new();
    sandbox.start("ready", &[]);
    let service = sandbox.until_ready();
    assert_eq!(sandbox.svc(&["exit", "app"]).expect_code(0).stdout, "app: exited\n");
    assert!(!alive(service) && sandbox.lock_is_free() && !sandbox.file("ok").exists());
    sandbox.start("ready", &[]); // at once: nothing is left of it
    sandbox.svc(&["exit", "app"]).expect_code(0);
    assert_eq!(sandbox.svc(&["exit", "app"]).expect_code(0).stdout, "app: exited already\n");
}

#[test]
fn reload_says_what_became_of_the_conf() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\npacing : 0.1\n");
    sandbox.start("ready", &[]);
    sandbox.until_ready();
    assert_eq!(sandbox.svc(&["reload", "app"]).expect_code(0).stdout, "app: reloaded\n");
    sandbox.write_conf("[app]\npacing : soon\n");
    let said = sandbox.svc(&["reload", "app"]).expect_code(1).stderr;
    assert_eq!(said, format!("app: not reloaded: {}\n", sandbox.value("conf_problem").unwrap()));
    assert!(said.contains("supervise.conf:2: pacing:"), "{said}");
    sandbox.write_conf("[app]\npasing : 1\npacing : soon\nmax_tries : 3x\n");
    let said = sandbox.svc(&["reload", "app"]).expect_code(1).stderr;
    assert!(said.starts_with("app: not reloaded: supervise.conf:3: pacing:"), "the one that refused it: {said}");
    sandbox.write_conf("[app]\npasing : 1\n");
    let said = sandbox.svc(&["reload", "app"]).expect_code(0).stdout;
    assert!(said.starts_with("app: reloaded, but: supervise.conf:2: pasing:"), "{said}");
}

#[test]
fn a_service_that_ignores_term_is_not_stopped_in_time() {
    let sandbox = Sandbox::new();
    sandbox.start("ignore TERM ready", &[]);
    let service = sandbox.until_ready();
    let said = sandbox.svc(&["stop", "--timeout", "2", "app"]).expect_code(99).stderr;
    let expected = format!(
        "app: not down within 2 s: it is stopping (pid {service}); it does not end by TERM, and `svc kill app` would end it\n"
    );
    assert_eq!(said, expected);
    // One that is to be started waits for that end too.
    let said = sandbox.svc(&["start", "--timeout", "0.5", "app"]).expect_code(99).stderr;
    assert_eq!(said, expected.replace("not down within 2 s", "not up within 0.5 s"));
    // And what is paused as well does not even get the TERM.
    sandbox.svc(&["pause", "app"]).expect_code(0);
    let said = sandbox.svc(&["start", "--timeout", "0.5", "app"]).expect_code(99).stderr;
    let expected =
        format!("app: not up within 0.5 s: it is stopping, paused (pid {service}); `svc continue app` lets it go on\n");
    assert_eq!(said, expected);
    sandbox.svc(&["continue", "app"]).expect_code(0);
    sandbox.svc(&["kill", "app"]).expect_code(0);
    assert!(!alive(service));
}

#[test]
fn no_wait_is_done_once_it_is_written() {
    let sandbox = Sandbox::new();
    sandbox.start("ignore TERM ready", &[]);
    let service = sandbox.until_ready();
    assert_eq!(sandbox.svc(&["stop", "--no-wait", "app"]).expect_code(0).stdout, "app: told\n");
    sandbox.until_state("stopping");
    assert!(alive(service));
    assert_eq!(sandbox.svc(&["kill", "-q", "--no-wait", "app"]).expect_code(0).stdout, "");
    sandbox.until_state("down");
}

#[test]
fn what_supervise_has_not_obeyed_is_not_done() {
    let sandbox = Sandbox::new();
    sandbox.start("ready", &[]);
    sandbox.until_ready();
    let frozen = Frozen::new(sandbox.supervise_pid());
    // It is up, and alarms are on, as the records say: but `d` may stand in the fifo before it.
    for verb in ["start", "continue"] {
        let said = sandbox.svc(&[verb, "--timeout", "0.2", "app"]).expect_code(99).stderr;
        assert!(said.contains("is stopped and obeys nothing; `kill -CONT "), "{said}");
    }
    sandbox.write_control(b"d");
    let start = sandbox.svc_in_background(&["start", "app"]);
    let old = sandbox.service_pid();
    drop(frozen);
    start.wait().expect_code(0);
    assert!(sandbox.service_pid().is_some() && sandbox.service_pid() != old, "the `d` before it counted");
}

#[test]
fn a_full_fifo_is_waited_for() {
    let sandbox = Sandbox::new();
    sandbox.start("ready", &[]);
    sandbox.until_ready();
    let frozen = Frozen::new(sandbox.supervise_pid());
    sandbox.write_control(&[b' '; 4096]);
    sandbox.svc(&["stop", "--timeout", "0.2", "app"]).expect_code(99);
    sandbox.svc(&["-d", "status/app"]).expect_code(111).expect_stderr(&["svcontrol is full"]);
    let stop = sandbox.svc_in_background(&["stop", "app"]);
    eventually(&sandbox, "it waits", || process_stat(stop.pid()).is_some_and(|stat| stat.state == 'S'));
    drop(frozen);
    assert_eq!(stop.wait().expect_code(0).stdout, "app: stopped\n");
}

#[test]
fn wait_returns_when_the_state_is_there() {
    let sandbox = Sandbox::new();
    sandbox.start("ready", &[]);
    let service = sandbox.until_ready();
    assert_eq!(sandbox.svc(&["wait", "up", "app"]).expect_code(0).stdout, format!("app: up (pid {service})\n"));
    sandbox.svc(&["wait", "down", "--timeout", "0.1"]).expect_code(99).expect_stderr(&["not down within 0.1 s"]);
    let down = sandbox.svc_that_waits(&["down", "app"]);
    let exited = sandbox.svc_that_waits(&["exited"]);
    let gave_up = sandbox.svc_that_waits(&["gave-up", "app"]);
    sandbox.write_control(b"d");
    assert_eq!(down.wait().expect_code(0).stdout, "app: down\n");
    sandbox.write_control(b"x");
    assert_eq!(exited.wait().expect_code(0).stdout, "app: exited\n");
    gave_up.wait().expect_code(1).expect_stderr(&["app: supervise has ended\n"]);
    sandbox.svc(&["wait", "up", "app"]).expect_code(102).expect_stderr(&["app: no supervise there"]);
    sandbox.svc(&["wait", "down", "app"]).expect_code(0);
}

#[test]
fn a_give_up_in_between_is_told() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\nalarm_interval : 60\nmax_tries : 1\npacing : 0.3\n");
    let waiting = {
        sandbox.start("until TERM exit 3", &[]);
        sandbox.svc_that_waits(&["gave-up", "app"])
    };
    // The second exit of the window is a give-up; the first start is stopped by a signal that nobody asked for.
    for _ in 0..2 {
        // The record tells first, the long record after it.
        let is_up = || sandbox.value("state").as_deref() == Some("up");
        let service = eventually_some(&sandbox, "it is up", || sandbox.service_pid().filter(|_| is_up()));
        signal(service, Signal::SIGKILL);
        sandbox.until_dead(service);
        eventually(&sandbox, "that is seen", || sandbox.service_pid() != Some(service));
    }
    assert_eq!(waiting.wait().expect_code(0).stdout, "app: gave up\n");
    sandbox.until_ended();
    sandbox.svc(&["start", "app"]).expect_code(102).expect_stderr(&[
        "app: no supervise there: it gave up after 2 exits in the alarm window; the last exit was signal KILL; the same \
         supervise command as before starts it again (supervise -p status/app ",
    ]);
}

#[test]
fn alarms_are_turned_off_and_on() {
    let sandbox = Sandbox::new();
    sandbox.start("ready", &[]);
    sandbox.until_ready();
    assert_eq!(sandbox.svc(&["alarm", "off", "app"]).expect_code(0).stdout, "app: alarms off\n");
    assert_eq!(sandbox.record().alarms, b'x');
    assert_eq!(sandbox.svc(&["alarm", "on", "app"]).expect_code(0).stdout, "app: alarms on\n");
    assert_eq!(sandbox.record().alarms, b'o');
}

#[test]
fn a_time_without_end_is_waited_for_or_refused() {
    let sandbox = Sandbox::new();
    sandbox.start("ready", &[]);
    sandbox.until_ready();
    for time in ["1e18", "18446744073709551614"] {
        // Longer than any clock can tell; the second is more than a length of time can hold.
        let code = if time == "1e18" { 0 } else { 100 };
        for verb in [&["wait", "up"][..], &["restart", "--settle", "0"], &["alarm", "on"], &["pause"], &["continue"]] {
            sandbox.svc(&[verb, &["--timeout", time, "app"]].concat()).expect_code(code);
        }
    }
    sandbox.svc(&["restart", "--settle", "1e18", "--timeout", "0.5", "app"]).expect_code(0);
    let wait = sandbox.svc_in_background(&["wait", "down", "--timeout", "1e18", "app"]);
    eventually(&sandbox, "it waits", || process_stat(wait.pid()).is_some_and(|stat| stat.state == 'S'));
    sandbox.write_control(b"d");
    wait.wait().expect_code(0);
}
