//! Commands that come at odd times: while pacing, stopping, down, paused, many at once, or while nobody reads.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::AsRawFd;

use nix::sys::signal::Signal;

use crate::commands::unknown_bytes;
use crate::common::{Pid, Sandbox, alive, eventually, process_stat, signal};

/// A service that has exited, with an hour to go until it is started again.
#[track_caller]
fn pacing(actions: &str) -> (Sandbox, Pid) {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\npacing : 3600\n");
    sandbox.start(actions, &[]);
    let service = sandbox.until_ready();
    signal(service, Signal::SIGKILL);
    sandbox.until_state("pacing");
    (sandbox, service)
}

#[test]
fn commands_are_obeyed_while_pacing() {
    let (sandbox, service) = pacing("ready");
    sandbox.write_control(b"s");
    sandbox.until_value("alarms", "no");
    sandbox.write_control(b"ktihaq12pcn");
    sandbox.until_value("alarms", "yes");
    assert_eq!((sandbox.value("state").as_deref(), sandbox.record().paused), (Some("pacing"), 0));
    sandbox.write_control(b"u");
    sandbox.until_ready_after(service);
    assert_eq!(sandbox.warnings(), "");
}

#[test]
fn d_cancels_a_pending_restart() {
    let (sandbox, service) = pacing("ready");
    sandbox.write_control(b"d");
    sandbox.until_state("down");
    assert_eq!((sandbox.record().wanted, sandbox.value("next_start")), (b'd', None));
    sandbox.write_control(b"u");
    sandbox.until_ready_after(service);
}

#[test]
fn o_cuts_the_pacing() {
    let (sandbox, service) = pacing("ready");
    sandbox.write_control(b"o");
    sandbox.until_ready_after(service);
    sandbox.until_value("wanted", "once");
}

#[test]
fn x_and_term_end_a_supervise_that_is_pacing() {
    let (sandbox, _) = pacing("ready");
    sandbox.write_control(b"x");
    sandbox.until_ended();
    assert_eq!((sandbox.service_pid(), sandbox.file("ok").exists()), (None, false));
    let (sandbox, _) = pacing("ready");
    signal(sandbox.supervise_pid(), Signal::SIGTERM);
    sandbox.until_ended();
    assert_eq!((sandbox.service_pid(), sandbox.file("ok").exists()), (None, false));
}

#[test]
fn commands_are_obeyed_while_the_service_is_stopping() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\npacing : 3600\n");
    sandbox.start("ready signals", &[]);
    let service = sandbox.until_ready();
    sandbox.write_control(b"d");
    sandbox.until_state("stopping");
    sandbox.write_control(b"12s");
    sandbox.until_said("got USR1");
    sandbox.until_said("got USR2");
    sandbox.until_value("alarms", "no");
    sandbox.write_control(b"p");
    sandbox.until_value("paused", "yes");
    sandbox.write_control(b"c");
    sandbox.until_value("paused", "no");
    // Given while it stops, u counts for the start that follows its exit.
    sandbox.write_control(b"u");
    sandbox.until_value("wanted", "up");
    assert_eq!(sandbox.service_pid(), Some(service));
    sandbox.write_control(b"k");
    sandbox.until_ready_after(service);
}

#[test]
fn o_while_the_service_is_stopping_is_for_the_next_run() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\npacing : 3600\n");
    sandbox.start("ready signals", &[]);
    let first = sandbox.until_ready();
    sandbox.write_control(b"do");
    sandbox.until_value("wanted", "once");
    sandbox.write_control(b"k");
    let second = sandbox.until_ready_after(first);
    sandbox.until_value("wanted", "once");
    sandbox.write_control(b"k");
    sandbox.until_state("down");
    assert!(!alive(second));
    assert_eq!(sandbox.count("starts"), 2);
}

#[test]
fn commands_are_obeyed_while_the_service_is_down() {
    let sandbox = Sandbox::new();
    sandbox.start("ready signals", &[]);
    let service = sandbox.until_ready();
    sandbox.write_control(b"dk");
    sandbox.until_state("down");
    sandbox.write_control(b"ktihaq12pcds");
    sandbox.until_value("alarms", "no");
    assert_eq!((sandbox.value("state").as_deref(), sandbox.record().paused), (Some("down"), 0));
    sandbox.write_control(b"rn");
    sandbox.until_value("alarms", "yes");
    assert_eq!((sandbox.count("starts"), sandbox.service_pid()), (1, None));
    sandbox.write_control(b"u");
    sandbox.until_ready_after(service);
}

