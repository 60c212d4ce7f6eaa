//! `--take-over`: a living supervise, the classic program included, is ended between two of its turns, with its service
//! known to the successor. Until all of it adds up nothing is changed.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;
use std::{fs, thread};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::Signal;
use nix::sys::time::TimeSpec;
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, geteuid, pipe2};

use super::claim_file::{ClaimFile, Left};
use super::classic;
use super::command::Running;
use super::predecessor::Predecessor;
use crate::policy::Moment;
use crate::statusdir::{Claim, Control, Directory, has_open, holds_lock, lock_holders, lock_is_held};
use crate::sys::{Forked, Pidfd, Place, ProcStat, Target, Waits, all_processes, fork_background, now, why, why_io};

/// A supervise that is busy is tried again for so long: the classic program hears nothing for a second after a start.
const PATIENCE: Duration = Duration::from_secs(5);
const BETWEEN: Duration = Duration::from_millis(20);
/// From STOP to stopped, and from KILL to dead; either takes microseconds.
const KERNEL: Duration = Duration::from_secs(1);

/// A supervise that was ended. Its fifos stay open, with what is in them, until the successor has opened them.
#[derive(Debug)]
pub(super) struct TakenOver {
    /// The pid that it had.
    pub(super) pid: Pid,
    _fifos: Vec<OwnedFd>,
}

/// What a successor brings along: this boot's id, and its own COMMAND with its number.
#[derive(Clone, Copy)]
pub(super) struct Successor<'a> {
    pub(super) boot: &'a str,
    pub(super) command: Option<(&'a Running, u64)>,
    /// It could start a service that is down.
    pub(super) can_start: bool,
}

/// Ends the holder of the lock. `None`: there is none.
///
/// # Errors
/// What does not add up; nothing was changed, and the holder goes on.
pub(super) fn take_over(dir: &Directory, successor: Successor<'_>) -> Result<Option<TakenOver>, String> {
    let until = now().moment + PATIENCE;
    loop {
        if !lock_is_held(dir).map_err(|errno| format!("unable to open the lock: {}", why(errno)))? {
            return Ok(None);
        }
        // A child between fork and exec has the lock too, and longer than a supervise that was killed meanwhile.
        let doubt = match lock_holders(dir).as_slice() {
            &[pid] => match Holder::open(dir, pid)?.end(successor, until) {
                Ok(fifos) => return Ok(Some(TakenOver { pid, _fifos: fifos })),
                Err(doubt) => format!("{doubt}; pid {pid} goes on as before"),
            },
            [] => "it is not known which process holds the lock".to_owned(),
            several => format!("{} processes hold the lock", several.len()),
        };
        if now().moment >= until {
            return Err(doubt);
        }
        thread::sleep(BETWEEN); // nothing is supervised yet
    }
}

/// The process that holds the lock.
struct Holder<'a> {
    dir: &'a Directory,
    process: Pidfd,
    fifos: Vec<OwnedFd>,
}

impl<'a> Holder<'a> {
    fn open(dir: &'a Directory, pid: Pid) -> Result<Self, String> {
        let process = Pidfd::open(pid).map_err(|errno| format!("unable to open process {pid}: {}", why(errno)))?;
        let owner = fs::metadata(format!("/proc/{pid}"));
        let owner = owner.map_err(|error| format!("unable to look at process {pid}: {}", why_io(&error)))?.uid();
        // What it starts again would run as somebody else.
        if owner != geteuid().as_raw() {
            return Err(format!("pid {pid}, which holds the lock, runs as another user (uid {owner})"));
        }
        let fifos = Control::open_existing(dir).map_err(|errno| match errno {
            Errno::ENOENT => format!("pid {pid} holds the lock and has no control fifo: it is no supervise"),
            errno => format!("unable to open the control fifo: {}", why(errno)),
        })?;
        Ok(Self { dir, process, fifos })
    }

