//! `svc tail`: the end of what services said, and what follows.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use crate::common::{Foreground, Sandbox, eventually};
use crate::svc_view::{start_service, svc, svc_command};

/// Writes at the end of a file of a status directory.
fn append(sandbox: &Sandbox, file: &str, text: &str) {
    let path = sandbox.path("status").join(file);
    File::options().append(true).create(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

fn make(sandbox: &Sandbox, files: &[(&str, &str)]) {
    for (file, text) in files {
        let path = sandbox.path("status").join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

fn follow(sandbox: &Sandbox, args: &[&str]) -> Foreground {
    sandbox.spawn(svc_command(sandbox, &[&["tail", "-f"], args].concat()))
}

#[test]
fn the_last_lines_of_one_or_of_many() {
    let sandbox = Sandbox::new();
    make(
        &sandbox,
        &[
            ("web/__stdout", "1\n2\n3\n"),
            ("web/__stderr", "oops\n"),
            ("应/__stdout", "x\n\u{1b}[31mraw\u{7}"),
            ("应/__stderr", ""),
        ],
    );
    let tail = |args: &[&str]| svc(&sandbox, &[&["tail"], args].concat());
    assert_eq!(tail(&["-n", "2", "--stdout", "web"]).expect_code(0).stdout, "2\n3\n");
    assert_eq!(tail(&["-n2", "web"]).expect_code(0).stdout, "stdout | 2\nstdout | 3\nstderr | oops\n");
    assert_eq!(tail(&["--stdout", "应"]).expect_code(0).stdout, "x\n\u{1b}[31mraw\u{7}", "as it is, into a file");
    let both = tail(&["-n1", "--stdout", "web", "应"]).expect_code(0).stdout;
    assert_eq!(both, "web | 3\n应  | \u{1b}[31mraw\u{7}\n", "aligned, and the last line has an end");
    assert_eq!(tail(&["-n0", "web"]).expect_code(0).stdout, "");
    make(&sandbox, &[("web/status", "")]);
    assert_eq!(tail(&["-n1", "--stdout", "--all"]).expect_code(0).stdout, "3\n");
    tail(&["wb"]).expect_stderr(&["wb: no such service: No such file or directory: status/wb; did you mean web?"]);
    tail(&["web", "nix"])
        .expect_code(102)
        .expect_stderr(&["nix: no such service: No such file or directory: status/nix"]);
    tail(&[]).expect_code(100);
}

#[test]
fn what_is_not_there_is_told() {
    let sandbox = Sandbox::new();
    make(&sandbox, &[("web/status", "")]);
    svc(&sandbox, &["tail", "web"]).expect_code(0).expect_stderr(&["there is no ./status/web/__stdout yet"]);
    std::os::unix::fs::symlink("/dev/null", sandbox.path("status/web/__stdout")).unwrap();
    svc(&sandbox, &["tail", "--stdout", "web"]).expect_code(0).expect_stderr(&["web/__stdout is no plain file"]);
}

#[test]
fn logs_are_merged_by_their_times() {
    let sandbox = Sandbox::new();
    let line = |level: &str, second: u32, text: &str| format!("[{level}] 2026-11-21 01:25:{second:02}  {text}\n");
    let log = line("NOTICE", 1, "a") + &line("NOTICE", 3, "c") + "of c\n" + &line("NOTICE", 5, "e");
    let wf = line("WARNING", 2, "b") + &line("FATAL", 4, "d");
    make(&sandbox, &[("web/supervise.log", &log), ("web/supervise.log.wf", &wf)]);
    for (lines, expected) in [("-n9", &["a", "b", "c", "c", "d", "e"][..]), ("-n3", &["c", "d", "e"])] {
        let output = svc(&sandbox, &["tail", "--log", lines, "web"]).expect_code(0);
        let words: Vec<&str> = output.stdout.lines().filter_map(|line| line.split_whitespace().last()).collect();
        assert_eq!(words, expected, "{output:#?}");
    }
}

#[test]
fn followed_across_truncation_renames_and_restarts() {
    let sandbox = Sandbox::new();
    start_service(&sandbox, "app", "out begin until TERM exit 0");
    eventually(&sandbox, "it has begun", || sandbox.stdout().contains("begin"));
    let mut tail = follow(&sandbox, &["--stdout", "app"]);
    let said = |tail: &Foreground, text: &str| {
        eventually(&sandbox, &format!("tail says {text:?}"), || tail.stdout() == text);
    };
    said(&tail, "begin\n");
    append(&sandbox, "app/__stdout", "more\n");
    said(&tail, "begin\nmore\n");
    File::options().write(true).open(sandbox.file("__stdout")).unwrap().set_len(0).unwrap();
    append(&sandbox, "app/__stdout", "cut\n");
    said(&tail, "begin\nmore\ncut\n");
    fs::rename(sandbox.file("__stdout"), sandbox.file("__stdout.1")).unwrap();
    append(&sandbox, "app/__stdout.1", "old\n");
    said(&tail, "begin\nmore\ncut\nold\n");
    sandbox.write_control(b"t"); // the next process writes to a new file
    said(&tail, "begin\nmore\ncut\nold\ngot TERM\nbegin\n");
    assert!(tail.runs());
}

#[test]
fn a_file_may_come_later() {
    let sandbox = Sandbox::new();
    make(&sandbox, &[("web/status", ""), ("db/__stdout", "")]);
    let tail = follow(&sandbox, &["web", "db"]);
    append(&sandbox, "web/__stderr", "late\n");
    eventually(&sandbox, "it is followed", || tail.stdout() == "web stderr | late\n");
    append(&sandbox, "db/__stdout", "part");
    eventually(&sandbox, "a part of a line is shown", || tail.stdout().ends_with("part"));
    append(&sandbox, "web/__stderr", "x\n");
    eventually(&sandbox, "a line that has not ended is ended", || {
        tail.stdout().ends_with("db stdout  | part\nweb stderr | x\n")
    });
}

/// A child whose output is a pipe.
fn piped(mut command: Command) -> (Child, Receiver<String>) {
    let mut child = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
    let stdout = child.stdout.take().unwrap();
    let (send, lines) = channel();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stdout);
        let mut line = String::new();
        let _ = reader.read_line(&mut line);
        let _ = send.send(line); // and the pipe is closed
    });
    (child, lines)
}

#[test]
fn it_ends_when_nobody_reads_any_more() {
    let sandbox = Sandbox::new();
    make(&sandbox, &[("web/__stdout", "one\n")]);
    let (mut child, lines) = piped(svc_command(&sandbox, &["tail", "-f", "web"]));
    assert_eq!(lines.recv().unwrap(), "stdout | one\n");
    let mut ended = None;
    eventually(&sandbox, "it has ended, though nothing more was said", || {
        ended = child.try_wait().unwrap();
        ended.is_some()
    });
    assert_eq!(ended.and_then(|status| status.code()), Some(0));
}

#[test]
fn ten_gigabytes_are_read_from_their_end() {
    let sandbox = Sandbox::new();
    make(&sandbox, &[("web/__stdout", "")]);
    let path = sandbox.path("status/web/__stdout");
    let file = File::options().write(true).open(&path).unwrap();
    if file.set_len(10 << 30).is_err() {
        return crate::common::skip("no file here may have ten gigabytes");
    }
    append(&sandbox, "web/__stdout", "\nlast\n");
    assert_eq!(svc(&sandbox, &["tail", "-n1", "--stdout", "web"]).expect_code(0).stdout, "last\n");
}
