//! From an exit to the inbox of the person on duty: supervise and svalarm against servers of the test's own.

#[allow(dead_code, unused_imports, reason = "other test programs use the rest")]
mod common;
#[path = "common/smtp.rs"]
mod smtp;

mod alarms_life;
mod alarms_mail;
mod alarms_programs;

use std::path::PathBuf;

use common::{Sandbox, eventually};

/// The program that delivers.
fn svalarm_program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_svalarm"))
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
