//! What a test alarm says, and who is to get it: by the supervise.conf of the service, as it is now.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use nix::sys::stat::{Mode, fstat};
use nix::unistd::geteuid;

use crate::alarm::{Facts, recipients_of, test_message};
use crate::client::{Service, Sight, user_name};
use crate::commands::svc::exit::{NO_SUPERVISE, NOT_SO, SYSTEM};
use crate::commands::svc::report::Ended;
use crate::config;
use crate::statusdir::Directory;
use crate::sys::{now, why_io};
use crate::text::escape;

/// A test alarm.
pub(super) struct Composed {
    /// The lines that name who gets it.
    pub(super) recipients: Vec<String>,
    /// Its file.
    pub(super) text: String,
    /// The name of that file.
    pub(super) id: String,
}

/// Composes the test alarm of a service. `number`: another one for each that is composed in this instant.
///
/// # Errors
/// Why it has none, with the exit code.
pub(super) fn compose(service: &Service, dir: &Directory, number: usize) -> Result<Composed, Ended> {
    if geteuid().is_root() && others_may_write(dir) {
        let text = "others may write to this status directory, and the supervise.conf that it names may be theirs";
        return Err((SYSTEM, text.to_owned()));
    }
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
        let why = match resolved.settings.alarm_interval {
            Some(_) => "",
            None => ": alarm_interval is not set or 0, so alarm_mail and alarm_gsm would be without effect",
        };
        return Err((NOT_SO, format!("{shown} names nobody who gets its alarms{why}")));
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
    Ok(Composed { recipients, text, id })
}

/// Where supervise runs: relative paths in its conf start there.
fn folder_of(supervise: u64) -> Result<PathBuf, Ended> {
    let link = PathBuf::from(format!("/proc/{supervise}/cwd"));
    std::fs::read_link(&link).map_err(|error| {
        (SYSTEM, format!("unable to tell where supervise runs: {}: {}", link.display(), why_io(&error)))
    })
}

/// Others than its owner, that is, as whom the test is delivered.
fn others_may_write(dir: &Directory) -> bool {
    let others = Mode::S_IWGRP | Mode::S_IWOTH;
    fstat(dir).map_or(true, |stat| stat.st_mode & others.bits() != 0)
}
