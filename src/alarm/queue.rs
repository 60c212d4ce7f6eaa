//! The loop of svalarm, from its first look at a spool to its end.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::stat::{Mode, fstatat};
use nix::sys::time::TimeSpec;
use nix::unistd::geteuid;

use super::copies::Copies;
use super::departures::Departures;
use super::serving::{Entry, Serving};
use super::spool::{NAME, Spool, distrusted};
use super::waiting::{Note, Waiting};
use crate::policy::Moment;
use crate::statusdir::{Directory, Level, Logs};
use crate::sys::{Signals, boot_id, now, take_over_signals, why};

/// The exit code where another svalarm serves the spool.
pub const BUSY: u8 = 3;

/// What svalarm does when all that is left is to be tried again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stay {
    /// It ends while a supervise lives, which starts the next one in time; else it stays.
    WhileAlone,
    /// It ends.
    Never,
}

/// How often the spool is looked at where the kernel does not tell of changes.
const LOOK: Duration = Duration::from_secs(10);
/// How often what could not be noted is written again.
const MEND: Duration = Duration::from_secs(10);
/// The same for one that is to end, and for how long.
const MEND_AT_THE_END: Duration = Duration::from_millis(500);
const END: Duration = Duration::from_secs(5);

/// Serves the spool of a status directory. `try_all`: what waits for a later attempt is tried now. The answer is the
/// exit code: 0 or [`BUSY`].
///
/// # Errors
/// What could not be done, and why. The log says it too.
pub fn serve(dir: Directory, stay: Stay, try_all: bool) -> Result<u8, String> {
    if fstatat(&dir, NAME, AtFlags::AT_SYMLINK_NOFOLLOW) == Err(Errno::ENOENT) {
        return without_a_spool(&dir);
    }
    let mut logs = Logs::new(64 << 20, 1);
    let failed = |doing: &str, errno: Errno| format!("unable to {doing}: {}", why(errno));
    let begun = take_over_signals().map_err(|errno| failed("receive signals", errno)).and_then(|mut signals| {
        let spool = Spool::open(&dir).map_err(|errno| match distrusted(&dir, geteuid()) {
            Some(wrong) => format!("alarms: {wrong}: nothing is delivered"),
            None => failed("open alarms", errno),
        })?;
        let entry = Serving::enter(&spool, stay, &mut signals).map_err(|errno| failed("lock alarms", errno))?;
        Ok((signals, spool, entry))
    });
    let (signals, spool, serving) = match begun {
        Ok((signals, spool, Entry::Serving(serving))) => (signals, spool, serving),
        Ok((_, _, Entry::Busy)) => return Ok(BUSY),
        Ok((_, _, Entry::Terminated)) => return Ok(0),
        Err(error) => {
            logs.line(&dir, now().stamp, Level::Warning, &format!("svalarm: {error}"));
            return Err(error);
        }
    };
    spool.sweep();
    let changes = watch(&spool);
    let mut queue = Queue {
        dir,
        spool,
        serving,
        stay,
        try_all,
        signals,
        changes,
        boot: boot_id(),
        messages: BTreeMap::new(),
        copies: Copies::new(),
        departures: Departures::new(),
        next_look: Moment::default(),
        ends: None,
        logs,
        now: now().moment,
    };
    let ended = queue.run();
    if let Err(error) = &ended {
        queue.tell(Level::Warning, &format!("svalarm: {error}"));
    }
    ended
}

/// Nothing is to be delivered; and in a folder that somebody has named by mistake, nothing is to be made.
fn without_a_spool(dir: &Directory) -> Result<u8, String> {
    let is_there = |name: &str| fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok();
    if is_there("status") || is_there("svcontrol") {
        return Ok(0);
    }
    Err("it is no status directory: there is no alarms, no status and no svcontrol in it".to_owned())
}

/// A user may have no inotify instance left; then the spool is looked at now and then.
fn watch(spool: &Spool) -> Option<Inotify> {
    let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).ok()?;
    let path = format!("/proc/self/fd/{}", spool.folder().as_raw_fd());
    let flags = AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_DELETE | AddWatchFlags::IN_ATTRIB;
    inotify.add_watch(path.as_str(), flags).ok()?;
    Some(inotify)
}

/// A spool that is served.
pub(super) struct Queue {
    pub(super) dir: Directory,
    pub(super) spool: Spool,
    serving: Serving,
    pub(super) stay: Stay,
    try_all: bool,
    signals: Signals,
    changes: Option<Inotify>,
    pub(super) boot: String,
    pub(super) messages: BTreeMap<String, Waiting>,
    pub(super) copies: Copies,
    pub(super) departures: Departures,
    next_look: Moment,
    /// Nothing is left for a `--once` but what it could not note; it ends then.
    ends: Option<Moment>,
    pub(super) logs: Logs,
    pub(super) now: Moment,
}

impl Queue {
    fn run(&mut self) -> Result<u8, String> {
        self.look();
        loop {
            self.begin_attempts();
            self.send_copies();
            if self.is_idle() {
                self.departures.end_round();
                self.look(); // what came meanwhile is part of this round
                if self.is_idle()
                    && let Some(ended) = self.end()
                {
                    return ended;
                }
            }
            self.wait();
            if self.signals.take().terminate {
                self.stop();
                return Ok(0);
            }
            if self.has_changed() {
                self.look();
            }
            self.reap();
            self.mend();
        }
    }

