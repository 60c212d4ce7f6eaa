//! `svc alarm test`: a message to everybody who gets the alarms of a service, and who has got it.

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::stat::{Mode, fstat};
use nix::unistd::geteuid;

use super::delivery::{last_reason, start};
use super::exit::{DONE, NO_SUPERVISE, NOT_IN_TIME, NOT_SO, SYSTEM};
use super::terminal::say;
use crate::alarm::{self, BUSY, Delivery, Facts, Kept, Place, recipients_of, test_message};
use crate::client::{Service, Sight, refusal, select, user_name};
use crate::config;
use crate::statusdir::Directory;
use crate::sys::{now, why, why_io};
use crate::text::{escape, printable};

/// How often the spool is looked at: an attempt takes as long as a relay does.
const LOOK: Duration = Duration::from_millis(50);

/// Where another svalarm serves the spool, it is asked to look again after so long.
const AFTER_BUSY: Duration = Duration::from_secs(2);

/// What ends a test of one service: the exit code, and a line about it.
type Ended = (u8, String);

pub(super) fn run(root: &Path, names: &[OsString], timeout: Duration) -> u8 {
    let (services, errors) = select(root, names);
    for error in &errors {
        say(error);
    }
    let mut code = if errors.is_empty() { DONE } else { SYSTEM };
    for (number, service) in services.iter().enumerate() {
        let name = service.shown();
        match test(service, number, timeout) {
            Ok(lines) => {
                for (ended, line) in lines {
                    code = code.max(ended);
                    let _ = writeln!(std::io::stdout(), "{name}: {}", printable(line.as_bytes()));
                }
            }
            Err((ended, line)) => {
                code = code.max(ended);
                say(&format!("{name}: {line}"));
            }
        }
    }
    code
}

/// One service: a line for each recipient.
fn test(service: &Service, number: usize, timeout: Duration) -> Result<Vec<Ended>, Ended> {
    let dir = Directory::open(&service.dir).map_err(|errno| (SYSTEM, refusal(&service.dir, errno)))?;
    if geteuid().is_root() && others_may_write(&dir) {
        let text = "others may write to this status directory, and the supervise.conf that it names may be theirs";
        return Err((SYSTEM, text.to_owned()));
    }
    let (recipients, text, id) = compose(service, number)?;
    let failed = |errno| (SYSTEM, refusal(&service.dir.join("alarms"), errno));
    alarm::submit(&dir, &id, &text).map_err(failed)?;
    let delivered = deliver(service, &dir, &id, timeout);
    let left: Vec<Kept> = alarm::list(&dir).map_err(failed)?.into_iter().filter(|kept| kept.id == id).collect();
    // It is no alarm: nobody is to be woken by it next week, and it is nothing to keep.
    for kept in &left {
        let _ = alarm::remove(&dir, kept.place, &kept.id);
    }
    delivered.map_err(|error| (SYSTEM, error))?;
    Ok(recipients.into_iter().map(|recipient| outcome(service, &id, &left, recipient)).collect())
}

/// Others than its owner, that is, as whom the test is delivered.
fn others_may_write(dir: &Directory) -> bool {
    let others = Mode::S_IWGRP | Mode::S_IWOTH;
    fstat(dir).map_or(true, |stat| stat.st_mode & others.bits() != 0)
}

fn outcome(service: &Service, id: &str, left: &[Kept], recipient: String) -> Ended {
    let fate = |place: Place| {
        let kept = left.iter().find(|kept| kept.place == place)?;
        kept.recipients.iter().find(|(line, _)| *line == recipient).map(|(_, delivery)| delivery.clone())
    };
    match (fate(Place::Failed), fate(Place::Queue)) {
        (Some(Delivery::Refused(reason)), _) | (_, Some(Delivery::Refused(reason))) => {
            (NOT_SO, format!("{recipient}: refused: {reason}"))
        }
        (_, Some(Delivery::ToCome)) => {
            let reason = last_reason(&service.dir, id).unwrap_or_else(|| "no answer yet".to_owned());
            (NOT_IN_TIME, format!("{recipient}: not delivered in time, and withdrawn: {reason}"))
        }
        _ => (DONE, format!("{recipient}: delivered")),
    }
}

