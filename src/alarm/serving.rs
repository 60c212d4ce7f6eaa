//! Who serves a spool: one svalarm at a time, and never nobody where somebody should.
//!
//! ```text
//! alarms             locked by who serves the spool
//! alarms/.delivery   locked by who serves it until it is empty, or is the next to do so
//! ```
//!
//! `--once` takes the first lock only. Every other svalarm takes the second one first, and then waits for the first: so
//! one that finds a `--once` at work follows it, and one that finds the second lock taken may end, since somebody is
//! there who stays. That one gives the second lock back before it ends, and looks once more: who was sent away before
//! has stored its message before.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::stat::futimens;
use nix::sys::time::TimeSpec;

use super::queue::Stay;
use super::spool::Spool;
use crate::sys::{Signals, lock_exclusively, now, unlock};

/// The first pause between two looks at a lock; each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// But not longer: who waits is not to keep the machine awake.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Without the second lock the first one is waited for so long: another svalarm may be about to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// The right to serve a spool, and the duty to do so until it is empty.
#[derive(Debug)]
pub(super) struct Serving {
    /// `None`: a `--once`, or the second lock can't be had, because `.delivery` can't be made.
    stays: Option<Second>,
}

/// The second lock. It is given back at once, also where a child that was just forked has the descriptor too.
#[derive(Debug)]
struct Second(OwnedFd);

impl Drop for Second {
    fn drop(&mut self) {
        let _ = unlock(self.0.as_fd()); // it ends with the descriptor at the latest
    }
}

/// How asking for it ended.
#[derive(Debug)]
pub(super) enum Entry {
    Serving(Serving),
    /// Somebody else serves it, and was told to look.
    Busy,
    /// Told to end while it waited.
    Terminated,
}

impl Serving {
    /// Takes the locks that this one needs.
    pub(super) fn enter(spool: &Spool, stay: Stay, signals: &mut Signals) -> Result<Entry, Errno> {
        let stays = match stay {
            Stay::Never => None,
            Stay::WhileAlone => match lock_second(spool) {
                Ok(locked) => Some(locked),
                Err(Errno::EWOULDBLOCK) => {
                    knock(spool);
                    return Ok(Entry::Busy);
                }
                Err(_) => None,
            },
        };
        let patience = match (stay, &stays) {
            (_, Some(_)) => None,
            (Stay::WhileAlone, None) => Some(PATIENCE),
            (Stay::Never, None) => Some(Duration::ZERO),
        };
        let began = now().moment;
        let mut pause = FIRST_PAUSE;
        loop {
            match lock_exclusively(spool.folder()) {
                Ok(()) => return Ok(Entry::Serving(Self { stays })),
                Err(Errno::EWOULDBLOCK) => {}
                Err(errno) => return Err(errno),
            }
            knock(spool);
            if patience.is_some_and(|patience| now().moment.since(began) >= patience) {
                return Ok(Entry::Busy);
            }
            let mut descriptors = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
            let _ = ppoll(&mut descriptors, Some(TimeSpec::from_duration(pause)), None);
            if signals.take().terminate {
                return Ok(Entry::Terminated);
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Lets somebody be the next; who comes from now on is not sent away.
    pub(super) fn let_others_in(&mut self) {
        self.stays = None;
    }

    /// It has to stay after all. The answer: false, somebody else does, and waits for the end of this one.
    pub(super) fn stay(&mut self, spool: &Spool) -> bool {
        match lock_second(spool) {
            Ok(locked) => self.stays = Some(locked),
            Err(Errno::EWOULDBLOCK) => return false,
            Err(_) => {}
        }
        true
    }
}

fn lock_second(spool: &Spool) -> Result<Second, Errno> {
    let folder = spool.open_delivery()?;
    lock_exclusively(folder.as_fd()).map(|()| Second(folder))
}

/// Lets whoever serves it take a look: its times are set, which inotify(7) tells as IN_ATTRIB.
fn knock(spool: &Spool) {
    let _ = futimens(spool.folder(), &TimeSpec::UTIME_NOW, &TimeSpec::UTIME_NOW);
}