    fn pid(&self) -> Pid {
        self.process.pid()
    }

    /// Stops it in its poll, and ends it there if everything adds up; tried again until this moment.
    fn end(self, successor: Successor<'_>, until: Moment) -> Result<Vec<OwnedFd>, String> {
        let guard = Guard::new(&self.process).map_err(|errno| format!("unable to fork: {}", why(errno)))?;
        // What did not add up while it stood still says more than that it is elsewhere by now.
        let mut found = None;
        loop {
            let stopped = self.stop_in_poll();
            let doubt = match stopped {
                Ok(()) => match self.claim(successor).and_then(|claim| self.kill(claim)) {
                    Ok(()) => break,
                    Err(doubt) => {
                        let _ = self.process.signal(Target::Process, Signal::SIGCONT); // it may have ended
                        found.insert(doubt)
                    }
                },
                Err(ref doubt) => found.as_ref().unwrap_or(doubt),
            };
            // It may have ended by itself, or somebody else may have the lock by now.
            if !holds_lock(self.pid(), self.dir) || now().moment >= until {
                return Err(doubt.clone());
            }
            thread::sleep(BETWEEN);
        }
        drop(guard);
        Ok(self.fifos)
    }

    fn place(&self) -> Result<Place, String> {
        let pid = self.pid();
        Place::of(pid).map_err(|error| format!("unable to read /proc/{pid}/syscall: {}", why_io(&error)))
    }

    fn stop_in_poll(&self) -> Result<(), String> {
        let elsewhere = || format!("pid {} does not wait in poll(2)", self.pid());
        let before = self.place()?;
        match before.waits() {
            Waits::InPoll => {}
            Waits::Elsewhere => return Err(elsewhere()),
            Waits::InRestart => {
                // It was stopped before. A newline means nothing to it, and makes it begin anew.
                for fifo in &self.fifos {
                    let _ = nix::unistd::write(fifo, b"\n");
                }
                return Err(elsewhere());
            }
        }
        let unable = |errno| format!("unable to stop pid {}: {}", self.pid(), why(errno));
        self.process.signal(Target::Process, Signal::SIGSTOP).map_err(unable)?;
        let until = now().moment + KERNEL;
        let stopped = loop {
            match ProcStat::read(self.pid()).map(|stat| stat.state) {
                Some(b'T') => break self.place(),
                Some(_) if now().moment < until => thread::sleep(Duration::from_millis(1)),
                _ => break Err(format!("pid {} could not be stopped", self.pid())),
            }
        };
        match stopped {
            Ok(place) if place.is_in_poll_since(&before) => Ok(()),
            other => {
                let _ = self.process.signal(Target::Process, Signal::SIGCONT); // it may have ended
                Err(other.err().unwrap_or_else(elsewhere))
            }
        }
    }

