//! What the policy wants done about an event, in the order in which it is to be done.

use std::time::Duration;

use super::{Exit, RunStart, Stamp};

/// Something for the supervisor to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Fork and exec the service.
    Start,
    /// Send this signal to the service, or to its process group where the conf says so.
    Signal(Sig),
    /// Run the hook with this exit count.
    StartHook(u32),
    /// KILL the hook; its end is not waited for.
    KillHook,
    /// An alarm is owed from now on, about the run of the service that began then.
    Raise(Alarm, RunStart),
    /// The status of an exit that was raised as pending is known.
    Settle(Exit),
    /// Something to log.
    Tell(Told),
    /// supervise.conf is to be read again.
    ReadConf,
    /// Another version of the program is to go on from here, if it can.
    Upgrade,
    /// Supervise is done.
    Leave {
        /// A limit of the window was passed.
        gave_up: bool,
    },
}

/// The signals that a supervisor sends to its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sig {
    /// SIGTERM
    Term,
    /// SIGINT
    Int,
    /// SIGHUP
    Hup,
    /// SIGALRM
    Alrm,
    /// SIGQUIT
    Quit,
    /// SIGUSR1
    Usr1,
    /// SIGUSR2
    Usr2,
    /// SIGKILL
    Kill,
    /// SIGSTOP
    Stop,
    /// SIGCONT
    Cont,
}

/// An alarm, with what its message tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// What the subject says.
    pub kind: AlarmKind,
    /// The exit that it is about.
    pub exit: Exit,
    /// When the exit was noticed.
    pub at: Stamp,
    /// How long the service had run; `None`: its start is not known.
    pub ran: Option<Duration>,
    /// Which unexpected exit of the window it was, counted from 1.
    pub window_exit: u32,
    /// How many exits of the window dumped core.
    pub window_coredumps: u32,
    /// When the window ends.
    pub window_ends: Stamp,
    /// What supervise does next.
    pub next: Next,
}

/// The four subjects of an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlarmKind {
    /// The service exited.
    Exited,
    /// The service exited with a coredump.
    Coredump,
    /// A limit was passed: no restart any more.
    GaveUp {
        /// The restarts in the window.
        tries: u32,
    },
    /// The service has run for a whole window after an alarm. The alarm's exit is the last one, with the pid of the
    /// process that runs; of the other facts only the times say something.
    Recovered,
}

/// What supervise does after an exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Starts the service again at once.
    RestartNow,
    /// Starts it again after this time, for the pacing.
    RestartAfter(Duration),
    /// Runs the hook, then starts it again.
    RestartAfterHook,
    /// Leaves it down, as asked for.
    StaysDown,
    /// Exits, as asked for.
    Exits,
    /// Gives up and exits.
    GivesUp,
}

/// Something that happened, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The service exited.
    Exited {
        /// How.
        exit: Exit,
        /// How long it had run.
        ran: Option<Duration>,
        /// A command had caused it.
        expected: bool,
        /// Which unexpected exit of the window it was; `None`: not counted.
        window_exit: Option<u32>,
        /// What follows.
        next: Next,
    },
    /// The service is started again.
    Restarting,
    /// A limit of the window was passed.
    GaveUp {
        /// The restarts in the window.
        tries: u32,
    },
    /// It did not end within the stop timeout after TERM.
    KilledAfterTimeout {
        /// The time it was given.
        timeout: Duration,
    },
    /// The hook ran longer than it may and was killed.
    HookTimedOut,
    /// The predecessor's service runs and was adopted.
    Adopted,
    /// Taken over: wanted down, so it is not started.
    LeftDown,
}
