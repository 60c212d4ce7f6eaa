//! One exit, one alarm: supervise is killed together with the child that was to write down what is owed.

use std::fs;
use std::path::PathBuf;

use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, waitpid};

use crate::adoption::ALARMED;
use crate::common::{Sandbox, eventually, signal, skip};
use crate::upgrade_moments::{FORKS, held_child};

/// A supervise was killed that had stored the alarm about an exit, and with it the child that was to be the next service,
/// before its first step: the claim knows of nothing but the service that is dead. Returns the message's file.
#[track_caller]
fn killed_before_the_claim(sandbox: &Sandbox) -> Option<PathBuf> {
    sandbox.write_conf(ALARMED);
    // It runs longer than the pacing, so that the restart comes at once.
    sandbox.start("sleep 150 ready", &[]);
    let (supervise, service) = (sandbox.supervise_pid(), sandbox.until_ready());
    let traced = nix::unistd::Pid::from_raw(supervise);
    if ptrace::seize(traced, FORKS).is_err() {
        skip("processes may not be traced here");
        return None;
    }
    signal(service, Signal::SIGKILL);
    let child = held_child(traced);
    ptrace::detach(traced, None).expect("it has stopped");
    eventually(sandbox, "the alarm is stored", || sandbox.alarms().len() == 1);
    assert!(sandbox.text("claim").contains(&format!("pid {service:020}\n")), "{}", sandbox.text("claim"));
    signal(supervise, Signal::SIGKILL);
    signal(child.as_raw(), Signal::SIGKILL);
    waitpid(child, Some(WaitPidFlag::__WALL)).expect("it was traced");
    sandbox.until_dead(supervise);
    eventually(sandbox, "the lock is free", || sandbox.lock_is_free());
    sandbox.alarms().pop()
}

/// The successor, once it has found the exit.
#[track_caller]
fn succeed(sandbox: &Sandbox) {
    sandbox.start("sleep 150 ready", &[]);
    sandbox.until_ready();
    assert_eq!((sandbox.count("window_exits"), sandbox.count("exits")), (1, 1));
}

#[test]
fn an_exit_is_alarmed_once_though_its_claim_was_never_written() {
    let sandbox = Sandbox::new();
    let Some(message) = killed_before_the_claim(&sandbox) else { return };
    let before = fs::read_to_string(&message).expect("it is there");
    succeed(&sandbox);
    sandbox.until_logged("an alarm was there already: alarms/");
    assert_eq!(sandbox.alarms(), std::slice::from_ref(&message));
    assert_eq!(fs::read_to_string(&message).expect("it is there"), before, "it stays as it was");
    sandbox.until_value("undelivered", "1");
    // The next run's alarm is another one, though it is raised by a supervise that was told of the first.
    sandbox.write_control(b"dx");
    sandbox.until_ended();
    sandbox.start("sleep 150 ready", &[]);
    let service = sandbox.until_ready();
    signal(service, Signal::SIGKILL);
    eventually(&sandbox, "it is alarmed too", || sandbox.alarms().len() == 2);
}

#[test]
fn an_alarm_that_was_refused_is_not_raised_again() {
    let sandbox = Sandbox::new();
    let Some(message) = killed_before_the_claim(&sandbox) else { return };
    let (spool, name) = (message.parent().expect("a folder"), message.file_name().expect("a name"));
    let failed = spool.join("failed");
    fs::create_dir_all(&failed).expect("the spool is ours");
    let text = fs::read_to_string(&message).expect("it is there");
    fs::write(failed.join(name), format!("Failed: To: nobody@example.invalid\nReason: no\n{text}")).expect("a file");
    fs::remove_file(&message).expect("it is there");
    succeed(&sandbox);
    sandbox.until_logged("an alarm was there already: alarms/failed/");
    assert_eq!(sandbox.alarms(), [] as [PathBuf; 0]);
    sandbox.until_value("undelivered", "0");
}

#[test]
fn an_alarm_that_was_delivered_is_repeated_under_its_name() {
    let sandbox = Sandbox::new();
    let Some(message) = killed_before_the_claim(&sandbox) else { return };
    let id = sandbox.headers("Message-ID");
    fs::remove_file(&message).expect("it is there");
    succeed(&sandbox);
    eventually(&sandbox, "it is there again", || sandbox.alarms() == [message.clone()]);
    assert_eq!(sandbox.headers("Message-ID"), id);
}

#[test]
fn the_last_lines_are_those_of_the_run_that_ended() {
    let sandbox = Sandbox::new();
    sandbox.write_conf(crate::adoption::ALARMED);
    // It runs for longer than the pacing, so that the next start follows at once.
    let script = "#!/bin/sh\n: > status/app/__stderr\necho the words of $$ >&2\nexec ./service sleep 150 ready\n";
    sandbox.write("script", script);
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(sandbox.path("script"), executable).expect("it is ours");
    sandbox.background(&["-p", "status/app", "-f", "./script"]).expect_code(0);
    let first = sandbox.until_ready();
    signal(first, Signal::SIGKILL);
    let second = sandbox.until_ready_after(first);
    eventually(&sandbox, "the alarm is stored", || sandbox.alarms().len() == 1);
    let text = fs::read_to_string(&sandbox.alarms()[0]).expect("it is there");
    let said = |pid| text.contains(&format!("\nthe words of {pid}\n"));
    assert!(said(first) && !said(second), "{text}");
}
