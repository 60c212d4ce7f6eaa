//! What a message says, to the letter.

use super::*;
use crate::policy::Exit;
use crate::statusdir::StderrMark;

fn debt(kind: AlarmKind) -> Debt {
    let ended = Ended::Signal { number: 11, core: false };
    let alarm = Alarm {
        kind,
        exit: Exit { pid: 42, ended, peak_kib: Some(1234), cpu_us: Some((1_500_000, 20_000)) },
        at: Stamp(1_795_224_300_000_000_000),
        ran: Some(Duration::from_millis(61_250)),
        window_exit: 1,
        window_coredumps: 0,
        window_ends: Stamp(1_795_224_360_000_000_000),
        next: Next::RestartAfter(Duration::from_millis(800)),
    };
    Debt { id: "1.2.3".to_owned(), alarm, stderr: None, said: None, merged: 0 }
}

fn facts(settings: &Settings) -> Facts<'_> {
    Facts {
        host: "h1",
        module: "应用".as_bytes(),
        command: b"run --x a
b",
        program: b"run",
        settings,
        conf: None,
    }
}

fn folder() -> (tempfile::TempDir, Directory) {
    let folder = tempfile::tempdir().unwrap();
    let dir = Directory::open(folder.path()).unwrap();
    (folder, dir)
}

#[test]
fn the_whole_message() {
    let (_folder, dir) = folder();
    let settings = Settings { alarm_mail: vec!["a@example.org".to_owned()], ..Settings::default() };
    let debt = debt(AlarmKind::Exited);
    let at = local_text(debt.alarm.at);
    let ends = local_text(debt.alarm.window_ends);
    let date = rfc5322_date(debt.alarm.at);
    let here = std::env::current_dir().unwrap();
    let head = format!(
        "Message-ID: <1.2.3@h1>\nDate: {date}\nSubject: {at} [Alarm: h1] Service 应用 exited!\nTo: a@example.org\n\
         Folder: {}\nFact: ",
        escape(here.as_os_str().as_encoded_bytes())
    );
    let body = format!(
        "\n\nhost:        h1\nmodule:      应用\ncommand:     run --x a\\x0ab\npid:         42\n\
         ended:       by signal SEGV\nnoticed at:  {at}\nran for:     1 min 1.250 s\npeak memory: 1234 KiB\n\
         CPU time:    1.500 s user, 0.020 s system\n\
         window:      unexpected exit 1, 0 with coredump; the window ends at {ends}\n\
         next:        supervise starts it again in 0.800 s\n\nThere was no __stderr at the exit.\n"
    );
    let text = message(&debt, facts(&settings), &dir);
    assert!(text.starts_with(&head), "{text}");
    assert_eq!(&text[text.len() - body.len()..], body);
    assert!(text.contains("\nFact: signal SEGV\n"), "{text}");
}

#[test]
fn the_subjects() {
    for (kind, words) in [
        (AlarmKind::Exited, "exited!"),
        (AlarmKind::Coredump, "exited with coredump!"),
        (AlarmKind::GaveUp { tries: 3 }, "exited, supervise gave up after 3 tries!"),
        (AlarmKind::Recovered, "recovered!"),
    ] {
        let alarm = debt(kind).alarm;
        let expected = format!("{} [Alarm: h1] Service a\\x0aBcc: {words}", local_text(alarm.at));
        assert_eq!(subject(&alarm, "h1", b"a\nBcc:"), expected);
    }
}

#[test]
fn the_lines_of_stderr_are_those_of_the_exit() {
    let (folder, dir) = folder();
    let path = folder.path().join("__stderr");
    std::fs::write(&path, "first\nlast\n").unwrap();
    let debt = Debt { stderr: Some(crate::alarm::last_words(&dir).unwrap().0), ..debt(AlarmKind::Exited) };
    std::fs::write(&path, "first\nlast\nof the next run\n").unwrap();
    let settings = Settings::default();
    let text = message(&debt, facts(&settings), &dir);
    assert!(text.ends_with("\n\nfirst\nlast\n"), "{text}");
    let moved = debt.stderr.map(|mark| StderrMark { inode: mark.inode + 1, ..mark });
    let text = message(&Debt { stderr: moved, ..debt }, facts(&settings), &dir);
    assert!(text.ends_with("can't be read any more.\n"), "{text}");
}

#[test]
fn durations_in_words() {
    for (millis, words) in [
        (0, "0.000 s"),
        (1_234, "1.234 s"),
        (61_000, "1 min 1.000 s"),
        (3_600_000, "1 h 0 min 0.000 s"),
        (90_061_001, "1 d 1 h 1 min 1.001 s"),
    ] {
        assert_eq!(duration_words(Duration::from_millis(millis)), words);
    }
}

#[test]
fn ends_in_words() {
    assert_eq!(ended_words(Ended::Signal { number: 11, core: true }), "by signal SEGV, with coredump");
    assert_eq!(ended_words(Ended::Signal { number: 40, core: false }), "by signal 40");
    assert_eq!(ended_words(Ended::Code(3)), "by itself, exit code 3");
}

#[test]
fn a_host_that_is_no_domain() {
    for (host, used) in [
        ("web3", "web3"),
        ("web-3.example.org", "web-3.example.org"),
        ("my_host", "localhost"),
        ("主机", "localhost"),
        ("a b", "localhost"),
        ("a..b", "localhost"),
        ("", "localhost"),
    ] {
        assert_eq!(mail_host(host), used);
    }
}
