//! `U` at random moments of a busy life: no exit, command or end of a hook is lost, and there are never two services.

use std::time::Duration;

use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use crate::adoption::ALARMED;
use crate::common::{Pid, Random, Sandbox, alive, eventually, signal, skip};
use crate::random_kills::ALONE;
use crate::upgrade::NEXT;

#[test]
fn an_exit_and_commands_in_the_very_moment_are_seen() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\nalarm_interval : 3600\npacing : 0.1\n");
    let supervise = sandbox.start_installed(&format!("{ALONE} ready"), &[]);
    let mut random = Random::of_this_moment();
    let mut service = sandbox.until_ready();
    for round in 1..=200_u64 {
        let before = sandbox.value("upgraded");
        let bytes = ["s", "n", "sn", "ns", "p", "pc"][random.below(6) as usize];
        match random.below(3) {
            0 => {
                sandbox.write_control(b"U");
                random.pass_some_time(Duration::from_millis(4));
                signal(service, Signal::SIGKILL);
                sandbox.write_control(bytes.as_bytes());
            }
            1 => {
                sandbox.write_control(b"U");
                random.pass_some_time(Duration::from_millis(4));
                sandbox.write_control(bytes.as_bytes());
                random.pass_some_time(Duration::from_millis(2));
                signal(service, Signal::SIGKILL);
            }
            _ => {
                signal(service, Signal::SIGKILL);
                random.pass_some_time(Duration::from_millis(2));
                sandbox.write_control(format!("U{bytes}").as_bytes());
            }
        }
        eventually(&sandbox, "it is upgraded", || sandbox.value("upgraded").is_some_and(|at| Some(at) != before));
        sandbox.write_control(b"c"); // the next service may have been paused before it was ready
        service = sandbox.until_ready_after(service);
        eventually(&sandbox, "the exit is counted", || sandbox.count("exits") == round);
        let alarms = if bytes.ends_with('s') { "no" } else { "yes" };
        if bytes.contains(['s', 'n']) {
            sandbox.until_value("alarms", alarms);
        }
        sandbox.write_control(b"nc");
        sandbox.until_value("alarms", "yes");
        sandbox.until_value("starts", &(round + 1).to_string());
        assert_eq!(sandbox.supervise_pid(), supervise);
    }
    assert_eq!((sandbox.read("refused").as_str(), sandbox.read("starts").lines().count()), ("", 201));
    assert_eq!(sandbox.value("upgrade_problem"), None);
    let mut all = [service, supervise];
    all.sort_unstable();
    eventually(&sandbox, "nothing else is left", || sandbox.processes() == all);
}

#[test]
fn the_end_of_a_hook_in_the_very_moment_is_seen() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\npacing : 0.1\n");
    let hook = ["-r", "./service line hooks sleep 2 exit 0 -", "-F", "supervise.conf"];
    let supervise = sandbox.start_installed(&format!("{ALONE} ready"), &hook);
    let mut random = Random::of_this_moment();
    let mut service = sandbox.until_ready();
    for round in 1..=100 {
        let before = sandbox.value("upgraded");
        signal(service, Signal::SIGKILL);
        random.pass_some_time(Duration::from_millis(8));
        sandbox.write_control(b"U");
        service = sandbox.until_ready_after(service);
        eventually(&sandbox, "it is upgraded", || sandbox.value("upgraded").is_some_and(|at| Some(at) != before));
        sandbox.until_value("starts", &(round + 1).to_string());
        assert_eq!(sandbox.supervise_pid(), supervise);
    }
    assert_eq!((sandbox.read("hooks").lines().count(), sandbox.read("refused").as_str()), (100, ""));
}

#[test]
fn a_crash_loop_is_upgraded_and_every_exit_counted() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\npacing : 0.1\n");
    let actions = format!("{ALONE} sleep 10 exit 3");
    let supervise = sandbox.start_installed(&actions, &[]);
    let mut random = Random::of_this_moment();
    for _ in 0..60 {
        let before = sandbox.value("upgraded");
        random.pass_some_time(Duration::from_millis(120));
        sandbox.write_control(b"U");
        eventually(&sandbox, "it is upgraded", || sandbox.value("upgraded").is_some_and(|at| Some(at) != before));
    }
    sandbox.write_control(b"d");
    sandbox.until_state("down");
    assert_eq!((sandbox.supervise_pid(), sandbox.read("refused").as_str()), (supervise, ""));
    let (lines, starts) = (sandbox.read("starts").lines().count() as u64, sandbox.count("starts"));
    assert_eq!(starts, sandbox.count("exits"));
    assert!(lines == starts || lines + 1 == starts, "{lines} of {starts}: TERM can come before the last one's line");
}

