//! The work of svalarm: every message of one spool, attempt by attempt, until everybody has it or never will.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::sys::time::TimeSpec;
use nix::unistd::Pid;

use super::copy::{Outcome, REFUSED};
use super::progress::{Fate, Progress};
use super::read::Message;
use super::schedule::{PATIENCE, next_delay};
use super::slots::{self, Slot, chance};
use super::spool::Spool;
use super::ways::settings_now;
use crate::policy::Moment;
use crate::statusdir::{Directory, Level, Logs};
use crate::sys::{Signals, Target, boot_id, ends_with_parent, kill, now, take_over_signals, why, why_io};

/// The exit code where another svalarm serves the spool.
pub const BUSY: u8 = 3;

/// What svalarm does when all that is left is to be tried again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stay {
    /// It ends while a supervise lives, which starts the next one in time; else it stays.
    WhileAlone,
    /// The same, but it waits for the lock a little: supervise, which starts it as its last act, may have another one
    /// running that has not noticed yet.
    Last,
    /// It ends.
    Never,
}

/// This program, also where its file was replaced: each copy is delivered by a process of its own.
const PROGRAM: &str = "/proc/self/exe";
/// A copy that has not come to an end by then is given up for this attempt.
const DEADLINE: Duration = Duration::from_secs(60);
/// So many copies of one service are on their way at once.
const AT_ONCE: usize = 4;
/// A slot is waited for so long; then the copy goes out without one.
const SLOT_PATIENCE: Duration = Duration::from_secs(300);
/// How often a slot is asked for, and a little more by chance.
const SLOT_PAUSE: Duration = Duration::from_millis(200);
/// How long [`Stay::Last`] waits for the lock.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
/// How often the spool is looked at where the kernel does not tell of changes.
const LOOK: Duration = Duration::from_secs(10);
/// After a write or a removal that failed, and after a message that could not be read.
const TROUBLE: Duration = Duration::from_secs(10);

/// Serves the spool of a status directory. `try_all`: what waits for a later attempt is tried now. The answer is the exit code: 0, or [`BUSY`].
///
/// # Errors
/// What could not be done, and why; nothing was.
pub fn serve(dir: Directory, stay: Stay, try_all: bool) -> Result<u8, String> {
    let failed = |doing: &str, errno: Errno| format!("unable to {doing}: {}", why(errno));
    let signals = take_over_signals().map_err(|errno| failed("receive signals", errno))?;
    let spool = Spool::open(&dir).map_err(|errno| failed("open alarms", errno))?;
    if !lock(&spool, stay).map_err(|errno| failed("lock alarms", errno))? {
        spool.knock();
        return Ok(BUSY);
    }
    spool.sweep();
    let changes = watch(&spool);
    let mut queue = Queue {
        dir,
        spool,
        stay,
        try_all,
        signals,
        changes,
        boot: boot_id(),
        deadline: deadline(),
        messages: BTreeMap::new(),
        copies: Vec::new(),
        slot_wait: None,
        next_look: Moment::default(),
        logs: Logs::new(64 << 20, 1),
        now: now().moment,
    };
    Ok(queue.run())
}

fn lock(spool: &Spool, stay: Stay) -> Result<bool, Errno> {
    let until = now().moment + LOCK_PATIENCE;
    loop {
        match spool.lock() {
            Ok(()) => return Ok(true),
            Err(Errno::EWOULDBLOCK) if stay == Stay::Last && now().moment < until => {
                spool.knock();
                std::thread::sleep(Duration::from_millis(50));
            }
            Err(Errno::EWOULDBLOCK) => return Ok(false),
            Err(errno) => return Err(errno),
        }
    }
}

/// A user may have no inotify instance left; then the spool is looked at now and then.
fn watch(spool: &Spool) -> Option<Inotify> {
    let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).ok()?;
    let path = format!("/proc/self/fd/{}", spool.folder().as_raw_fd());
    let flags = AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_DELETE | AddWatchFlags::IN_ATTRIB;
    inotify.add_watch(path.as_str(), flags).ok()?;
    Some(inotify)
}

