//! Tells in which folders something was published, without asking each of them: one inotify instance for all.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

/// The folders that are watched, each for what it concerns. A user has 128 instances of inotify, and so many watches:
/// where they are used up, a folder changes unseen, and has to be looked at.
#[derive(Debug)]
pub struct Changes<Concern> {
    inotify: Option<Inotify>,
    /// Two services can have one status directory, under two names.
    watched: HashMap<WatchDescriptor, Vec<Concern>>,
}

impl<Concern: Clone + Ord> Changes<Concern> {
    /// Nothing is watched yet.
    #[must_use]
    pub fn new() -> Self {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).ok();
        Self { inotify, watched: HashMap::new() }
    }

    /// Watches a folder from now on for names that come and go. The answer: false where there is no watch left.
    pub fn watch(&mut self, folder: &Path, concern: Concern) -> bool {
        // A record changes places with a new file. One that is overwritten, on a full disk (docs/operation.md, 4.7), is
        // not told: to be told of it is to be told of all that the service writes.
        let names = AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        let added = self.inotify.as_ref().and_then(|inotify| inotify.add_watch(folder, names).ok());
        if let Some(watch) = added {
            let concerns = self.watched.entry(watch).or_default();
            if !concerns.contains(&concern) {
                concerns.push(concern);
            }
        }
        added.is_some()
    }

    /// Readable when there is something to [`Changes::take`].
    #[must_use]
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(AsFd::as_fd)
    }

    /// Whom the changes since then concern; all, where there were too many to tell them apart.
    pub fn take(&mut self) -> Vec<Concern> {
        let mut changed = Vec::new();
        let Some(inotify) = self.inotify.as_ref() else { return changed };
        loop {
            let events = match inotify.read_events() {
                Ok(events) => events,
                Err(Errno::EINTR) => continue,
                Err(_) => break, // EAGAIN: that was all
            };
            for event in events {
                // svalarm and the logs change names too; they concern nobody here.
                let matters =
                    event.name.as_deref().is_none_or(|name| name == "status" || name == "state" || name == "ok");
                if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                    changed.extend(self.watched.values().flatten().cloned());
                } else if matters || event.mask.contains(AddWatchFlags::IN_ISDIR) {
                    changed.extend(self.watched.get(&event.wd).into_iter().flatten().cloned());
                }
                if event.mask.contains(AddWatchFlags::IN_IGNORED) {
                    self.watched.remove(&event.wd);
                }
            }
        }
        changed.sort_unstable();
        changed.dedup();
        changed
    }
}

impl<Concern: Clone + Ord> Default for Changes<Concern> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_published_is_told_to_all_whom_it_concerns() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut changes = Changes::new();
        assert!(changes.watch(one.path(), 1) && changes.watch(one.path(), 2) && changes.watch(other.path(), 3));
        assert!(changes.watch(one.path(), 1), "once more is no more");
        assert!(!changes.watch(&one.path().join("none"), 4));
        assert!(changes.take().is_empty());
        let publish = |folder: &Path, name: &str| {
            fs::write(folder.join("new"), "").unwrap();
            fs::rename(folder.join("new"), folder.join(name)).unwrap();
        };
        publish(one.path(), "supervise.log.1");
        fs::write(one.path().join("__stdout"), "x").unwrap();
        assert!(changes.take().is_empty(), "that concerns nobody");
        publish(one.path(), "status");
        publish(one.path(), "state");
        assert_eq!(changes.take(), [1, 2]);
        fs::write(other.path().join("ok"), "").unwrap();
        assert_eq!(changes.take(), [3]);
        fs::create_dir(other.path().join("folder")).unwrap();
        assert_eq!(changes.take(), [3], "it may be a new service");
        other.close().unwrap();
        assert_eq!(changes.take(), [3], "it has gone");
        assert!(changes.take().is_empty());
    }

    #[test]
    fn too_many_changes_concern_all() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut changes = Changes::new();
        changes.watch(one.path(), 1);
        changes.watch(other.path(), 2);
        let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
        let status = one.path().join("status");
        for _ in 0..limit.trim().parse::<usize>().unwrap().min(1 << 20) {
            fs::write(&status, "").unwrap();
            fs::remove_file(&status).unwrap();
        }
        assert_eq!(changes.take(), [1, 2]);
    }
}
