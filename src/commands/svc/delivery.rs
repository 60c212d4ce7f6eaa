//! Starts svalarm for an operator, and says what has become of the alarms.

use std::fs;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::Signal;
use nix::sys::time::TimeSpec;
use nix::unistd::Pid;

use super::exit::{DONE, NOT_SO, SYSTEM};
use super::terminal::say;
use crate::alarm::{self, BUSY, Delivery, Kept, Place};
use crate::client::{Liveness, Service};
use crate::statusdir::Directory;
use crate::sys::{Pidfd, Target, why_io};
use crate::text::printable;

/// So many are at work at once: each delivers to several recipients at a time.
const AT_ONCE: usize = 8;
/// An svalarm that is told to end has nothing to wait for.
const END: Duration = Duration::from_secs(5);
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

/// Ends the svalarm that serves this spool, since it waits for what we have not the time for. What it was about to do
/// is done by the next one.
fn end_server(dir: &Path) {
    let Ok(spool) = fs::symlink_metadata(dir.join("alarms")) else { return };
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    // `1: FLOCK  ADVISORY  WRITE 4711 fe:01:131 0 EOF` (proc_locks(5))
    let holder = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let inode = words.get(5)?.rsplit(':').next()?;
        (words.get(1) == Some(&"FLOCK") && inode.parse() == Ok(spool.ino())).then(|| words.get(4)?.parse().ok())?
    };
    for pid in locks.lines().filter_map(holder) {
        let pid: i32 = pid;
        // The pidfd first: it stays with the process that is then found to be the right one.
        let Ok(process) = Pidfd::open(Pid::from_raw(pid)) else { continue };
        let is_svalarm = fs::read(format!("/proc/{pid}/comm")).is_ok_and(|name| name == b"svalarm\n");
        let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let id = (spool.dev(), spool.ino());
        let has_it = files.flat_map(|file| fs::metadata(file.path())).any(|meta| (meta.dev(), meta.ino()) == id);
        if is_svalarm && has_it && process.signal(Target::Process, Signal::SIGTERM).is_ok() {
            let mut descriptors = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
            let _ = ppoll(&mut descriptors, Some(TimeSpec::from_duration(END)), None);
        }
    }
}

/// Delivers all of these now, failed ones too, and waits for the attempt. The answer is the exit code.
pub(super) fn retry(spools: Vec<(Service, Vec<Kept>)>) -> u8 {
    let mut code = DONE;
    for some in spools.chunks(AT_ONCE) {
        let started: Vec<_> = some
            .iter()
            .map(|(service, kept)| {
                let requeued = requeue(service, kept);
                (service, kept, requeued, start(&service.dir, &["--once", "--now"]))
            })
            .collect();
        for (service, kept, requeued, child) in started {
            let wait = |mut child: Child| child.wait().map_err(|error| why_io(&error));
            let mut ended = child.and_then(wait);
            if ended.as_ref().is_ok_and(|status| status.code() == Some(i32::from(BUSY))) {
                end_server(&service.dir);
                ended = start(&service.dir, &["--once", "--now"]).and_then(wait);
            }
            code = code.max(match ended {
                Ok(status) => report(service, kept, requeued, status.code()),
                Err(error) => {
                    say(&format!("{}: {error}", service.shown()));
                    SYSTEM
                }
            });
        }
    }
    if code == DONE && spools.is_empty() {
        say("no alarm is waiting, and none has failed");
    }
    code
}

/// Puts the failed ones back into the queue; the answer: whether all could be.
fn requeue(service: &Service, kept: &[Kept]) -> bool {
    let mut all = true;
    for kept in kept.iter().filter(|kept| kept.place == Place::Failed) {
        let dir = Directory::open(&service.dir).map_err(crate::sys::why);
        if let Err(error) = dir.and_then(|dir| alarm::requeue(&dir, &kept.id)) {
            all = false;
            say(&format!("{}: {} stays in alarms/failed: {error}", service.shown(), kept.id));
        }
    }
    all
}

fn report(service: &Service, before: &[Kept], requeued: bool, code: Option<i32>) -> u8 {
    let name = service.shown();
    let dir = match Directory::open(&service.dir) {
        Ok(dir) => dir,
        Err(errno) => {
            say(&format!("{name}: {}", crate::sys::why(errno)));
            return SYSTEM;
        }
    };
    let left = alarm::list(&dir).unwrap_or_default();
    let mut out = std::io::stdout().lock();
    let mut missing = 0;
    for kept in &left {
        for (recipient, delivery) in &kept.recipients {
            let why = match (delivery, kept.place) {
                (Delivery::Accepted, _) => continue,
                (Delivery::Refused(_), Place::Queue) => continue, // told of below, from `failed`
                (Delivery::Refused(reason), Place::Failed) => format!("refused: {reason}"),
                (Delivery::ToCome, _) => {
                    last_reason(&service.dir, &kept.id).unwrap_or_else(|| "still to come".to_owned())
                }
            };
            missing += 1;
            let line = format!("{name}: {} {recipient}: {why}", kept.id);
            let _ = writeln!(out, "{}", printable(line.as_bytes()));
        }
    }
    let gone = before.len().saturating_sub(left.len());
    if gone > 0 {
        let _ = writeln!(out, "{name}: {gone} delivered");
    }
    if left.iter().any(|kept| kept.place == Place::Queue) && Liveness::of(&dir) != Liveness::Lives {
        // No supervise starts the next one in time: this one stays until all is delivered.
        let _ = start(&service.dir, &[]);
    }
    if code == Some(i32::from(BUSY)) && missing > 0 {
        say(&format!("{name}: another svalarm is at work there, and goes on by itself"));
    }
    if missing > 0 || !requeued { NOT_SO } else { DONE }
}
