//! Limits on processes and descriptors that are too low: it is said, and tried again until they are not.

use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::common::{Pid, Sandbox, alive, eventually, is_root, service_program, signal, skip};

/// Sets a limit of a living process through `./service limit`, as the user who owns it.
#[track_caller]
pub(crate) fn limit(sandbox: &Sandbox, uid: Option<u32>, pid: Pid, name: &str, soft: &str) {
    let mut command = sandbox.program(sandbox.path("service"));
    command.args(["limit", &pid.to_string(), name, soft, "exit", "0"]);
    if let Some(uid) = uid {
        command.uid(uid).gid(uid);
    }
    sandbox.run(command).expect_code(0);
}

/// A command line for somebody whom the limit on processes holds for. It does not for root, who is somebody else here:
/// a uid of its own for each test, that nothing else runs under.
fn as_an_ordinary_user(sandbox: &Sandbox, uid: u32, args: &[&str]) -> (Command, Option<u32>) {
    if !is_root() {
        return (sandbox.command(args), None);
    }
    sandbox.give_to(uid);
    (sandbox.command_as(uid, args), Some(uid))
}

#[test]
fn a_refused_fork_is_a_warning_and_tried_again_and_not_counted() {
    let sandbox = Sandbox::new();
    let (command, uid) = as_an_ordinary_user(&sandbox, 64_123, &["-p", "status/app", "-f", "./service ready"]);
    sandbox.run(command).expect_code(0);
    let first = sandbox.until_ready();
    if sandbox.processes().is_empty() {
        // Without the mark in sight the sandbox cannot end them either.
        let supervise = sandbox.value("supervise").and_then(|pid| pid.parse().ok()).expect("a pid");
        signal(supervise, Signal::SIGKILL);
        signal(first, Signal::SIGKILL);
        return skip("root may not look at other users' processes here");
    }
    let supervise = sandbox.supervise_pid();
    limit(&sandbox, uid, supervise, "nproc", "0");
    sandbox.write_control(b"k");
    sandbox.until_warned("[WARNING]");
    assert!(sandbox.warnings().contains("Resource temporarily unavailable"), "{}", sandbox.warnings());
    sandbox.until_dead(first);
    sandbox.until_value("exits", "1");
    limit(&sandbox, uid, supervise, "nproc", "max");
    sandbox.until_ready_after(first);
    sandbox.until_value("starts", "2");
    assert_eq!(sandbox.count("exits"), 1, "a refused fork is no exit");
    sandbox.write_control(b"dx");
    sandbox.until_ended();
}

#[test]
fn a_background_start_that_may_not_fork_is_told_with_111() {
    let sandbox = Sandbox::new();
    let args = ["-p", "status/app", "-f", "./service line started wait"];
    let (mut command, _) = as_an_ordinary_user(&sandbox, 64_124, &args);
    let nproc = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    let set_limit = move || {
        // SAFETY: setrlimit reads an initialised rlimit.
        let result = unsafe { libc::setrlimit(libc::RLIMIT_NPROC, &nproc) };
        if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    // SAFETY: the closure calls nothing but setrlimit.
    unsafe { command.pre_exec(set_limit) };
    let output = sandbox.run(command).expect_code(111);
    output.expect_stderr(&["supervise: ", "Resource temporarily unavailable"]);
    assert_eq!((sandbox.processes(), sandbox.read("started")), (Vec::<Pid>::new(), String::new()));
}

#[test]
fn a_limit_on_file_sizes_neither_ends_supervise_nor_tears_a_record() {
    let sandbox = Sandbox::new();
    sandbox.start("line started wait", &[]);
    sandbox.until_lines("started", 1);
    sandbox.until_state("up");
    let supervise = sandbox.supervise_pid();
    // Enough for the status record and too little for the long one; a write beyond it brings SIGXFSZ or EFBIG.
    limit(&sandbox, None, supervise, "fsize", "100");
    sandbox.write_control(b"s");
    eventually(&sandbox, "the status record is written", || sandbox.record().alarms == b'x');
    sandbox.write_control(b"k");
    sandbox.until_lines("started", 2);
    let whole = sandbox.state();
    assert!(whole.contains_key("module") && whole.contains_key("undelivered"), "{whole:?}");
    limit(&sandbox, None, supervise, "fsize", "max");
    sandbox.write_control(b"n");
    sandbox.until_value("alarms", "yes");
    sandbox.until_value("starts", "2");
    assert!(alive(supervise));
    sandbox.write_control(b"dx");
    sandbox.until_ended();
}

#[test]
fn with_few_descriptors_a_start_works_or_is_told_and_leaves_nothing() {
    let mut worked = 0;
    for descriptors in 4..24 {
        let sandbox = Sandbox::new();
        let mut command = sandbox.command(&["-p", "status/app", "-f", "./service line started wait"]);
        let nofile = libc::rlimit { rlim_cur: descriptors, rlim_max: descriptors };
        let set_limit = move || {
            // SAFETY: setrlimit reads an initialised rlimit.
            let result = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &nofile) };
            if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
        };
        // SAFETY: the closure calls nothing but setrlimit.
        unsafe { command.pre_exec(set_limit) };
        let output = sandbox.run(command);
        match output.code {
            // A first start that was refused is a warning, and tried again.
            Some(0) if output.stderr.contains("Too many open files") => {
                assert!(sandbox.ok_is_held(), "{descriptors} descriptors: {output:#?}");
            }
            Some(0) => {
                sandbox.until_lines("started", 1);
                worked += 1;
            }
            Some(110 | 111) => {
                output.expect_stderr(&["supervise: ", "Too many open files"]);
                assert_eq!(sandbox.processes(), Vec::<Pid>::new(), "{descriptors} descriptors");
            }
            _ => panic!("{descriptors} descriptors: {output:#?}"),
        }
    }
    assert!(worked > 0, "some of these limits are enough");
}

