//! The spool as an operator sees it: what is in it, and how to bring it back or take it away.
//!
//! Nothing here takes the locks of svalarm: a message never changes, so whoever delivers is only told of names that
//! come and go.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{fstat, fstatat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchownat, fsync, geteuid, unlinkat};

use super::progress::{Fate, Progress};
use super::read::{Message, SIZE_LIMIT};
use super::spool::{DELIVERY, Durable, FAILED, NAME, each, open_folder, put, read};
use crate::statusdir::Directory;
use crate::sys::{boot_id, now};
use crate::text::{printable, unescape};

/// Where a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Somebody is still to get it.
    Queue,
    /// Somebody will not get it.
    Failed,
}

/// What became of one recipient's copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It is still to be delivered; why the last attempt did not do it, if there was one.
    ToCome(Option<String>),
    /// Somebody took it.
    Accepted,
    /// Nobody will, and why.
    Refused(String),
}

/// A message that the spool keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The name of its file.
    pub id: String,
    /// Where it is.
    pub place: Place,
    /// Its subject; of a file that is no message, what is wrong with it.
    pub subject: Result<String, String>,
    /// When it was raised.
    pub time: Option<SystemTime>,
    /// The recipients by their lines (`To: a@example.org`), and what became of their copies. Of a failed message only
    /// those who will not get it.
    pub recipients: Vec<(String, Delivery)>,
    /// Attempts that are over.
    pub attempts: u32,
    /// How long it is until the next one.
    pub due_in: Duration,
}

/// All messages, the oldest first, and last what is none. Nothing is made or changed.
///
/// # Errors
/// What the system call that failed says; a spool that was never made is empty.
pub fn list(dir: &Directory) -> Result<Vec<Kept>, Errno> {
    let mut kept = Vec::new();
    let spool = match open_folder(dir, NAME) {
        Err(Errno::ENOENT) => return Ok(kept),
        opened => opened?,
    };
    let notes = open_folder(&spool, DELIVERY).ok();
    for id in ids(spool.as_fd())? {
        let progress = notes.as_ref().and_then(|notes| read(notes.as_fd(), &id, SIZE_LIMIT).ok());
        let progress = progress.and_then(|text| Progress::decode(std::str::from_utf8(&text).ok()?)).unwrap_or_default();
        match read(spool.as_fd(), &id, SIZE_LIMIT) {
            Err(Errno::ENOENT) => {} // delivered meanwhile
            text => kept.push(waiting(id, text, &progress)),
        }
    }
    if let Ok(failed) = open_folder(&spool, FAILED) {
        for id in ids(failed.as_fd())? {
            let text = read(failed.as_fd(), &id, SIZE_LIMIT);
            kept.push(given_up(id, text));
        }
    }
    let age = |kept: &Kept| (kept.time.is_none(), kept.time, kept.id.clone());
    kept.sort_by_key(age);
    Ok(kept)
}

fn ids(folder: BorrowedFd<'_>) -> Result<Vec<String>, Errno> {
    let mut ids = Vec::new();
    each(open_folder(folder, ".")?, |id| ids.push(id.to_owned()))?;
    Ok(ids)
}

fn waiting(id: String, text: Result<Vec<u8>, Errno>, progress: &Progress) -> Kept {
    let (subject, time, recipients) = parts(text);
    let fate = |line: &String| match progress.fate(line) {
        None => Delivery::ToCome(progress.reason(line).map(|reason| printable(reason.as_bytes()))),
        Some(Fate::Accepted) => Delivery::Accepted,
        Some(Fate::Refused(reason)) => Delivery::Refused(reason.clone()),
    };
    let recipients = recipients.into_iter().map(|line| (line.clone(), fate(&line))).collect();
    let now = now().moment;
    let due_in = progress.due(now, &boot_id()).since(now);
    Kept { id, place: Place::Queue, subject, time, recipients, attempts: progress.attempts, due_in }
}

fn given_up(id: String, text: Result<Vec<u8>, Errno>) -> Kept {
    let recipients = text.as_ref().map(|text| refused(text)).unwrap_or_default();
    let (subject, time, _) = parts(text);
    Kept { id, place: Place::Failed, subject, time, recipients, attempts: 0, due_in: Duration::ZERO }
}

type Parts = (Result<String, String>, Option<SystemTime>, Vec<String>);

fn parts(text: Result<Vec<u8>, Errno>) -> Parts {
    match text.map_err(crate::sys::why).and_then(|text| Message::decode(&text)) {
        Err(wrong) => (Err(wrong), None, Vec::new()),
        Ok(message) => {
            let time = message.time();
            (Ok(message.subject), time, message.recipients.into_iter().map(|(line, _)| line).collect())
        }
    }
}

