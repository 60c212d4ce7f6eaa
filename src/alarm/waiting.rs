//! A message that somebody is still to get, and the attempt that is under way.

use std::collections::BTreeMap;

use nix::errno::Errno;

use super::copies::Addressed;
use super::progress::Progress;
use crate::policy::Moment;
use crate::sys::why;

/// What the disk knows of a message's progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// All of it.
    Written,
    /// Less than this process.
    Unwritten,
    /// Everybody was seen to, and the message could not be removed.
    Unremoved,
}

/// A message that somebody is still to get.
#[derive(Debug)]
pub(super) struct Waiting {
    /// Who is to get it, by their lines of the file.
    pub(super) recipients: Vec<String>,
    pub(super) progress: Progress,
    pub(super) note: Note,
    pub(super) attempt: Option<Attempt>,
    /// Not before this.
    pub(super) due: Moment,
    /// It could not be read or removed so often in a row.
    pub(super) troubles: u32,
}

/// An attempt that is under way.
#[derive(Debug)]
pub(super) struct Attempt {
    /// Copies that have not left yet.
    pub(super) left: Vec<Addressed>,
    pub(super) running: usize,
    /// Why somebody did not get it.
    pub(super) reasons: BTreeMap<usize, String>,
}

impl Attempt {
    pub(super) fn new(left: Vec<Addressed>) -> Self {
        Self { left, running: 0, reasons: BTreeMap::new() }
    }

    /// The message can't be opened any more: nothing is sent of it. Where somebody has dropped it, that is all.
    pub(super) fn abandon(&mut self, errno: Errno) {
        for copy in std::mem::take(&mut self.left) {
            if errno != Errno::ENOENT {
                self.reasons.insert(copy.number, format!("unable to open the message: {}", why(errno)));
            }
        }
    }
}

impl Waiting {
    pub(super) fn new(progress: Progress, due: Moment) -> Self {
        let (recipients, note, attempt, troubles) = (Vec::new(), Note::Written, None, 0);
        Self { recipients, progress, note, attempt, due, troubles }
    }
}
