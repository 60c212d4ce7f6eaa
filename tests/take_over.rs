//! `--take-over`: a living supervise, the classic program included, is replaced under its service (rules 22.1 to 22.6).

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::adoption::ALARMED;
use crate::common::{Output, Pid, Random, Sandbox, alive, eventually, eventually_some, example, process_stat, signal};
use crate::random_kills::ALONE;

impl Sandbox {
    /// Starts the stand-in of the classic program with a service; returns its pid once it waits for something to do.
    #[track_caller]
    pub(crate) fn start_classic(&self, odds: &[&str], actions: &str) -> Pid {
        let mut command = self.program(example("classic"));
        command.args(odds).args(["-p", "status/app", "./service"]).args(actions.split(' '));
        self.run(command).expect_code(0);
        let classic = eventually_some(self, "it holds the lock", || match self.lock_holders().as_slice() {
            &[pid] => Some(pid),
            _ => None,
        });
        if !odds.contains(&"--asleep") {
            self.until_waiting(classic);
        }
        classic
    }

    /// Waits until a process waits in poll(2) or ppoll(2).
    #[track_caller]
    pub(crate) fn until_waiting(&self, pid: Pid) {
        eventually(self, "it waits in poll", || {
            let text = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
            let number = text.split(' ').next().and_then(|number| number.parse().ok());
            [libc::SYS_ppoll, POLL].iter().any(|&poll| number == Some(poll))
        });
    }

    /// `supervise --take-over -p status/app -f "./service ACTIONS"`.
    #[track_caller]
    pub(crate) fn take_over(&self, actions: &str) -> Output {
        let service = format!("./service {actions}");
        self.background(&["--take-over", "-p", "status/app", "-f", &service])
    }
}

#[cfg(target_arch = "x86_64")]
const POLL: libc::c_long = libc::SYS_poll;
#[cfg(not(target_arch = "x86_64"))]
const POLL: libc::c_long = libc::SYS_ppoll;

#[test]
fn the_classic_program_is_replaced_and_its_service_adopted() {
    for odds in [&[][..], &["--lock-first"]] {
        let sandbox = Sandbox::new();
        let classic = sandbox.start_classic(odds, "line starts ready signals");
        let service = sandbox.until_ready();
        let record = sandbox.record();
        let output = sandbox.take_over("line starts ready signals").expect_code(0);
        assert_eq!((output.stderr.as_str(), sandbox.warnings().as_str()), ("", ""));
        assert!(!alive(classic) && alive(service));
        assert_eq!(sandbox.record(), record, "its pid and its time are what they were");
        let state = sandbox.state();
        assert_eq!((state["adopted"].as_str(), state["state"].as_str()), ("yes", "up"));
        assert_eq!((state["starts"].as_str(), state["exits"].as_str()), ("1", "0"));
        assert_eq!(state["command"], "./service line starts ready signals");
        assert_ne!(sandbox.supervise_pid(), classic);
        sandbox.until_logged(&format!("took over from the supervise that was pid {classic}"));
        sandbox.write_control(b"1");
        sandbox.until_said("got USR1");
        sandbox.write_fifo("control", b"i").expect("the other name is there");
        sandbox.until_said("got INT");
        sandbox.write_control(b"k");
        sandbox.until_ready_after(service);
        sandbox.until_exits(1);
        assert_eq!(sandbox.value("last_exit_expected").as_deref(), Some("yes"));
        assert_eq!(sandbox.read("starts").lines().count(), 2);
    }
}

#[test]
fn another_command_counts_from_the_next_start() {
    let sandbox = Sandbox::new();
    sandbox.start_classic(&[], "ready");
    let service = sandbox.until_ready();
    sandbox.take_over("out another ready").expect_code(0).expect_stderr(&["another COMMAND"]);
    assert_eq!((sandbox.record().pid, sandbox.value("command").as_deref()), (Some(service), Some("./service ready")));
    sandbox.write_control(b"k");
    sandbox.until_ready_after(service);
    assert!(sandbox.stdout().contains("another"));
}

