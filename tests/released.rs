//! What the last release wrote can be read: `tests/fixtures/VERSION` holds the claim, the long record and the hand-over
//! of a supervise of that version, whose service had crashed twice and whose alarm is still owed (rule 21.8).
//!
//! With each release a folder is added here, and none is changed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::common::{Sandbox, alive, eventually, supervise_program};

const VERSIONS: [&str; 1] = ["0.1.0"];

fn fixture(version: &str, name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(version).join(name)
}

/// A sandbox whose status directory looks like that of a supervise of this version.
#[track_caller]
fn left_by(version: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.status_path()).expect("the sandbox is writable");
    for name in ["claim", "state"] {
        fs::copy(fixture(version, name), sandbox.file(name)).expect("the sandbox is writable");
    }
    sandbox
}

/// What this version answers to the supervise that left the fixture.
#[track_caller]
fn answer(sandbox: &Sandbox, hand_over: &Path) -> String {
    let mut command = sandbox.program(supervise_program());
    command.args(["--can-go-on", "-p", "status/app", "-f", "./service ready"]);
    command.stdin(File::open(hand_over).expect("it is there")).stdout(Stdio::piped());
    let output = command.output().expect("it runs");
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn this_version_can_go_on_where_released_ones_stand() {
    for version in VERSIONS {
        let sandbox = left_by(version);
        sandbox.write_conf("[app]\npacing : 0.1\n");
        assert_eq!(answer(&sandbox, &fixture(version, "hand-over")), "supervise upgrade 1: yes\n", "{version}");
    }
}

#[test]
fn what_it_can_not_read_is_a_no() {
    let sandbox = left_by("0.1.0");
    sandbox.write_conf("[app]\npacing : 0.1\n");
    let no = |reason: &str| format!("supervise upgrade 1: no: {reason}\n");
    let hand_over = fs::read(fixture("0.1.0", "hand-over")).expect("it is there");
    let claim = fs::read(fixture("0.1.0", "claim")).expect("it is there");
    let later = |bytes: &[u8], what: &str| {
        let at = bytes.windows(what.len()).position(|there| there == what.as_bytes()).expect("it is there");
        let mut bytes = bytes.to_vec();
        bytes[at + what.len() - 1] = b'2';
        bytes
    };
    for what in ["supervise claim 1", "supervise hand-over 1"] {
        sandbox.write("handed", later(&hand_over, what));
        assert_eq!(answer(&sandbox, &sandbox.path("handed")), no("it can't read what is handed over"));
    }
    sandbox.write("status/app/claim", later(&claim, "supervise claim 1"));
    let hand_over = fixture("0.1.0", "hand-over");
    assert_eq!(answer(&sandbox, &hand_over), no("it can't read status/app/claim"));
    sandbox.write("status/app/claim", claim);
    sandbox.write("supervise.conf", "[app]\npacing : soon\n");
    assert!(answer(&sandbox, &hand_over).starts_with(&no("supervise.conf:2: pacing").trim_end().to_owned()));
}

/// The claim of the fixture, but about this process of this boot: what only its own time could know.
#[track_caller]
fn about(claim: &[u8], pid: i32) -> Vec<u8> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("there is /proc");
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
    let ticks: u64 =
        stat[stat.rfind(')').expect("a name")..].split(' ').nth(20).and_then(|it| it.parse().ok()).expect("a time");
    let started = ticks * 10_000_000; // USER_HZ is 100 on all that Linux runs on
    let text = String::from_utf8(claim.to_vec()).expect("text");
    let mut lines = Vec::new();
    for line in text.split_once("\nend\n").expect("an end").0.lines() {
        lines.push(match line.split(' ').next() {
            Some("pid") => format!("pid {pid:020}"),
            Some("until") => format!("until {started:020}"),
            Some("from") => format!("from {started}"),
            Some("boot") => format!("boot {}", boot.trim()),
            _ => line.to_owned(),
        });
    }
    let summed = format!("{}\nend\n", lines[2..].join("\n"));
    // FNV-1a, 64 bits.
    let sum = summed
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mut bytes = format!("{}\nsum {sum:020}\n{summed}", lines[0]).into_bytes();
    bytes.resize(claim.len(), b'\n');
    bytes
}

#[test]
fn the_service_of_a_released_version_is_adopted_with_all_that_it_knew() {
    for version in VERSIONS {
        let sandbox = left_by(version);
        sandbox.write_conf(&crate::adoption::ALARMED.replace(": 60", ": 600"));
        let mut service = sandbox.program("./service").arg("wait").spawn().expect("it runs");
        let pid = i32::try_from(service.id()).expect("a pid fits");
        let claim = fs::read(fixture(version, "claim")).expect("it is there");
        sandbox.write("status/app/claim", about(&claim, pid));
        sandbox.start("ready", &[]);
        let state = sandbox.state();
        assert_eq!((sandbox.record().pid, state["adopted"].as_str()), (Some(pid), "yes"), "{version}");
        assert_eq!((state["starts"].as_str(), state["exits"].as_str(), state["alarms"].as_str()), ("3", "2", "no"));
        assert_eq!((state["last_exit"].as_str(), state["last_exit_expected"].as_str()), ("code 3", "no"));
        eventually(&sandbox, "the alarm that was owed is in the spool", || sandbox.alarms().len() == 1);
        assert!(alive(pid));
        service.kill().and_then(|()| service.wait()).expect("it is ours");
    }
}
