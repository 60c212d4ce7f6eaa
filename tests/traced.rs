//! The order of system calls, as strace(1) shows it: what comes first must be seen to come first.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::adoption::ALARMED;
use crate::common::{Foreground, Pid, Sandbox, eventually, process_stat, signal, skip};

/// The system calls of supervise and its children, from now on.
struct Trace {
    strace: Foreground,
    file: PathBuf,
}

/// One system call, as strace writes it: `renameat2(6, "status.new", …) = 0`.
#[derive(Clone, Debug)]
struct Call {
    pid: Pid,
    text: String,
}

impl Call {
    fn is(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.text.starts_with(&format!("{name}(")))
    }

    /// It changes a file, or brings one to the disk. Between processes is no file: signals, pipes.
    fn writes_a_file(&self) -> bool {
        let changes = ["rename", "renameat", "renameat2", "unlink", "unlinkat", "ftruncate", "fsync", "fdatasync"];
        let line = self.is(&["write"]) && self.text.contains("\"[");
        self.is(&changes) || line || self.is(&["pwrite64", "pwritev"]) || self.text.contains("O_CREAT")
    }

    /// It writes the whole claim.
    fn writes_the_claim(&self) -> bool {
        self.is(&["pwrite64", "pwritev"]) && self.text.contains("\"supervise claim")
    }
}

/// strace, attached to supervise. None where there is none, or it may not look here; that is said.
#[track_caller]
pub(crate) fn strace(sandbox: &Sandbox, supervise: Pid, options: &[&str]) -> Option<Foreground> {
    let mut command = sandbox.program("strace");
    if command.arg("-V").output().is_err() {
        skip("strace is not installed");
        return None;
    }
    let mut command = sandbox.program("strace");
    command.args(options).args(["-o", "trace", "-p", &supervise.to_string()]);
    let mut strace = sandbox.spawn(command);
    eventually(sandbox, "strace is attached, or can't be", || strace.stderr().contains("attached") || !strace.runs());
    if !strace.runs() {
        skip(&format!("strace may not be used here: {}", strace.stderr()));
        return None;
    }
    Some(strace)
}

/// Whether strace can start a program here; says so where it can't.
pub(crate) fn can_trace(sandbox: &Sandbox) -> bool {
    let can = sandbox.program("strace").args(["-o", "/dev/null", "true"]).status().is_ok_and(|status| status.success());
    if !can {
        skip("strace is not installed, or may not be used here");
    }
    can
}

impl Trace {
    #[track_caller]
    fn of(sandbox: &Sandbox, supervise: Pid) -> Option<Self> {
        Self::with(sandbox, supervise, &[])
    }

    #[track_caller]
    fn with(sandbox: &Sandbox, supervise: Pid, more: &[&str]) -> Option<Self> {
        let options = [&["-f", "-a", "1", "-s", "1500"], more].concat();
        let strace = strace(sandbox, supervise, &options)?;
        Some(Self { strace, file: sandbox.path("trace") })
    }

    /// All calls so far, each at the place where it began. What strace had to interrupt for another process's call is
    /// put together again.
    fn end(self) -> Vec<Call> {
        signal(self.strace.pid(), Signal::SIGINT);
        self.strace.wait();
        let text = String::from_utf8_lossy(&fs::read(&self.file).expect("a trace")).into_owned();
        let mut calls: Vec<Call> = Vec::new();
        for line in text.lines() {
            let (pid, text) = line.split_once(' ').expect("`PID call`");
            let (pid, text) = (pid.parse().expect("digits"), text.trim_start());
            if let Some(rest) = text.strip_prefix("<... ") {
                let rest = rest.split_once("resumed>").map_or("", |(_, rest)| rest);
                if let Some(begun) = calls.iter_mut().rev().find(|call| call.pid == pid) {
                    begun.text.push_str(rest);
                }
            } else {
                calls.push(Call { pid, text: text.replace(" <unfinished ...>", "") });
            }
        }
        calls
    }
}

#[track_caller]
fn place(calls: &[Call], what: &str, is_it: impl Fn(&Call) -> bool) -> usize {
    calls.iter().position(is_it).unwrap_or_else(|| panic!("no {what} in {calls:#?}"))
}

