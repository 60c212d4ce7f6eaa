//! The svalarm of a status directory, as an operator has to do with it: started, asked for its reason, ended.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::statusdir::Directory;
use crate::sys::{Pidfd, Target, why_io};

/// Of the end of supervise.log.wf: what an attempt says of itself is among its last lines.
const LOG_END: u64 = 64 << 10;

/// Starts svalarm, which stands beside svc's own file, for a status directory, as the user whose that is.
///
/// # Errors
/// Why it could not be started, in a line.
pub(super) fn start(dir: &Path, options: &[&str]) -> Result<Child, String> {
    let own = fs::read_link("/proc/self/exe").map_err(|error| format!("/proc/self/exe: {}", why_io(&error)))?;
    let program = own.with_file_name("svalarm");
    let mut command = Command::new(&program);
    command.args(options).arg("--").arg(dir);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    if nix::unistd::geteuid().is_root()
        && let Ok(meta) = fs::metadata(dir)
        && meta.uid() != 0
    {
        command.uid(meta.uid()).gid(meta.gid()); // what it notes must be that user's to read
    }
    command.spawn().map_err(|error| format!("unable to run {}: {}", program.display(), why_io(&error)))
}

/// The reason that svalarm gave for the last attempt of a message that was not delivered, if it gave one.
pub(super) fn last_reason(dir: &Path, id: &str) -> Option<String> {
    use std::os::unix::fs::FileExt as _;
    let file = Directory::open(dir).ok()?.open_output(c"supervise.log.wf").ok().map(fs::File::from)?;
    let size = file.metadata().ok().filter(fs::Metadata::is_file)?.len();
    let mut bytes = vec![0; usize::try_from(size.min(LOG_END)).ok()?];
    let length = file.read_at(&mut bytes, size.saturating_sub(LOG_END)).ok()?;
    let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
    let line = text.lines().rev().find_map(|line| line.split_once(&format!("alarms/{id} was not delivered to ")))?.1;
    let (_, reason) = line.split_once(": ")?; // `2 of 3 at attempt 4: `
    Some(reason.split_once("; next attempt in").map_or(reason, |(reason, _)| reason).to_owned())
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
