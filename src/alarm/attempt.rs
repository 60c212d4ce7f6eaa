//! One message's attempts: who is still to get a copy, what became of it, and what follows.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use nix::errno::Errno;

use super::copies::Addressed;
use super::copy::Outcome;
use super::progress::{Fate, Pause};
use super::queue::Queue;
use super::read::Message;
use super::schedule::{PATIENCE, after_trouble, next_delay};
use super::slots::chance;
use super::waiting::{Attempt, Note};
use super::ways::{Way, Ways, settings_now};
use crate::statusdir::Level;
use crate::sys::why;

impl Queue {
    pub(super) fn begin_attempts(&mut self) {
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
        if self.messages.get(id).is_some_and(|message| message.note == Note::Unremoved) {
            return self.finish(id);
        }
        let bytes = match self.spool.message(id) {
            Ok(bytes) => bytes,
            Err(Errno::ENOENT) => {
                self.messages.remove(id);
                return;
            }
            Err(Errno::EFBIG) => return self.set_aside(id, "it is too large"),
            Err(errno) => {
                if let Some((times, seconds)) = self.put_off(id)
                    && times.is_power_of_two()
                {
                    let text = format!("unable to read alarms/{id}: {}; trying again in {seconds} s", why(errno));
                    self.tell(Level::Warning, &text);
                }
                return;
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
        waiting.troubles = 0;
        waiting.progress.end_pause(self.now, &self.boot);
        let (ways, again) = (Ways::of(&message), waiting.progress.attempts > 0);
        let mut left = Vec::new();
        waiting.recipients.clear();
        for (number, (line, recipient)) in message.recipients.into_iter().enumerate() {
            if waiting.progress.fate(&line).is_none() {
                let (way, destination) = (Way::of(&recipient), ways.destination(&recipient));
                left.push(Addressed { id: id.to_owned(), number, way, destination, again });
            }
            waiting.recipients.push(line);
        }
        waiting.attempt = Some(Attempt::new(left));
        self.end_attempt(id); // it may have been interrupted when everybody had been seen to
    }

    /// Not a message: it is kept, but out of the way.
    fn set_aside(&mut self, id: &str, wrong: &str) {
        match self.spool.set_aside(id) {
            Ok(()) => {
                self.tell(Level::Fatal, &format!("alarms/{id} is no message and is kept in alarms/failed: {wrong}"));
                self.messages.remove(id);
            }
            Err(_) => drop(self.put_off(id)),
        }
    }

    /// This machine has a trouble with the message, which is no attempt. The answer: how often in a row, and when it is
    /// tried again, in seconds.
    fn put_off(&mut self, id: &str) -> Option<(u32, u64)> {
        let message = self.messages.get_mut(id)?;
        message.troubles = message.troubles.saturating_add(1);
        let delay = after_trouble(message.troubles);
        message.due = self.now + delay;
        Some((message.troubles, delay.as_secs()))
    }

    /// A copy has come to its end.
    pub(super) fn note(&mut self, addressed: &Addressed, outcome: Outcome) {
        let Addressed { id, number, .. } = addressed;
        let Some(message) = self.messages.get_mut(id) else { return };
        let Some(attempt) = message.attempt.as_mut() else { return };
        attempt.running -= 1;
        match outcome {
            Outcome::Accepted => {
                message.progress.fates.push((message.recipients[*number].clone(), Fate::Accepted));
                // Of the last one no note is needed: the message goes.
                if message.recipients.iter().any(|line| message.progress.fate(line).is_none()) {
                    self.save(id);
                }
            }
            Outcome::Refused(reason) => self.refuse(id, *number, &reason),
            Outcome::Again(reason) => {
                attempt.reasons.insert(*number, reason);
            }
            Outcome::Unreachable(reason) => {
                attempt.reasons.insert(*number, reason.clone());
                self.defer(&addressed.destination, &reason);
            }
        }
        self.end_attempt(id);
    }

    /// A relay that can't be reached costs one deadline, and not one for each copy: what has not left yet for the same
    /// destination is tried again later, for the same reason.
    fn defer(&mut self, destination: &str, reason: &str) {
        let mut touched = Vec::new();
        for (id, message) in &mut self.messages {
            let Some(attempt) = message.attempt.as_mut() else { continue };
            for copy in attempt.left.extract_if(.., |copy| copy.destination == destination) {
                attempt.reasons.insert(copy.number, reason.to_owned());
                touched.push(id.clone());
            }
        }
        touched.dedup();
        for id in touched {
            self.end_attempt(&id);
        }
    }

    /// Nobody will take this copy. It is kept and told before that is noted: so it is never forgotten.
    fn refuse(&mut self, id: &str, number: usize, reason: &str) {
        let Some(message) = self.messages.get_mut(id) else { return };
        let line = message.recipients[number].clone();
        message.progress.fates.push((line.clone(), Fate::Refused(reason.to_owned())));
        let mut head = String::new();
        for (line, fate) in &message.progress.fates {
            if let Fate::Refused(reason) = fate {
                let reason = crate::text::escape(reason.as_bytes());
                let _ = writeln!(head, "Failed: {line}\nReason: {reason}"); // a String takes all
            }
        }
        if let Err(errno) = self.spool.keep_failed(id, &head) {
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

    fn save(&mut self, id: &str) {
        let Some(message) = self.messages.get_mut(id) else { return };
        message.note = match self.spool.save(id, &message.progress) {
            Ok(()) => Note::Written,
            Err(_) => Note::Unwritten,
        };
    }

    /// Where every copy of an attempt has come to an end: what follows.
    pub(super) fn end_attempt(&mut self, id: &str) {
        let Some(message) = self.messages.get_mut(id) else { return };
        let Some(attempt) = message.attempt.take_if(|attempt| attempt.running == 0 && attempt.left.is_empty()) else {
            return;
        };
        if attempt.reasons.is_empty() {
            return self.finish(id);
        }
        let progress = &mut message.progress;
        let by_line = |(&number, reason): (&usize, &String)| (message.recipients[number].clone(), reason.clone());
        progress.reasons = attempt.reasons.iter().map(by_line).collect();
        progress.attempts = progress.attempts.saturating_add(1);
        let Some(delay) = next_delay(progress.attempts, progress.waited, chance()) else {
            return self.give_up(id, attempt);
        };
        progress.pause = Some(Pause { since: self.now, boot: self.boot.clone(), delay });
        message.due = self.now + delay;
        let (attempts, missing, all) = (progress.attempts, attempt.reasons.len(), message.recipients.len());
        self.save(id);
        if attempts.is_power_of_two() {
            // Each once: all that is sent to a relay that is down has the same.
            let reasons = attempt.reasons.into_values().collect::<BTreeSet<_>>();
            let reasons = reasons.into_iter().collect::<Vec<_>>().join("; ");
            self.tell(
                Level::Warning,
                &format!(
                    "alarms/{id} was not delivered to {missing} of {all} at attempt {attempts}: {reasons}; next \
                     attempt in {} s",
                    delay.as_secs()
                ),
            );
        }
    }

    /// The last attempt is over.
    fn give_up(&mut self, id: &str, attempt: Attempt) {
        for (number, reason) in attempt.reasons {
            let days = PATIENCE.as_secs() / 86_400;
            self.refuse(id, number, &format!("tried for {days} days, last: {reason}"));
        }
        let Some(message) = self.messages.get(id) else { return };
        if message.recipients.iter().all(|line| message.progress.fate(line).is_some()) {
            self.finish(id);
        } else {
            let _ = self.put_off(id); // it could not be kept: then it is tried on
        }
    }

    /// Everybody was seen to: the message goes.
    fn finish(&mut self, id: &str) {
        let was_there = self.spool.is_there(id);
        if self.spool.remove(id).is_err() {
            if let Some(message) = self.messages.get_mut(id) {
                message.note = Note::Unremoved;
            }
            let _ = self.put_off(id);
            return;
        }
        let Some(message) = self.messages.remove(id) else { return };
        let is_refused = message.progress.fates.iter().any(|(_, fate)| *fate != Fate::Accepted);
        // Whoever has dropped it meanwhile does not want to hear of it.
        if was_there && !is_refused {
            self.tell(Level::Notice, &format!("an alarm was delivered: {id}"));
        }
    }

    /// Writes again what could not be written, and removes what could not be removed.
    pub(super) fn mend(&mut self) {
        let behind = self.messages.iter().filter(|(_, message)| message.note != Note::Written);
        let behind = behind.filter(|(_, message)| message.attempt.is_none());
        let behind: Vec<(String, Note)> = behind.map(|(id, message)| (id.clone(), message.note)).collect();
        for (id, note) in behind {
            match note {
                Note::Written => {}
                Note::Unwritten => self.save(&id),
                Note::Unremoved => self.finish(&id),
            }
        }
    }
}