/// Who is to get it, what it says, and its id.
fn compose(service: &Service, number: usize) -> Result<(Vec<String>, String, String), Ended> {
    let sight = Sight::of(service.clone());
    let Some(record) = sight.record.as_ref() else {
        let why = sight.problem.unwrap_or_else(|| "no long record says which supervise.conf counts".to_owned());
        return Err((SYSTEM, why));
    };
    if sight.supervise != Some(true) {
        return Err((NO_SUPERVISE, "no supervise lives there".to_owned()));
    }
    let module = record.bytes("module").unwrap_or_default();
    let Some(conf) = record.bytes("conf") else {
        return Err((NOT_SO, "it reads no supervise.conf, so nobody gets its alarms".to_owned()));
    };
    let folder = folder_of(record.number("supervise").unwrap_or(0))?;
    let path = folder.join(OsStr::from_bytes(&conf));
    let shown = escape(path.as_os_str().as_bytes());
    let bytes = config::read(&path).map_err(|error| (SYSTEM, format!("unable to read {shown}: {}", why_io(&error))))?;
    let resolved = config::parse(&bytes).resolve(&module);
    let recipients = recipients_of(&resolved.settings);
    if recipients.is_empty() {
        return Err((NOT_SO, format!("{shown} names nobody who gets its alarms")));
    }
    let command = record.bytes("command").unwrap_or_default();
    let host = nix::unistd::gethostname().unwrap_or_default();
    let facts = Facts {
        host: &host.to_string_lossy(),
        module: &module,
        command: &command,
        program: command.split(|&byte| byte == b' ').next().unwrap_or_default(),
        settings: &resolved.settings,
        conf: Some(&conf),
    };
    let at = now().stamp;
    let id = format!("{}.{}.{number}", at.0, std::process::id());
    let sender = user_name(nix::unistd::getuid().as_raw());
    let text = test_message(&id, at, facts, &folder, &sender);
    Ok((recipients, text, id))
}

/// Where supervise runs: relative paths in its conf start there.
fn folder_of(supervise: u64) -> Result<PathBuf, Ended> {
    let link = PathBuf::from(format!("/proc/{supervise}/cwd"));
    std::fs::read_link(&link).map_err(|error| {
        (SYSTEM, format!("unable to tell where supervise runs: {}: {}", link.display(), why_io(&error)))
    })
}

/// Waits until nobody is to get it any more, or the time is up. Who delivers is svalarm, again and again: a supervise
/// that lives does not know of this message.
fn deliver(service: &Service, dir: &Directory, id: &str, timeout: Duration) -> Result<(), String> {
    let until = Instant::now() + timeout;
    let mut running = None;
    let mut next_start = Instant::now();
    loop {
        let mut kept = alarm::list(dir).map_err(why)?.into_iter();
        let Some(kept) = kept.find(|kept| kept.id == id && kept.place == Place::Queue) else { break };
        if Instant::now() >= until {
            break;
        }
        match running.as_mut() {
            None if kept.due_in.is_zero() && Instant::now() >= next_start => {
                running = Some(start(&service.dir, &["--once"])?);
            }
            None => {}
            Some(child) => match child.try_wait().map_err(|error| why_io(&error))? {
                None => {}
                Some(status) if status.success() => running = None,
                // Another one is at work there, and has been told to look.
                Some(status) if status.code() == Some(i32::from(BUSY)) => {
                    running = None;
                    next_start = Instant::now() + AFTER_BUSY;
                }
                Some(status) => return Err(format!("svalarm ended with {status}")),
            },
        }
        std::thread::sleep(LOOK);
    }
    // One that is still at work goes on with what else waits there.
    Ok(())
}
