//! `supervise.log` and `supervise.log.wf`: a line an event, and never without bound.
//!
//! supervise and svalarm write them, each line with one write to a file opened for appending.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{Mode, SFlag, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::{Directory, give_mode};
use crate::policy::Stamp;
use crate::sys::{local_time, lock_exclusively, unlock, why};
use crate::text::printable;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// As it should be.
    Notice,
    /// Somebody should look, when there is time.
    Warning,
    /// The service is down, and supervise alone cannot help it.
    Fatal,
}

/// Both logs.
#[derive(Debug)]
pub struct Logs {
    notice: LogFile,
    problem: LogFile,
    max_size: u64,
    backups: u32,
}

#[derive(Debug)]
struct LogFile {
    name: &'static str,
    /// Kept open, so that a line can be written when no descriptor is left.
    open: Option<OwnedFd>,
    /// Lines that could not be written since the last one that could be, and why the last of them could not.
    lost: Option<(u64, Errno)>,
    /// Of the last one a part was written.
    is_torn: bool,
}

impl Logs {
    /// Logs of at most `max_size` bytes each, with so many old ones kept.
    #[must_use]
    pub fn new(max_size: u64, backups: u32) -> Self {
        let file = |name| LogFile { name, open: None, lost: None, is_torn: false };
        Self { notice: file("supervise.log"), problem: file("supervise.log.wf"), max_size, backups }
    }

    /// Other limits, from the next line on.
    pub fn limit(&mut self, max_size: u64, backups: u32) {
        self.max_size = max_size;
        self.backups = backups;
    }

    /// Opens both files, so that they are there from the start. The answer: those that could not be, and why.
    pub fn open(&mut self, dir: &Directory) -> Vec<(&'static str, Errno)> {
        let files = [&mut self.notice, &mut self.problem];
        files.into_iter().filter_map(|file| file.open(dir).err().map(|errno| (file.name, errno))).collect()
    }

    /// Writes a line. Where that fails the line is lost, and nothing else; the next one that can be written stands behind
    /// one that says how many were.
    pub fn line(&mut self, dir: &Directory, at: Stamp, level: Level, text: &str) {
        let (lost, told) = match level {
            Level::Notice => (self.notice.lost, Level::Notice),
            Level::Warning | Level::Fatal => (self.problem.lost, Level::Warning),
        };
        let told = lost.map(|(number, errno)| (number, self.put(dir, at, told, &lost_text(number, errno))));
        let lost = match told {
            // Before what was lost is said, nothing is written: it would not stand where it belongs.
            Some((number, Err(errno))) => Some((number + 1, errno)),
            Some((_, Ok(()))) | None => self.put(dir, at, level, text).err().map(|errno| (1, errno)),
        };
        match level {
            Level::Notice => self.notice.lost = lost,
            Level::Warning | Level::Fatal => self.problem.lost = lost,
        }
    }

    /// Writes one line.
    fn put(&mut self, dir: &Directory, at: Stamp, level: Level, text: &str) -> Result<(), Errno> {
        let (file, name) = match level {
            Level::Notice => (&mut self.notice, "NOTICE"),
            Level::Warning => (&mut self.problem, "WARNING"),
            Level::Fatal => (&mut self.problem, "FATAL"),
        };
        let time = local_time(at);
        let line = format!(
            "[{name}] {:04}-{:02}-{:02} {:02}:{:02}:{:02}  {}\n",
            time.year,
            time.month,
            time.day,
            time.hour,
            time.minute,
            time.second,
            printable(text.as_bytes()), // its pieces were made harmless already; this is for what was forgotten
        );
        file.write(dir, &line, self.max_size, self.backups)
    }
}

fn lost_text(number: u64, errno: Errno) -> String {
    let are = if number == 1 { "line before this one is" } else { "lines before this one are" };
    format!("{number} {are} lost: {}", why(errno))
}