#[test]
fn what_the_record_says_is_taken_over() {
    let sandbox = Sandbox::new();
    let classic = sandbox.start_classic(&[], "ready signals");
    let service = sandbox.until_ready();
    for (byte, fact) in [("s", 14), ("p", 12)] {
        let before = sandbox.record();
        sandbox.write_control(byte.as_bytes());
        eventually(&sandbox, &format!("byte {fact} has changed"), || sandbox.record() != before);
    }
    sandbox.until_waiting(classic);
    sandbox.take_over("ready signals").expect_code(0);
    let record = sandbox.record();
    assert_eq!((record.pid, record.paused, record.wanted, record.alarms), (Some(service), 1, b'u', b'x'));
    eventually(&sandbox, "it is stopped again", || process_stat(service).is_some_and(|stat| stat.state == 'T'));
    sandbox.write_control(b"c");
    sandbox.until_said("got CONT");
}

#[test]
fn a_service_that_is_stopping_or_down_stays_so() {
    let sandbox = Sandbox::new();
    sandbox.start_classic(&[], "ready signals");
    let service = sandbox.until_ready();
    sandbox.write_control(b"d");
    sandbox.until_said("got TERM");
    sandbox.take_over("ready signals").expect_code(0);
    assert_eq!((sandbox.record().pid, sandbox.record().wanted), (Some(service), b'd'));
    assert_eq!(sandbox.value("state").as_deref(), Some("stopping"));
    signal(service, Signal::SIGKILL);
    sandbox.until_state("down");
    assert_eq!(sandbox.value("last_exit_expected").as_deref(), Some("yes"));

    let sandbox = Sandbox::new();
    let classic = sandbox.start_classic(&[], "line starts ready");
    sandbox.until_ready();
    sandbox.write_control(b"d");
    sandbox.until_down();
    sandbox.until_waiting(classic);
    let output = sandbox.take_over("line starts ready").expect_code(0);
    assert!(output.stderr.contains("left down"), "{output:#?}");
    assert_eq!((sandbox.record().pid, sandbox.record().wanted), (None, b'd'));
    assert!(!alive(classic));
    sandbox.write_control(b"u");
    sandbox.until_lines("starts", 2);
}

#[test]
fn a_byte_in_the_fifo_is_not_lost() {
    let mut random = Random::of_this_moment();
    for _ in 0..20 {
        let sandbox = Sandbox::new();
        sandbox.start_classic(&[], "ready");
        let service = sandbox.until_ready();
        let taker = sandbox.spawn(sandbox.command(&["--take-over", "-p", "status/app", "-f", "./service ready"]));
        random.pass_some_time(Duration::from_millis(25));
        sandbox.write_control(b"s");
        taker.wait().expect_code(0);
        eventually(&sandbox, "the byte is obeyed", || sandbox.record().alarms == b'x');
        assert_eq!(sandbox.record().pid, Some(service));
    }
}

#[test]
fn an_exit_in_the_very_moment_is_seen_and_there_are_never_two() {
    let mut random = Random::of_this_moment();
    for _ in 0..20 {
        let sandbox = Sandbox::new();
        sandbox.write_conf("[app]\npacing : 0.1\n");
        let actions = format!("{ALONE} ready");
        let classic = sandbox.start_classic(&[], &actions);
        let service = sandbox.until_ready();
        let command = format!("./service {actions}");
        let taker = sandbox.spawn(sandbox.command(&["--take-over", "-p", "status/app", "-f", &command]));
        random.pass_some_time(Duration::from_millis(25));
        signal(service, Signal::SIGKILL);
        taker.wait().expect_code(0);
        let second = sandbox.until_ready_after(service);
        sandbox.until_dead(classic);
        let supervise = sandbox.supervise_pid();
        let mut all = [supervise, second];
        all.sort_unstable();
        eventually(&sandbox, "there is one service", || sandbox.processes() == all);
        assert_eq!((sandbox.read("refused").as_str(), sandbox.read("starts").lines().count()), ("", 2));
        // Each of them knows what is its own.
        signal(second, Signal::SIGKILL);
        sandbox.until_ready_after(second);
    }
}

