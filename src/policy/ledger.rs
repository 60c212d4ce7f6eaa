//! What the policy remembers, and what a successor takes over when a supervise dies without taking leave.

use super::{Ended, Moment, Stamp};

/// What the operator asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// Kept running.
    #[default]
    Up,
    /// Not running.
    Down,
    /// Run once: started, and not started again.
    Once,
}

/// An open alarm window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first unexpected exit in it.
    pub opened: Moment,
    /// The same in wall time, for texts.
    pub opened_at: Stamp,
    /// Unexpected exits in it.
    pub exits: u32,
    /// How many of them dumped core.
    pub coredumps: u32,
}

/// The last exit of the service, for the long record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastExit {
    /// How it ended.
    pub ended: Ended,
    /// When it was noticed.
    pub at: Stamp,
    /// The same, for deciding (the hook's count).
    pub moment: Moment,
    /// How long it had run in nanoseconds; `None`: its start is not known.
    pub ran_ns: Option<u64>,
    /// A command had caused it.
    pub expected: bool,
}

/// When a run of the service began, by both clocks: its supervise and every successor know the same of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunStart {
    /// In this boot; `None`: it is not known.
    pub moment: Option<Moment>,
    /// In wall time.
    pub stamp: Stamp,
}

/// Everything that holds over the death of a supervise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// What the operator asked for.
    pub wanted: Wanted,
    /// Alarms are off.
    pub alarms_off: bool,
    /// The service was stopped with `p`.
    pub paused: bool,
    /// A start is due: the service is down for a pacing delay or a hook, or a start was refused.
    pub start_due: bool,
    /// `u` or `o` asked for the start that is due or follows the exit: no pacing for it.
    pub prompt: bool,
    /// `d` or TERM to supervise came while the service ran: since when it is to stop.
    pub stopping: Option<Moment>,
    /// `u` came after that.
    pub up_since: bool,
    /// KILL followed TERM after the stop timeout, or was refused then.
    pub killed: bool,
    /// When `t`, `i`, `q` and `k` were last sent to this run of the service.
    pub sent: [Option<Moment>; 4],
    /// The last start of the service.
    pub started: Option<Moment>,
    /// The same in wall time.
    pub started_at: Stamp,
    /// Starts of the service.
    pub starts: u64,
    /// Exits of the service.
    pub exits: u64,
    /// The last exit.
    pub last_exit: Option<LastExit>,
    /// The open alarm window.
    pub window: Option<Window>,
    /// An alarm was raised, and the service has not run for a whole window since.
    pub alarmed: bool,
    /// Exits in a row for the hook's argument.
    pub hook_count: u32,
}

impl Ledger {
    /// When the run began that is the last one.
    pub(super) fn run_start(&self) -> RunStart {
        RunStart { moment: self.started, stamp: self.started_at }
    }
}
