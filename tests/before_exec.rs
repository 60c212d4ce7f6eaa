//! A child between its start and its exec, in the memory of supervise: neither is in the other's way.

use nix::libc;
use nix::sys::signal::Signal;

use crate::claim::{slow_to_exec, until_child};
use crate::common::{Refused, Sandbox, can_refuse, eventually, process_stat, refusing, signal, supervise_program};
use crate::traced::can_trace;

fn conf(command: &str) -> String {
    format!("[global]\ncommand : {command}\n")
}

#[test]
fn a_child_executes_what_it_was_started_for_whatever_a_reload_brings_meanwhile() {
    let sandbox = Sandbox::new();
    sandbox.write_conf(&conf("service line starts ready"));
    let supervise = sandbox.spawn(slow_to_exec(&sandbox, None));
    let child = until_child(&sandbox, &supervise);
    // Each takes the place of a command with as many files as there are folders in PATH.
    for word in ["one", "two", "three"] {
        sandbox.write_conf(&conf(&format!("service line {word} ready")));
        let before = sandbox.value("conf_read");
        sandbox.write_control(b"r");
        eventually(&sandbox, "the conf is read", || sandbox.value("conf_read") != before);
    }
    assert_eq!(sandbox.until_ready(), child);
    assert_eq!(sandbox.until_marks("starts", 1)[0].pid, child);
    signal(child, Signal::SIGKILL);
    sandbox.until_marks("three", 1);
    assert!(!sandbox.path("one").exists() && !sandbox.path("two").exists());
}

#[test]
fn a_child_is_paused_once_it_is_the_service() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\npacing : 0.1\n");
    let supervise = sandbox.spawn(slow_to_exec(&sandbox, Some("line starts ready")));
    let child = until_child(&sandbox, &supervise);
    sandbox.write_control(b"p");
    sandbox.until_value("paused", "yes");
    let name = |pid| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let state = |pid| process_stat(pid).map(|stat| stat.state);
    eventually(&sandbox, "it is executed, and stopped", || name(child) == "service\n" && state(child) == Some('T'));
    assert!(sandbox.lock_holders() == [supervise.pid()], "it does not have the lock any more");
    sandbox.write_control(b"c");
    assert_eq!(sandbox.until_ready(), child);
    // What is continued before its exec is not stopped after it.
    signal(child, Signal::SIGKILL);
    let second = until_child(&sandbox, &supervise);
    sandbox.write_control(b"p");
    sandbox.until_value("paused", "yes");
    sandbox.write_control(b"c");
    sandbox.until_value("paused", "no");
    assert_eq!(sandbox.until_ready_after(child), second);
    assert_ne!(state(second), Some('T'));
}

#[test]
fn a_child_has_a_copy_of_the_memory_where_its_core_dump_would_end_supervise() {
    let sandbox = Sandbox::new();
    if !can_trace(&sandbox) {
        return;
    }
    let mut command = sandbox.program("setarch"); // says that this kernel is an older one
    command.args(["--uname-2.6", "strace", "-f", "-qq", "-e", "trace=clone", "-o", "trace"]).arg(supervise_program());
    command.args(["--foreground", "-p", "status/app", "-f", "./service line starts ready"]);
    let supervise = sandbox.spawn(command);
    let first = sandbox.until_ready();
    signal(first, Signal::SIGKILL);
    let second = sandbox.until_ready_after(first);
    eventually(&sandbox, "the claim names it", || sandbox.text("claim").contains(&format!("pid {second:020}\n")));
    sandbox.write_control(b"dx");
    supervise.wait();
    let trace = sandbox.read("trace");
    let started = |pid| trace.lines().find(|line| line.ends_with(&format!("= {pid}"))).unwrap_or_default();
    for pid in [first, second] {
        assert!(started(pid).contains("SIGCHLD") && !started(pid).contains("CLONE_VM"), "{trace}");
    }
}

#[test]
fn a_child_has_a_copy_of_the_memory_where_the_kernel_lets_none_be_shared() {
    let sandbox = Sandbox::new();
    if !can_refuse(&sandbox) {
        return;
    }
    let flags = libc::CLONE_VM | libc::SIGCHLD;
    let refused = Refused { call: libc::SYS_clone, argument: Some((0, flags.cast_unsigned())), errno: libc::EPERM };
    let command = sandbox.command(&["--foreground", "-p", "status/app", "-f", "./service line starts ready"]);
    let supervise = sandbox.spawn(refusing(command, &[refused]));
    let first = sandbox.until_ready();
    signal(first, Signal::SIGKILL);
    sandbox.until_ready_after(first);
    assert_eq!(sandbox.warnings(), "");
    sandbox.write_control(b"dx");
    supervise.wait();
}
