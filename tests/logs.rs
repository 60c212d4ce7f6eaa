//! supervise.log and supervise.log.wf: the form of a line, what goes where, and what happens to the files.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::bad_days::fill;
use crate::common::{Sandbox, eventually, skip, with_status_on_a_small_disk};

/// One line, taken apart: `[LEVEL] 2026-11-21 01:25:00  text`.
struct Line {
    level: String,
    /// The time it shows, as if that were UTC: Unix seconds.
    time: i64,
    text: String,
}

#[track_caller]
fn take_apart(line: &str) -> Line {
    let fault = || panic!("not a line of a log: {line:?}");
    let (level, rest) = line.strip_prefix('[').and_then(|rest| rest.split_once("] ")).unwrap_or_else(fault);
    let (stamp, text) = rest.split_at_checked(19).unwrap_or_else(|| panic!("not a line of a log: {line:?}"));
    let text = text.strip_prefix("  ").unwrap_or_else(|| panic!("two blanks after the time: {line:?}"));
    assert!(!text.is_empty() && !text.starts_with(' '), "{line:?}");
    for (i, byte) in stamp.bytes().enumerate() {
        let right = match i {
            4 | 7 => byte == b'-',
            10 => byte == b' ',
            13 | 16 => byte == b':',
            _ => byte.is_ascii_digit(),
        };
        assert!(right, "the time in {line:?}");
    }
    let number = |from: usize, to: usize| stamp[from..to].parse().expect("digits");
    let fields = (number(0, 4), number(5, 7), number(8, 10), number(11, 13), number(14, 16), number(17, 19));
    // SAFETY: zeros are a valid tm.
    let mut broken_down: libc::tm = unsafe { std::mem::zeroed() };
    (broken_down.tm_year, broken_down.tm_mon, broken_down.tm_mday) = (fields.0 - 1900, fields.1 - 1, fields.2);
    (broken_down.tm_hour, broken_down.tm_min, broken_down.tm_sec) = (fields.3, fields.4, fields.5);
    // SAFETY: timegm reads and normalises the tm it is given.
    let time = unsafe { libc::timegm(&mut broken_down) };
    Line { level: level.to_owned(), time, text: text.to_owned() }
}

fn unix_time() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_secs() as i64
}

/// A life with something of everything: exits, a failed exec, a hook, an unknown byte, a conf read twice, a give-up.
fn eventful_life(sandbox: &Sandbox, zone: &str) {
    let conf = "[app]\nalarm_interval : 60\nmax_tries : 2\npacing : 0.1\nalarm_mail : nobody@example.invalid\n\
                mail_transport : smtp://127.0.0.1:1\nno separator\n";
    sandbox.write_conf(conf);
    let mut command = sandbox.command(&["-p", "status/app", "-f", "./service until USR1 exit 3"]);
    command.args(["-F", "supervise.conf", "-r", "./service exit 0"]).env("TZ", zone);
    sandbox.run(command).expect_code(0);
    sandbox.write_control(b"?r");
    sandbox.until_warned("[WARNING]");
    for exits in 1..=3 {
        eventually(sandbox, "up again", || sandbox.count("starts") == exits && sandbox.service_pid().is_some());
        sandbox.write_control(b"1");
        eventually(sandbox, "one more exit", || sandbox.count("exits") == exits);
    }
    sandbox.until_state("gave-up");
    sandbox.until_ended();
}

#[test]
fn every_line_has_its_form_and_stands_in_the_file_of_its_level() {
    let sandbox = Sandbox::new();
    eventful_life(&sandbox, "UTC0");
    assert!(sandbox.log().lines().count() >= 4, "{}", sandbox.log());
    for line in sandbox.log().lines() {
        assert_eq!(take_apart(line).level, "NOTICE", "{line}");
    }
    for line in sandbox.warnings().lines() {
        assert!(["WARNING", "FATAL"].contains(&take_apart(line).level.as_str()), "{line}");
    }
    assert!(sandbox.log().ends_with('\n') && sandbox.warnings().ends_with('\n'));
}

