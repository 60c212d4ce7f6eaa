//! Starting a program as a child: what it is to be, and what the child tells of its way there.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::{Pid, pipe2};

use super::Program;
use super::child::{Orders, Streams};
use super::lent::{Lent, start};
use super::signals::KernelAction;

/// A step of the child before its exec.
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
/// its start. Must neither allocate nor panic.
pub trait StampClaim {
    /// The block, stamped, in two pieces.
    fn stamp(&mut self, pid: u32, boot_ns: u64) -> [&[u8]; 2];
}

/// A program to be started.
pub struct Launch<'a> {
    /// The program.
    pub program: &'a Rc<Program>,
    /// Where its output goes.
    pub output: Output<'a>,
    /// It leads a session of its own, not only a process group: it outlives whatever ends supervise's session.
    pub own_session: bool,
    /// It starts with HUP ignored.
    pub hup_ignored: bool,
    /// It gets KILL when this process, its parent, dies.
    pub ends_with_parent: Option<Pid>,
    /// The claim's file, and what gives the block to write there.
    pub claim: Option<(BorrowedFd<'a>, Box<dyn StampClaim>)>,
}

/// A program that was started.
#[derive(Debug)]
pub struct Launched {
    /// Its pid.
    pub pid: Pid,
    /// What the child tells until it is the program.
    pub report: StartReport,
}

/// Steps of a child that failed; the end of it without one that is fatal is the exec. Whoever drops it before its end
/// gives up the memory that the child was lent.
#[derive(Debug)]
pub struct StartReport {
    pipe: OwnedFd,
    lent: Option<Lent>,
}

/// Starts a child, and lets it take its steps. stdin is the caller's (supervise's own is /dev/null), but in a dialogue.
///
/// # Errors
/// The pipe or the child was refused; there is no child.
pub fn launch(launch: Launch<'_>) -> Result<Launched, Errno> {
    let (pipe, tell) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
    let (pid, lent) = start(Orders {
        program: Rc::clone(launch.program),
        streams: match launch.output {
            Output::Inherit => Streams::Inherit,
            Output::Files(dir) => Streams::Files(dir.as_raw_fd()),
            Output::Null => Streams::Null,
            Output::Dialogue { question, answer } => {
                Streams::Dialogue { question: question.as_raw_fd(), answer: answer.as_raw_fd() }
            }
        },
        own_session: launch.own_session,
        hup: if launch.hup_ignored { KernelAction::ignore() } else { KernelAction::default() },
        ends_with_parent: launch.ends_with_parent.map(Pid::as_raw),
        claim: launch.claim.map(|(file, block)| (file.as_raw_fd(), block)),
        tell: tell.as_raw_fd(),
    })?;
    let pid = Pid::from_raw(pid);
    if !launch.own_session {
        // Both sides do this, so that it holds for whichever comes first (setpgid(2), EACCES after the exec).
        let _ = nix::unistd::setpgid(pid, pid);
    }
    Ok(Launched { pid, report: StartReport { pipe, lent } })
}

impl Report {
    const LENGTH: usize = 7;

    /// As the child tells it, in one write.
    pub(super) fn message(self) -> [u8; Self::LENGTH] {
        let errno = (self.errno as i32).to_ne_bytes();
        let file = self.file.to_ne_bytes();
        [self.step as u8, errno[0], errno[1], errno[2], errno[3], file[0], file[1]]
    }

    fn from_message(message: [u8; Self::LENGTH]) -> Option<Self> {
        let [step, errno @ .., file, last] = message;
        let errno = Errno::from_raw(i32::from_ne_bytes(errno));
        Some(Self { step: Step::from_number(step)?, errno, file: u16::from_ne_bytes([file, last]) })
    }
}

impl StartReport {
    /// Reads what the child has told so far. The flag: no more will come, since it has executed its program or ended.
    #[must_use]
    pub fn read(&mut self) -> (Vec<Report>, bool) {
        let mut reports = Vec::new();
        loop {
            let mut message = [0; Report::LENGTH];
            match nix::unistd::read(&self.pipe, &mut message) {
                Ok(0) => {
                    // SAFETY: nobody has the other end but the child, which the kernel takes it from at its exec or its
                    // end, and either time after its memory.
                    drop(self.lent.take().map(|lent| unsafe { lent.give_back() }));
                    return (reports, true);
                }
                Ok(_) => reports.extend(Report::from_message(message)),
                Err(Errno::EINTR) => {}
                Err(_) => return (reports, false),
            }
        }
    }
}

impl AsFd for StartReport {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}
