//! From fork to exec: a straight line of named steps, each of which tells if it fails, and why.
//!
//! The child is a copy of a process with one thread, so it could do anything; it does only what cannot block for
//! long, and allocates nothing, so that the way from a death to the next exec stays short.

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::unistd::{Pid, pipe2};

use super::Program;
use super::clock::boot_ns_of_child;
use super::fds::open_owned_link;

/// A step of the child between fork and exec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Step {
    /// Joining a process group, or a session, of its own.
    Group = 1,
    /// Opening `__stdout`; the program gets /dev/null instead.
    Stdout = 2,
    /// Opening `__stderr`; the program gets /dev/null instead.
    Stderr = 3,
    /// Writing the claim; the program starts all the same.
    Claim = 4,
    /// Giving the program clean signals.
    Signals = 5,
    /// Executing the program.
    Exec = 6,
}

impl Step {
    /// Every step, in its order.
    pub const ALL: [Self; 6] = [Self::Group, Self::Stdout, Self::Stderr, Self::Claim, Self::Signals, Self::Exec];

    /// The step with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|&step| step as u8 == number)
    }

    /// One word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::Signals => "signals",
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Claim => "claim",
            Self::Exec => "exec",
        }
    }

    /// Without this step there is no start.
    #[must_use]
    pub fn is_fatal(self) -> bool {
        match self {
            Self::Group | Self::Signals | Self::Exec => true,
            Self::Stdout | Self::Stderr | Self::Claim => false,
        }
    }
}

/// A step that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Which.
    pub step: Step,
    /// Why.
    pub errno: Errno,
    /// Which of [`Program::candidate`] an exec failed on; one that does not exist where none was found.
    pub file: u16,
}

/// Where the output of a program goes.
#[derive(Clone, Copy, Debug)]
pub enum Output<'a> {
    /// Where supervise's own goes.
    Inherit,
    /// To `__stdout` and `__stderr` in this directory, opened anew.
    Files(BorrowedFd<'a>),
    /// Nowhere: to where stdin comes from, which for supervise is /dev/null.
    Null,
    /// It is asked something: stdin and stdout are these, and what it says on stderr goes nowhere.
    Dialogue {
        /// Its stdin.
        question: BorrowedFd<'a>,
        /// Its stdout.
        answer: BorrowedFd<'a>,
    },
}

/// Gives the whole claim block in the child, from its pid and a time on the clock of [`super::boot_ns`] that is not before
/// its fork. Must not allocate.
pub trait StampClaim {
    /// The block, stamped, in two pieces.
    fn stamp(&mut self, pid: u32, boot_ns: u64) -> [&[u8]; 2];
}

/// A program to be started.
pub struct Launch<'a> {
    /// The program.
    pub program: &'a Program,
    /// Where its output goes.
    pub output: Output<'a>,
    /// It leads a session of its own, not only a process group: it outlives whatever ends supervise's session.
    pub own_session: bool,
    /// It starts with HUP ignored.
    pub hup_ignored: bool,
    /// It gets KILL when this process, its parent, dies.
    pub ends_with_parent: Option<Pid>,
    /// The claim's file, and what gives the block to write there.
    pub claim: Option<(BorrowedFd<'a>, &'a mut dyn StampClaim)>,
}

/// A program that was forked.
#[derive(Debug)]
pub struct Launched {
    /// Its pid.
    pub pid: Pid,
    /// Steps that failed are read from here; its end without one that is fatal is the exec.
    pub report: OwnedFd,
}

/// Forks, and lets the child take its steps. stdin is the caller's (supervise's own is /dev/null), but in a dialogue.
///
/// # Errors
/// The pipe or the fork was refused; there is no child.
pub fn launch(mut launch: Launch<'_>) -> Result<Launched, Errno> {
    let (report, tell) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
    // SAFETY: all-zero bytes are a valid one. Made here, so that the child need not look for the function that does it.
    let mut hup = unsafe { std::mem::zeroed::<libc::sigaction>() };
    hup.sa_sigaction = if launch.hup_ignored { libc::SIG_IGN } else { libc::SIG_DFL };
    // SAFETY: the child makes system calls only, and then becomes another program or ends.
    match unsafe { super::process::fork_bare() }? {
        0 => {
            let failed = run_child(&mut launch, &hup, tell.as_fd());
            send(tell.as_fd(), failed);
            // SAFETY: ends this copy of the process without running what the original registered for its exit.
            unsafe { libc::_exit(127) }
        }
        pid => {
            let pid = Pid::from_raw(pid);
            if !launch.own_session {
                // Both sides do this, so that it holds for whichever comes first (setpgid(2), EACCES after the exec).
                let _ = nix::unistd::setpgid(pid, pid);
            }
            Ok(Launched { pid, report })
        }
    }
}