#[test]
fn times_are_local() {
    for (zone, east_of_utc) in [("UTC0", 0), ("ABC-5:30", 19_800), ("XYZ3", -10_800)] {
        let sandbox = Sandbox::new();
        let before = unix_time();
        eventful_life(&sandbox, zone);
        let range = before + east_of_utc..=unix_time() + east_of_utc;
        for line in sandbox.log().lines().chain(sandbox.warnings().lines()) {
            assert!(range.contains(&take_apart(line).time), "{line} in {zone}, {range:?}");
        }
    }
}

#[test]
fn the_classic_texts_stay_recognisable() {
    let sandbox = Sandbox::new();
    eventful_life(&sandbox, "UTC0");
    let (log, warnings) = (sandbox.log(), sandbox.warnings());
    for text in ["Finished loading configurations!", "service exited!", "supervise is trying to restart app..."] {
        assert!(log.contains(text), "{text} in {log}");
    }
    let refused = "supervise refused to restart app any more and exited itself!";
    let lines = |text: &str, level: &str| {
        let wanted = |line: &&str| line.starts_with(&format!("[{level}] ")) && line.contains(refused);
        text.lines().filter(wanted).count()
    };
    assert_eq!(lines(&log, "NOTICE"), 1, "{log}");
    assert_eq!(lines(&warnings, "FATAL"), 1, "{warnings}");
}

/// Whether a service that is killed by SIGSEGV leaves a core here, as far as the kernel says.
fn cores_are_made(sandbox: &Sandbox) -> bool {
    let mut command = sandbox.program(sandbox.path("service"));
    command.args(["core", "kill", "SEGV"]);
    command.status().expect("the service runs").core_dumped()
}

#[test]
fn a_coredump_is_named_in_the_log_and_in_the_long_record() {
    let sandbox = Sandbox::new();
    if !cores_are_made(&sandbox) {
        return skip("no core is made here: the hard limit is 0, or core_pattern leads nowhere");
    }
    sandbox.start("from 1 count line count core kill SEGV", &[]);
    sandbox.until_ready();
    sandbox.until_value("last_exit", "signal SEGV core");
    eventually(&sandbox, "the log has it", || {
        format!("{}{}", sandbox.log(), sandbox.warnings()).contains("service exited with coredump!")
    });
}

#[test]
fn an_alarm_is_a_message_file_and_a_notice_says_so() {
    let sandbox = Sandbox::new();
    sandbox.write_conf(
        "[app]\nalarm_interval : 60\nalarm_mail : nobody@example.invalid\nmail_transport : smtp://127.0.0.1:1\n",
    );
    sandbox.start("from 1 count line count exit 3", &[]);
    sandbox.until_ready();
    eventually(&sandbox, "the message file is there", || sandbox.alarms().len() == 1);
    sandbox.until_logged("alarm");
    let message = fs::read(&sandbox.alarms()[0]).expect("a message file");
    assert!(String::from_utf8_lossy(&message).contains("Service app exited!"));
}

#[test]
fn a_failed_exec_is_a_fatal_line_with_the_file_and_the_reason() {
    let sandbox = Sandbox::new();
    sandbox.background(&["-p", "status/app", "-f", "./missing"]).expect_code(0);
    let named = |line: &str| {
        line.starts_with("[FATAL] ") && line.contains("./missing") && line.contains("No such file or directory")
    };
    eventually(&sandbox, "the line is there", || sandbox.warnings().lines().any(named));
}

#[test]
fn text_from_outside_stays_on_its_line() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(&["-p", "status/app", "./missing\n[FATAL] 2026-11-21 01:25:00  forged"]);
    command.arg("\u{1b}[31m");
    sandbox.run(command).expect_code(0);
    sandbox.until_warned("[FATAL]");
    for line in sandbox.log().lines().chain(sandbox.warnings().lines()) {
        assert!(!take_apart(line).text.starts_with("forged"), "{line}");
        assert!(!line.contains('\u{1b}'), "{line:?}");
    }
}

#[test]
fn unknown_bytes_of_one_turn_are_one_warning_with_their_number() {
    let sandbox = Sandbox::new();
    sandbox.start("ready", &[]);
    sandbox.until_ready();
    sandbox.write_control(b"?!\n\0 ZZZ");
    sandbox.until_warned("[WARNING]");
    sandbox.write_control(b"dx");
    sandbox.until_ended();
    let warnings = sandbox.warnings();
    assert_eq!(warnings.lines().count(), 1, "{warnings}");
    assert!(take_apart(warnings.trim_end()).text.contains('5'), "{warnings}");
}

