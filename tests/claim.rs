//! The claim: what a supervise leaves that is killed between the fork of the service and its exec, and what it owes.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::adoption::ALARMED;
use crate::common::{
    Foreground, Pid, Sandbox, alive, eventually, eventually_some, process_stat, signal, supervise_program,
};
use crate::succession::with_right_sum;
use crate::traced::{can_trace, strace};

/// A call of supervise with `service` and these words (`None`: with the conf's command), where `service` stands in the
/// last folder of a PATH that takes the kernel some tenths of a second to go through. So long a child is between its
/// start and its exec.
#[track_caller]
pub(crate) fn slow_to_exec(sandbox: &Sandbox, words: Option<&str>) -> Command {
    // Each folder is found through as many links as the kernel follows (path_resolution(7)).
    fs::create_dir(sandbox.path("empty")).expect("the sandbox is writable");
    symlink("empty", sandbox.path("l0")).expect("a link");
    for number in 1..38 {
        symlink(format!("l{}", number - 1), sandbox.path(format!("l{number}"))).expect("a link");
    }
    symlink("l37", sandbox.path("x")).expect("a link");
    let path = "x:".repeat(60_000) + ".";
    let mut command = sandbox.command(&["-p", "status/app", "-F", "supervise.conf", "--foreground"]);
    command.args(words.map(|words| format!("-fservice {words}"))).env("PATH", path);
    command
}

fn is_supervise(pid: Pid) -> bool {
    let program = fs::read_link(format!("/proc/{pid}/exe"));
    program.is_ok_and(|program| program == supervise_program())
}

/// The service, before it has come to its exec. An svalarm on its way to one leads a session.
#[track_caller]
pub(crate) fn until_child(sandbox: &Sandbox, supervise: &Foreground) -> Pid {
    eventually_some(sandbox, "a child is on its way to its exec", || {
        let leads_no_session = |pid: Pid| process_stat(pid).is_some_and(|stat| stat.session != pid);
        let is_it = |pid: &Pid| *pid != supervise.pid() && is_supervise(*pid) && leads_no_session(*pid);
        sandbox.processes().into_iter().find(is_it)
    })
}

/// Starts the usual supervise behind a child that holds the lock until its exec.
#[track_caller]
fn start_behind(sandbox: &Sandbox) {
    let args = ["-p", "status/app", "-F", "supervise.conf", "-f", "./service line starts ready"];
    eventually(sandbox, "the lock is free", || sandbox.background(&args).code == Some(0));
}

#[test]
fn a_child_that_has_not_come_to_its_exec_is_known() {
    let sandbox = Sandbox::new();
    sandbox.write_conf(ALARMED);
    let supervise = sandbox.spawn(slow_to_exec(&sandbox, Some("line starts ready")));
    let child = until_child(&sandbox, &supervise);
    signal(supervise.pid(), Signal::SIGKILL);
    supervise.wait();
    while is_supervise(child) {
        let free = sandbox.lock_is_free();
        assert!(!free || !is_supervise(child), "the child holds the lock until its exec");
    }
    start_behind(&sandbox);
    assert_eq!((sandbox.record().pid, sandbox.value("adopted").as_deref()), (Some(child), Some("yes")));
    assert_eq!(sandbox.until_marks("starts", 1).len(), 1);
}

#[test]
fn a_restart_that_is_killed_before_its_exec_has_counted_the_exit() {
    let sandbox = Sandbox::new();
    sandbox.write_conf(ALARMED);
    let supervise = sandbox.spawn(slow_to_exec(&sandbox, Some("line starts ready")));
    let first = sandbox.until_ready();
    signal(first, Signal::SIGKILL);
    let child = until_child(&sandbox, &supervise);
    eventually(&sandbox, "the alarm is raised", || sandbox.alarms().len() == 1);
    signal(supervise.pid(), Signal::SIGKILL);
    supervise.wait();
    start_behind(&sandbox);
    assert_eq!((sandbox.record().pid, sandbox.value("adopted").as_deref()), (Some(child), Some("yes")));
    let state = sandbox.state();
    assert_eq!((state["starts"].as_str(), state["exits"].as_str()), ("2", "1"));
    assert_eq!((state["window_exits"].as_str(), state["last_exit"].as_str()), ("1", "signal KILL"));
    assert_eq!(sandbox.alarms().len(), 1, "written again, it is the same file: {:?}", sandbox.alarms());
    assert!(alive(child));
}

