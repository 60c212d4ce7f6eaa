//! What an operator can ask for; the bytes behind the commands are the status directory's matter.

/// One command, as it is written to svcontrol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Wanted up; start if down.
    Up,
    /// Wanted down; TERM, then CONT to a running service.
    Down,
    /// Start if down; not restarted when it exits.
    Once,
    /// KILL.
    Kill,
    /// Exit as soon as the service is down.
    Exit,
    /// TERM.
    Term,
    /// INT.
    Int,
    /// HUP.
    Hup,
    /// ALRM.
    Alrm,
    /// QUIT.
    Quit,
    /// USR1.
    Usr1,
    /// USR2.
    Usr2,
    /// STOP, and the paused flag.
    Pause,
    /// CONT, and the paused flag off.
    Continue,
    /// Alarms off.
    AlarmsOff,
    /// Alarms on.
    AlarmsOn,
    /// Read supervise.conf again.
    Reload,
    /// Let another version of the program go on in this one's place.
    Upgrade,
}

impl Command {
    /// Every command there is.
    pub const ALL: [Self; 18] = [
        Self::Up,
        Self::Down,
        Self::Once,
        Self::Kill,
        Self::Exit,
        Self::Term,
        Self::Int,
        Self::Hup,
        Self::Alrm,
        Self::Quit,
        Self::Usr1,
        Self::Usr2,
        Self::Pause,
        Self::Continue,
        Self::AlarmsOff,
        Self::AlarmsOn,
        Self::Reload,
        Self::Upgrade,
    ];
}