/// Every way to fork.
pub(crate) const FORKS: Options =
    Options::PTRACE_O_TRACEFORK.union(Options::PTRACE_O_TRACEVFORK).union(Options::PTRACE_O_TRACECLONE);

/// Waits for the next fork of a process that this thread traces, and holds the child as it is then.
pub(crate) fn held_child(parent: nix::unistd::Pid) -> nix::unistd::Pid {
    loop {
        let status = waitpid(parent, Some(WaitPidFlag::__WALL)).expect("it is traced");
        if let WaitStatus::PtraceEvent(_, _, event) = status
            && event != libc::PTRACE_EVENT_STOP
        {
            let child = ptrace::getevent(parent).expect("it has forked");
            let child = nix::unistd::Pid::from_raw(Pid::try_from(child).expect("a pid"));
            waitpid(child, Some(WaitPidFlag::__WALL)).expect("it is traced too");
            return child;
        }
        let delivered = if let WaitStatus::Stopped(_, signal) = status { Some(signal) } else { None };
        ptrace::cont(parent, delivered).expect("it has stopped");
    }
}

#[test]
fn the_exec_waits_for_a_service_between_its_fork_and_its_exec() {
    let sandbox = Sandbox::new();
    let supervise = nix::unistd::Pid::from_raw(sandbox.start_installed("line starts ready", &[]));
    let service = sandbox.until_ready();
    sandbox.install(NEXT);
    if ptrace::seize(supervise, FORKS).is_err() {
        return skip("processes may not be traced here");
    }
    signal(service, Signal::SIGKILL);
    let next = held_child(supervise);
    ptrace::cont(supervise, None).expect("it has stopped");
    sandbox.write_control(b"U");
    let asked = held_child(supervise);
    ptrace::detach(supervise, None).expect("it has stopped");
    ptrace::detach(asked, None).expect("it has stopped");
    sandbox.until_dead(asked.as_raw());
    // Its answer is known by now, and this is one turn more.
    sandbox.write_control(b"s");
    sandbox.until_value("alarms", "no");
    let version = sandbox.value("version");
    ptrace::detach(next, None).expect("it has stopped");
    assert_eq!(version.as_deref(), Some(env!("CARGO_PKG_VERSION")), "it waits");
    sandbox.until_value("version", NEXT);
    assert_eq!(sandbox.until_ready_after(service), next.as_raw());
    let state = sandbox.state();
    assert_eq!((state["starts"].as_str(), state["exits"].as_str(), state["state"].as_str()), ("2", "1", "up"));
    assert_eq!(sandbox.supervise_pid(), supervise.as_raw());
}

#[test]
fn supervise_killed_in_an_upgrade_is_succeeded() {
    let sandbox = Sandbox::new();
    sandbox.write_conf(ALARMED);
    let mut random = Random::of_this_moment();
    let actions = format!("{ALONE} ready");
    for _ in 0..100 {
        let supervise = sandbox.start_installed_again(&actions);
        sandbox.write_control(b"U");
        random.pass_some_time(Duration::from_millis(8));
        signal(supervise, Signal::SIGKILL);
        sandbox.until_dead(supervise);
    }
    sandbox.start_installed_again(&actions);
    let service = sandbox.until_ready();
    assert_eq!((sandbox.read("refused").as_str(), sandbox.read("starts").lines().count()), ("", 1));
    assert!(alive(service));
    eventually(&sandbox, "nothing else is left", || sandbox.processes().len() == 2);
}

#[test]
fn term_in_the_very_moment_ends_it_in_order() {
    let mut random = Random::of_this_moment();
    for _ in 0..30 {
        let sandbox = Sandbox::new();
        let supervise = sandbox.start_installed_again("line starts ready");
        let service = sandbox.until_ready();
        sandbox.write_control(b"U");
        random.pass_some_time(Duration::from_millis(8));
        signal(supervise, Signal::SIGTERM);
        sandbox.until_dead(supervise);
        assert!(!alive(service));
        assert_eq!((sandbox.value("state").as_deref(), sandbox.record().pid), (Some("down"), None));
    }
}

impl Sandbox {
    /// Starts what is installed, or the built one where nothing is yet: all rounds upgrade to the same file.
    #[track_caller]
    fn start_installed_again(&self, actions: &str) -> i32 {
        if !self.installed().exists() {
            self.install(env!("CARGO_PKG_VERSION"));
        }
        let service = format!("./service {actions}");
        self.run(self.installed_command(&["-p", "status/app", "-f", &service])).expect_code(0);
        self.supervise_pid()
    }
}