#[test]
fn supervise_writes_no_claim_while_its_child_has_not_come_to_its_exec() {
    let sandbox = Sandbox::new();
    sandbox.write_conf(ALARMED);
    let supervise = sandbox.spawn(slow_to_exec(&sandbox, Some("line starts ready")));
    let child = until_child(&sandbox, &supervise);
    let claimed = format!("pid {child:020}\n");
    eventually(&sandbox, "the child has written the claim", || sandbox.text("claim").contains(&claimed));
    sandbox.write_control(b"s");
    sandbox.until_value("alarms", "no");
    let before = sandbox.text("claim");
    let in_time = is_supervise(child);
    sandbox.until_ready();
    if in_time {
        assert!(before.contains("\nflags 0 "), "{before}");
    }
    eventually(&sandbox, "the claim says it", || sandbox.text("claim").contains("\nflags 1 "));
}

/// A supervise was killed that owed an alarm, because there was no spool to be had. Now there is.
#[track_caller]
fn owing_an_alarm() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write_conf(ALARMED);
    fs::create_dir_all(sandbox.status_path()).expect("the sandbox is writable");
    sandbox.write("status/app/alarms", "no folder");
    sandbox.start("line starts ready", &[]);
    let service = sandbox.until_ready();
    signal(service, Signal::SIGKILL);
    sandbox.until_ready_after(service);
    sandbox.until_warned("unable to write an alarm");
    eventually(&sandbox, "the claim has it", || sandbox.text("claim").contains("\ndebt "));
    sandbox.kill_supervise();
    fs::remove_file(sandbox.file("alarms")).expect("it is there");
    sandbox
}

#[test]
fn an_alarm_that_is_owed_is_paid_by_a_successor() {
    let sandbox = owing_an_alarm();
    sandbox.start("line starts ready", &[]);
    eventually(&sandbox, "it is alarmed", || sandbox.subjects().len() == 1);
    assert!(sandbox.subjects()[0].ends_with("Service app exited!"), "{:?}", sandbox.subjects());
}

#[test]
fn an_alarm_that_is_owed_is_paid_after_a_reboot_too() {
    let sandbox = owing_an_alarm();
    let service = sandbox.service_pid().expect("it runs");
    signal(service, Signal::SIGKILL);
    sandbox.until_dead(service);
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("the kernel has one");
    let other = sandbox.text("claim").replace(boot.trim(), "01234567-89ab-cdef-0123-456789abcdef");
    fs::write(sandbox.file("claim"), with_right_sum(&other)).expect("a claim can be written");
    sandbox.start("line starts ready", &[]);
    assert_eq!((sandbox.count("starts"), sandbox.count("exits")), (1, 0), "a fresh start");
    eventually(&sandbox, "it is alarmed", || sandbox.subjects().len() == 1);
    assert!(sandbox.subjects()[0].ends_with("Service app exited!"), "{:?}", sandbox.subjects());
}

