//! The status record and the long record: every byte and key, and that no reader ever sees half of one.

use std::fs;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::signal::Signal;

use crate::common::{
    Pid, Record, STATE_KEYS, Sandbox, decode_record, eventually, eventually_some, process_stat, signal, skip,
};
use crate::svc_view::svc_command;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_secs()
}

#[test]
fn the_record_is_20_bytes_with_the_pid_where_od_looks_for_it() {
    let sandbox = Sandbox::new();
    let before = now();
    sandbox.start("ready", &[]);
    let service = sandbox.until_ready();
    let bytes = fs::read(sandbox.file("status")).expect("the record is there");
    assert_eq!(bytes.len(), 20);
    let record = sandbox.record();
    assert!((before..=now()).contains(&record.seconds), "{record:?} since {before}");
    assert!(record.nanoseconds < 1_000_000_000);
    assert_eq!((record.paused, record.wanted, record.alarms, record.zero), (0, b'u', b'o', 0));
    assert_eq!(bytes[16..20], service.to_le_bytes());
    let od = Command::new("od").args(["-An", "-j16", "-N4", "-tu4"]).arg(sandbox.file("status")).output();
    let Ok(od) = od else { return skip("od is not installed") };
    assert_eq!(String::from_utf8_lossy(&od.stdout).trim(), service.to_string());
}

/// Who opens the file that supervise is just writing the next record to.
#[test]
fn a_record_that_is_leased_is_waited_for() {
    let sandbox = Sandbox::new();
    sandbox.start("ready", &[]);
    sandbox.until_ready();
    let held = fs::File::options().write(true).open(sandbox.file("status")).expect("the record is there");
    // SAFETY: system calls on a descriptor that is open. URG is ignored where nobody asks for it.
    let lease = |command, argument: libc::c_int| unsafe { libc::fcntl(held.as_raw_fd(), command, argument) };
    const F_SETSIG: libc::c_int = 10; // libc does not have it
    assert_eq!(lease(F_SETSIG, libc::SIGURG), 0);
    if lease(libc::F_SETLEASE, libc::F_WRLCK) != 0 {
        return skip("this file system has no leases");
    }
    let client = sandbox.spawn(svc_command(&sandbox, &["status", "app"]));
    eventually(&sandbox, "it is opened", || lease(libc::F_GETLEASE, 0) != libc::F_WRLCK);
    assert_eq!(lease(libc::F_SETLEASE, libc::F_UNLCK), 0);
    client.wait().expect_code(0);
}

#[test]
fn the_record_tells_wants_flags_and_a_service_that_is_down() {
    let sandbox = Sandbox::new();
    sandbox.start("ready", &[]);
    let first = sandbox.until_ready();
    let flags = |what: &str, paused: u8, wanted: u8, alarms: u8| {
        eventually(&sandbox, what, || {
            let record = sandbox.record();
            (record.paused, record.wanted, record.alarms, record.zero) == (paused, wanted, alarms, 0)
        });
    };
    sandbox.write_control(b"s");
    flags("alarms are off", 0, b'u', b'x');
    sandbox.write_control(b"p");
    flags("paused", 1, b'u', b'x');
    let started = sandbox.record();
    sandbox.write_control(b"n");
    flags("alarms are on", 1, b'u', b'o');
    let stamp = |record: &Record| (record.seconds, record.nanoseconds);
    assert_eq!(stamp(&sandbox.record()), stamp(&started), "the stamp is that of the pid");
    sandbox.write_control(b"d");
    flags("wanted down", 0, b'd', b'o');
    sandbox.until_down();
    assert_eq!(sandbox.record().paused, 0, "what is down is not paused");
    sandbox.write_control(b"o");
    flags("once", 0, 0, b'o');
    sandbox.until_ready_after(first);
}

