//! What can happen to a supervise, as the policy is told of it.

use super::{Command, Ledger, Rules, Sig};

/// Something happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// Supervise begins. Comes first, and once.
    Begin {
        /// What the dead predecessor left to its successor; `None`: a fresh start.
        taken: Option<Ledger>,
        /// What became of the predecessor's service.
        found: Found,
    },
    /// A byte on svcontrol.
    Command(Command),
    /// TERM or INT to supervise itself: down, then exit.
    Terminate,
    /// supervise.conf was read again and holds from now on.
    Reloaded(Rules),
    /// The service was reaped, or an adopted one is gone.
    Exited(Exit),
    /// The exit status that [`Ended::Pending`] stood for is known, or will never be.
    StatusKnown(Ended),
    /// The kernel refused to fork the service.
    ForkRefused,
    /// This signal could not be sent to the service.
    NotSent(Sig),
    /// The hook ended, was killed, or could not be started.
    HookEnded,
    /// The time of [`super::Policy::next_deadline`] has come.
    Deadline,
}

/// What a supervise finds of the service that its claim names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// No service was running when the predecessor died.
    Nothing,
    /// It runs.
    Alive,
    /// It is gone.
    Dead(Exit),
}

/// The end of one run of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The pid that the service had.
    pub pid: i32,
    /// How it ended.
    pub ended: Ended,
    /// Peak resident memory in KiB, where the kernel told.
    pub peak_kib: Option<u64>,
    /// CPU time (user, system) in microseconds, where the kernel told.
    pub cpu_us: Option<(u64, u64)>,
}

/// How the service ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this exit code.
    Code(u8),
    /// By this signal.
    Signal {
        /// The signal's number.
        number: i32,
        /// The kernel says that it dumped core.
        core: bool,
    },
    /// It never ran: this step between fork and exec failed with this errno.
    NotStarted {
        /// Which step; the supervisor knows their names.
        step: u8,
        /// Why.
        errno: i32,
    },
    /// Nobody can say.
    Unknown,
    /// An adopted service, whose status the kernel has not told yet.
    Pending,
}

impl Ended {
    /// The kernel says that it dumped core.
    #[must_use]
    pub fn dumped_core(self) -> bool {
        matches!(self, Self::Signal { core: true, .. })
    }
}
