//! One service under way: told, obeyed, and looked at until its records show the effect.

use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};

use super::Service;
use super::effect::{Failure, Scene, See, Verdict, judge, not_in_time};
use super::fare::Fare;
use super::look::Unreadable;
use super::steer::{Order, Outcome};
use super::target::{Refusal, Target, Written, enter, is_lock_free, is_removed, open_ok, unable};
use super::verb::Verb;
use super::watch::Watches;
use super::words::{failure_words, log_length, no_supervise};
use crate::policy::Command;
use crate::statusdir::byte_of;

/// Where no watch tells of a change it is looked for so often.
const UNWATCHED: Duration = Duration::from_millis(50);
/// And so often where one does: a folder that was removed, or a file system that tells nothing, is noticed too.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// A fifo of more than a page does not tell when it was read (the classic program's has 16).
const UNREAD: Duration = Duration::from_millis(10);
/// The lock of a supervise that has ended is held by a child of it until that child's exec.
const LOCK_HELD: Duration = Duration::from_millis(5);

/// How far the bytes have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// There was no room for them in the fifo.
    Kept,
    /// They are in the fifo.
    Written,
    /// They were read, and a newline was written behind them. It means nothing to supervise; but once it is read, the
    /// turn that read the bytes is over, and what they changed is published.
    Followed,
    /// That is so.
    Obeyed,
}

/// One service under way.
#[derive(Debug)]
pub(super) struct Run {
    target: Target,
    lives: bool,
    before: Fare,
    now: Fare,
    progress: Progress,
    watched: bool,
    /// The length of supervise.log.wf before.
    log_before: u64,
    began: Instant,
    /// The first new pid, and since when.
    fresh: Option<(u32, Instant)>,
    killed: bool,
    /// A failure was seen again a turn later.
    confirmed: bool,
    /// When it wants to be looked at, whatever happens.
    pub(super) wake: Instant,
}

impl Run {
    /// Watches, looks, and writes the bytes, in this order: so no effect is missed.
    ///
    /// # Errors
    /// What came of it, where there is nothing to wait for.
    pub(super) fn start(
        service: &Service,
        place: usize,
        order: &Order,
        watches: &mut Watches,
        epoll: &Epoll,
    ) -> Result<Self, Outcome> {
        let dir = enter(&service.dir)?;
        let watched = watches.add(&service.dir, place);
        let before = Fare::read(&dir);
        let (target, lives) = if matches!(order.verb, Verb::Wait(_)) {
            let (ok, lives) = match open_ok(&dir) {
                Ok(ok) => (ok, true),
                Err(Refusal::NoSupervise(_)) => (None, false),
                Err(refusal) => return Err(refusal.into()),
            };
            (Target { dir, ok, control: None }, lives)
        } else {
            (Target::open(dir).map_err(|refusal| no_supervise(refusal, before.as_ref().ok()))?, true)
        };
        let before = before.map_err(|unreadable| {
            Outcome::System(match unreadable {
                Unreadable::System(errno) => unable(&target.dir, "read", "status", errno),
                Unreadable::Damaged => format!("unable to read {}/status: it is damaged", service.shown()),
            })
        })?;
        let began = Instant::now();
        let mut run = Self {
            lives,
            now: before.clone(),
            before,
            progress: Progress::Kept,
            watched,
            log_before: log_length(&target.dir),
            target,
            began,
            fresh: None,
            killed: false,
            confirmed: false,
            wake: began,
        };
        if !lives && !matches!(judge(order.verb, &run.scene(order, began)), Verdict::Done(_)) {
            return Err(no_supervise(Refusal::nobody(), Some(&run.now)));
        }
        run.register(place, epoll);
        run.advance(order)?;
        Ok(run)
    }

    fn register(&self, place: usize, epoll: &Epoll) {
        let data = place as u64;
        // Where it cannot be registered, the heartbeat looks.
        if let Some(control) = &self.target.control {
            let _ = epoll.add(control, EpollEvent::new(EpollFlags::EPOLLOUT | EpollFlags::EPOLLET, data));
        }
        if let Some(ok) = &self.target.ok {
            // Nothing is asked for: that the last reader has gone is told in any case (EPOLLERR), once.
            let _ = epoll.add(ok, EpollEvent::new(EpollFlags::EPOLLET, data));
        }
    }