#[test]
fn a_log_that_is_removed_or_renamed_is_opened_anew_with_the_next_line() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\npacing : 0.1\n");
    sandbox.start("ready", &["-F", "supervise.conf"]);
    sandbox.until_ready();
    sandbox.until_logged("Finished loading configurations!");
    sandbox.write_control(b"?");
    sandbox.until_warned("[WARNING]");
    let first_warning = sandbox.warnings();
    fs::rename(sandbox.file("supervise.log.wf"), sandbox.file("renamed.wf")).expect("a rename");
    fs::remove_file(sandbox.file("supervise.log")).expect("it is there");
    sandbox.write_control(b"r");
    sandbox.until_logged("Finished loading configurations!");
    sandbox.write_control(b"??");
    sandbox.until_warned("[WARNING]");
    assert_eq!(sandbox.text("renamed.wf"), first_warning, "the renamed one gets no more");
    assert_eq!((sandbox.mode("supervise.log"), sandbox.mode("supervise.log.wf")), (0o600, 0o600));
    // And once more, with another file in its place.
    fs::rename(sandbox.file("supervise.log"), sandbox.file("renamed")).expect("a rename");
    sandbox.write("status/app/supervise.log", "");
    sandbox.write_control(b"r");
    sandbox.until_logged("Finished loading configurations!");
}

#[test]
fn logs_are_kept_over_the_lives_of_supervise() {
    let sandbox = Sandbox::new();
    let mut before = String::new();
    for _ in 0..3 {
        sandbox.start("ready", &[]);
        sandbox.until_ready();
        sandbox.write_control(b"dx");
        sandbox.until_ended();
        let log = sandbox.log();
        assert!(log.len() > before.len() && log.starts_with(&before), "{log}");
        before = log;
    }
}

/// The log named and all that was made of it, each with its size.
fn files_of(sandbox: &Sandbox, log: &str) -> Vec<(String, u64)> {
    let entries = fs::read_dir(sandbox.status_path()).expect("a status directory").flatten();
    let mut files: Vec<(String, u64)> = entries
        .map(|entry| {
            let size = entry.metadata().map_or(0, |meta| meta.len());
            (entry.file_name().to_string_lossy().into_owned(), size)
        })
        .filter(|(name, _)| name.starts_with(log) && (log.ends_with(".wf") || !name.starts_with("supervise.log.wf")))
        .collect();
    files.sort();
    files
}

#[test]
fn logs_are_kept_within_log_max_size_and_log_backups() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\nlog_max_size : 2k\nlog_backups : 2\n");
    sandbox.start("ready", &["-F", "supervise.conf"]);
    sandbox.until_ready();
    // A wave is one turn: it makes a NOTICE and a WARNING. The long record shows when it was obeyed.
    for wave in 0..150 {
        let read = sandbox.value("conf_read");
        sandbox.write_control(b"?r");
        eventually(&sandbox, &format!("wave {wave} is obeyed"), || sandbox.value("conf_read") != read);
    }
    for log in ["supervise.log", "supervise.log.wf"] {
        let files = files_of(&sandbox, log);
        assert_eq!(files.len(), 3, "the log and two old ones: {files:?}");
        for (name, size) in &files {
            assert!(*size <= 2048 + 512, "{name} has {size} bytes");
        }
        let text = sandbox.text(log);
        assert!(text.lines().all(|line| !take_apart(line).text.is_empty()), "{log}: {text}");
    }
    sandbox.write_control(b"dx");
    sandbox.until_ended();
}

#[test]
fn log_max_size_of_a_conf_that_is_read_again_holds_at_once() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\n");
    sandbox.start("ready", &["-F", "supervise.conf"]);
    sandbox.until_ready();
    sandbox.write_conf("[app]\nlog_max_size : 512\n");
    for wave in 0..10 {
        let read = sandbox.value("conf_read");
        sandbox.write_control(b"r");
        eventually(&sandbox, &format!("wave {wave} is obeyed"), || sandbox.value("conf_read") != read);
    }
    sandbox.write_control(b"dx");
    sandbox.until_ended();
    let files = files_of(&sandbox, "supervise.log");
    assert!(files.len() == 2 && files.iter().all(|(_, size)| *size <= 512), "{files:?}");
}