#[test]
fn the_stamp_changes_with_the_pid() {
    let sandbox = Sandbox::new();
    sandbox.start("ready", &[]);
    let first = sandbox.until_ready();
    let before = sandbox.record();
    sandbox.write_control(b"k");
    sandbox.until_ready_after(first);
    let after = sandbox.record();
    assert!((before.seconds, before.nanoseconds) < (after.seconds, after.nanoseconds), "{before:?} {after:?}");
    sandbox.write_control(b"s");
    sandbox.until_value("alarms", "no");
    assert_eq!(sandbox.record(), Record { alarms: b'x', ..after.clone() }, "the pid did not change");
    sandbox.write_control(b"d");
    sandbox.until_down();
    let down = sandbox.record();
    assert!((after.seconds, after.nanoseconds) < (down.seconds, down.nanoseconds), "{after:?} {down:?}");
}

/// None where the text is a whole long record, else what is wrong with it.
fn fault_in_state(text: &str) -> Option<String> {
    if !text.ends_with('\n') {
        return Some("the last line is not ended".to_owned());
    }
    let mut last = None;
    let mut found = Vec::new();
    for line in text.lines() {
        let Some((key, _)) = line.split_once(" :") else { return Some(format!("not `key : value`: {line:?}")) };
        let place = STATE_KEYS.iter().position(|known| *known == key);
        if place.is_some() {
            if place <= last {
                return Some(format!("{key} is out of its order"));
            }
            last = place;
            found.push(key);
        }
    }
    let always = [
        "module",
        "supervise",
        "version",
        "command",
        "state",
        "since",
        "wanted",
        "paused",
        "alarms",
        "adopted",
        "starts",
        "exits",
        "undelivered",
    ];
    always.iter().find(|key| !found.contains(key)).map(|key| format!("{key} is missing"))
}

#[test]
fn a_reader_in_a_tight_loop_never_sees_less_than_a_whole_record() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\npacing : 0.1\n");
    sandbox.start("exit 3", &[]);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0;
            while !done.load(Ordering::Relaxed) {
                let bytes = fs::read(sandbox.file("status")).map_err(|e| format!("status: {e}"))?;
                let record = decode_record(&bytes).ok_or_else(|| format!("status: {bytes:02x?}"))?;
                if record.wanted != b'u' || record.alarms != b'o' || record.zero != 0 {
                    return Err(format!("status: {record:?}"));
                }
                let text = fs::read_to_string(sandbox.file("state")).map_err(|e| format!("state: {e}"))?;
                if let Some(fault) = fault_in_state(&text) {
                    return Err(format!("state: {fault}\n{text}"));
                }
                reads += 1;
            }
            Ok(reads)
        });
        eventually(&sandbox, "20 starts, or the reader saw a fault", || {
            reader.is_finished() || sandbox.text("state").contains("starts : 20\n")
        });
        done.store(true, Ordering::Relaxed);
        let reads = reader.join().expect("the reader does not panic").unwrap_or_else(|fault| panic!("{fault}"));
        assert!(reads > 100, "only {reads} reads");
    });
}

#[test]
fn the_long_record_has_its_keys_in_their_order() {
    let sandbox = Sandbox::new();
    let before = now();
    sandbox.write_conf("[app]\nalarm_interval : 60\npacing : 0.1\n");
    sandbox.start("from 1 count line count exit 3", &["-F", "supervise.conf"]);
    let service = sandbox.until_ready();
    sandbox.until_value("exits", "1");
    sandbox.until_value("pid", &service.to_string());
    let text = sandbox.text("state");
    assert_eq!(fault_in_state(&text), None, "{text}");
    let state = sandbox.state();
    for (key, value) in [
        ("module", "app"),
        ("version", env!("CARGO_PKG_VERSION")),
        ("state", "up"),
        ("wanted", "up"),
        ("paused", "no"),
        ("command", "./service from 1 count line count exit 3"),
        ("alarms", "yes"),
        ("adopted", "no"),
        ("last_exit", "code 3"),
        ("last_exit_expected", "no"),
        ("starts", "2"),
        ("exits", "1"),
        ("window_exits", "1"),
        ("window_coredumps", "0"),
        ("undelivered", "0"),
    ] {
        assert_eq!(state.get(key).map(String::as_str), Some(value), "{key} in\n{text}");
    }
    assert_eq!(state["supervise"], sandbox.supervise_pid().to_string());
    assert!(state["conf"].ends_with("supervise.conf"), "{text}");
    for key in ["conf_read", "since", "last_exit_at", "window_opened"] {
        let (seconds, fraction) = state[key].split_once('.').unwrap_or_else(|| panic!("{key} in\n{text}"));
        let seconds: u64 = seconds.parse().unwrap_or_else(|_| panic!("{key} in\n{text}"));
        assert!((before..=now()).contains(&seconds) && fraction.len() == 9, "{key} in\n{text}");
    }
    let ran: f64 = state["last_ran"].parse().expect("seconds");
    assert!((0.0..60.0).contains(&ran));
}

