//! What is wrong with a line of supervise.conf, in words that can go to a log as they are.

use std::fmt;

use crate::text::printable;

/// What a problem does to a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It is logged; the rest of the file counts as if the wrong part were not there.
    Warning,
    /// The start is refused (exit 100), or a reload keeps the old policy. Where a living service is to be
    /// adopted it is a warning too.
    Refused,
}

/// One thing that is wrong with the file.
///
/// Displayed as `LINE: KEY: what is wrong`, to be printed behind the file's name and a colon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line it stands in; the first one is 1.
    pub line: usize,
    /// The key of that line, if it has one; without control characters.
    pub key: Option<String>,
    /// Whether it refuses a start.
    pub severity: Severity,
    /// What is wrong and what happens instead; one line, without control characters.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.line)?;
        if let Some(key) = &self.key {
            write!(f, "{key}: ")?;
        }
        f.write_str(&self.text)
    }
}

/// Longest piece of the file that a problem repeats, in bytes: enough to recognise it, and a log line stays
/// one that can be read.
const SHOWN_LIMIT: usize = 60;

/// A piece of the file as it may stand in a log line: cut to [`SHOWN_LIMIT`] bytes, made harmless by
/// [`printable`].
pub(super) fn shown(bytes: &[u8]) -> String {
    if bytes.len() <= SHOWN_LIMIT {
        return printable(bytes);
    }
    let mut end = SHOWN_LIMIT;
    // Half a character would be shown as bytes; a whole one has at most three that continue it.
    while end > SHOWN_LIMIT - 3 && bytes[end] & 0xC0 == 0x80 {
        end -= 1;
    }
    let mut text = printable(&bytes[..end]);
    text.push_str("...");
    text
}
