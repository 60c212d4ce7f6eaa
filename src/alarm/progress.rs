//! How far the delivery of one message has come: what a later svalarm goes on from.

use std::fmt::Write as _;
use std::time::Duration;

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
    /// The delays between them, and the one that runs now.
    pub(super) waited: Duration,
    /// When the next attempt is due, in the boot that `boot` names; in any other it is due at once.
    pub(super) due: Moment,
    pub(super) boot: String,
    /// The recipients that are done with, by their lines of the message file.
    pub(super) fates: Vec<(String, Fate)>,
}

const TITLE: &str = "svalarm progress 1";

impl Progress {
    /// The fate of a recipient; `None`: it is still to get its copy.
    pub(super) fn fate(&self, line: &str) -> Option<&Fate> {
        self.fates.iter().find(|(known, _)| known == line).map(|(_, fate)| fate)
    }

    /// The text of the file.
    pub(super) fn encode(&self) -> String {
        let mut out = format!(
            "{TITLE}\nattempts {}\nwaited {}\ndue {}\nboot {}\n",
            self.attempts,
            self.waited.as_millis(),
            self.due.0,
            escape(self.boot.as_bytes()),
        );
        for (line, fate) in &self.fates {
            let _ = match fate {
                Fate::Accepted => writeln!(out, "accepted {line}"),
                Fate::Refused(reason) => {
                    writeln!(out, "refused {line}").and_then(|()| writeln!(out, "reason {}", escape(reason.as_bytes())))
                }
            };
        }
        out.push_str("end\n");
        out
    }

    /// Reads it. `None`: it is damaged; then nothing is known, and everybody gets another copy.
    pub(super) fn decode(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix("\nend\n")?.lines();
        let mut progress = Self::default();
        if lines.next()? != TITLE {
            return None;
        }
        for line in lines {
            let (word, rest) = line.split_once(' ')?;
            match word {
                "attempts" => progress.attempts = rest.parse().ok()?,
                "waited" => progress.waited = Duration::from_millis(rest.parse().ok()?),
                "due" => progress.due = Moment(rest.parse().ok()?),
                "boot" => progress.boot = String::from_utf8(unescape(rest)?).ok()?,
                "accepted" => progress.fates.push((rest.to_owned(), Fate::Accepted)),
                "refused" => progress.fates.push((rest.to_owned(), Fate::Refused(String::new()))),
                "reason" => {
                    let reason = String::from_utf8(unescape(rest)?).ok()?;
                    *progress.fates.last_mut().map(|(_, fate)| fate)? = Fate::Refused(reason);
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
            due: Moment(7),
            boot: "b-1".to_owned(),
            fates: vec![
                ("To: a@b".to_owned(), Fate::Accepted),
                ("Exec: 'x y' end".to_owned(), Fate::Refused("no\nway".to_owned())),
            ],
        };
        let text = progress.encode();
        assert_eq!(Progress::decode(&text), Some(progress.clone()));
        assert_eq!(progress.fate("To: a@b"), Some(&Fate::Accepted));
        assert_eq!(progress.fate("To: a"), None);
        for cut in 0..text.len() {
            assert_eq!(Progress::decode(&text[..cut]), None, "cut at {cut}");
        }
    }
}