#[test]
fn a_taker_that_is_killed_leaves_a_holder_that_goes_on_or_a_successor_s_claim() {
    let sandbox = Sandbox::new();
    let mut random = Random::of_this_moment();
    let actions = format!("{ALONE} ready");
    let classic = sandbox.start_classic(&[], &actions);
    let service = sandbox.until_ready();
    let command = format!("./service {actions}");
    for _ in 0..60 {
        let mut taker = sandbox.command(&["--take-over", "--foreground", "-p", "status/app", "-f", &command]);
        taker.stdin(std::process::Stdio::null());
        let taker = sandbox.spawn(taker);
        random.pass_some_time(Duration::from_millis(12));
        signal(taker.pid(), Signal::SIGKILL);
        assert_eq!(taker.wait().code, None);
        eventually(&sandbox, "the holder goes on or is dead", || {
            process_stat(classic).is_none_or(|stat| stat.state != 'T')
        });
        assert!(alive(service));
        if !alive(classic) {
            break;
        }
    }
    sandbox.take_over(&actions).expect_code(0);
    assert_eq!(sandbox.record().pid, Some(service));
    let mut all = [service, sandbox.supervise_pid()];
    all.sort_unstable();
    eventually(&sandbox, "nobody else is left", || sandbox.processes() == all);
    assert_eq!((sandbox.read("refused").as_str(), sandbox.read("starts").lines().count()), ("", 1));
}

#[test]
fn one_that_hears_nothing_for_a_second_is_waited_for() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.program(example("classic"));
    command.args(["-p", "status/app", "./service", "ready"]);
    sandbox.run(command).expect_code(0);
    let service = sandbox.until_ready();
    sandbox.take_over("ready").expect_code(0);
    assert_eq!((sandbox.record().pid, sandbox.value("adopted").as_deref()), (Some(service), Some("yes")));
}

#[test]
fn our_own_svalarm_is_no_child_that_counts() {
    let sandbox = Sandbox::new();
    // A server that takes the connection and says nothing.
    let server = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = server.local_addr().expect("it is bound").port();
    sandbox.write_conf(&ALARMED.replace("127.0.0.1:1", &format!("127.0.0.1:{port}")));
    sandbox.start("ready", &[]);
    let first = sandbox.until_ready();
    signal(first, Signal::SIGKILL);
    let service = sandbox.until_ready_after(first);
    let _connection = server.accept().expect("svalarm delivers");
    let old = sandbox.supervise_pid();
    let children = sandbox.processes().into_iter().filter(|pid| process_stat(*pid).is_some_and(|it| it.parent == old));
    assert_eq!(children.count(), 2);
    sandbox.take_over("ready").expect_code(0);
    assert_eq!((sandbox.record().pid, alive(old)), (Some(service), false));
}

#[test]
fn one_that_was_stopped_before_is_taken_over_too() {
    let sandbox = Sandbox::new();
    let classic = sandbox.start_classic(&[], "ready");
    let service = sandbox.until_ready();
    signal(classic, Signal::SIGSTOP);
    eventually(&sandbox, "it is stopped", || process_stat(classic).is_some_and(|stat| stat.state == 'T'));
    signal(classic, Signal::SIGCONT);
    eventually(&sandbox, "its poll is a restarted call", || {
        let text = fs::read_to_string(format!("/proc/{classic}/syscall")).unwrap_or_default();
        text.starts_with(&format!("{} ", libc::SYS_restart_syscall)) || text.starts_with(&libc::SYS_ppoll.to_string())
    });
    sandbox.take_over("ready").expect_code(0);
    assert_eq!((sandbox.record().pid, alive(classic)), (Some(service), false));
}

