//! `U` in a moment in which something fails for the version that goes on (rules 21.5 and 21.10).

use std::fs;

use nix::sys::signal::Signal;

use crate::common::{Foreground, Pid, Sandbox, alive, example, process_stat, signal};
use crate::traced::strace;
use crate::upgrade::NEXT;

/// What is handed over, as strace names it.
const HANDED: [&str; 4] = ["-P", "/memfd:supervise hand-over", "-P", "/memfd:supervise hand-over (deleted)"];

/// Upgrades while strace makes some of supervise's calls fail; those of the program that is asked are left alone.
#[track_caller]
fn upgraded_under(sandbox: &Sandbox, supervise: Pid, options: &[&str]) -> Option<Foreground> {
    let strace = strace(sandbox, supervise, options)?;
    sandbox.upgrade();
    assert!(sandbox.read("trace").contains("(INJECTED)"), "{}", sandbox.read("trace"));
    Some(strace)
}

/// It has begun anew in the same process.
#[track_caller]
fn has_begun_anew(sandbox: &Sandbox, supervise: Pid) {
    assert_eq!(sandbox.supervise_pid(), supervise);
    sandbox.until_warned(&format!("what was handed over could not be used; version {NEXT} has begun anew"));
    assert!(sandbox.value("upgrade_problem").expect("there is one").ends_with("could not be used"));
    assert_eq!(sandbox.value("upgraded"), None);
    assert_eq!(sandbox.lock_holders(), [supervise]);
}

#[test]
fn what_can_not_be_read_or_understood_is_begun_anew_in_the_same_process() {
    for failure in ["inject=read:error=EIO", "inject=read:retval=0"] {
        let sandbox = Sandbox::new();
        let supervise = sandbox.start_installed("line starts ready", &[]);
        let service = sandbox.until_ready();
        sandbox.write_control(b"p");
        sandbox.until_value("paused", "yes");
        let options = [&HANDED[..], &["-e", failure]].concat();
        let Some(strace) = upgraded_under(&sandbox, supervise, &options) else { return };
        has_begun_anew(&sandbox, supervise);
        let stat = process_stat(service).expect("it lives");
        assert_eq!((stat.parent, stat.state), (supervise, 'T'), "{failure}");
        let state = sandbox.state();
        assert_eq!((state["paused"].as_str(), state["starts"].as_str()), ("yes", "1"));
        signal(strace.pid(), Signal::SIGINT);
        strace.wait();
        sandbox.write_control(b"ck");
        sandbox.until_ready_after(service);
        assert_eq!(sandbox.read("starts").lines().count(), 2);
    }
}

#[test]
fn what_was_handed_over_to_another_process_is_nothing() {
    let sandbox = Sandbox::new();
    for value in ["junk", "7", "7 1", "7 -1"] {
        let mut command = sandbox.command(&["-p", "status/app", "-f", "./service ready"]);
        command.env("SUPERVISE_HAND_OVER", value);
        sandbox.run(command).expect_code(0); // in the background
        sandbox.write_control(b"dx");
        sandbox.until_ended();
        assert_eq!(sandbox.warnings(), "");
    }
}

#[test]
fn a_hook_is_ended_where_its_supervise_begins_anew() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\npacing : 0.1\nhook_timeout : 3600\n");
    let options = ["-r", "./service line hooks ready sleep 3600000 exit 0 -", "-F", "supervise.conf"];
    let supervise = sandbox.start_installed("line starts until USR1 exit 3", &options);
    let service = sandbox.until_marks("starts", 1)[0].pid;
    sandbox.until_state("up");
    signal(service, Signal::SIGUSR1);
    let hook = sandbox.until_marks("hooks", 1)[0].pid;
    sandbox.until_state("hook");
    // The second time is that of the new version, which can't take over the status directory then.
    let dir = sandbox.status_path();
    let failure = ["-P", dir.to_str().expect("a plain name"), "-e", "inject=fcntl:error=EBADF:when=2"];
    let Some(_strace) = upgraded_under(&sandbox, supervise, &failure) else { return };
    has_begun_anew(&sandbox, supervise);
    sandbox.until_marks("starts", 2);
    sandbox.until_dead(hook);
}

#[test]
fn a_usual_conf_that_is_gone_in_the_very_moment_is_told() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\npacing : 0.1\n");
    let supervise = sandbox.start_installed("line starts ready", &[]);
    let service = sandbox.until_ready();
    let failure = ["-P", "supervise.conf", "-e", "inject=openat:error=ENOENT"];
    let Some(_strace) = upgraded_under(&sandbox, supervise, &failure) else { return };
    sandbox.until_warned("supervise.conf is gone; no alarm policy");
    sandbox.until_value("conf_problem", "supervise.conf is gone");
    assert!(alive(service) && sandbox.value("upgrade_problem").is_none());
}

/// The next version can't use what it was handed, and may have too few descriptors to begin anew.
#[track_caller]
fn limited(sandbox: &Sandbox) -> (Pid, Pid) {
    let supervise = sandbox.start_installed("line starts ready", &[]);
    let service = sandbox.until_ready();
    sandbox.install(NEXT);
    fs::rename(sandbox.installed(), sandbox.path("bin/next")).expect("the sandbox is writable");
    sandbox.install_program(&example("answer"));
    sandbox.write("answer", "limited");
    sandbox.write_control(b"U");
    sandbox.until_warned("unable to open status/app/lock: Too many open files; until it works");
    assert!(alive(supervise) && alive(service));
    (supervise, service)
}

/// Gives it as many as it may have.
fn unlimit(pid: Pid) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointers are to a limit of ours, or nothing is asked for or changed.
    unsafe {
        assert_eq!(libc::prlimit(pid, libc::RLIMIT_NOFILE, std::ptr::null(), &raw mut limit), 0);
        limit.rlim_cur = limit.rlim_max;
        assert_eq!(libc::prlimit(pid, libc::RLIMIT_NOFILE, &raw const limit, std::ptr::null_mut()), 0);
    }
}

#[test]
fn what_the_system_refuses_is_tried_again_until_it_has_begun_anew() {
    let sandbox = Sandbox::new();
    let (supervise, service) = limited(&sandbox);
    unlimit(supervise);
    has_begun_anew(&sandbox, supervise);
    sandbox.until_warned("unable to open status/app/lock: Too many open files, at first; it was tried again");
    assert_eq!(sandbox.warnings().matches("until it works").count(), 1, "once");
    assert_eq!((sandbox.record().pid, sandbox.read("starts").lines().count()), (Some(service), 1));
    signal(service, Signal::SIGKILL);
    sandbox.until_ready_after(service);
}

#[test]
fn another_supervise_that_came_meanwhile_is_left_alone() {
    let sandbox = Sandbox::new();
    let (supervise, service) = limited(&sandbox);
    sandbox.start("line starts ready", &[]);
    let other = sandbox.supervise_pid();
    assert_ne!(other, supervise);
    unlimit(supervise);
    sandbox.until_dead(supervise);
    sandbox.until_warned(&format!("another supervise holds it: pid {other}; this supervise ends"));
    assert_eq!((sandbox.supervise_pid(), sandbox.record().pid), (other, Some(service)));
    assert!(alive(service) && sandbox.read("starts").lines().count() == 1);
}
