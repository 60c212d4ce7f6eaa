//! `U` that leads nowhere: the old version goes on, and says why (rules 21.7 to 21.9).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::sys::signal::Signal;

use crate::common::{Pid, Sandbox, alive, eventually, example, process_stat, signal};
use crate::upgrade::NEXT;

/// The problem that the long record tells, without its time.
fn problem(sandbox: &Sandbox) -> Option<String> {
    let value = sandbox.value("upgrade_problem")?;
    let (time, problem) = value.split_once(' ').unwrap_or_else(|| panic!("no time in {value:?}"));
    time.parse::<f64>().unwrap_or_else(|_| panic!("no time in {value:?}"));
    Some(problem.to_owned())
}

/// Gives `U`, waits for the problem, and checks that nothing else has changed; then that an upgrade works after all.
#[track_caller]
fn refused(sandbox: &Sandbox, supervise: Pid, service: Pid, expected: &str) {
    let before = sandbox.value("upgrade_problem"); // has its time: the same may come twice in a row
    sandbox.write_control(b"U");
    eventually(sandbox, &format!("upgrade_problem : {expected}"), || {
        sandbox.value("upgrade_problem") != before && problem(sandbox).is_some_and(|problem| problem.contains(expected))
    });
    sandbox.until_warned(&format!("no upgrade: {}", problem(sandbox).expect("it is there")));
    sandbox.until_warned("goes on");
    assert_eq!((sandbox.supervise_pid(), sandbox.record().pid), (supervise, Some(service)));
    assert_eq!(sandbox.value("version").as_deref(), Some(env!("CARGO_PKG_VERSION")));
    assert_eq!(sandbox.value("upgraded"), None);
    assert_eq!(sandbox.lock_holders(), [supervise], "nothing was left open to a child");
    eventually(sandbox, "nobody else is left", || {
        let mut all = [service, supervise];
        all.sort_unstable();
        sandbox.processes() == all
    });
}

#[track_caller]
fn works_after_all(sandbox: &Sandbox, supervise: Pid, service: Pid) {
    sandbox.upgrade();
    assert_eq!((sandbox.supervise_pid(), sandbox.record().pid), (supervise, Some(service)));
    assert_eq!(sandbox.value("upgrade_problem"), None);
    assert_eq!(sandbox.read("starts").lines().count(), 1);
}

#[test]
fn a_program_that_can_not_be_run_or_says_nothing_or_no() {
    let sandbox = Sandbox::new();
    let supervise = sandbox.start_installed("line starts ready", &[]);
    let service = sandbox.until_ready();
    fs::remove_file(sandbox.installed()).expect("it is there");
    refused(&sandbox, supervise, service, "bin/supervise: No such file or directory");
    sandbox.write("junk", "no program at all\n");
    fs::set_permissions(sandbox.path("junk"), fs::Permissions::from_mode(0o755)).expect("it is ours");
    sandbox.install_program(&sandbox.path("junk"));
    refused(&sandbox, supervise, service, "bin/supervise: Exec format error");
    sandbox.write("script", "#!/bin/sh\nexit 0\n");
    fs::set_permissions(sandbox.path("script"), fs::Permissions::from_mode(0o755)).expect("it is ours");
    sandbox.install_program(&sandbox.path("script"));
    refused(&sandbox, supervise, service, "bin/supervise: No such file or directory (it is a script, or the loader ");
    sandbox.install_program(Path::new("/bin/true"));
    refused(&sandbox, supervise, service, "gave no answer (code 0)");
    sandbox.install_program(Path::new("/bin/false"));
    refused(&sandbox, supervise, service, "gave no answer (code 1)");
    sandbox.install_program(&example("answer"));
    for (answer, expected) in [
        ("nothing", "gave no answer (code 0)"),
        ("junk", "gave no answer (code 0)"),
        ("crash", "gave no answer (signal ABRT"),
        ("fail", "gave no answer (code 3)"),
        ("no it rains", "says no: it rains"),
    ] {
        sandbox.write("answer", answer);
        refused(&sandbox, supervise, service, expected);
    }
    works_after_all(&sandbox, supervise, service);
}

#[test]
fn an_exec_that_fails_after_a_yes() {
    let sandbox = Sandbox::new();
    let supervise = sandbox.start_installed("report given line starts ready", &[]);
    let service = sandbox.until_ready();
    sandbox.install_program(&example("answer"));
    sandbox.write("answer", "locked");
    refused(&sandbox, supervise, service, "unable to execute");
    assert!(problem(&sandbox).expect("it is there").ends_with("Permission denied"));
    // Close-on-exec was put back: the next service has nothing of supervise's.
    fs::remove_file(sandbox.path("given")).expect("it is there");
    sandbox.write_control(b"k");
    sandbox.until_ready_after(service);
    assert_eq!(sandbox.until_report("given").values("fd").len(), 3);
}

#[test]
fn what_was_asked_is_what_is_executed() {
    let sandbox = Sandbox::new();
    let supervise = sandbox.start_installed("line starts ready", &[]);
    let service = sandbox.until_ready();
    sandbox.install_program(&example("answer"));
    sandbox.write("junk", "no program at all\n");
    sandbox.write("answer", "swapped");
    sandbox.write_control(b"U");
    // That one only says that it was executed, and ends; its path leads to something else by then.
    sandbox.until_dead(supervise);
    assert!(sandbox.path("executed").exists() && alive(service));
    assert_eq!(sandbox.warnings(), "");
}