#[test]
fn the_long_record_escapes_control_bytes_and_backslashes() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(&["-p", "status/app", "./service", "out"]);
    command.args(["a\\b\nstate : down\u{7f}\u{e9}", "ready"]);
    sandbox.run(command).expect_code(0);
    sandbox.until_ready();
    sandbox.until_state("up");
    let shown = sandbox.value("command").expect("the command is there");
    assert!(shown.contains("a\\x5cb\\x0astate : down\\x7f\u{e9}"), "{shown}");
    assert_eq!(sandbox.value("state").as_deref(), Some("up"));
}

#[test]
fn the_long_record_names_how_the_service_ended() {
    for (actions, expected) in [("exit 0", "code 0"), ("exit 255", "code 255"), ("kill SEGV", "signal SEGV")] {
        let sandbox = Sandbox::new();
        sandbox.start(&format!("from 1 count line count {actions}"), &[]);
        sandbox.until_ready();
        sandbox.until_value("last_exit", expected);
    }
}

#[test]
fn the_long_record_names_a_failed_exec_in_the_words_it_promises() {
    let sandbox = Sandbox::new();
    sandbox.background(&["-p", "status/app", "-f", "./missing"]).expect_code(0);
    eventually(&sandbox, "it counts as an exit", || sandbox.count("exits") >= 1);
    let last = sandbox.value("last_exit").expect("there was an exit");
    let promised = last == "unknown" || last.starts_with("code ") || last.starts_with("signal ");
    assert!(promised, "last_exit : {last}");
}

#[test]
fn restarts_leave_no_descriptor_and_no_child_behind() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\npacing : 0.1\nalarm_interval : 60\n");
    sandbox.start("exit 3", &["-F", "supervise.conf", "-r", "./service exit 0"]);
    let supervise = sandbox.supervise_pid();
    // A quiet moment: the service is down, and every child that was ever there has been waited for.
    let quiet = |starts: u64| {
        eventually(&sandbox, &format!("{starts} starts"), || sandbox.count("starts") >= starts);
        sandbox.write_control(b"d");
        sandbox.until_state("down");
        eventually(&sandbox, "supervise has no children, dead or alive", || {
            all_processes().all(|pid| parent(pid) != Some(supervise))
        });
        fs::read_dir(format!("/proc/{supervise}/fd")).expect("it lives").count()
    };
    let before = quiet(2);
    for log in ["supervise.log", "supervise.log.wf"] {
        let _ = fs::rename(sandbox.file(log), sandbox.file("renamed"));
    }
    sandbox.write_control(b"r?rsnu");
    let after = quiet(sandbox.count("starts") + 12);
    assert!(after <= before, "{before} descriptors, then {after}");
}

fn all_processes() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").expect("/proc is mounted").flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn parent(pid: Pid) -> Option<Pid> {
    process_stat(pid).map(|stat| stat.parent)
}