#[test]
fn our_own_is_replaced_with_all_that_it_knows_also_twice() {
    let sandbox = Sandbox::new();
    sandbox.write_conf(&format!("{ALARMED}max_tries : 3\n"));
    sandbox.start("from 2 starts line starts exit 3", &[]);
    let mut service = sandbox.until_ready();
    sandbox.until_value("window_exits", "2");
    let before = sandbox.state();
    for _ in 0..2 {
        let old = sandbox.supervise_pid();
        sandbox.until_waiting(old);
        let output = sandbox.take_over("from 2 starts line starts exit 3").expect_code(0);
        assert_eq!((output.stderr.as_str(), alive(old)), ("", false));
        let after = sandbox.state();
        for key in ["starts", "exits", "window_opened", "window_exits", "last_exit", "last_exit_at", "wanted", "alarms"]
        {
            assert_eq!(before[key], after[key], "{key}");
        }
        assert_eq!((sandbox.record().pid, after["adopted"].as_str()), (Some(service), "yes"));
    }
    signal(service, Signal::SIGKILL);
    service = sandbox.until_ready_after(service);
    signal(service, Signal::SIGKILL);
    sandbox.until_ended();
    assert_eq!(sandbox.value("state").as_deref(), Some("gave-up"));
}

#[test]
fn our_own_with_a_service_that_is_down_is_replaced() {
    let sandbox = Sandbox::new();
    sandbox.start("line starts ready", &[]);
    sandbox.until_ready();
    sandbox.write_control(b"ds");
    sandbox.until_state("down");
    let old = sandbox.supervise_pid();
    sandbox.take_over("line starts ready").expect_code(0);
    assert!(!alive(old));
    assert_eq!((sandbox.record().wanted, sandbox.record().alarms), (b'd', b'x'));
    assert_eq!((sandbox.count("starts"), sandbox.count("exits")), (1, 1));
}

/// A service that nobody supervises, and a record of it as the classic program would have left it.
#[track_caller]
fn left_alone(sandbox: &Sandbox, actions: &str) -> Pid {
    let classic = sandbox.start_classic(&[], actions);
    let service = sandbox.until_ready();
    signal(classic, Signal::SIGKILL);
    sandbox.until_dead(classic);
    eventually(sandbox, "the lock is free", || sandbox.lock_is_free());
    service
}

#[test]
fn without_a_holder_a_living_process_that_the_record_names_is_adopted() {
    let sandbox = Sandbox::new();
    let service = left_alone(&sandbox, "line starts ready");
    sandbox.take_over("line starts ready").expect_code(0);
    assert_eq!((sandbox.record().pid, sandbox.value("adopted").as_deref()), (Some(service), Some("yes")));
    assert_eq!(sandbox.read("starts").lines().count(), 1);
}

#[test]
fn a_process_that_was_started_at_another_time_is_a_stranger() {
    for seconds in [-3_i64, 3] {
        let sandbox = Sandbox::new();
        let stranger = left_alone(&sandbox, "line starts ready");
        let mut record = fs::read(sandbox.file("status")).expect("it is there");
        let label = i64::from_be_bytes(record[..8].try_into().expect("eight")) + seconds;
        record[..8].copy_from_slice(&label.to_be_bytes());
        fs::write(sandbox.file("status"), record).expect("the sandbox is writable");
        sandbox.take_over("line starts ready").expect_code(0).expect_stderr(&["started at another time"]);
        let service = sandbox.until_ready_after(stranger);
        assert_eq!((sandbox.record().pid, sandbox.value("adopted").as_deref()), (Some(service), Some("no")));
        assert!(alive(stranger), "nothing was done to it");
    }
}

#[test]
fn without_a_holder_and_a_living_service_it_is_an_ordinary_start() {
    let sandbox = Sandbox::new();
    sandbox.take_over("line starts ready").expect_code(0);
    sandbox.until_ready();
    let state = sandbox.state();
    assert_eq!((state["adopted"].as_str(), state["starts"].as_str(), sandbox.warnings().as_str()), ("no", "1", ""));
    let sandbox = Sandbox::new();
    let service = left_alone(&sandbox, "line starts ready");
    signal(service, Signal::SIGKILL);
    eventually(&sandbox, "it is gone", || process_stat(service).is_none());
    sandbox.take_over("line starts ready").expect_code(0);
    sandbox.until_ready_after(service);
    assert_eq!((sandbox.value("adopted").as_deref(), sandbox.count("exits")), (Some("no"), 0));
}

