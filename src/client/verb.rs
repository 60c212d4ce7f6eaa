//! What can be asked of a service, and the bytes that ask it.

use crate::policy::Command;
use crate::statusdir::byte_of;

/// What can be asked of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Wanted up, and up.
    Start,
    /// Wanted down, and down.
    Stop,
    /// Up under another pid.
    Restart,
    /// Up, or run through with code 0, and not to be restarted.
    Once,
    /// The process that ran is gone.
    Kill,
    /// Stopped by STOP.
    Pause,
    /// Not stopped any more.
    Continue,
    /// Service and supervise are gone.
    Exit,
    /// supervise.conf was read.
    Reload,
    /// supervise runs the program that is installed now.
    Upgrade,
    /// Alarms are on.
    AlarmsOn,
    /// Alarms are off.
    AlarmsOff,
    /// A signal or another command whose effect no record shows.
    Send(Command),
    /// Nothing is asked of supervise; only waited for.
    Wait(Until),
}

/// What can be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// The service runs.
    Up,
    /// It does not, and no start is due.
    Down,
    /// A limit of the alarm window was passed.
    GaveUp,
    /// Its supervise has ended.
    Exited,
}

/// The byte of the upgrade.
const UPGRADE: u8 = b'U';

impl Verb {
    /// What is written to svcontrol, in one write.
    #[must_use]
    pub fn bytes(self) -> Vec<u8> {
        let commands: &[Command] = match self {
            Self::Start => &[Command::Up],
            Self::Stop => &[Command::Down],
            Self::Restart => &[Command::Down, Command::Up],
            Self::Once => &[Command::Once],
            Self::Kill => &[Command::Kill],
            Self::Pause => &[Command::Pause],
            Self::Continue => &[Command::Continue],
            Self::Exit => &[Command::Down, Command::Exit],
            Self::Reload => &[Command::Reload],
            Self::Upgrade => return vec![UPGRADE],
            Self::AlarmsOn => &[Command::AlarmsOn],
            Self::AlarmsOff => &[Command::AlarmsOff],
            Self::Send(command) => return vec![byte_of(command)],
            Self::Wait(_) => &[],
        };
        commands.iter().map(|&command| byte_of(command)).collect()
    }

    /// What it is that was not so in time.
    pub(super) fn wanted(self) -> &'static str {
        match self {
            Self::Start | Self::Wait(Until::Up) => "up",
            Self::Stop | Self::Wait(Until::Down) => "down",
            Self::Restart => "restarted",
            Self::Once => "started once",
            Self::Kill => "killed",
            Self::Pause => "paused",
            Self::Continue => "continued",
            Self::Exit | Self::Wait(Until::Exited) => "exited",
            Self::Reload => "reloaded",
            Self::Upgrade => "upgraded",
            Self::AlarmsOn => "with alarms on",
            Self::AlarmsOff => "with alarms off",
            Self::Send(_) => "told",
            Self::Wait(Until::GaveUp) => "given up",
        }
    }
}