    /// Brings the bytes further.
    fn advance(&mut self, order: &Order) -> Result<(), Outcome> {
        let written = match self.progress {
            _ if self.target.control.is_none() => return Ok(()),
            Progress::Kept => self.target.write(&order.verb.bytes())?,
            Progress::Written if self.target.is_drained() => self.target.write(b"\n")?,
            Progress::Followed if self.target.is_drained() => Written::Whole,
            Progress::Written | Progress::Followed | Progress::Obeyed => return Ok(()),
        };
        self.progress = match (self.progress, written) {
            (progress, Written::NoRoom) => progress,
            (Progress::Kept, Written::NoReader) => {
                return Err(no_supervise(Refusal::nobody(), Some(&self.before)));
            }
            (Progress::Kept, Written::Whole) => Progress::Written,
            (Progress::Written, Written::Whole) => Progress::Followed,
            // A fifo that has lost its reader was read to its end before.
            (Progress::Followed | Progress::Obeyed, Written::Whole) | (_, Written::NoReader) => Progress::Obeyed,
        };
        Ok(())
    }

    /// Something happened, or its time has come. The answer: what came of it, once that is known.
    pub(super) fn step(&mut self, place: usize, order: &Order, epoll: &Epoll, now: Instant) -> Option<Outcome> {
        if let Err(outcome) = self.advance(order) {
            return Some(outcome);
        }
        let is_ending = self.notice_the_end(place, order, epoll);
        if is_removed(&self.target.dir) {
            return Some(Outcome::NotSo("its status directory was removed".to_owned()));
        }
        if let Ok(fare) = Fare::read(&self.target.dir) {
            self.now = fare;
        }
        self.notice_a_new_pid(now);
        let scene = self.scene(order, now);
        let again = match judge(order.verb, &scene) {
            Verdict::Done(words) => return Some(Outcome::Done(words)),
            // The line in the log is written after the records: it is there when one more turn is over.
            Verdict::Failed(Failure { see: See::Log, .. }) if !self.confirmed && scene.lives => {
                self.confirmed = true;
                self.progress = Progress::Written;
                Some(Duration::ZERO)
            }
            Verdict::Failed(failure) => {
                return Some(Outcome::NotSo(failure_words(&failure, &self.target.dir, self.log_before)));
            }
            Verdict::NotYet(again) => again,
        };
        if now.saturating_duration_since(self.began) >= order.timeout {
            // One that is up at the end of the time had no longer to prove it.
            let scene = Scene { settle: Duration::ZERO, ..self.scene(order, now) };
            if let Verdict::Done(words) = judge(order.verb, &scene) {
                return Some(Outcome::Done(words));
            }
            return Some(Outcome::NotInTime(not_in_time(order.verb, &scene, order.timeout)));
        }
        let kill_in = self.kill_when_due(order, now);
        let unread = !matches!(self.progress, Progress::Kept | Progress::Obeyed) && self.target.control.is_some();
        let waits = [
            Some(if self.watched { HEARTBEAT } else { UNWATCHED }),
            unread.then_some(UNREAD),
            is_ending.then_some(LOCK_HELD),
            again,
            kill_in,
            Some(order.timeout.saturating_sub(now.saturating_duration_since(self.began))),
        ];
        self.wake = now + waits.into_iter().flatten().min().unwrap_or(HEARTBEAT);
        None
    }

    fn scene(&self, order: &Order, now: Instant) -> Scene<'_> {
        Scene {
            before: &self.before,
            now: &self.now,
            lives: self.lives,
            obeyed: self.progress == Progress::Obeyed,
            fresh: self.fresh.map(|(pid, since)| (pid, now.saturating_duration_since(since))),
            settle: order.settle,
        }
    }

    /// Sees whether supervise has gone. The answer: it has, but somebody still has its lock.
    fn notice_the_end(&mut self, place: usize, order: &Order, epoll: &Epoll) -> bool {
        if !self.lives || !self.target.is_abandoned() {
            return false;
        }
        let is_exit = matches!(order.verb, Verb::Exit);
        if let Ok(Some(ok)) = open_ok(&self.target.dir) {
            // Another one has taken its place: the fifo of commands is the same.
            self.target.ok = Some(ok);
            self.register(place, epoll);
            self.lives = !is_exit;
            return false;
        }
        if is_exit && !is_lock_free(&self.target.dir) {
            return true;
        }
        self.lives = false;
        false
    }

    /// A process that came after the command was obeyed, and is not being stopped again.
    fn notice_a_new_pid(&mut self, now: Instant) {
        let pid = self.now.record.pid;
        if self.fresh.is_none() && self.progress == Progress::Obeyed && pid != self.before.record.pid {
            self.fresh = pid.filter(|_| !self.now.is_stopping()).map(|pid| (pid, now));
        }
    }

    /// Sends KILL where the order says so and the process is still the old one. The answer: in how long it is due.
    fn kill_when_due(&mut self, order: &Order, now: Instant) -> Option<Duration> {
        let after = order.kill_after.filter(|_| !self.killed)?;
        let left = (self.began + after).saturating_duration_since(now);
        if left.is_zero() && self.now.record.pid.is_some() && self.now.record.pid == self.before.record.pid {
            self.killed = self.target.write(&[byte_of(Command::Kill)]) == Ok(Written::Whole);
        }
        (!left.is_zero()).then_some(left)
    }
}