/// The child's line of steps; returns the one that failed.
fn run_child(launch: &mut Launch<'_>, hup: &libc::sigaction, tell: BorrowedFd<'_>) -> Report {
    let failed = |step| move |errno| Report { step, errno, file: 0 };
    let steps = |launch: &mut Launch<'_>| -> Result<(), Report> {
        if launch.own_session {
            nix::unistd::setsid().map_err(failed(Step::Group))?;
        } else {
            nix::unistd::setpgid(Pid::from_raw(0), Pid::from_raw(0)).map_err(failed(Step::Group))?;
        }
        if let Some(parent) = launch.ends_with_parent {
            super::process::end_with(parent);
        }
        match launch.output {
            Output::Inherit => {}
            Output::Files(dir) => {
                redirect(dir, c"__stdout", 1, Step::Stdout, tell);
                redirect(dir, c"__stderr", 2, Step::Stderr, tell);
            }
            // SAFETY: system calls on plain numbers.
            Output::Null => unsafe {
                libc::dup2(0, 1);
                libc::dup2(0, 2);
            },
            // SAFETY: system calls on plain numbers.
            Output::Dialogue { question, answer } => unsafe {
                libc::dup2(0, 2);
                libc::dup2(answer.as_raw_fd(), 1);
                libc::dup2(question.as_raw_fd(), 0);
            },
        }
        if let Some((file, claim)) = launch.claim.as_mut() {
            let block = claim.stamp(std::process::id(), boot_ns_of_child());
            let size = block[0].len() + block[1].len();
            let written = nix::sys::uio::pwritev(file, &block.map(IoSlice::new), 0);
            if written != Ok(size) {
                let errno = written.err().unwrap_or(Errno::ENOSPC);
                send(tell, Report { step: Step::Claim, errno, file: 0 });
                forget_file_limit();
            }
        }
        // SAFETY: neither disposition has code of ours. All other signals have the default already.
        unsafe { libc::sigaction(libc::SIGHUP, hup, std::ptr::null_mut()) };
        // Behind the last write: before, a limit on file sizes is an error (setrlimit(2)) and not the end of the child.
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None).map_err(failed(Step::Signals))
    };
    match steps(launch) {
        Ok(()) => {
            let (errno, file) = launch.program.exec();
            Report { step: Step::Exec, errno, file }
        }
        Err(report) => report,
    }
}

/// A write beyond the limit on file sizes has left a signal behind, which is blocked: it is dropped.
fn forget_file_limit() {
    // SAFETY: neither disposition has code of ours; a signal that is ignored is dropped though it is blocked (signal(7)).
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        libc::signal(libc::SIGXFSZ, libc::SIG_DFL);
    }
}

/// Makes `name` in `dir` the descriptor `number`, or /dev/null (which is what stdin is) where that fails.
fn redirect(dir: BorrowedFd<'_>, name: &std::ffi::CStr, number: i32, step: Step, tell: BorrowedFd<'_>) {
    let flags = libc::O_WRONLY | libc::O_APPEND | libc::O_CREAT;
    let redirected = open_owned_link(dir, name, flags).and_then(|file| {
        // O_NONBLOCK was for the opening alone. O_APPEND stays.
        // SAFETY: system calls on descriptors that are open.
        Errno::result(unsafe {
            libc::fcntl(file.as_raw_fd(), libc::F_SETFL, libc::O_APPEND);
            libc::dup2(file.as_raw_fd(), number)
        })
    });
    if let Err(errno) = redirected {
        send(tell, Report { step, errno, file: 0 });
        // SAFETY: a system call on plain numbers.
        unsafe { libc::dup2(0, number) };
    }
}

const MESSAGE: usize = 7;

fn send(tell: BorrowedFd<'_>, report: Report) {
    let errno = (report.errno as i32).to_ne_bytes();
    let file = report.file.to_ne_bytes();
    let message: [u8; MESSAGE] = [report.step as u8, errno[0], errno[1], errno[2], errno[3], file[0], file[1]];
    let _ = nix::unistd::write(tell, &message); // nobody is left to tell of it where this fails
}

/// Reads what the child has told so far. The flag: no more will come, since it has executed its program or ended.
#[must_use]
pub fn read_reports(from: BorrowedFd<'_>) -> (Vec<Report>, bool) {
    let mut reports = Vec::new();
    loop {
        let mut message = [0; MESSAGE];
        match nix::unistd::read(from, &mut message) {
            Ok(MESSAGE) => {
                let errno = i32::from_ne_bytes([message[1], message[2], message[3], message[4]]);
                if let Some(step) = Step::from_number(message[0]) {
                    let file = u16::from_ne_bytes([message[5], message[6]]);
                    reports.push(Report { step, errno: Errno::from_raw(errno), file });
                }
            }
            Ok(_) => return (reports, true),
            Err(Errno::EINTR) => {}
            Err(_) => return (reports, false),
        }
    }
}