/// The lines that stand above a failed message.
fn refused(text: &[u8]) -> Vec<(String, Delivery)> {
    let text = String::from_utf8_lossy(text);
    let mut out: Vec<(String, Delivery)> = Vec::new();
    for line in text.lines().take_while(|line| !line.is_empty()) {
        if let Some(recipient) = line.strip_prefix("Failed: ") {
            out.push((printable(recipient.as_bytes()), Delivery::Refused(String::new())));
        } else if let (Some(reason), Some((_, delivery))) = (line.strip_prefix("Reason: "), out.last_mut()) {
            let reason = unescape(reason).unwrap_or_else(|| reason.as_bytes().to_vec());
            *delivery = Delivery::Refused(printable(&reason));
        }
    }
    out
}

/// The text of a message's file.
///
/// # Errors
/// What the system call that failed says.
pub fn text(dir: &Directory, place: Place, id: &str) -> Result<Vec<u8>, Errno> {
    let spool = open_folder(dir, NAME)?;
    match place {
        Place::Queue => read(spool.as_fd(), id, SIZE_LIMIT),
        Place::Failed => read(open_folder(&spool, FAILED)?.as_fd(), id, SIZE_LIMIT),
    }
}

/// Takes a message away for good, with what is noted about its delivery. A copy that is on its way just now may still
/// arrive.
///
/// # Errors
/// What the system call that failed says.
pub fn remove(dir: &Directory, place: Place, id: &str) -> Result<(), Errno> {
    let spool = open_folder(dir, NAME)?;
    if place == Place::Failed {
        return unlink(open_folder(&spool, FAILED)?.as_fd(), id);
    }
    unlink(spool.as_fd(), id)?;
    // Last: without it everybody would get another copy of a message that is still there.
    match open_folder(&spool, DELIVERY).and_then(|notes| unlink(notes.as_fd(), id)) {
        Err(Errno::ENOENT) => Ok(()),
        other => other,
    }
}

fn unlink(folder: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
    unlinkat(folder, name, UnlinkatFlags::NoRemoveDir)?;
    fsync(folder)
}

/// Puts a failed message back, for those who have not got it: with a name of its own and the same Message-ID. Killed in
/// between, it is there twice, and never not at all. The answer is its new name.
///
/// # Errors
/// What the system call that failed says, or why it is no message.
pub fn requeue(dir: &Directory, id: &str) -> Result<String, String> {
    let why = |errno: Errno| crate::sys::why(errno);
    let spool = open_folder(dir, NAME).map_err(why)?;
    let failed = open_folder(&spool, FAILED).map_err(why)?;
    let text = read(failed.as_fd(), id, SIZE_LIMIT).map_err(why)?;
    let again = again(&text)?;
    let is_taken = |name: &str| {
        let there = |folder: BorrowedFd<'_>| fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok();
        there(spool.as_fd()) || open_folder(&spool, DELIVERY).is_ok_and(|notes| there(notes.as_fd()))
    };
    let names = std::iter::once(id.to_owned()).chain((1..).map(|number| format!("{id}.{number}")));
    let name = names.into_iter().find(|name| !is_taken(name)).ok_or("there is no name left")?;
    put(spool.as_fd(), &name, &again, Durable::First).map_err(why)?;
    give_to_owner(spool.as_fd(), &name).map_err(why)?;
    unlink(failed.as_fd(), id).map_err(why)?;
    Ok(name)
}

/// The message without what stands above it, for those only who have not got it.
fn again(text: &[u8]) -> Result<String, String> {
    let message = Message::decode(text)?;
    let missing: Vec<String> = refused(text).into_iter().map(|(line, _)| line).collect();
    let text = std::str::from_utf8(text).map_err(|_| "it is not UTF-8")?;
    let (head, body) = text.split_once("\n\n").ok_or("it has no end of its headers")?;
    let is_kept = |line: &&str| {
        let is_recipient = message.recipients.iter().any(|(known, _)| known == line);
        !line.starts_with("Failed: ")
            && !line.starts_with("Reason: ")
            && (!is_recipient || missing.iter().any(|known| known == line))
    };
    let head: Vec<&str> = head.lines().filter(is_kept).collect();
    Ok(format!("{}\n\n{body}", head.join("\n")))
}

/// What root puts into somebody's spool is that one's to read: its svalarm runs as that user.
///
/// # Errors
/// What the system call that failed says.
fn give_to_owner(folder: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
    let owner = fstat(folder)?;
    if !geteuid().is_root() || owner.st_uid == 0 {
        return Ok(());
    }
    let (uid, gid) = (Uid::from_raw(owner.st_uid), Gid::from_raw(owner.st_gid));
    fchownat(folder, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)
}

/// Stores a message as supervise does, and durably, for the user whose status directory it is.
///
/// # Errors
/// What the system call that failed says.
pub fn submit(dir: &Directory, id: &str, text: &str) -> Result<(), Errno> {
    let is_new = matches!(open_folder(dir, NAME), Err(Errno::ENOENT));
    super::make(dir)?;
    if is_new {
        give_to_owner(dir.as_fd(), NAME)?;
    }
    let spool = open_folder(dir, NAME)?;
    put(spool.as_fd(), id, text, Durable::First)?;
    give_to_owner(spool.as_fd(), id)
}

#[cfg(test)]
#[path = "inspect_tests.rs"]
mod tests;
