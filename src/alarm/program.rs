//! Hands an alarm to a program: facts in its environment, text on its stdin, and never a shell in between.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::memfd::{MFdFlags, memfd_create};

use super::copy::Outcome;
use super::read::Message;
use super::ways::Ways;
use crate::sys::{ends_with_parent, why_io};
use crate::text::{escape, unescape};

/// What sends a text message where the conf names nothing, as ever.
const GSM_PROGRAM: &str = "gsmsend-script";
/// So much of what a program says last on stderr is kept as the reason.
const SAID: usize = 300;
/// A process that the program leaves behind may keep stderr open: so long its end is waited for.
const LEFT_OPEN: Duration = Duration::from_secs(1);

/// `gsm_command NUMBER`, with the text on its stdin.
pub(super) fn send_gsm(message: &Message, number: &str, ways: &Ways) -> Outcome {
    let mut words = ways.gsm_command.clone().unwrap_or_else(|| vec![GSM_PROGRAM.into()]);
    words.push(number.into());
    outcome(&words[0], call(message, &words, message.text().as_bytes()))
}

/// `alarm_exec`, with the text on its stdin.
pub(super) fn run(message: &Message, words: &[OsString]) -> Outcome {
    outcome(&words[0], call(message, words, message.text().as_bytes()))
}

/// Every exit but a good one may be a trouble that passes.
fn outcome(program: &OsStr, called: Called) -> Outcome {
    match called {
        Ok((status, _)) if status.success() => Outcome::Accepted,
        Ok((status, said)) => Outcome::Again(ended_badly(program, status, &said)),
        Err(reason) => Outcome::Unreachable(reason),
    }
}

/// How a program ended, in words.
pub(super) fn ended_badly(program: &OsStr, status: ExitStatus, said: &str) -> String {
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, signal) => format!("signal {}", signal.unwrap_or(0)),
    };
    let said = if said.is_empty() { String::new() } else { format!(": {said}") };
    format!("{} ended with {how}{said}", escape(program.as_bytes()))
}

/// How it ended and what it said last on stderr; or why it could not be run.
pub(super) type Called = Result<(ExitStatus, String), String>;

/// Runs a program to its end.
pub(super) fn call(message: &Message, words: &[OsString], stdin: &[u8]) -> Called {
    let program = words.first().ok_or("it names no program")?;
    let failed = |error: std::io::Error| format!("unable to run {}: {}", escape(program.as_bytes()), why_io(&error));
    // A file and not a pipe: whoever does not read it cannot make us wait.
    let memory = memfd_create("alarm", MFdFlags::MFD_CLOEXEC).map_err(|errno| failed(errno.into()))?;
    let mut input = File::from(memory);
    input.write_all(stdin).and_then(|()| input.rewind()).map_err(failed)?;
    let mut command = Command::new(program);
    command.args(&words[1..]).stdin(input).stdout(Stdio::null()).stderr(Stdio::piped());
    command.env("SUPERVISE_MESSAGE_ID", &message.message_id).env("SUPERVISE_SUBJECT", &message.subject);
    for fact in &message.facts {
        let value = unescape(&fact.value).filter(|value| !value.contains(&0));
        let value = value.unwrap_or_else(|| fact.value.as_bytes().to_vec());
        command.env(format!("SUPERVISE_{}", fact.key.to_ascii_uppercase()), OsStr::from_bytes(&value));
    }
    ends_with_parent(&mut command);
    let mut child = command.spawn().map_err(failed)?;
    let said = Arc::new(Mutex::new(Vec::new()));
    let (ends, all_is_read) = channel::<()>();
    if let Some(mut stderr) = child.stderr.take() {
        let said = Arc::clone(&said);
        std::thread::spawn(move || {
            let _ends = ends;
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = stderr.read(&mut buffer) {
                let Ok(mut said) = said.lock() else { return };
                said.extend_from_slice(&buffer[..length]);
                let excess = said.len().saturating_sub(SAID);
                said.drain(..excess);
            }
        });
    }
    let status = child.wait().map_err(failed)?;
    if !status.success() {
        let _ = all_is_read.recv_timeout(LEFT_OPEN); // its last words are the reason
    }
    let said = said.lock().map(|said| said.clone()).unwrap_or_default();
    let last = said.split(|&byte| byte == b'\n').rfind(|line| !line.is_empty()).unwrap_or_default();
    Ok((status, escape(last)))
}