/// A service that was restarted under the eyes of strace: what supervise did, and what the new service did before its
/// exec.
#[track_caller]
fn restart() -> Option<(Vec<Call>, Vec<Call>)> {
    let sandbox = Sandbox::new();
    sandbox.write_conf(ALARMED);
    // It runs longer than the pacing, so that it is restarted at once.
    sandbox.start("sleep 150 ready", &[]);
    let first = sandbox.until_ready();
    let supervise = sandbox.supervise_pid();
    let trace = Trace::of(&sandbox, supervise)?;
    signal(first, Signal::SIGKILL);
    let second = sandbox.until_ready_after(first);
    eventually(&sandbox, "it is alarmed", || sandbox.alarms().len() == 1);
    sandbox.until_value("exits", "1");
    let (own, others): (Vec<Call>, Vec<Call>) = trace.end().into_iter().partition(|call| call.pid == supervise);
    let reaped = place(&own, "reaping", |call| call.is(&["wait4"]) && call.text.contains(&format!("= {first}")));
    let of_child: Vec<Call> = others.into_iter().filter(|call| call.pid == second).collect();
    let exec = place(&of_child, "exec", |call| call.is(&["execve"]) && call.text.ends_with("= 0"));
    Some((own[reaped..].to_vec(), of_child[..exec].to_vec()))
}

#[test]
fn between_a_death_and_the_next_exec_nothing_is_written() {
    let Some((own, child)) = restart() else { return };
    let fork = place(&own, "fork", |call| call.is(&["clone", "clone3", "fork", "vfork"]));
    let early: Vec<&Call> = own[..fork].iter().filter(|call| call.writes_a_file()).collect();
    assert!(early.is_empty(), "before the fork: {early:#?}");
    let may = |call: &&Call| !call.writes_a_file() || call.writes_the_claim() || call.text.contains("\"__std");
    let early: Vec<&Call> = child.iter().filter(|call| !may(call)).collect();
    assert!(early.is_empty(), "before the exec: {early:#?}");
}

#[test]
fn the_claim_is_written_in_one_piece_and_in_place() {
    let Some((own, child)) = restart() else { return };
    let writes: Vec<&Call> = child.iter().filter(|call| call.is(&["pwrite64", "pwritev"])).collect();
    assert_eq!(writes.len(), 1, "{writes:#?}");
    assert!(writes[0].writes_the_claim() && writes[0].text.ends_with(", 0) = 4096"), "{writes:#?}");
    let replaced = own.iter().find(|call| call.is(&["renameat", "renameat2"]) && call.text.contains("\"claim"));
    assert!(replaced.is_none(), "{replaced:?}");
}

#[test]
fn the_claim_of_a_restart_has_the_alarm_that_is_owed() {
    let Some((_, child)) = restart() else { return };
    let claim = &child[place(&child, "claim", Call::writes_the_claim)].text;
    assert!(claim.contains("\\ndebt ") && claim.contains("\\nwindow "), "{claim}");
}

#[test]
fn the_claim_says_that_an_alarm_is_paid() {
    let sandbox = Sandbox::new();
    sandbox.write_conf(&ALARMED.replace("0.1", "3600"));
    sandbox.start("ready", &[]);
    let service = sandbox.until_ready();
    let supervise = sandbox.supervise_pid();
    let Some(trace) = Trace::of(&sandbox, supervise) else { return };
    signal(service, Signal::SIGKILL);
    sandbox.until_state("pacing");
    eventually(&sandbox, "it is alarmed", || sandbox.alarms().len() == 1);
    // Another turn, so that this one is traced to its end.
    sandbox.write_control(b"?");
    sandbox.until_warned("unknown byte");
    let own: Vec<Call> = trace.end().into_iter().filter(|call| call.pid == supervise).collect();
    let owes = |call: &Call| call.writes_the_claim() && call.text.contains("\\ndebt ");
    let debt = place(&own, "claim of a debt", owes);
    let message = place(&own, "message", |call| {
        call.is(&["renameat", "renameat2"]) && call.text.contains(".new\"") && call.text.contains("\".1")
    });
    assert!(debt < message, "the alarm is owed before it is written: {own:#?}");
    let turn = message + place(&own[message..], "end of the turn", |call| call.is(&["ppoll"]));
    let paid = |call: &Call| call.writes_the_claim() && !owes(call);
    assert!(own[message..turn].iter().any(paid), "it is paid in the same turn: {own:#?}");
}

/// What supervise does from its read of these bytes on, to the end of that turn.
#[track_caller]
fn turn_of(bytes: &str, key: &str, value: &str) -> Option<Vec<Call>> {
    let sandbox = Sandbox::new();
    sandbox.start("ready", &[]);
    sandbox.until_ready();
    let supervise = sandbox.supervise_pid();
    let trace = Trace::of(&sandbox, supervise)?;
    sandbox.write_control(bytes.as_bytes());
    sandbox.until_value(key, value);
    sandbox.write_control(b"?");
    sandbox.until_warned("unknown byte");
    let own: Vec<Call> = trace.end().into_iter().filter(|call| call.pid == supervise).collect();
    let read = place(&own, "read", |call| call.is(&["read"]) && call.text.contains(&format!("\"{bytes}\"")));
    let turn = place(&own[read..], "end of the turn", |call| call.is(&["ppoll"]));
    Some(own[read..read + turn].to_vec())
}

