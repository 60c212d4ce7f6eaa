//! `--take-over` of what does not add up: exit 111 with the reason, and nothing was changed (rules 22.3 and 22.7).

use std::fs;
use std::os::unix::fs::MetadataExt;

use nix::sys::signal::Signal;

use crate::common::{Pid, Sandbox, alive, eventually, is_root, process_stat, signal, skip};

/// Everything in the status directory: names, modes, inodes, and the bytes of plain files.
fn picture(sandbox: &Sandbox) -> Vec<(String, u32, u64, Vec<u8>)> {
    let entries = fs::read_dir(sandbox.status_path()).into_iter().flatten().flatten();
    let mut all: Vec<_> = entries
        .map(|entry| {
            let meta = entry.metadata().expect("it is there");
            let bytes = if meta.is_file() { fs::read(entry.path()).unwrap_or_default() } else { Vec::new() };
            (entry.file_name().to_string_lossy().into_owned(), meta.mode(), meta.ino(), bytes)
        })
        .collect();
    all.sort();
    all
}

/// Tries to take over; nothing may change but for what stands in `reason`.
#[track_caller]
fn refused(sandbox: &Sandbox, holder: Pid, actions: &str, reason: &str) {
    let (before, processes) = (picture(sandbox), sandbox.processes());
    sandbox.take_over(actions).expect_code(111).expect_stderr(&["supervise: app: unable to take over: ", reason]);
    assert_eq!(picture(sandbox), before);
    assert_eq!(sandbox.processes(), processes);
    eventually(sandbox, "the holder goes on", || process_stat(holder).is_some_and(|stat| stat.state != 'T'));
    assert_eq!(sandbox.lock_holders(), [holder]);
}

/// The holder still obeys.
#[track_caller]
fn still_obeys(sandbox: &Sandbox) {
    sandbox.write_control(b"s");
    eventually(sandbox, "it obeys", || sandbox.record().alarms == b'x');
}

#[test]
fn one_that_is_not_in_poll() {
    let sandbox = Sandbox::new();
    let classic = sandbox.start_classic(&["--asleep"], "ready");
    let service = sandbox.until_ready();
    refused(
        &sandbox,
        classic,
        "ready",
        &format!("pid {classic} does not wait in poll(2); pid {classic} goes on as before"),
    );
    assert!(alive(service));
    // Also where it was stopped before, and its sleep is a call that is restarted.
    signal(classic, Signal::SIGSTOP);
    eventually(&sandbox, "it is stopped", || process_stat(classic).is_some_and(|stat| stat.state == 'T'));
    signal(classic, Signal::SIGCONT);
    refused(&sandbox, classic, "ready", "does not wait in poll(2)");
}

#[test]
fn one_with_another_child() {
    let sandbox = Sandbox::new();
    let classic = sandbox.start_classic(&["--child"], "ready");
    let service = sandbox.until_ready();
    refused(
        &sandbox,
        classic,
        "ready",
        &format!("the record names pid {service}, and the children of pid {classic} are:"),
    );
    still_obeys(&sandbox);
}

#[test]
fn one_whose_record_names_another() {
    let sandbox = Sandbox::new();
    let classic = sandbox.start_classic(&["--wrong-record"], "line starts wait");
    sandbox.until_lines("starts", 1);
    refused(&sandbox, classic, "ready", "and the children of pid");
    still_obeys(&sandbox);
}

#[test]
fn one_without_a_record() {
    let sandbox = Sandbox::new();
    let classic = sandbox.start_classic(&["--no-record"], "line starts wait");
    sandbox.until_lines("starts", 1);
    refused(&sandbox, classic, "ready", "there is no status record that can be read");
}

#[test]
fn a_service_that_is_down_and_a_conf_that_refuses_a_start() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\npacing : soon\n");
    let classic = sandbox.start_classic(&[], "ready");
    sandbox.until_ready();
    sandbox.write_control(b"d");
    sandbox.until_down();
    refused(&sandbox, classic, "ready", "the service is down, and this conf or command line would refuse its start");
    still_obeys(&sandbox);
}

#[test]
fn a_living_service_is_taken_over_with_a_conf_that_refuses_a_start() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\npacing : soon\n");
    sandbox.start_classic(&[], "ready");
    let service = sandbox.until_ready();
    sandbox.take_over("ready").expect_code(0).expect_stderr(&["supervise.conf:2: pacing"]);
    assert_eq!(sandbox.record().pid, Some(service));
}

