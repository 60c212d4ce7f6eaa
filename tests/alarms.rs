//! From an exit to the inbox of the person on duty: supervise and svalarm against servers of the test's own.

#[allow(dead_code, unused_imports, reason = "other test programs use the rest")]
mod common;
#[path = "common/smtp.rs"]
mod smtp;

mod alarms_disk;
mod alarms_life;
mod alarms_mail;
mod alarms_programs;
mod alarms_queue;
mod alarms_relay;
mod alarms_storm;

use std::path::PathBuf;
use std::process::Command;

use common::{Sandbox, eventually};

/// The program that delivers.
fn svalarm_program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_svalarm"))
}

/// An svalarm for `status/app`, as somebody starts it by hand.
fn svalarm(sandbox: &Sandbox, options: &[&str]) -> Command {
    let mut command = sandbox.program(svalarm_program());
    command.args(options).arg("status/app");
    command
}

/// Stores a message as supervise does, with these lines in its head; returns its id.
#[track_caller]
fn store(sandbox: &Sandbox, number: usize, lines: &str) -> String {
    let id = format!("{number:04}.1.1");
    let head = format!("Message-ID: <{id}@test>\nSubject: number {number}\n{}\n", lines.trim_end());
    let text = format!("{head}Fact: host test\nFact: module app\nFact: time 5.000000000\n\nbody\n");
    let alarms = sandbox.file("alarms");
    std::fs::create_dir_all(&alarms).expect("the sandbox is writable");
    std::fs::write(alarms.join(".new"), text).expect("the sandbox is writable");
    std::fs::rename(alarms.join(".new"), alarms.join(&id)).expect("the sandbox is writable");
    id
}

/// The head of a message to this address, through the relay on this port.
fn to(address: &str, port: u16) -> String {
    format!("To: {address}\nMail-Transport: smtp://127.0.0.1:{port}")
}

/// Notes how far the delivery of a message has come.
#[track_caller]
fn note(sandbox: &Sandbox, id: &str, lines: &str) {
    let delivery = sandbox.file("alarms/.delivery");
    std::fs::create_dir_all(&delivery).expect("the sandbox is writable");
    let text = format!("svalarm progress 1\n{}\nend\n", lines.trim_end());
    std::fs::write(delivery.join(id), text).expect("the sandbox is writable");
}

/// What is noted of a message, by its first word.
fn noted(sandbox: &Sandbox, id: &str, word: &str) -> Option<String> {
    let text = sandbox.text(&format!("alarms/.delivery/{id}"));
    text.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(' ').map(str::to_owned))
}

/// A conf with alarms and these lines.
fn alarmed(lines: &str) -> String {
    format!("[app]\nalarm_interval : 60\npacing : 0.1\n{lines}\n")
}

/// A conf with a relay on this port.
fn relayed(port: u16, lines: &str) -> String {
    alarmed(&format!("alarm_mail : ops@example.org\nmail_transport : smtp://127.0.0.1:{port}\n{lines}"))
}

/// A sandbox with this conf and one crash behind it, after which the service runs on.
#[track_caller]
fn crashed(conf: &str, actions: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write_conf(conf);
    crash(&sandbox, actions, &[]);
    sandbox
}

/// Starts a service that crashes once; `environment` is what supervise, and so svalarm, gets.
#[track_caller]
fn crash(sandbox: &Sandbox, actions: &str, environment: &[(&str, &str)]) {
    let service = format!("./service from 1 runs line runs {actions}");
    let mut command = sandbox.command(&["-p", "status/app", "-f", &service]);
    command.envs(environment.iter().copied());
    sandbox.run(command).expect_code(0);
    sandbox.until_ready();
}

/// Waits until the spool is empty, and supervise knows it.
#[track_caller]
fn until_delivered(sandbox: &Sandbox) {
    eventually(sandbox, "an alarm was stored", || sandbox.log().contains("an alarm is raised: "));
    eventually(sandbox, "the spool is empty", || sandbox.alarms().is_empty());
    sandbox.until_value("undelivered", "0");
}