#[test]
fn the_long_record_follows_a_life() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\npacing : 3600\n");
    sandbox.start("ignore TERM ready until USR1 exit 3", &[]);
    let service = sandbox.until_ready();
    sandbox.until_state("up");
    assert_eq!(sandbox.value("next_start"), None);
    signal(service, Signal::SIGUSR1);
    sandbox.until_state("pacing");
    let next: f64 = sandbox.value("next_start").expect("it is pacing").parse().expect("seconds");
    assert!((3500.0..3700.0).contains(&(next - now() as f64)), "{next}");
    assert!(!sandbox.state().contains_key("pid") || sandbox.count("pid") == 0, "{:?}", sandbox.state());
    sandbox.write_control(b"u");
    let service = sandbox.until_ready_after(service);
    sandbox.until_state("up");
    sandbox.write_control(b"p");
    sandbox.until_value("paused", "yes");
    signal(service, Signal::SIGKILL);
    sandbox.until_state("pacing");
    assert_eq!(sandbox.value("paused").as_deref(), Some("no"), "what is down is not paused");
    sandbox.write_control(b"u");
    let service = sandbox.until_ready_after(service);
    sandbox.write_control(b"s");
    sandbox.until_value("alarms", "no");
    sandbox.write_control(b"d");
    sandbox.until_state("stopping");
    sandbox.until_value("wanted", "down");
    signal(service, Signal::SIGKILL);
    sandbox.until_state("down");
    assert_eq!(sandbox.value("last_exit_expected").as_deref(), Some("yes"));
    sandbox.write_control(b"o");
    sandbox.until_ready_after(service);
    sandbox.until_value("wanted", "once");
    sandbox.until_value("starts", "4");
}

#[test]
fn since_is_the_time_at_which_the_state_began() {
    let sandbox = Sandbox::new();
    sandbox.start("ready signals", &[]);
    sandbox.until_ready();
    let since = || sandbox.value("since").and_then(|at| at.parse::<f64>().ok()).expect("seconds");
    let mut before = since();
    sandbox.write_control(b"s");
    sandbox.until_value("alarms", "no");
    assert!((since() - before).abs() < 1e-9, "the state is the same");
    for (byte, state) in [(b"d", "stopping"), (b"k", "down"), (b"u", "up")] {
        sandbox.write_control(byte);
        sandbox.until_state(state);
        assert!(since() > before, "{state} since {}, and {before}", since());
        before = since();
    }
}

#[test]
fn undelivered_counts_the_alarms_that_wait() {
    let sandbox = Sandbox::new();
    sandbox.write_conf(crate::adoption::ALARMED);
    sandbox.start("ready", &[]);
    sandbox.until_value("undelivered", "0");
    let service = sandbox.until_ready();
    // Its svalarm is held, so that only the alarm itself is counted.
    let spool = fs::File::open(sandbox.file("alarms")).expect("a folder");
    let _held = nix::fcntl::Flock::lock(spool, nix::fcntl::FlockArg::LockExclusiveNonblock).expect("nobody has it");
    signal(service, Signal::SIGKILL);
    sandbox.until_value("undelivered", "1");
    // It counts from the moment it is owed, which is before its file is there.
    eventually(&sandbox, "the alarm is stored", || sandbox.alarms().len() == 1);
    sandbox.until_value("undelivered", "1");
}

#[test]
fn what_one_write_changes_is_published_once() {
    let sandbox = Sandbox::new();
    sandbox.start("ready signals", &[]);
    sandbox.until_ready();
    sandbox.until_state("up");
    // A user has few of them, and each supervise of each test takes one.
    let watch = eventually_some(&sandbox, "there is a watch left", || {
        Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).ok()
    });
    watch.add_watch(sandbox.status_path(), AddWatchFlags::IN_MOVED_TO).expect("a watch");
    sandbox.write_control(b"snspcp");
    sandbox.until_value("paused", "yes");
    sandbox.until_value("alarms", "no");
    sandbox.write_control(b"?");
    sandbox.until_warned("unknown byte");
    let events = watch.read_events().expect("events");
    let placed = |name: &str| events.iter().filter(|event| event.name.as_deref() == Some(name.as_ref())).count();
    assert_eq!((placed("status"), placed("state")), (1, 1), "{events:?}");
}
