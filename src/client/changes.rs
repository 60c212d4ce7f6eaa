//! Tells which status directories changed, without asking each of them.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

/// The directories that are watched. Where the kernel has no watch left for one, it changes unseen.
#[derive(Debug)]
pub struct Changes {
    inotify: Option<Inotify>,
    folders: HashMap<WatchDescriptor, PathBuf>,
}

impl Changes {
    /// Nothing is watched yet.
    #[must_use]
    pub fn new() -> Self {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).ok();
        Self { inotify, folders: HashMap::new() }
    }

    /// Watches for names that come and go. Records are replaced by a rename, so that is all that matters; what the
    /// service writes is not told.
    pub fn watch(&mut self, folder: &Path) {
        let names = AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF;
        if let Some(Ok(watch)) = self.inotify.as_ref().map(|inotify| inotify.add_watch(folder, names)) {
            self.folders.insert(watch, folder.to_owned());
        }
    }

    /// What to wait for with poll(2).
    #[must_use]
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(AsFd::as_fd)
    }

    /// The folders that changed since.
    pub fn take(&mut self) -> Vec<PathBuf> {
        let mut changed = Vec::new();
        while let Some(Ok(events)) = self.inotify.as_ref().map(Inotify::read_events) {
            for event in events {
                // svalarm and the logs change names too; they concern nobody here.
                let matters =
                    event.name.as_deref().is_none_or(|name| name == "status" || name == "state" || name == "ok");
                let is_folder = event.mask.contains(AddWatchFlags::IN_ISDIR);
                if let Some(folder) = self.folders.get(&event.wd).filter(|_| matters || is_folder) {
                    changed.push(folder.clone());
                }
                if event.mask.contains(AddWatchFlags::IN_IGNORED) {
                    self.folders.remove(&event.wd);
                }
            }
        }
        changed.sort_unstable();
        changed.dedup();
        changed
    }
}

impl Default for Changes {
    fn default() -> Self {
        Self::new()
    }
}
