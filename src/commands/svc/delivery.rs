//! The svalarm of a status directory, as an operator has to do with it: started and ended.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;
use nix::unistd::{Pid, Uid, geteuid};

use crate::alarm;
use crate::client::shown;
use crate::statusdir::Directory;
use crate::sys::{Pidfd, Target, why_io};

/// Starts svalarm, which stands beside svc's own file, for a status directory, as the user whose that is.
///
/// # Errors
/// Why it could not be started, or would deliver nothing, in a line.
pub(super) fn start(dir: &Path, options: &[&str]) -> Result<Child, String> {
    let own = fs::read_link("/proc/self/exe").map_err(|error| format!("/proc/self/exe: {}", why_io(&error)))?;
    let program = own.with_file_name("svalarm");
    let mut command = Command::new(&program);
    command.args(options).arg("--").arg(dir);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    let mut user = geteuid();
    if user.is_root()
        && let Ok(meta) = fs::metadata(dir)
        && meta.uid() != 0
    {
        command.uid(meta.uid()).gid(meta.gid()); // what it notes must be that user's to read
        user = Uid::from_raw(meta.uid());
    }
    // It would say so in the log, and end.
    if let Some(wrong) = Directory::open(dir).ok().and_then(|dir| alarm::distrusted(&dir, user)) {
        return Err(format!("{}: {wrong}", shown(&dir.join("alarms"))));
    }
    command.spawn().map_err(|error| format!("unable to run {}: {}", program.display(), why_io(&error)))
}

/// Tells the svalarm that serves this spool to end, since it waits for what we have not the time for. What it was about
/// to do is done by the next one. The answer: who was told; readable when it has ended.
pub(super) fn end_server(dir: &Path) -> Option<Pidfd> {
    let spool = fs::symlink_metadata(dir.join("alarms")).ok()?;
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    // `1: FLOCK  ADVISORY  WRITE 4711 fe:01:131 0 EOF` (proc_locks(5))
    let holder = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let inode = words.get(5)?.rsplit(':').next()?;
        (words.get(1) == Some(&"FLOCK") && inode.parse() == Ok(spool.ino())).then(|| words.get(4)?.parse().ok())?
    };
    locks.lines().filter_map(holder).find_map(|pid: i32| {
        // The pidfd first: it stays with the process that is then found to be the right one.
        let process = Pidfd::open(Pid::from_raw(pid)).ok()?;
        let is_svalarm = fs::read(format!("/proc/{pid}/comm")).is_ok_and(|name| name == b"svalarm\n");
        let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let id = (spool.dev(), spool.ino());
        let has_it = files.flat_map(|file| fs::metadata(file.path())).any(|meta| (meta.dev(), meta.ino()) == id);
        (is_svalarm && has_it && process.signal(Target::Process, Signal::SIGTERM).is_ok()).then_some(process)
    })
}