/// Tests shorten it.
fn deadline() -> Duration {
    let millis = std::env::var("SVALARM_TEST_DEADLINE_MS").ok().and_then(|text| text.parse().ok());
    millis.map_or(DEADLINE, Duration::from_millis)
}

/// A message that somebody is still to get.
#[derive(Debug)]
struct Waiting {
    /// Who is to get it, by their lines of the file.
    recipients: Vec<String>,
    progress: Progress,
    attempt: Option<Attempt>,
    /// The progress on disk is older.
    unsaved: bool,
    /// Everybody was seen to; it could not be removed yet.
    finished: bool,
    /// Not before this.
    due: Moment,
}

/// An attempt that is under way.
#[derive(Debug)]
struct Attempt {
    /// The message as it was at its beginning.
    file: File,
    /// Copies that have not left yet.
    left: VecDeque<usize>,
    running: usize,
    /// Why somebody did not get it.
    reasons: BTreeMap<usize, String>,
}

/// A copy on its way.
#[derive(Debug)]
struct Copy {
    child: Child,
    id: String,
    number: usize,
    deadline: Moment,
    killed: bool,
    _slot: Option<Slot>,
}

struct Queue {
    dir: Directory,
    spool: Spool,
    stay: Stay,
    try_all: bool,
    signals: Signals,
    changes: Option<Inotify>,
    boot: String,
    deadline: Duration,
    messages: BTreeMap<String, Waiting>,
    copies: Vec<Copy>,
    /// A slot is waited for: since when, and when to ask again.
    slot_wait: Option<(Moment, Moment)>,
    next_look: Moment,
    logs: Logs,
    now: Moment,
}