    /// Nothing is on its way, and nothing is due.
    fn is_idle(&self) -> bool {
        let is_due = |message: &Waiting| message.attempt.is_some() || message.due <= self.now;
        // What can't be started is not waited for by one that is to end.
        let hopeless = self.stay == Stay::Never && self.departures.cannot_start();
        self.copies.is_empty() && (hopeless || !self.messages.values().any(is_due))
    }

    /// How it ends, if this svalarm may end now.
    fn end(&mut self) -> Option<Result<u8, String>> {
        match self.stay {
            Stay::Never => self.end_once(),
            Stay::WhileAlone => {
                if !self.may_leave() {
                    return None;
                }
                // Whoever was sent away up to now has stored its message, and whoever comes now waits for this one.
                self.serving.let_others_in();
                self.look();
                let leaves = self.is_idle() && self.may_leave();
                (leaves || !self.serving.stay(&self.spool)).then_some(Ok(0))
            }
        }
    }

    /// Whether somebody else sees to what is left.
    fn may_leave(&self) -> bool {
        let next = self.messages.values().map(|message| message.due).min();
        let is_set = self.spool.set_next(next, &self.boot).is_ok();
        // What only this process knows would be lost with it.
        let is_noted = self.messages.values().all(|message| message.note == Note::Written);
        next.is_none() || is_set && is_noted && self.supervise_lives()
    }

    fn end_once(&mut self) -> Option<Result<u8, String>> {
        let unnoted = self.messages.values().filter(|message| message.note != Note::Written).count();
        let ends = *self.ends.get_or_insert(self.now + END);
        if unnoted > 0 && self.now < ends {
            return None;
        }
        let next = self.messages.values().map(|message| message.due).min();
        let _ = self.spool.set_next(next, &self.boot); // without it supervise looks soon
        let alarms = if unnoted == 1 { "alarm" } else { "alarms" };
        Some(match unnoted {
            0 if self.departures.cannot_start() => Err("no process could be started for what is left".to_owned()),
            0 => Ok(0),
            _ => Err(format!("what became of {unnoted} {alarms} could not be noted: who has one may get it again")),
        })
    }

    /// Whether somebody holds `ok` open.
    fn supervise_lives(&self) -> bool {
        let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        openat(&self.dir, "ok", flags, Mode::empty()).is_ok()
    }

    /// Compares what is known with what is there.
    fn look(&mut self) {
        self.now = now().moment;
        self.next_look = self.now + LOOK;
        let ids = match self.spool.ids() {
            Ok(ids) => ids,
            Err(Errno::ENOENT) => Vec::new(), // the folder was removed, and all that was in it
            Err(_) => return,
        };
        self.messages.retain(|id, message| message.attempt.is_some() || ids.binary_search(id).is_ok());
        for id in ids {
            if !self.messages.contains_key(&id) {
                self.take_in(id);
            }
        }
    }

    /// A message that is new to this process.
    fn take_in(&mut self, id: String) {
        let known = self.spool.progress(&id);
        if known.is_none()
            && let Err(errno) = self.spool.make_durable(&id, &self.dir)
            && errno != Errno::ENOENT
        {
            self.tell(Level::Warning, &format!("unable to bring alarms/{id} to the disk: {}", why(errno)));
        }
        let progress = known.unwrap_or_default();
        let due = if self.try_all { self.now } else { progress.due(self.now, &self.boot) };
        self.messages.insert(id, Waiting::new(progress, due));
    }

    /// Waits until something happens or is due.
    fn wait(&mut self) {
        let due = self.messages.values().filter(|message| message.attempt.is_none()).map(|message| message.due);
        let mend_pause = if self.ends.is_some() { MEND_AT_THE_END } else { MEND };
        let unnoted = self.messages.values().any(|message| message.note != Note::Written);
        let mend = (unnoted || self.ends.is_some()).then_some(self.now + mend_pause);
        let look = self.changes.is_none().then_some(self.next_look);
        let others = [self.copies.next_deadline(), self.departures.next_try(self.now), mend, look];
        let until = due.chain(others.into_iter().flatten()).min();
        let timeout = until.map(|until| TimeSpec::from_duration(until.since(now().moment)));
        let mut descriptors = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        descriptors.extend(self.changes.as_ref().map(|changes| PollFd::new(changes.as_fd(), PollFlags::POLLIN)));
        let _ = ppoll(&mut descriptors, timeout, None);
        self.now = now().moment;
    }

    /// Somebody stored a message, took one away, or knocked.
    fn has_changed(&self) -> bool {
        match &self.changes {
            Some(changes) => {
                let mut changed = false;
                while changes.read_events().is_ok_and(|events| !events.is_empty()) {
                    changed = true;
                }
                changed
            }
            None => self.next_look <= self.now,
        }
    }

    fn reap(&mut self) {
        for (addressed, outcome) in self.copies.reap(self.now) {
            self.note(&addressed, outcome);
        }
    }

    /// Told to end. What has come to its end counts; what is on its way is tried again by the next one.
    fn stop(&mut self) {
        self.reap();
        self.copies.kill();
        let _ = self.spool.set_next(Some(self.now), &self.boot);
    }

    pub(super) fn tell(&mut self, level: Level, text: &str) {
        self.logs.line(&self.dir, now().stamp, level, text);
    }
}
