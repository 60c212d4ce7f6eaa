//! How far the delivery of one message has come: what a later svalarm goes on from.

use std::fmt::Write as _;
use std::time::Duration;

use super::read::SIZE_LIMIT;
use super::schedule::LONGEST;
use crate::policy::Moment;
use crate::text::{escape, unescape};

/// What became of one recipient's copy for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Somebody took it.
    Accepted,
    /// Nobody will, and why.
    Refused(String),
}

/// The progress of one message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Attempts that are over.
    pub(super) attempts: u32,
    /// What was waited between them, without the delay that runs now.
    pub(super) waited: Duration,
    /// The delay that runs now.
    pub(super) pause: Option<Pause>,
    /// The recipients that are done with, by their lines of the message file.
    pub(super) fates: Vec<(String, Fate)>,
    /// Why the last attempt did not reach the others.
    pub(super) reasons: Vec<(String, String)>,
}

/// The delay before an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pause {
    /// When it began, by the clock of this boot.
    pub(super) since: Moment,
    pub(super) boot: String,
    pub(super) delay: Duration,
}

impl Pause {
    /// When it ends. `None`: at once, since no delay of ours is as this one says, or another boot's clock says nothing.
    fn end(&self, now: Moment, boot: &str) -> Option<Moment> {
        let is_ours = self.boot == boot && self.since <= now && self.delay <= LONGEST;
        is_ours.then(|| self.since + self.delay)
    }
}

const TITLE: &str = "svalarm progress 1";

impl Progress {
    /// The fate of a recipient; `None`: it is still to get its copy.
    pub(super) fn fate(&self, line: &str) -> Option<&Fate> {
        self.fates.iter().find(|(known, _)| known == line).map(|(_, fate)| fate)
    }

    /// Why the last attempt did not reach a recipient, if there was one.
    pub(super) fn reason(&self, line: &str) -> Option<&str> {
        self.reasons.iter().find(|(known, _)| known == line).map(|(_, reason)| reason.as_str())
    }

    /// When the next attempt is due.
    pub(super) fn due(&self, now: Moment, boot: &str) -> Moment {
        self.pause.as_ref().and_then(|pause| pause.end(now, boot)).unwrap_or(now)
    }

    /// The delay is over, or cut short: what was really waited of it counts, and nothing else.
    pub(super) fn end_pause(&mut self, now: Moment, boot: &str) {
        if let Some(pause) = self.pause.take()
            && pause.end(now, boot).is_some()
        {
            self.waited += pause.delay.min(now.since(pause.since));
        }
    }

    /// The text of the file.
    pub(super) fn encode(&self) -> String {
        let mut out = format!("{TITLE}\nattempts {}\nwaited {}\n", self.attempts, self.waited.as_millis());
        if let Some(Pause { since, boot, delay }) = &self.pause {
            let boot = escape(boot.as_bytes());
            let _ = writeln!(out, "pause {} {} {boot}", since.0, delay.as_millis()); // a String takes all
        }
        for (line, fate) in &self.fates {
            let _ = match fate {
                Fate::Accepted => writeln!(out, "accepted {line}"),
                Fate::Refused(reason) => {
                    writeln!(out, "refused {line}").and_then(|()| writeln!(out, "reason {}", escape(reason.as_bytes())))
                }
            };
        }
        for (line, reason) in &self.reasons {
            let text = format!("missed {line}\nbecause {}\n", escape(reason.as_bytes()));
            // What is too long is not read again, and everybody would get another copy.
            if (out.len() + text.len()) as u64 > SIZE_LIMIT / 2 {
                break;
            }
            out.push_str(&text);
        }
        out.push_str("end\n");
        out
    }

