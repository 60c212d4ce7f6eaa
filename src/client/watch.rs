//! Tells when something is published in status directories: one inotify instance for all of them.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

/// The watches. A user has 128 instances of inotify, and so many watches: where they are used up, nobody is told
/// anything, and has to look.
#[derive(Debug)]
pub(super) struct Watches {
    inotify: Option<Inotify>,
    /// Two services can have one status directory, under two names.
    services: HashMap<WatchDescriptor, Vec<usize>>,
}

impl Watches {
    pub(super) fn new() -> Self {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).ok();
        Self { inotify, services: HashMap::new() }
    }

    /// Readable when there is something to [`Watches::take`].
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(AsFd::as_fd)
    }

    /// Watches a status directory from now on. The answer: false where there is no watch left.
    pub(super) fn add(&mut self, path: &Path, service: usize) -> bool {
        // A record changes places with a new file. One that is overwritten, on a full disk (docs/operation.md, 4.7), is
        // left to the heartbeat: to be told of it is to be told of all that the service writes.
        let flags = AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_DELETE | AddWatchFlags::IN_ONLYDIR;
        let added = self.inotify.as_ref().and_then(|inotify| inotify.add_watch(path, flags).ok());
        if let Some(watch) = added {
            self.services.entry(watch).or_default().push(service);
        }
        added.is_some()
    }

    /// The services in whose directories something was published since. `None`: too much to tell.
    pub(super) fn take(&self) -> Option<Vec<usize>> {
        let mut services = Vec::new();
        let Some(inotify) = self.inotify.as_ref() else { return Some(services) };
        loop {
            let events = match inotify.read_events() {
                Ok(events) => events,
                Err(Errno::EINTR) => continue,
                Err(_) => return Some(services), // EAGAIN: that was all
            };
            for event in events {
                if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                    return None;
                }
                let is_ours = event.name.as_ref().is_some_and(|name| name == "status" || name == "state");
                if let Some(watched) = self.services.get(&event.wd).filter(|_| is_ours) {
                    services.extend_from_slice(watched);
                }
            }
        }
    }
}
