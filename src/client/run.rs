//! One service under way: told, obeyed, and looked at until its records show the effect.

use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};

use super::Service;
use super::changes::Changes;
use super::effect::{Failure, Life, Scene, See, Verdict, judge, not_in_time};
use super::fare::Fare;
use super::liveness::{Liveness, open_ok, stopped_holder};
use super::look::{Records, Unreadable};
use super::steer::{Order, Outcome};
use super::target::{Refusal, Target, Written, enter, is_removed, unable};
use super::unrecorded::unrecorded;
use super::verb::Verb;
use super::words::{failure_words, how_it_ended, log_length, no_supervise, somebody_has_the_lock};
use crate::policy::Command;
use crate::statusdir::{Directory, byte_of};

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

/// What is seen of the end of a supervise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It lives.
    No,
    /// It has ended, and another one has taken its place.
    Replaced,
    /// It has ended, and somebody still has its lock.
    Locked,
    /// It has ended.
    Seen,
}

/// One service under way.
#[derive(Debug)]
pub(super) struct Run {
    name: String,
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
        changes: &mut Changes<usize>,
        epoll: &Epoll,
    ) -> Result<Self, Outcome> {
        let mut target = Target::new(enter(&service.dir)?);
        let watched = changes.watch(&service.dir, place);
        let records = Records::read(&target.dir);
        let lives = if matches!(order.verb, Verb::Wait(_)) {
            target.ok = open_ok(&target.dir).ok();
            target.ok.is_some() || is_known_to_live(&target.dir, &records)?
        } else {
            target.connect().map_err(|refusal| no_supervise(refusal, order.verb, &target.dir))?;
            true
        };
        let recorded = Fare::of(&target.dir, records, Some(lives));
        let is_recorded = recorded.is_ok();
        let seen = |why| unrecorded(&target.dir, Some(order.verb)).filter(|_| lives).ok_or(why);
        let before = recorded.or_else(seen).map_err(|unreadable| {
            Outcome::System(match unreadable {
                Unreadable::System(errno) => unable(&target.dir, "read", "status", errno),
                Unreadable::Damaged => "unable to read status: it is damaged".to_owned(),
            })
        })?;
        let began = Instant::now();
        let mut run = Self {
            name: service.shown(),
            lives,
            now: before.clone(),
            before,
            progress: Progress::Kept,
            watched: watched && is_recorded,
            log_before: log_length(&target.dir),
            target,
            began,
            fresh: None,
            killed: false,
            confirmed: false,
            wake: began,
        };
        if !lives && !matches!(judge(order.verb, &run.scene(order, began)), Verdict::Done(_)) {
            return Err(no_supervise(Refusal::nobody(), order.verb, &run.target.dir));
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
                return Err(no_supervise(Refusal::nobody(), order.verb, &self.target.dir));
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
        let is_ending = match self.notice_the_end(place, order, epoll) {
            End::Replaced if order.verb == Verb::Exit => {
                return Some(Outcome::NotSo("supervise has ended, and another one has taken its place".to_owned()));
            }
            end => end == End::Locked,
        };
        if is_removed(&self.target.dir) {
            return Some(Outcome::NotSo("its status directory was removed".to_owned()));
        }
        // After that: what supervise wrote last is read.
        let records = Records::read(&self.target.dir);
        self.now = match Fare::of(&self.target.dir, records, Some(self.lives)) {
            Ok(fare) => fare,
            Err(_) => self.look_without_records(order),
        };
        self.notice_a_new_pid(now);
        let scene = self.scene(order, now);
        let again = match judge(order.verb, &scene) {
            Verdict::Done(words) => return Some(Outcome::Done(words)),
            // The line in the log is written after the records: it is there when one more turn is over.
            Verdict::Failed(Failure { see: See::Log, .. }) if !self.confirmed && self.lives => {
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
            let scene = Scene { settle: Duration::ZERO, stopped: self.stopped(), ..self.scene(order, now) };
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

    /// What is seen where no record can be read.
    fn look_without_records(&self, order: &Order) -> Fare {
        let seen = unrecorded(&self.target.dir, Some(order.verb)).filter(|_| self.lives);
        // Of a supervise that has gone, what was seen last holds as far as the process still shows it.
        seen.unwrap_or_else(|| Fare::new(self.now.record, self.now.long.clone(), Some(self.lives)))
    }

    fn scene(&self, order: &Order, now: Instant) -> Scene<'_> {
        Scene {
            before: &self.before,
            now: &self.now,
            name: &self.name,
            life: if self.lives { Life::Lives } else { how_it_ended(&self.target.dir, &self.now) },
            stopped: None, // which only counts when the time is over
            obeyed: self.progress == Progress::Obeyed,
            fresh: self.fresh.map(|(pid, since)| (pid, now.saturating_duration_since(since))),
            settle: order.settle,
        }
    }

    /// The supervise that lives and is stopped.
    fn stopped(&self) -> Option<u32> {
        stopped_holder(&self.target.dir).filter(|_| self.lives)
    }

    /// Sees whether supervise has gone.
    fn notice_the_end(&mut self, place: usize, order: &Order, epoll: &Epoll) -> End {
        let dir = &self.target.dir;
        let has_gone = match self.target.is_abandoned() {
            _ if !self.lives => return End::Seen,
            Some(abandoned) => abandoned,
            None => is_known_to_live(dir, &Records::read(dir)) == Ok(false),
        };
        if !has_gone {
            return End::No;
        }
        if let Ok(ok) = open_ok(dir) {
            self.target.ok = Some(ok); // the fifo of commands is the same
            self.register(place, epoll);
            return End::Replaced;
        }
        if order.verb == Verb::Exit && somebody_has_the_lock(dir) {
            return End::Locked;
        }
        self.lives = false;
        End::Seen
    }

    /// A process that came after the command was obeyed, and is not being stopped again.
    fn notice_a_new_pid(&mut self, now: Instant) {
        let pid = self.now.pid;
        if self.fresh.is_none() && self.progress == Progress::Obeyed && pid != self.before.pid {
            self.fresh = pid.filter(|_| !self.now.is_stopping()).map(|pid| (pid, now));
        }
    }

    /// Sends KILL where the order says so and the process is still the old one. The answer: in how long it is due.
    fn kill_when_due(&mut self, order: &Order, now: Instant) -> Option<Duration> {
        let after = order.kill_after.filter(|_| !self.killed)?;
        let left = after.saturating_sub(now.saturating_duration_since(self.began));
        if left.is_zero() && self.now.pid.is_some() && self.now.pid == self.before.pid {
            self.killed = self.target.write(&[byte_of(Command::Kill)]) == Ok(Written::Whole);
        }
        (!left.is_zero()).then_some(left)
    }
}

/// Whether a supervise lives, asked by one who holds no fifo of it.
fn is_known_to_live(dir: &Directory, records: &Records) -> Result<bool, Outcome> {
    match Liveness::seen(dir, records.state.as_ref().ok()) {
        Liveness::Lives => Ok(true),
        Liveness::Gone => Ok(false),
        Liveness::Unknown(errno) => Err(Outcome::System(unable(dir, "open", "ok", errno))),
    }
}