impl LogFile {
    fn write(&mut self, dir: &Directory, line: &str, max_size: u64, backups: u32) -> Result<(), Errno> {
        // Where it can't be opened anew the old one, wherever it is now, still takes the line.
        let opened = if self.is_in_place(dir) { Ok(()) } else { self.open(dir) };
        let size = self.open.as_ref().and_then(|file| fstat(file).ok()).map_or(0, |stat| stat.st_size);
        let size = u64::try_from(size).unwrap_or(0);
        if size > 0 && size + line.len() as u64 > max_size {
            self.rotate_alone(dir, backups);
        }
        let Some(file) = self.open.as_ref() else { return opened };
        if self.is_torn {
            nix::unistd::write(file.as_fd(), b"\n")?;
            self.is_torn = false;
        }
        let written = nix::unistd::write(file.as_fd(), line.as_bytes())?;
        self.is_torn = written > 0 && written < line.len();
        if written == line.len() { Ok(()) } else { Err(Errno::ENOSPC) }
    }

    /// supervise and svalarm may find at the same time that a log is full: who has the file's lock renames it, and the
    /// other one's line stands in the old file. Nobody waits.
    fn rotate_alone(&mut self, dir: &Directory, backups: u32) {
        // Without a descriptor for it, or a file system that has locks: better a line that is lost than a log that grows.
        let file = self.open.as_ref().and_then(|file| file.try_clone().ok());
        if file.as_ref().map(|file| lock_exclusively(file.as_fd())) == Some(Err(Errno::EWOULDBLOCK)) {
            return;
        }
        if self.is_in_place(dir) {
            self.rotate(dir, backups);
        } else {
            let _ = self.open(dir); // the other one was faster
        }
        if let Some(file) = file {
            let _ = unlock(file.as_fd()); // a file that could not be moved away is still open
        }
    }

    fn is_in_place(&self, dir: &Directory) -> bool {
        let Some(Ok(ours)) = self.open.as_ref().map(fstat) else { return false };
        fstatat(dir, self.name, AtFlags::AT_SYMLINK_NOFOLLOW)
            .is_ok_and(|there| (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino))
    }

    fn open(&mut self, dir: &Directory) -> Result<(), Errno> {
        let flags = OFlag::O_WRONLY
            | OFlag::O_APPEND
            | OFlag::O_CREAT
            | OFlag::O_NOFOLLOW
            | OFlag::O_NONBLOCK
            | OFlag::O_NOCTTY
            | OFlag::O_CLOEXEC;
        let mode = Mode::from_bits_truncate(0o600);
        let there = fstatat(dir, self.name, AtFlags::AT_SYMLINK_NOFOLLOW).ok();
        if let Some(stat) = there
            && SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG
        {
            unlinkat(dir, self.name, UnlinkatFlags::NoRemoveDir)?; // a link or a fifo is no log
        }
        let file = openat(dir, self.name, flags, mode)?;
        if there.is_none() {
            give_mode(&file, mode)?;
        }
        self.open = Some(file);
        self.is_torn = false;
        Ok(())
    }

    /// `supervise.log` becomes `supervise.log.1`, that one `supervise.log.2`, and so on; the oldest goes.
    fn rotate(&mut self, dir: &Directory, backups: u32) {
        let old = |number: u32| format!("{}.{number}", self.name);
        for number in (1..backups).rev() {
            let _ = renameat(dir, old(number).as_str(), dir, old(number + 1).as_str());
        }
        let moved = if backups == 0 {
            unlinkat(dir, self.name, UnlinkatFlags::NoRemoveDir)
        } else {
            renameat(dir, self.name, dir, old(1).as_str())
        };
        if moved.is_ok() && self.open(dir).is_ok() {
            return;
        }
        if let Some(file) = self.open.as_ref() {
            let _ = nix::unistd::ftruncate(file, 0); // it must not grow, whatever else fails
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// supervise and svalarm write the same logs, and both find that one has become too large.
    #[test]
    fn of_two_writers_one_rotates_and_no_line_is_lost() {
        const LINES: usize = 200;
        let folder = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for writer in ["a", "b", "c"] {
                let path = folder.path();
                scope.spawn(move || {
                    let dir = Directory::open(path).unwrap();
                    let mut logs = Logs::new(400, 200);
                    for number in 0..LINES {
                        logs.line(&dir, Stamp(0), Level::Notice, &format!("{writer} {number}"));
                    }
                });
            }
        });
        let files: Vec<String> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
            .collect();
        assert_eq!(files.iter().map(|text| text.lines().count()).sum::<usize>(), 3 * LINES);
        assert!(files.len() > 2, "{}", files.len());
    }
}