#[test]
fn our_own_claim_counts_for_more_than_the_record() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\npacing : 0.1\n");
    sandbox.start("from 1 starts line starts exit 3", &[]);
    let service = sandbox.until_ready();
    sandbox.until_value("starts", "2");
    sandbox.write_control(b"s");
    sandbox.until_value("alarms", "no");
    sandbox.kill_supervise();
    sandbox.take_over("ready").expect_code(0);
    assert_eq!((sandbox.record().pid, sandbox.record().alarms), (Some(service), b'x'));
    assert_eq!((sandbox.count("starts"), sandbox.count("exits")), (2, 1));
}

#[test]
fn kill_mode_group_is_the_group_that_the_service_is_in() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\nkill_mode : group\npacing : 0.1\n");
    let classic = sandbox.start_classic(&[], "ignore TERM child ready");
    let service = sandbox.until_ready();
    let child: Pid =
        sandbox.stdout().lines().find_map(|line| line.strip_prefix("child ")?.parse().ok()).expect("a child");
    assert_eq!(process_stat(service).expect("it lives").group, classic, "it leads no group of its own");
    sandbox.take_over("ignore TERM child ready").expect_code(0);
    sandbox.write_control(b"p");
    eventually(&sandbox, "the child is stopped", || process_stat(child).is_some_and(|stat| stat.state == 'T'));
    sandbox.write_control(b"c");
    signal(service, Signal::SIGKILL);
    let second = sandbox.until_ready_after(service);
    sandbox.until_dead(child);
    assert_eq!(process_stat(second).expect("it lives").group, second);
}

#[test]
fn the_group_of_supervise_itself_is_never_meant() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\nkill_mode : group\npacing : 0.1\n");
    fs::create_dir_all(sandbox.status_path()).expect("the sandbox is writable");
    // A shell without job control: its children are in its own group, and so is what it executes.
    let mut shell: Command = sandbox.program("/bin/sh");
    shell.args(["-c", "./service line starts ready & echo $! > service-pid; read go < go; exec \"$@\"", "sh"]);
    shell.arg(crate::common::supervise_program());
    shell.args(["--take-over", "--foreground", "-p", "status/app", "-f", "./service line starts ready"]);
    nix::unistd::mkfifo(&sandbox.path("go"), nix::sys::stat::Mode::S_IRWXU).expect("the sandbox is writable");
    // SAFETY: setsid is async-signal-safe.
    unsafe { shell.pre_exec(|| nix::unistd::setsid().map(drop).map_err(Into::into)) };
    let mut supervise = sandbox.spawn(shell);
    let service: Pid =
        eventually_some(&sandbox, "the service is there", || sandbox.read("service-pid").trim().parse().ok());
    sandbox.until_lines("starts", 1);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time").as_secs();
    let mut record = [0; 20];
    record[..8].copy_from_slice(&((1_u64 << 62) + 10 + now).to_be_bytes());
    record[13..15].copy_from_slice(b"uo");
    record[16..].copy_from_slice(&service.to_le_bytes());
    fs::write(sandbox.file("status"), record).expect("the sandbox is writable");
    sandbox.write("go", "\n");
    sandbox.until_value("adopted", "yes");
    let group = |pid| process_stat(pid).expect("it lives").group;
    assert_eq!((group(service), group(supervise.pid())), (supervise.pid(), supervise.pid()));
    sandbox.write_control(b"k");
    sandbox.until_lines("starts", 2);
    sandbox.until_exits(1);
    sandbox.until_value("adopted", "no");
    assert!(!alive(service) && supervise.runs());
}