#[test]
fn what_holds_the_lock_and_is_no_supervise() {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.status_path()).expect("the sandbox is writable");
    let mut command = sandbox.program("./service");
    command.args(["flock", "status/app/lock", "line", "starts", "wait"]);
    let holder = sandbox.spawn(command);
    sandbox.until_lines("starts", 1);
    refused(&sandbox, holder.pid(), "ready", "holds the lock and has no control fifo: it is no supervise");
}

#[test]
fn a_lock_that_is_given_back_meanwhile_is_free() {
    let sandbox = Sandbox::new();
    sandbox.start("ready", &[]);
    let first = sandbox.until_ready();
    sandbox.write_control(b"dx");
    eventually(&sandbox, "supervise has ended", || sandbox.lock_is_free());
    // As a child that a dead supervise has left between fork and exec.
    let mut command = sandbox.program("./service");
    command.args(["flock", "status/app/lock", "line", "starts", "wait"]);
    let holder = sandbox.spawn(command);
    sandbox.until_lines("starts", 1);
    let taker = sandbox.spawn(sandbox.command(&["--take-over", "-p", "status/app", "-f", "./service ready"]));
    eventually(&sandbox, "it waits before it looks again", || {
        sandbox.processes().iter().any(|pid| {
            let text = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
            text.starts_with(&format!("{} ", libc::SYS_clock_nanosleep))
        })
    });
    signal(holder.pid(), Signal::SIGKILL);
    taker.wait().expect_code(0);
    sandbox.until_ready_after(first);
}

#[test]
fn one_of_another_user() {
    if !is_root() {
        return skip("only root can be somebody else");
    }
    let sandbox = Sandbox::new();
    sandbox.give_to(65534);
    let args = ["-p", "status/app", "-f", "./service ready"];
    sandbox.run(sandbox.command_as(65534, &args)).expect_code(0);
    let service = sandbox.until_ready();
    let supervise = sandbox.supervise_pid();
    refused(
        &sandbox,
        supervise,
        "ready",
        &format!("pid {supervise}, which holds the lock, runs as another user (uid 65534)"),
    );
    assert!(alive(service));
}

#[test]
fn our_own_while_its_hook_runs() {
    let sandbox = Sandbox::new();
    sandbox.start("line starts ready", &["-r", "./service line hooks wait"]);
    let service = sandbox.until_ready();
    let supervise = sandbox.supervise_pid();
    signal(service, Signal::SIGKILL);
    sandbox.until_lines("hooks", 1);
    sandbox.until_state("hook");
    refused(&sandbox, supervise, "ready", "the record names pid 0, and the children of pid");
    sandbox.write_control(b"d");
    sandbox.until_state("down");
}

#[test]
fn a_claim_that_names_another_living_process() {
    let sandbox = Sandbox::new();
    sandbox.start("line starts ready", &[]);
    let orphan = sandbox.until_ready();
    sandbox.kill_supervise();
    // The classic program knows nothing of a claim, and starts a second copy.
    let classic = sandbox.start_classic(&[], "line starts ready");
    let service = sandbox.until_ready_after(orphan);
    refused(&sandbox, classic, "ready", &format!("the claim names a process that the record does not: pid {orphan}"));
    assert!(alive(orphan) && alive(service));
    still_obeys(&sandbox);
}

#[test]
fn where_no_claim_can_be_written() {
    let sandbox = Sandbox::new();
    crate::common::with_status_on_a_small_disk(&sandbox, 16, || {
        let classic = sandbox.start_classic(&[], "ready");
        let service = sandbox.until_ready();
        // All that is left of the disk.
        let _ = fs::write(sandbox.path("status/filler"), vec![0; 64 << 10]);
        refused(&sandbox, classic, "ready", "unable to write the claim: No space left on device");
        assert!(!sandbox.file("claim").exists() && alive(service));
        fs::remove_file(sandbox.path("status/filler")).expect("it is there");
        sandbox.take_over("ready").expect_code(0);
        assert_eq!((sandbox.record().pid, alive(classic)), (Some(service), false));
    });
}

#[test]
fn a_plain_start_disturbs_nobody() {
    let sandbox = Sandbox::new();
    let classic = sandbox.start_classic(&[], "ready");
    let service = sandbox.until_ready();
    sandbox.background(&["-p", "status/app", "-f", "./service ready"]).expect_code(111);
    assert!(alive(classic) && alive(service));
    assert_eq!(sandbox.lock_holders(), [classic]);
}