#[test]
fn without_a_free_descriptor_the_restart_is_tried_until_there_is_one() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\npacing : 0.1\n");
    sandbox.start("ready", &[]);
    let first = sandbox.until_ready();
    let supervise = sandbox.supervise_pid();
    limit(&sandbox, None, supervise, "nofile", "3");
    sandbox.write_control(b"k");
    sandbox.until_warned("unable to start a process for the service: Too many open files");
    assert!(!alive(first));
    // Commands are obeyed, whatever could not be opened.
    sandbox.write_control(b"s");
    sandbox.write_control(b"n");
    limit(&sandbox, None, supervise, "nofile", "max");
    sandbox.until_ready_after(first);
    assert!(alive(supervise));
    sandbox.write_control(b"dx");
    sandbox.until_ended();
}

#[test]
fn a_claim_that_cannot_be_written_is_a_warning() {
    let sandbox = Sandbox::new();
    sandbox.start("line started wait", &[]);
    sandbox.until_lines("started", 1);
    sandbox.until_state("up");
    // Enough for the logs and the records, and too little for the claim.
    limit(&sandbox, None, sandbox.supervise_pid(), "fsize", "2000");
    sandbox.write_control(b"s");
    sandbox.until_warned("unable to write status/app/claim: ");
    assert!(sandbox.warnings().contains("; a death of supervise now may not be survived"), "{}", sandbox.warnings());
    sandbox.until_value("alarms", "no");
    sandbox.write_control(b"k");
    sandbox.until_lines("started", 2);
    sandbox.until_value("starts", "2");
    assert_eq!(sandbox.warnings().matches("/claim").count(), 1, "it is told once: {}", sandbox.warnings());
}

#[test]
fn where_no_file_may_be_written_at_all_the_service_starts_all_the_same() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(&["-p", "status/app", "-f", "./service wait"]);
    let set_limit = || {
        let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: setrlimit reads an initialised rlimit.
        let result = unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &none) };
        if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    // SAFETY: the closure calls nothing but setrlimit.
    unsafe { command.pre_exec(set_limit) };
    // What a write brings beside the error is a signal, SIGXFSZ; its default action is to end the process. The output of
    // the call is a pipe: to a file not even the reason could be written.
    let output = command.stdin(std::process::Stdio::null()).output().expect("supervise can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("a death of supervise now may not be survived"), "{output:?}");
    let program = std::fs::canonicalize(service_program()).expect("it is there");
    let is_service = |pid: &Pid| std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == program);
    let services = || -> Vec<Pid> { sandbox.processes().into_iter().filter(is_service).collect() };
    eventually(&sandbox, "the service runs", || services().len() == 1);
    let service = services();
    sandbox.write_control(b"d");
    sandbox.until_dead(service[0]);
    sandbox.write_control(b"x");
    eventually(&sandbox, "supervise has ended", || sandbox.processes().is_empty());
}