    /// What the stopped holder leaves: `None` where its own claim says it, else a claim to be written for it.
    fn claim(&self, successor: Successor<'_>) -> Result<Option<Claim>, String> {
        if !holds_lock(self.pid(), self.dir) {
            return Err("it does not hold the lock any more".to_owned());
        }
        let record = classic::record(self.dir)?.ok_or("there is no status record that can be read")?;
        let is_ours = has_open(self.pid(), self.dir, "claim")
            .map_err(|errno| format!("unable to see what pid {} has open: {}", self.pid(), why(errno)))?;
        let left = ClaimFile::read(self.dir).map_err(|errno| format!("unable to read the claim: {}", why(errno)))?;
        let old = match left {
            Left::Claim(claim) => Some(*claim),
            Left::Nothing | Left::Damaged | Left::Lost => None,
        };
        let lasts = old.as_ref().is_some_and(|claim| !claim.left && claim.boot == successor.boot);
        let known = Predecessor::from_claim(old.clone(), successor.boot).map_err(|doubt| doubt.cause)?;
        let claimed = known.service.map(|service| service.pid());
        let service = record.pid.and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw);
        let process = classic::process(&record)?;
        if service.is_some() && process.is_none() {
            return Err("the service has ended".to_owned());
        }
        if service.is_none() && !successor.can_start {
            return Err("the service is down, and this conf or command line would refuse its start".to_owned());
        }
        if let Some(other) = claimed.filter(|_| claimed != service) {
            return Err(format!("the claim names a process that the record does not: pid {other}"));
        }
        let children = self.children();
        // One that our own had adopted is known by its claim, and nobody's child here.
        let is_adopted = is_ours && claimed.is_some() && children.is_empty();
        if !is_adopted && children != Vec::from_iter(service) {
            let text = |pids: &[Pid]| pids.iter().map(Pid::to_string).collect::<Vec<_>>().join(", ");
            let (named, has) = (service.map_or(0, Pid::as_raw), text(&children));
            return Err(format!("the record names pid {named}, and the children of pid {} are: {has}", self.pid()));
        }
        match (claimed, is_ours) {
            (Some(_), _) => Ok(None),
            (None, true) if service.is_none() && lasts => Ok(None),
            (None, true) => Err("its claim says something else than its record".to_owned()),
            (None, false) => {
                let debts = old.map(|claim| claim.debts).unwrap_or_default();
                Ok(Some(classic::claim(&record, process, successor.boot, successor.command, debts)))
            }
        }
    }

    /// Its children, our own svalarm aside.
    fn children(&self) -> Vec<Pid> {
        let svalarm = executable(self.pid()).map(|own| own.with_file_name("svalarm"));
        let is_child = |pid: &Pid| ProcStat::read(*pid).is_some_and(|stat| stat.parent == self.pid().as_raw());
        let is_svalarm = |pid: &Pid| svalarm.is_some() && executable(*pid) == svalarm;
        all_processes().filter(|pid| is_child(pid) && !is_svalarm(pid)).collect()
    }

    /// From here on there is a way only forward, but for a claim that can't be written.
    fn kill(&self, claim: Option<Claim>) -> Result<(), String> {
        if let Some(claim) = claim {
            ClaimFile::put(self.dir, claim).map_err(|errno| format!("unable to write the claim: {}", why(errno)))?;
        }
        let unable = |errno| format!("unable to end pid {}: {}", self.pid(), why(errno));
        self.process.signal(Target::Process, Signal::SIGKILL).map_err(unable)?;
        let mut descriptors = [PollFd::new(self.process.as_fd(), PollFlags::POLLIN)];
        let _ = ppoll(&mut descriptors, Some(TimeSpec::from_duration(KERNEL)), None); // the lock tells if it is gone
        Ok(())
    }
}

/// The file that a process executes, by the name that it had.
fn executable(pid: Pid) -> Option<PathBuf> {
    let path = fs::read_link(format!("/proc/{pid}/exe")).ok()?.into_os_string().into_string().ok()?;
    Some(PathBuf::from(path.strip_suffix(" (deleted)").unwrap_or(&path)))
}

/// A child that continues the holder when this process ends, however it ends: a supervise that stays stopped would be
/// worse than none.
struct Guard {
    pipe: Option<OwnedFd>,
    child: Pid,
}

impl Guard {
    fn new(process: &Pidfd) -> Result<Self, Errno> {
        let (wait, pipe) = pipe2(OFlag::O_CLOEXEC)?;
        match fork_background()? {
            Forked::Parent(child) => Ok(Self { pipe: Some(pipe), child }),
            Forked::Child => {
                drop(pipe);
                let _ = nix::unistd::read(&wait, &mut [0]); // until nobody has the other end any more
                let _ = process.signal(Target::Process, Signal::SIGCONT); // it may have ended, or go on already
                std::process::exit(0);
            }
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.pipe.take());
        let _ = waitpid(self.child, None); // there is this child and it ends
    }
}