#[test]
fn without_backups_a_log_still_stays_within_its_size() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\nlog_max_size : 2k\nlog_backups : 0\n");
    sandbox.start("ready", &["-F", "supervise.conf"]);
    sandbox.until_ready();
    for wave in 0..80 {
        let read = sandbox.value("conf_read");
        sandbox.write_control(b"r");
        eventually(&sandbox, &format!("wave {wave} is obeyed"), || sandbox.value("conf_read") != read);
    }
    let files = files_of(&sandbox, "supervise.log");
    assert_eq!(files.len(), 1, "{files:?}");
    assert!(files[0].1 <= 2048 + 512, "{files:?}");
}

#[test]
fn what_a_full_disk_took_from_a_log_is_counted() {
    let sandbox = Sandbox::new();
    with_status_on_a_small_disk(&sandbox, 256, || {
        sandbox.start("ready", &[]);
        sandbox.until_ready();
        sandbox.until_state("up");
        // So that the log has a page, which is full in the middle of a line.
        sandbox.write_control(b"c");
        sandbox.until_logged("commands: c");
        let filler = fill(&sandbox.path("status"));
        // Each is a line of 42 bytes, so that these do not all fit into what is left of the last page.
        const COMMANDS: usize = 200;
        for number in 0..COMMANDS {
            let (byte, alarms) = if number % 2 == 0 { (b"s", "no") } else { (b"n", "yes") };
            sandbox.write_control(byte);
            sandbox.until_value("alarms", alarms);
        }
        fs::remove_file(filler).expect("it is there");
        sandbox.write_control(b"p");
        sandbox.until_logged("commands: p");
        let log = sandbox.log();
        let (before, behind) =
            log.split_once(" before this one are lost: No space left on device\n").expect("it is said");
        let said = before.lines().last().and_then(|line| line.strip_prefix("[NOTICE] ")?.split("  ").nth(1));
        let lost: usize = said.and_then(|said| said.strip_suffix(" lines")?.parse().ok()).expect("a number");
        assert!(behind.contains("  commands: p\n") && behind.lines().count() == 1, "{log}");
        let written = before.lines().filter(|line| line.ends_with("  commands: s") || line.ends_with("  commands: n"));
        // Of the one that was cut short all but its end may be there.
        let all = written.count() + lost;
        assert!((COMMANDS..=COMMANDS + 1).contains(&all) && lost > 50, "{lost} of {COMMANDS} are lost: {log}");
        assert!(log.lines().all(|line| "[NOTICE] ".starts_with(line) || line.starts_with("[NOTICE] ")), "{log}");
        let none_behind_a_torn_one = log.lines().all(|line| line.matches("[NOTICE] ").count() <= 1);
        assert!(none_behind_a_torn_one, "{log}");
        sandbox.write_control(b"u");
        sandbox.until_logged("commands: u");
        assert_eq!(sandbox.log().matches("lost").count(), 1, "it is said once: {}", sandbox.log());
    });
}

#[test]
fn a_command_comes_before_what_it_brings_about() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("");
    sandbox.background(&["-p", "status/app", "-F", "supervise.conf", "-f", "./service ready"]).expect_code(0);
    sandbox.until_ready();
    sandbox.write_control(b"r");
    sandbox.until_logged("commands: r");
    sandbox.write_control(b"d");
    sandbox.until_state("down");
    sandbox.write_control(b"x");
    sandbox.until_ended();
    let log = sandbox.log();
    let texts: Vec<&str> = log.lines().filter_map(|line| Some(line.split_once(' ')?.1.split_once("  ")?.1)).collect();
    for (command, effect) in
        [("commands: r", "Finished loading configurations!"), ("commands: x", "supervise exits, as asked for")]
    {
        let at = texts.iter().position(|text| *text == command).expect("it is logged");
        assert_eq!(texts[at + 1], effect, "{log}");
    }
}