#[test]
fn a_claim_that_could_not_be_written_is_made_good() {
    let sandbox = Sandbox::new();
    sandbox.start("ready", &[]);
    sandbox.until_ready();
    sandbox.until_state("up");
    let claim = sandbox.file("claim");
    let options = ["-P", claim.to_str().expect("a plain name"), "-e", "inject=pwrite64,pwritev:error=ENOSPC"];
    let Some(strace) = strace(&sandbox, sandbox.supervise_pid(), &options) else { return };
    sandbox.write_control(b"s");
    sandbox.until_warned("unable to write status/app/claim: No space left on device");
    sandbox.until_value("alarms", "no");
    assert!(sandbox.text("claim").contains("\nflags 0 "), "{}", sandbox.text("claim"));
    signal(strace.pid(), Signal::SIGINT);
    strace.wait();
    // Nothing else happens that would make supervise look.
    eventually(&sandbox, "the claim is written", || sandbox.text("claim").contains("\nflags 1 "));
}

impl Sandbox {
    /// The claim names this service.
    #[track_caller]
    fn until_claimed(&self, service: Pid) {
        let claimed = format!("pid {service:020}\n");
        eventually(self, "the claim names the service", || self.text("claim").contains(&claimed));
    }
}

#[test]
fn an_upgrade_that_can_not_open_the_claim_has_it_all_the_same() {
    let sandbox = Sandbox::new();
    let supervise = sandbox.start_installed("line starts ready", &[]);
    let first = sandbox.until_ready();
    // The program that is asked is another process, and opens it.
    let options = ["-P", "claim", "-e", "inject=openat:error=EROFS"];
    let Some(strace) = strace(&sandbox, supervise, &options) else { return };
    sandbox.upgrade();
    signal(first, Signal::SIGKILL);
    let second = sandbox.until_ready_after(first);
    sandbox.until_claimed(second);
    assert!(sandbox.read("trace").contains("(INJECTED)"), "{}", sandbox.read("trace"));
    let warnings = sandbox.warnings();
    assert!(
        warnings.contains("unable to open status/app/claim: Read-only file system; it is written further"),
        "{warnings}"
    );
    assert_eq!(warnings.lines().count(), 1, "{warnings}");
    signal(strace.pid(), Signal::SIGINT);
    strace.wait();
    sandbox.kill_supervise();
    sandbox.start("line starts ready", &[]);
    assert_eq!((sandbox.record().pid, sandbox.value("adopted").as_deref()), (Some(second), Some("yes")));
    assert_eq!(sandbox.until_marks("starts", 2).len(), 2);
}

#[test]
fn a_claim_that_could_not_be_made_at_the_start_is_made_later() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.program("strace");
    command.args(["-o", "trace", "-P", "claim", "-e", "inject=openat:error=EMFILE:when=1"]).arg(supervise_program());
    command.args(["--foreground", "-p", "status/app", "-f", "./service line starts ready"]);
    if !can_trace(&sandbox) {
        return;
    }
    let strace = sandbox.spawn(command);
    let service = sandbox.until_ready();
    sandbox.until_warned("unable to write status/app/claim: Too many open files");
    // Nothing else happens that would make supervise look.
    sandbox.until_claimed(service);
    sandbox.write_control(b"dx");
    strace.wait();
}

#[test]
fn supervise_sleeps_while_its_child_has_not_come_to_its_exec_and_the_claim_can_not_be_written() {
    let sandbox = Sandbox::new();
    sandbox.start("line starts ready", &[]);
    let (supervise, first) = (sandbox.supervise_pid(), sandbox.until_ready());
    sandbox.until_state("up");
    let failure = ["-e", "inject=pwritev:error=ENOSPC", "-e", "inject=execve:delay_enter=4000000"];
    let options = [&["-f", "-e", "trace=ppoll,pwritev,execve"][..], &failure].concat();
    let Some(strace) = strace(&sandbox, supervise, &options) else { return };
    signal(first, Signal::SIGKILL);
    let second = sandbox.until_ready_after(first);
    signal(strace.pid(), Signal::SIGINT);
    strace.wait();
    let trace = sandbox.read("trace");
    assert!(trace.contains("ENOSPC") && trace.contains("execve("), "{trace}");
    let polls = trace.matches(" ppoll(").count();
    assert!(polls < 50, "{polls} in the four seconds of the exec");
    sandbox.until_claimed(second);
}