impl Queue {
    fn run(&mut self) -> u8 {
        self.look();
        loop {
            self.begin_attempts();
            self.send_copies();
            if self.is_idle() {
                self.look(); // what came meanwhile is part of this round
                if self.is_idle() && self.may_end() {
                    return 0;
                }
            }
            self.wait();
            if self.signals.take().terminate {
                self.stop();
                return 0;
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
        self.copies.is_empty()
            && self.messages.values().all(|message| message.attempt.is_none() && message.due > self.now)
    }

    fn may_end(&mut self) -> bool {
        let next = self.messages.values().map(|message| message.due).min();
        if next.is_none() {
            let _ = self.spool.set_next(None);
            return true;
        }
        let ends = match self.stay {
            Stay::Never => true,
            // What only this process knows would be lost with it.
            Stay::WhileAlone | Stay::Last => !self.messages.values().any(|m| m.unsaved) && self.supervise_lives(),
        };
        ends && (self.spool.set_next(next).is_ok() || self.stay == Stay::Never)
    }

    /// Whether somebody holds `ok` open.
    fn supervise_lives(&self) -> bool {
        openat(&self.dir, "ok", OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC, Mode::empty()).is_ok()
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
            && let Err(errno) = self.spool.make_durable(&id)
            && errno != Errno::ENOENT
        {
            self.tell(Level::Warning, &format!("unable to bring alarms/{id} to the disk: {}", why(errno)));
        }
        let progress = known.unwrap_or_default();
        // Another boot's clock says nothing now.
        let waits = progress.boot == self.boot && !self.try_all;
        let due = if waits { progress.due } else { self.now };
        let message = Waiting { recipients: Vec::new(), progress, attempt: None, unsaved: false, finished: false, due };
        self.messages.insert(id, message);
    }

    fn begin_attempts(&mut self) {
        let due: Vec<String> = self
            .messages
            .iter()
            .filter(|(_, message)| message.attempt.is_none() && message.due <= self.now)
            .map(|(id, _)| id.clone())
            .collect();
        for id in due {
            self.begin_attempt(&id);
        }
    }

    fn begin_attempt(&mut self, id: &str) {
        if self.messages.get(id).is_some_and(|message| message.finished) {
            return self.finish(id);
        }
        let opened = self.spool.open_message(id).and_then(|file| Ok((file, self.spool.message(id)?)));
        let (file, bytes) = match opened {
            Ok(opened) => opened,
            Err(Errno::ENOENT) => {
                self.messages.remove(id);
                return;
            }
            Err(Errno::EFBIG) => return self.set_aside(id, "it is too large"),
            Err(errno) => {
                self.tell(Level::Warning, &format!("unable to read alarms/{id}: {}", why(errno)));
                return self.put_off(id);
            }
        };
        let message = match Message::decode(&bytes) {
            Ok(message) => message,
            Err(wrong) => return self.set_aside(id, &wrong),
        };
        if let Some(settings) = settings_now(&message) {
            self.logs.limit(settings.log_max_size, settings.log_backups);
        }
        let Some(waiting) = self.messages.get_mut(id) else { return };
        waiting.recipients = message.recipients.into_iter().map(|(line, _)| line).collect();
        let left: VecDeque<usize> = (0..waiting.recipients.len())
            .filter(|&number| waiting.progress.fate(&waiting.recipients[number]).is_none())
            .collect();
        waiting.attempt = Some(Attempt { file, left, running: 0, reasons: BTreeMap::new() });
        self.end_attempt(id); // it may have been interrupted when everybody had been seen to
    }

    /// Not a message: it is kept, but out of the way.
    fn set_aside(&mut self, id: &str, wrong: &str) {
        match self.spool.set_aside(id) {
            Ok(()) => {
                self.tell(Level::Fatal, &format!("alarms/{id} is no message and is kept in alarms/failed: {wrong}"));
                self.messages.remove(id);
            }
            Err(_) => self.put_off(id),
        }
    }

    fn put_off(&mut self, id: &str) {
        if let Some(message) = self.messages.get_mut(id) {
            message.due = self.now + TROUBLE;
        }
    }

    /// Lets copies go, as many as may be on their way.
    fn send_copies(&mut self) {
        while self.copies.len() < AT_ONCE {
            let has_copies =
                |message: &Waiting| message.attempt.as_ref().is_some_and(|attempt| !attempt.left.is_empty());
            // What is new goes first, however much is tried again.
            let waiting = self.messages.iter().filter(|(_, message)| has_copies(message));
            let Some(id) = waiting.min_by_key(|(_, message)| message.progress.attempts).map(|(id, _)| id.clone())
            else {
                return;
            };
            let slot = match slots::take() {
                Some(slot) => Some(slot),
                None => {
                    let since = self.slot_wait.map_or(self.now, |(since, _)| since);
                    if self.now.since(since) < SLOT_PATIENCE {
                        self.slot_wait = Some((since, self.now + SLOT_PAUSE.mul_f64(1.0 + chance())));
                        return;
                    }
                    None
                }
            };
            self.slot_wait = None;
            self.send_copy(&id, slot);
        }
    }

    fn send_copy(&mut self, id: &str, slot: Option<Slot>) {
        let Some(attempt) = self.messages.get_mut(id).and_then(|message| message.attempt.as_mut()) else { return };
        let Some(number) = attempt.left.pop_front() else { return };
        // The same file, read from its beginning whatever the other copies have read.
        let spawned = File::open(format!("/proc/self/fd/{}", attempt.file.as_raw_fd())).and_then(|stdin| {
            let mut command = Command::new(PROGRAM);
            command.arg0("svalarm"); // for ps(1)
            command.args(["--copy", &number.to_string()]);
            command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
            ends_with_parent(&mut command);
            command.spawn()
        });
        match spawned {
            Ok(child) => {
                attempt.running += 1;
                let (id, deadline) = (id.to_owned(), self.now + self.deadline);
                self.copies.push(Copy { child, id, number, deadline, killed: false, _slot: slot });
            }
            Err(error) => {
                attempt.reasons.insert(number, format!("unable to start its delivery: {}", why_io(&error)));
                self.end_attempt(id);
            }
        }
    }

    /// Waits until something happens or is due.
    fn wait(&mut self) {
        let trying = self.slot_wait.map(|(_, again)| again);
        let due = self.messages.values().filter(|message| message.attempt.is_none()).map(|message| message.due);
        let copies = self.copies.iter().filter(|copy| !copy.killed).map(|copy| copy.deadline);
        let mend = self.messages.values().any(|message| message.unsaved).then_some(self.now + TROUBLE);
        let look = self.changes.is_none().then_some(self.next_look);
        let until = due.chain(copies).chain(trying).chain(mend).chain(look).min();
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

    /// Takes the copies that have come to an end, and ends those that do not.
    fn reap(&mut self) {
        let mut ended = Vec::new();
        for (place, copy) in self.copies.iter_mut().enumerate() {
            match copy.child.try_wait() {
                Ok(None) if copy.deadline <= self.now && !copy.killed => {
                    copy.killed = true;
                    let pid = Pid::from_raw(i32::try_from(copy.child.id()).unwrap_or(0));
                    let _ = kill(pid, Target::Group, Signal::SIGKILL); // its end comes as a signal
                }
                Ok(None) => {}
                Ok(Some(_)) | Err(_) => ended.push(place),
            }
        }
        for place in ended.into_iter().rev() {
            let mut copy = self.copies.swap_remove(place);
            let outcome = self.outcome(&mut copy);
            self.note(&copy.id, copy.number, outcome);
        }
    }

    fn outcome(&self, copy: &mut Copy) -> Outcome {
        let mut said = Vec::new();
        if let Some(stdout) = copy.child.stdout.take() {
            let _ = stdout.take(4096).read_to_end(&mut said);
        }
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        match copy.child.wait().map(|status| (status.code(), status)) {
            _ if copy.killed => Outcome::Again(format!("no end within {} s", self.deadline.as_secs_f64())),
            Ok((Some(0), _)) => Outcome::Accepted,
            Ok((Some(code), _)) if code == i32::from(REFUSED) => Outcome::Refused(said),
            Ok((Some(_), _)) if !said.is_empty() => Outcome::Again(said),
            Ok((_, status)) => Outcome::Again(format!("its delivery ended with {status}")),
            Err(error) => Outcome::Again(why_io(&error)),
        }
    }

    fn note(&mut self, id: &str, number: usize, outcome: Outcome) {
        let Some(message) = self.messages.get_mut(id) else { return };
        let Some(attempt) = message.attempt.as_mut() else { return };
        attempt.running -= 1;
        let line = message.recipients[number].clone();
        match outcome {
            Outcome::Accepted => {
                message.progress.fates.push((line, Fate::Accepted));
                // Of the last one no note is needed: the message goes.
                if message.recipients.iter().any(|line| message.progress.fate(line).is_none()) {
                    self.save(id);
                }
            }
            Outcome::Refused(reason) => self.refuse(id, number, &reason),
            Outcome::Again(reason) => {
                attempt.reasons.insert(number, reason);
            }
        }
        self.end_attempt(id);
    }

    /// Nobody will take this copy. It is kept and told before that is noted: so it is never forgotten.
    fn refuse(&mut self, id: &str, number: usize, reason: &str) {
        let Some(message) = self.messages.get_mut(id) else { return };
        let line = message.recipients[number].clone();
        message.progress.fates.push((line.clone(), Fate::Refused(reason.to_owned())));
        if let Err(errno) = self.keep_failed(id) {
            let Some(message) = self.messages.get_mut(id) else { return };
            message.progress.fates.pop();
            if let Some(attempt) = message.attempt.as_mut() {
                let text = format!("{reason} (and it could not be kept in alarms/failed: {})", why(errno));
                attempt.reasons.insert(number, text);
            }
            return;
        }
        self.tell(
            Level::Fatal,
            &format!("alarms/{id} was not delivered, {line}: {reason}; it is kept in alarms/failed"),
        );
        self.save(id);
    }

    /// Writes the message to alarms/failed, with everybody who will not get it above it.
    fn keep_failed(&mut self, id: &str) -> Result<(), Errno> {
        let Some(message) = self.messages.get(id) else { return Ok(()) };
        let mut text = String::new();
        for (line, fate) in &message.progress.fates {
            if let Fate::Refused(reason) = fate {
                let reason = crate::text::escape(reason.as_bytes());
                let _ = writeln!(text, "Failed: {line}\nReason: {reason}"); // a String takes all
            }
        }
        let file = message.attempt.as_ref().map(|attempt| format!("/proc/self/fd/{}", attempt.file.as_raw_fd()));
        let original = file.and_then(|path| std::fs::read(path).ok()).unwrap_or_default();
        text.push_str(&String::from_utf8_lossy(&original));
        self.spool.keep_failed(id, &text)
    }

    fn save(&mut self, id: &str) {
        let Some(message) = self.messages.get_mut(id) else { return };
        message.unsaved = self.spool.save(id, &message.progress).is_err();
    }

    /// Where every copy of an attempt has come to an end: what follows.
    fn end_attempt(&mut self, id: &str) {
        let Some(message) = self.messages.get_mut(id) else { return };
        let Some(attempt) = message.attempt.as_ref() else { return };
        if attempt.running > 0 || !attempt.left.is_empty() {
            return;
        }
        if attempt.reasons.is_empty() {
            return self.finish(id);
        }
        let progress = &mut message.progress;
        progress.attempts = progress.attempts.saturating_add(1);
        let Some(delay) = next_delay(progress.attempts, progress.waited, chance()) else {
            return self.give_up(id);
        };
        let reasons = attempt.reasons.clone();
        progress.waited += delay;
        progress.due = self.now + delay;
        progress.boot.clone_from(&self.boot);
        message.due = progress.due;
        message.attempt = None;
        let (attempts, missing, all) = (progress.attempts, reasons.len(), message.recipients.len());
        self.save(id);
        if attempts.is_power_of_two() {
            let reason = reasons.values().next().cloned().unwrap_or_default();
            self.tell(
                Level::Warning,
                &format!(
                    "alarms/{id} was not delivered to {missing} of {all} at attempt {attempts}: {reason}; next attempt \
                     in {} s",
                    delay.as_secs()
                ),
            );
        }
    }

    /// The last attempt is over.
    fn give_up(&mut self, id: &str) {
        let reasons = self.messages.get(id).and_then(|message| message.attempt.as_ref()).map(|a| a.reasons.clone());
        for (number, reason) in reasons.unwrap_or_default() {
            let days = PATIENCE.as_secs() / 86_400;
            self.refuse(id, number, &format!("tried for {days} days, last: {reason}"));
        }
        let Some(message) = self.messages.get_mut(id) else { return };
        let all = message.recipients.iter().all(|line| message.progress.fate(line).is_some());
        if all {
            self.finish(id);
        } else {
            message.attempt = None; // it could not be kept: then it is tried on
            self.put_off(id);
        }
    }

    /// Everybody was seen to: the message goes.
    fn finish(&mut self, id: &str) {
        let Some(message) = self.messages.get_mut(id) else { return };
        message.attempt = None;
        let refused = message.progress.fates.iter().any(|(_, fate)| *fate != Fate::Accepted);
        if self.spool.remove(id).is_err() {
            message.finished = true;
            message.unsaved = true;
            return self.put_off(id);
        }
        self.messages.remove(id);
        if !refused {
            self.tell(Level::Notice, &format!("an alarm was delivered: {id}"));
        }
    }

    /// Writes again what could not be written.
    fn mend(&mut self) {
        let unsaved: Vec<String> = self
            .messages
            .iter()
            .filter(|(_, message)| message.unsaved && !message.finished && message.attempt.is_none())
            .map(|(id, _)| id.clone())
            .collect();
        for id in unsaved {
            self.save(&id);
        }
    }

    /// Told to end: what is on its way is tried again by the next one.
    fn stop(&mut self) {
        for copy in &mut self.copies {
            let pid = Pid::from_raw(i32::try_from(copy.child.id()).unwrap_or(0));
            let _ = kill(pid, Target::Group, Signal::SIGKILL);
            let _ = copy.child.wait();
        }
        let _ = self.spool.set_next(Some(self.now));
    }

    fn tell(&mut self, level: Level, text: &str) {
        self.logs.line(&self.dir, now().stamp, level, text);
    }
}