#[test]
fn commands_are_obeyed_while_the_service_is_paused() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\npacing : 0.1\n");
    sandbox.start("ready", &[]);
    let first = sandbox.until_ready();
    sandbox.write_control(b"p");
    sandbox.until_value("paused", "yes");
    sandbox.write_control(b"s");
    sandbox.until_value("alarms", "no");
    sandbox.write_control(b"k");
    let second = sandbox.until_ready_after(first);
    sandbox.until_value("paused", "no");
    assert_eq!(sandbox.record().paused, 0, "the next one runs");
    assert_ne!(process_stat(second).expect("it runs").state, 'T');
}

#[test]
fn many_writers_at_once_lose_no_byte() {
    const WRITERS: u64 = 8;
    const BYTES: u64 = 500;
    let sandbox = Sandbox::new();
    sandbox.start("ready signals", &[]);
    sandbox.until_ready();
    std::thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| {
                let mut fifo = File::options().write(true).open(sandbox.file("svcontrol")).expect("it has a reader");
                for _ in 0..BYTES {
                    fifo.write_all(b"z").expect("the reader stays");
                }
            });
        }
    });
    sandbox.write_control(b"1");
    sandbox.until_said("got USR1");
    let total = || unknown_bytes(&sandbox).iter().sum::<u64>();
    eventually(&sandbox, "all bytes are warned of", || total() >= WRITERS * BYTES);
    assert_eq!(total(), WRITERS * BYTES);
}

#[test]
fn a_command_behind_4096_bytes_of_junk_is_obeyed() {
    let sandbox = Sandbox::new();
    sandbox.start("ready signals", &[]);
    sandbox.until_ready();
    let supervise = sandbox.supervise_pid();
    signal(supervise, Signal::SIGSTOP);
    eventually(&sandbox, "supervise is stopped", || process_stat(supervise).is_some_and(|stat| stat.state == 'T'));
    // No more than a page is ever ahead of a command.
    sandbox.write_control(&[b'z'; 4096]);
    let full = sandbox.write_fifo("svcontrol", b"1").expect_err("the fifo is full");
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
    let mut shell = sandbox.program("/bin/sh");
    shell.args(["-c", "echo 1 > status/app/svcontrol"]);
    let writer = sandbox.spawn(shell);
    signal(supervise, Signal::SIGCONT);
    writer.wait().expect_code(0);
    sandbox.until_said("got USR1");
    eventually(&sandbox, "the junk is warned of", || !unknown_bytes(&sandbox).is_empty());
    assert_eq!(unknown_bytes(&sandbox), [4096], "one read takes all of it");
}

/// Writes each text to the fifo of a supervise that is stopped, then lets it go on.
#[track_caller]
fn while_stopped(sandbox: &Sandbox, texts: &[&str]) {
    let supervise = sandbox.supervise_pid();
    signal(supervise, Signal::SIGSTOP);
    eventually(sandbox, "supervise is stopped", || process_stat(supervise).is_some_and(|stat| stat.state == 'T'));
    for text in texts {
        sandbox.write_control(text.as_bytes());
    }
    signal(supervise, Signal::SIGCONT);
}

#[test]
fn bytes_for_a_stopped_supervise_are_obeyed_later_in_their_order() {
    let sandbox = Sandbox::new();
    sandbox.start("ready signals", &[]);
    let service = sandbox.until_ready();
    while_stopped(&sandbox, &["s", "n", "s", "p", "c", "o", "u", "1"]);
    sandbox.until_said("got USR1");
    sandbox.until_value("alarms", "no");
    assert_eq!((sandbox.value("wanted").as_deref(), sandbox.record().paused), (Some("up"), 0));
    while_stopped(&sandbox, &["c", "p", "s", "n", "u", "d", "p"]);
    sandbox.until_value("wanted", "down");
    sandbox.until_value("paused", "yes");
    sandbox.until_value("alarms", "yes");
    while_stopped(&sandbox, &["k", "d", "u"]);
    sandbox.until_ready_after(service);
    sandbox.until_value("wanted", "up");
}

#[test]
fn an_echo_that_waits_for_the_next_supervise_is_obeyed() {
    let sandbox = Sandbox::new();
    sandbox.start("ready", &[]);
    sandbox.until_ready();
    sandbox.write_control(b"dx");
    sandbox.until_ended();
    let mut shell = sandbox.program("/bin/sh");
    shell.args(["-c", "echo d > status/app/svcontrol"]);
    let mut waiting = sandbox.spawn(shell);
    let in_open = |pid: Pid| std::fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
    eventually(&sandbox, "echo waits in open", || {
        let place = in_open(waiting.pid());
        place.contains("wait_for_partner") || (matches!(place.as_str(), "" | "0") && waiting.runs())
    });
    sandbox.start("ready", &[]);
    waiting.wait().expect_code(0);
    sandbox.until_state("down");
    assert_eq!(sandbox.record().wanted, b'd');
}

