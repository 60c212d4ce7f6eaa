//! Which copy leaves next, and when it has to wait for a place, for a slot, or for this machine.

use std::time::Duration;

use nix::errno::Errno;

use super::copies::Addressed;
use super::queue::Queue;
use super::schedule::after_trouble;
use super::slots::{Answer, Slot, Slots, chance};
use super::waiting::Waiting;
use super::ways::Way;
use crate::policy::Moment;
use crate::statusdir::Level;
use crate::sys::why_io;

/// So many copies of one service go the same way at once.
const PLACES: usize = 3;
/// So many of them may have been tried before: what is new does not wait for what did not work.
const PLACES_AGAIN: usize = 2;
/// So long the copies of one round wait for a slot; then the rest of the round goes without.
const SLOT_PATIENCE: Duration = Duration::from_secs(300);
/// How often a slot is asked for, and a little more by chance.
const SLOT_PAUSE: Duration = Duration::from_millis(200);

/// What copies wait for.
#[derive(Debug)]
pub(super) struct Departures {
    slots: Slots,
    /// A slot is waited for: since when, and when to ask again.
    slot_wait: Option<(Moment, Moment)>,
    /// It was waited for long enough in this round.
    without_slot: bool,
    /// No process could be started: so often in a row, and when to try again.
    trouble: Option<(u32, Moment)>,
}

impl Departures {
    pub(super) fn new() -> Self {
        Self { slots: Slots::open(), slot_wait: None, without_slot: false, trouble: None }
    }

    /// When something that is waited for may be there. What has been there already is waited for by nobody.
    pub(super) fn next_try(&self, now: Moment) -> Option<Moment> {
        let (slot, trouble) = (self.slot_wait.map(|(_, again)| again), self.trouble.map(|(_, again)| again));
        [slot, trouble].into_iter().flatten().filter(|again| *again > now).min()
    }

    /// No process could be started the last time.
    pub(super) fn cannot_start(&self) -> bool {
        self.trouble.is_some()
    }

    /// Nothing is on its way and nothing is due: the next one that waits for a slot begins to wait.
    pub(super) fn end_round(&mut self) {
        self.slot_wait = None;
        self.without_slot = false;
    }

    /// `Err`: the copy waits for a slot.
    fn slot(&mut self, way: Way, now: Moment) -> Result<Option<Slot>, ()> {
        if !way.needs_slot() || self.without_slot {
            return Ok(None);
        }
        if self.slot_wait.is_some_and(|(_, again)| now < again) {
            return Err(());
        }
        match self.slots.take() {
            Answer::Slot(slot) => {
                self.slot_wait = None;
                Ok(Some(slot))
            }
            Answer::None => Ok(None),
            Answer::AllTaken => {
                let since = self.slot_wait.map_or(now, |(since, _)| since);
                self.slot_wait = Some((since, now + SLOT_PAUSE.mul_f64(1.0 + chance())));
                self.without_slot = now.since(since) >= SLOT_PATIENCE;
                Err(())
            }
        }
    }
}

impl Queue {
    /// Lets copies go, as many as may be on their way.
    pub(super) fn send_copies(&mut self) {
        if self.departures.trouble.is_some_and(|(_, again)| self.now < again) {
            return;
        }
        for way in Way::ALL {
            while let Some(addressed) = self.next_copy(way) {
                let Ok(slot) = self.departures.slot(way, self.now) else { break };
                if !self.send_copy(addressed, slot) {
                    return;
                }
            }
        }
    }

    /// The copy that leaves next on this way, if there is a place for it. What is new goes first, then what is oldest.
    fn next_copy(&self, way: Way) -> Option<Addressed> {
        let (running, again) = self.copies.count(way);
        if running >= PLACES {
            return None;
        }
        let copy_of = |message: &Waiting| message.attempt.as_ref()?.left.iter().find(|copy| copy.way == way).cloned();
        let waiting = self.messages.values().filter_map(|message| Some((message.progress.attempts, copy_of(message)?)));
        let (_, copy) = waiting.min_by_key(|(attempts, _)| *attempts)?;
        (!copy.again || again < PLACES_AGAIN).then_some(copy)
    }

    /// The answer: it has left, or has no need to.
    fn send_copy(&mut self, addressed: Addressed, slot: Option<Slot>) -> bool {
        let id = addressed.id.clone();
        let Some(attempt) = self.messages.get_mut(&id).and_then(|message| message.attempt.as_mut()) else {
            return true;
        };
        let opened = match self.spool.open_message(&id) {
            // Of this machine, and not of the message.
            Err(errno @ (Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM)) => Err(errno.into()),
            Err(errno) => {
                attempt.abandon(errno);
                self.end_attempt(&id);
                return true;
            }
            Ok(file) => Ok(file),
        };
        match opened.and_then(|file| self.copies.start(file, addressed.clone(), slot, self.now)) {
            Ok(()) => {
                attempt.left.retain(|copy| copy.number != addressed.number);
                attempt.running += 1;
                self.departures.trouble = None;
                true
            }
            // It was not an attempt: nobody was asked.
            Err(error) => {
                let times = self.departures.trouble.map_or(1, |(times, _)| times.saturating_add(1));
                let delay = after_trouble(times);
                self.departures.trouble = Some((times, self.now + delay));
                if times.is_power_of_two() {
                    let (why, seconds) = (why_io(&error), delay.as_secs());
                    self.tell(
                        Level::Warning,
                        &format!("unable to start the delivery of alarms/{id}: {why}; trying again in {seconds} s"),
                    );
                }
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However many copies a round has, it waits for a slot once.
    #[test]
    fn a_round_waits_for_a_slot_once() {
        let folder = tempfile::tempdir().unwrap();
        let slots = Slots::open_in(&folder.path().join("slots"));
        let mut departures = Departures { slots, slot_wait: None, without_slot: false, trouble: None };
        let start = Moment(1_000_000_000);
        let held: Vec<Slot> = (0..8).map(|_| departures.slot(Way::Mail, start).unwrap().unwrap()).collect();
        assert!(matches!(departures.slot(Way::Exec, start), Ok(None)), "a program needs none");
        assert!(matches!(departures.slot(Way::Gsm, start), Ok(None)), "nor does this one");
        let mut now = start;
        while departures.slot(Way::Mail, now).is_err() {
            assert!(now.since(start) < SLOT_PATIENCE + Duration::from_secs(1));
            let again = departures.next_try(now).unwrap_or(now);
            assert!(again.since(now) <= 2 * SLOT_PAUSE);
            now = if again > now { again } else { now + Duration::from_millis(1) };
        }
        assert!(now.since(start) >= SLOT_PATIENCE);
        for way in [Way::Mail, Way::Webhook, Way::Mail] {
            assert!(matches!(departures.slot(way, now), Ok(None)), "the rest goes without");
        }
        departures.end_round();
        assert!(departures.slot(Way::Mail, now).is_err(), "the next round waits again");
        drop(held);
        let mut again = departures.next_try(now).unwrap();
        // A child that another test has forked has the locks too until its exec.
        let slot = loop {
            match departures.slot(Way::Mail, again) {
                Ok(slot) => break slot,
                Err(_) => again = departures.next_try(again).unwrap().max(again + Duration::from_millis(1)),
            }
            departures.end_round();
            std::thread::yield_now();
        };
        assert!(slot.is_some());
    }
}