#[test]
fn while_a_program_hangs_commands_are_obeyed_and_then_it_is_killed() {
    for answer in ["hang", "flood"] {
        let sandbox = Sandbox::new();
        let supervise = sandbox.start_installed("line starts ready", &[]);
        let service = sandbox.until_ready();
        sandbox.install_program(&example("answer"));
        sandbox.write("answer", answer);
        sandbox.write_control(b"U");
        let asked = crate::common::eventually_some(&sandbox, "it is asked", || {
            sandbox.processes().into_iter().find(|pid| ![supervise, service].contains(pid))
        });
        sandbox.write_control(b"s");
        sandbox.until_value("alarms", "no");
        sandbox.write_control(b"k");
        let service = sandbox.until_ready_after(service);
        assert!(alive(asked) && problem(&sandbox).is_none(), "it still has time");
        // Another `U` meanwhile is another upgrade after this one.
        sandbox.install(NEXT);
        sandbox.write_control(b"U");
        sandbox.until_warned("has not answered within 10 s");
        eventually(&sandbox, "it is killed and reaped", || process_stat(asked).is_none());
        sandbox.until_value("version", NEXT);
        assert_eq!((sandbox.supervise_pid(), sandbox.record().pid), (supervise, Some(service)));
    }
}

#[test]
fn a_supervise_that_ends_takes_the_asked_one_with_it() {
    let sandbox = Sandbox::new();
    let supervise = sandbox.start_installed("line starts ready", &[]);
    let service = sandbox.until_ready();
    sandbox.install_program(&example("answer"));
    sandbox.write("answer", "hang");
    sandbox.write_control(b"U");
    eventually(&sandbox, "it is asked", || sandbox.processes().len() == 3);
    signal(supervise, Signal::SIGKILL);
    eventually(&sandbox, "only the service is left", || sandbox.processes() == [service]);
}

#[test]
fn a_conf_that_would_refuse_a_start_is_a_no_and_the_old_policy_stays() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\npacing : 0.1\n");
    let supervise = sandbox.start_installed("line starts ready", &["-F", "supervise.conf"]);
    let service = sandbox.until_ready();
    sandbox.install(NEXT);
    sandbox.write_conf("[app]\npasing : 1\npacing : soon\n");
    refused(&sandbox, supervise, service, "says no: supervise.conf:3: pacing"); // the first one is a warning
    fs::remove_file(sandbox.path("supervise.conf")).expect("it is there");
    refused(&sandbox, supervise, service, "says no: unable to read supervise.conf: No such file or directory");
    sandbox.write_conf("[app]\npacing : 0.1\n");
    works_after_all(&sandbox, supervise, service);
}

#[test]
fn the_usual_conf_that_is_gone_is_a_no_and_one_that_never_was_is_none() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\npacing : 0.1\n");
    let supervise = sandbox.start_installed("line starts ready", &[]);
    let service = sandbox.until_ready();
    sandbox.install(NEXT);
    fs::remove_file(sandbox.path("supervise.conf")).expect("it is there");
    refused(&sandbox, supervise, service, "says no: its supervise.conf is gone");
    let sandbox = Sandbox::new();
    let supervise = sandbox.start_installed("line starts ready", &["-F", "never.conf"]);
    let service = sandbox.until_ready();
    works_after_all(&sandbox, supervise, service);
}

#[test]
fn a_command_that_is_gone_from_the_conf_is_a_no() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\ncommand : ./service line starts ready\n");
    sandbox.install(env!("CARGO_PKG_VERSION"));
    sandbox.run(sandbox.installed_command(&["-p", "status/app"])).expect_code(0);
    let (supervise, service) = (sandbox.supervise_pid(), sandbox.until_ready());
    sandbox.write_conf("[app]\npacing : 0.1\n");
    refused(&sandbox, supervise, service, "says no: there is no COMMAND any more");
    sandbox.write_conf("[app]\ncommand : ./service line starts ready\n");
    works_after_all(&sandbox, supervise, service);
}

#[test]
fn a_status_directory_or_claim_that_is_not_where_it_was_is_a_no() {
    let sandbox = Sandbox::new();
    let supervise = sandbox.start_installed("line starts ready", &[]);
    let service = sandbox.until_ready();
    sandbox.install(NEXT);
    fs::rename(sandbox.path("status"), sandbox.path("moved")).expect("the sandbox is writable");
    let moved = sandbox.status_dir("moved/app");
    moved.write_control(b"U");
    eventually(&sandbox, "it says no", || moved.value("upgrade_problem").is_some());
    assert!(moved.value("upgrade_problem").expect("it is there").contains("unable to enter status/app"));
    // In its place, that of somebody else.
    fs::create_dir_all(sandbox.path("status/app")).expect("the sandbox is writable");
    fs::copy(moved.file("claim"), sandbox.file("claim")).expect("the sandbox is writable");
    fs::write(sandbox.file("state"), "supervise : 1\n").expect("the sandbox is writable");
    moved.write_control(b"U");
    eventually(&sandbox, "it says no", || {
        moved.value("upgrade_problem").is_some_and(|problem| problem.contains("not of the supervise that asks"))
    });
    fs::remove_dir_all(sandbox.path("status")).expect("the sandbox is writable");
    fs::rename(sandbox.path("moved"), sandbox.path("status")).expect("the sandbox is writable");
    let claim = fs::read(sandbox.file("claim")).expect("it is there");
    fs::remove_file(sandbox.file("claim")).expect("it is there");
    refused(&sandbox, supervise, service, "says no: it can't read status/app/claim");
    fs::write(sandbox.file("claim"), claim).expect("the sandbox is writable");
    works_after_all(&sandbox, supervise, service);
}