    /// Reads it. `None`: it is damaged; then nothing is known, and everybody gets another copy.
    pub(super) fn decode(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix("\nend\n")?.split('\n'); // a CR before the end is part of a line
        let mut progress = Self::default();
        if lines.next()? != TITLE {
            return None;
        }
        for line in lines {
            let (word, rest) = line.split_once(' ')?;
            match word {
                "attempts" => progress.attempts = rest.parse().ok()?,
                "waited" => progress.waited = Duration::from_millis(rest.parse().ok()?),
                "pause" => {
                    let mut words = rest.splitn(3, ' ');
                    progress.pause = Some(Pause {
                        since: Moment(words.next()?.parse().ok()?),
                        delay: Duration::from_millis(words.next()?.parse().ok()?),
                        boot: String::from_utf8(unescape(words.next()?)?).ok()?,
                    });
                }
                "accepted" => progress.fates.push((rest.to_owned(), Fate::Accepted)),
                "refused" => progress.fates.push((rest.to_owned(), Fate::Refused(String::new()))),
                "reason" => {
                    let reason = String::from_utf8(unescape(rest)?).ok()?;
                    *progress.fates.last_mut().map(|(_, fate)| fate)? = Fate::Refused(reason);
                }
                "missed" => progress.reasons.push((rest.to_owned(), String::new())),
                "because" => {
                    let reason = String::from_utf8(unescape(rest)?).ok()?;
                    *progress.reasons.last_mut().map(|(_, known)| known)? = reason;
                }
                _ => {}
            }
        }
        Some(progress)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let progress = Progress {
            attempts: 3,
            waited: Duration::from_millis(30_500),
            pause: Some(Pause { since: Moment(7), boot: "b-1".to_owned(), delay: Duration::from_millis(10_250) }),
            fates: vec![
                ("To: a@b".to_owned(), Fate::Accepted),
                ("Exec: 'x y' end".to_owned(), Fate::Refused("no\nway".to_owned())),
            ],
            reasons: vec![("To: c@d".to_owned(), "not\nyet".to_owned()), ("To: e@f".to_owned(), String::new())],
        };
        let text = progress.encode();
        assert_eq!(Progress::decode(&text), Some(progress.clone()));
        assert_eq!(progress.fate("To: a@b"), Some(&Fate::Accepted));
        assert_eq!(progress.fate("To: a"), None);
        assert_eq!((progress.reason("To: c@d"), progress.reason("To: a@b")), (Some("not\nyet"), None));
        for cut in 0..text.len() {
            assert_eq!(Progress::decode(&text[..cut]), None, "cut at {cut}");
        }
    }

    fn paused(since: u64, delay: u64) -> Progress {
        let pause = Pause { since: Moment(since), boot: "b".to_owned(), delay: Duration::from_nanos(delay) };
        Progress { pause: Some(pause), ..Progress::default() }
    }

    #[test]
    fn what_was_not_waited_does_not_count() {
        for (now, boot, counted) in [(150, "b", 50), (400, "b", 200), (100, "b", 0), (50, "b", 0), (400, "other", 0)] {
            let mut progress = paused(100, 200);
            progress.end_pause(Moment(now), boot);
            assert_eq!((progress.waited, &progress.pause), (Duration::from_nanos(counted), &None), "{now} {boot}");
            progress.end_pause(Moment(1000), boot);
            assert_eq!(progress.waited, Duration::from_nanos(counted), "it counts once");
        }
    }

    #[test]
    fn a_time_that_can_not_be_is_now() {
        let hour = 3_600_000_000_000;
        assert_eq!(paused(100, hour).due(Moment(150), "b"), Moment(100 + hour));
        assert_eq!(paused(100, hour).due(Moment(150), "other"), Moment(150), "another boot's clock");
        assert_eq!(paused(100, hour + 1).due(Moment(150), "b"), Moment(150), "no delay is so long");
        assert_eq!(paused(200, 10).due(Moment(150), "b"), Moment(150), "it has not begun yet");
        assert_eq!(Progress::default().due(Moment(150), "b"), Moment(150));
    }
}
