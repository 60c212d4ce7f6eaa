//! The signals that supervise itself gets, as descriptor reads instead of handlers.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::raw::{call, word};

/// What the signals that came since the last look ask for; several of a kind count once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wakeup {
    /// TERM or INT.
    pub terminate: bool,
    /// HUP.
    pub reload: bool,
    /// A child has ended.
    pub child: bool,
    /// A name in the status directory changed.
    pub directory: bool,
}

/// The open signalfd(2).
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
}

/// The kernel's `struct sigaction`, on every architecture at most so large, with what is done first. All zero it is the
/// default action.
#[derive(Default)]
#[repr(C)]
pub(super) struct KernelAction {
    words: [usize; 8],
}

impl KernelAction {
    /// The signal is ignored.
    pub(super) fn ignore() -> Self {
        Self { words: [libc::SIG_IGN, 0, 0, 0, 0, 0, 0, 0] }
    }

    /// Makes this the disposition of a signal, of those too that the C library keeps to itself. Async-signal-safe.
    pub(super) fn set(&self, number: libc::c_int) {
        let action = (&raw const *self).expose_provenance();
        // SAFETY: neither the default nor to ignore it has code of ours, and the old one is not asked for. The kernel
        // refuses KILL and STOP, which is as well.
        let _ = unsafe { call(libc::SYS_rt_sigaction, [word(number), action, 0, size_of::<u64>()]) };
    }
}

/// So many signals are read with one call. All five kinds at once are rare.
const AT_ONCE: usize = 4;

/// The kernel knows so many signals (signal(7)).
const LAST_SIGNAL: libc::c_int = 64;

/// Brings the signals of this process into a known state, whatever the caller had left: every disposition is the
/// default, and all that could end or stop supervise by accident are blocked. TSTP, TTIN, TTOU and those that report
/// a fault keep their meaning. HUP stays ignored if it was (nohup). TERM, INT, HUP, CHLD and IO are read from the
/// descriptor that is returned.
///
/// # Errors
/// What signalfd(2) says.
pub fn take_over_signals() -> Result<Signals, Errno> {
    let hup_ignored = ignored(libc::SIGHUP);
    for number in (1..=LAST_SIGNAL).filter(|&number| number != libc::SIGHUP || !hup_ignored) {
        KernelAction::default().set(number);
    }
    let mut blocked = SigSet::all();
    for kept in [
        Signal::SIGSEGV,
        Signal::SIGBUS,
        Signal::SIGFPE,
        Signal::SIGILL,
        Signal::SIGABRT,
        Signal::SIGTRAP,
        Signal::SIGSYS,
        Signal::SIGTSTP,
        Signal::SIGTTIN,
        Signal::SIGTTOU,
        Signal::SIGCONT,
    ] {
        blocked.remove(kept);
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&blocked), None)?;
    let mut wanted = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGCHLD, Signal::SIGIO] {
        wanted.add(signal);
    }
    if !hup_ignored {
        wanted.add(Signal::SIGHUP);
    }
    let fd = SignalFd::with_flags(&wanted, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    Ok(Signals { fd })
}

/// Reads these signals from now on, which then do nothing else; those that are ignored stay so. For programs with one
/// thread. What is started by the standard library gets none of this.
///
/// # Errors
/// What signalfd(2) says.
pub fn read_signals(signals: &[Signal]) -> Result<SignalFd, Errno> {
    let mut set = SigSet::empty();
    // A signal that is blocked would come although it is ignored (signal(7)).
    for &signal in signals.iter().filter(|&&signal| !ignored(signal as libc::c_int)) {
        set.add(signal);
    }
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), None)?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

fn ignored(number: libc::c_int) -> bool {
    // SAFETY: all-zero bytes are a valid sigaction, and the old one is only read.
    unsafe {
        let mut old = std::mem::zeroed::<libc::sigaction>();
        libc::sigaction(number, std::ptr::null(), &raw mut old) == 0 && old.sa_sigaction == libc::SIG_IGN
    }
}

impl Signals {
    /// Forgets that a name in the directory changed, for one who has looked since or is about to.
    pub fn forget_directory(&self) {
        let mut set = SigSet::empty();
        set.add(Signal::SIGIO);
        let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the pointers are to values of ours; no siginfo is wanted.
        unsafe { libc::sigtimedwait(set.as_ref(), std::ptr::null_mut(), &raw const now) };
    }

    /// Reads all that have come; none is left behind.
    #[must_use]
    pub fn take(&mut self) -> Wakeup {
        const ONE: usize = size_of::<libc::signalfd_siginfo>();
        let mut wakeup = Wakeup::default();
        let mut bytes = [0; AT_ONCE * ONE];
        loop {
            let length = nix::unistd::read(&self.fd, &mut bytes).unwrap_or(0);
            for info in bytes[..length].chunks_exact(ONE) {
                // The signal's number is the first thing in it (signalfd(2)).
                match u32::from_ne_bytes([info[0], info[1], info[2], info[3]]).cast_signed() {
                    libc::SIGTERM | libc::SIGINT => wakeup.terminate = true,
                    libc::SIGHUP => wakeup.reload = true,
                    libc::SIGCHLD => wakeup.child = true,
                    libc::SIGIO => wakeup.directory = true,
                    _ => {}
                }
            }
            if length < bytes.len() {
                return wakeup; // there are no more
            }
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