#[test]
fn a_command_s_signal_is_sent_before_anything_is_written() {
    let Some(turn) = turn_of("p", "paused", "yes") else { return };
    let sent = place(&turn, "signal", |call| call.is(&["kill"]) && call.text.contains("SIGSTOP"));
    let written = place(&turn, "write", Call::writes_a_file);
    assert!(sent < written, "{turn:#?}");
}

/// A command that comes between the fork and the exec, while supervise leaves the processor to the child: strace holds
/// supervise at the end of its fork until the command is there.
#[test]
fn what_comes_while_it_stands_aside_is_obeyed_before_anything_is_written() {
    for seconds in [1, 3, 10] {
        let sandbox = Sandbox::new();
        sandbox.write_conf(ALARMED);
        sandbox.start("sleep 150 ready", &[]);
        let first = sandbox.until_ready();
        let supervise = sandbox.supervise_pid();
        let hold = format!("inject=clone:delay_exit={seconds}000000");
        let Some(trace) = Trace::with(&sandbox, supervise, &["-e", &hold]) else { return };
        signal(first, Signal::SIGKILL);
        // Its pid is not published yet.
        eventually(&sandbox, "another service is ready", || sandbox.stdout().matches("ready ").count() == 2);
        sandbox.write_control(b"h");
        let in_time = is_held(supervise);
        sandbox.until_logged("commands: h");
        let own: Vec<Call> = trace.end().into_iter().filter(|call| call.pid == supervise).collect();
        if !in_time {
            continue; // the machine is too busy for so short a hold
        }
        let fork = place(&own, "fork", |call| call.is(&["clone"]));
        let sent = place(&own, "signal", |call| call.is(&["kill"]) && call.text.contains("SIGHUP"));
        let early: Vec<&Call> = own[fork..sent].iter().filter(|call| call.writes_a_file()).collect();
        assert!(early.is_empty(), "{early:#?}");
        return;
    }
    panic!("no service was started within 10 s");
}

/// Held by strace: for a hundred looks it is stopped.
fn is_held(process: Pid) -> bool {
    (0..100).all(|_| process_stat(process).is_some_and(|stat| stat.state == 't'))
}

/// strace holds supervise behind each poll for longer than the deadline takes. In one that a command has ended the service
/// dies: a death and a deadline are found together.
#[test]
fn a_death_that_came_before_the_deadline_is_seen_before_it() {
    for _ in 0..3 {
        let sandbox = Sandbox::new();
        sandbox.write_conf("[app]\nstop_timeout : 2\n");
        sandbox.start("ready signals", &[]);
        let service = sandbox.until_ready();
        let supervise = sandbox.supervise_pid();
        let Some(trace) = Trace::with(&sandbox, supervise, &["-e", "inject=ppoll:delay_exit=2500000"]) else { return };
        sandbox.write_control(b"d");
        sandbox.until_said("got TERM");
        let told = Instant::now();
        sandbox.until_logged("commands: d");
        sandbox.write_control(b"\n");
        eventually(&sandbox, "supervise is held", || is_held(supervise));
        signal(service, Signal::SIGKILL);
        if told.elapsed() > Duration::from_secs(1) {
            continue; // the machine is too busy for so short a deadline
        }
        sandbox.until_state("down");
        trace.end();
        assert!(!sandbox.warnings().contains("did not stop"), "{}", sandbox.warnings());
        return;
    }
    panic!("nothing could be done within 1 s");
}

#[test]
fn the_claim_is_written_before_the_records() {
    let Some(turn) = turn_of("s", "alarms", "no") else { return };
    let claim = place(&turn, "claim", Call::writes_the_claim);
    let record = place(&turn, "record", |call| call.text.contains("\"status.new\""));
    let state = place(&turn, "long record", |call| call.text.contains("\"state.new\""));
    let line = place(&turn, "line", |call| call.is(&["write"]) && call.text.contains("\"[NOTICE]"));
    assert!(claim < record && record < state && state < line, "{turn:#?}");
}

#[test]
fn no_turn_waits_for_a_disk() {
    let Some(turn) = turn_of("sd", "state", "down") else { return };
    let sync = turn.iter().find(|call| call.is(&["fsync", "fdatasync", "sync", "syncfs"]));
    assert!(sync.is_none(), "{turn:#?}");
}