#[test]
fn x_followed_by_a_kill_of_the_service_always_ends_supervise() {
    for round in 0..50 {
        let sandbox = Sandbox::new();
        let args = ["-p", "status/app", "-f", "./service line starts ready", "--foreground"];
        let supervise = sandbox.foreground(&args);
        let service = sandbox.until_ready();
        sandbox.write_control(b"x\n");
        signal(service, Signal::SIGKILL);
        supervise.wait().expect_code(0);
        assert_eq!(sandbox.read("starts").lines().count(), 1, "round {round}");
        assert_eq!(sandbox.service_pid(), None, "round {round}");
    }
}

#[test]
fn what_stands_in_the_fifo_when_the_service_exits_counts_as_come_before() {
    // Also where supervise finds both at once.
    for _ in 0..20 {
        let sandbox = Sandbox::new();
        sandbox.write_conf("[app]\nalarm_interval : 60\npacing : 0.1\n");
        sandbox.start("line starts ready", &[]);
        let service = sandbox.until_ready();
        let supervise = sandbox.supervise_pid();
        signal(supervise, Signal::SIGSTOP);
        signal(service, Signal::SIGKILL);
        sandbox.until_dead(service);
        sandbox.write_control(b"d");
        signal(supervise, Signal::SIGCONT);
        sandbox.until_state("down");
        assert_eq!(sandbox.count("window_exits"), 0, "it came after d");
        assert_eq!(sandbox.value("last_exit_expected").as_deref(), Some("yes"));
        assert_eq!(sandbox.read("starts").lines().count(), 1);
    }
}

/// How many bytes stand in svcontrol.
#[track_caller]
fn waiting_bytes(sandbox: &Sandbox) -> i32 {
    let fifo = File::options().read(true).write(true).open(sandbox.file("svcontrol")).expect("it is there");
    let mut count = 0;
    // SAFETY: the descriptor is open, and `count` is a place for one int.
    assert_eq!(unsafe { libc::ioctl(fifo.as_raw_fd(), libc::FIONREAD, &raw mut count) }, 0);
    count
}

#[test]
fn what_comes_after_the_exit_but_before_it_is_reaped_counts_as_come_before() {
    let sandbox = Sandbox::new();
    // It takes a while to read, and in that while d comes: behind the one look at the fifo, before the other.
    let comment = format!("# {}\n", "-".repeat(70)).repeat(12_000);
    sandbox.write_conf(&format!("[app]\nalarm_interval : 60\npacing : 3600\n{comment}"));
    sandbox.start("ready", &[]);
    let supervise = sandbox.supervise_pid();
    let mut service = sandbox.until_ready();
    let mut exits = 0;
    // Where d comes too late for that, the exit is an unexpected one; that is no fault, only another round.
    eventually(&sandbox, "the exit counts as one after d", || {
        signal(supervise, Signal::SIGSTOP);
        eventually(&sandbox, "it is stopped", || process_stat(supervise).is_some_and(|stat| stat.state == 'T'));
        signal(service, Signal::SIGKILL);
        sandbox.until_dead(service);
        sandbox.write_control(b"r");
        signal(supervise, Signal::SIGCONT);
        while waiting_bytes(&sandbox) > 0 {
            std::thread::yield_now();
        }
        sandbox.write_control(b"d");
        exits += 1;
        sandbox.until_exits(exits);
        sandbox.until_state("down");
        let expected = sandbox.value("last_exit_expected").as_deref() == Some("yes");
        sandbox.write_control(b"u");
        service = sandbox.until_ready_after(service);
        expected
    });
}

#[test]
fn a_term_after_the_exit_but_before_it_is_reaped_counts_as_come_before() {
    // The same with TERM to supervise: it comes behind the one look at the signals, before the other.
    let comment = format!("# {}\n", "-".repeat(70)).repeat(12_000);
    let mut round = 0;
    loop {
        let sandbox = Sandbox::new();
        sandbox.write_conf(&format!("[app]\nalarm_interval : 60\npacing : 3600\n{comment}"));
        sandbox.start("ready", &[]);
        let (service, supervise) = (sandbox.until_ready(), sandbox.supervise_pid());
        signal(supervise, Signal::SIGSTOP);
        eventually(&sandbox, "it is stopped", || process_stat(supervise).is_some_and(|stat| stat.state == 'T'));
        signal(service, Signal::SIGKILL);
        sandbox.until_dead(service);
        sandbox.write_control(b"r");
        signal(supervise, Signal::SIGCONT);
        while waiting_bytes(&sandbox) > 0 {
            std::thread::yield_now();
        }
        signal(supervise, Signal::SIGTERM);
        sandbox.until_ended();
        if sandbox.value("last_exit_expected").as_deref() == Some("yes") {
            break;
        }
        // It came too late for that; that is no fault, only another round.
        round += 1;
        assert!(round < 20, "the exit never counts as one after TERM");
    }
}
