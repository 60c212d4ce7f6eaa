//! The signals that end a command which has something to put right first.

use std::os::fd::AsFd as _;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use nix::sys::time::TimeSpec;

use crate::sys::read_signals;

/// INT, TERM, HUP and QUIT, to be read and not to strike. Programs that are started meanwhile get them as usual.
pub(super) struct Interrupts(SignalFd);

impl Interrupts {
    /// From now on. One that is ignored (nohup(1)) stays so.
    ///
    /// # Errors
    /// What signalfd(2) says.
    pub(super) fn new() -> Result<Self, Errno> {
        read_signals(&[Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT]).map(Self)
    }

    /// Waits for so long. The answer: a signal, as soon as there is one.
    pub(super) fn wait(&self, time: Duration) -> Option<Signal> {
        let mut descriptors = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        let _ = ppoll(&mut descriptors, Some(TimeSpec::from_duration(time)), None);
        let info = self.0.read_signal().ok()??;
        Signal::try_from(i32::try_from(info.ssi_signo).ok()?).ok()
    }
}

/// The exit code of who is ended by a signal, as a shell gives it.
pub(super) fn code_of(signal: Signal) -> u8 {
    128 + signal as u8
}
