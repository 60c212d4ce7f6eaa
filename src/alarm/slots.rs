//! How many copies leave this machine at once: a hundred services that die together are not to open a hundred
//! connections.
//!
//! A slot is a file with a lock (flock(2)) in a folder that nobody but this user can enter: the kernel takes the lock
//! back from whoever dies, and no other user can hold one. Without such a folder there are no slots; then only the
//! places of each service bound what leaves.

use std::hash::{BuildHasher, Hasher};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{geteuid, mkdir};

use crate::statusdir::give_mode;
use crate::sys::lock_exclusively;

/// So many copies of one user's alarms are on their way at once.
const SLOTS: u64 = 8;

/// A slot, held until it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    _locked: OwnedFd,
}

/// The answer to who asks for a slot.
#[derive(Debug)]
pub(super) enum Answer {
    /// It has one.
    Slot(Slot),
    /// Other copies have them all.
    AllTaken,
    /// There are none to be had, now or ever: nothing is gained by waiting.
    None,
}

/// The slots of this user.
#[derive(Debug)]
pub(super) struct Slots {
    folder: Option<OwnedFd>,
}

impl Slots {
    pub(super) fn open() -> Self {
        Self { folder: folders().iter().find_map(|path| folder(path)) }
    }

    /// Slots in this folder, if it will do.
    #[cfg(test)]
    pub(super) fn open_in(path: &Path) -> Self {
        Self { folder: folder(path) }
    }

    /// Asks for a slot, without waiting for one.
    pub(super) fn take(&self) -> Answer {
        let Some(folder) = self.folder.as_ref() else { return Answer::None };
        let first = chance_number();
        let mut taken = false;
        for offset in 0..SLOTS {
            let number = first.wrapping_add(offset) % SLOTS;
            let flags = OFlag::O_RDONLY | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let file = openat(folder, number.to_string().as_str(), flags, Mode::from_bits_truncate(0o600));
            match file.and_then(|file| lock_exclusively(file.as_fd()).map(|()| file)) {
                Ok(file) => return Answer::Slot(Slot { _locked: file }),
                Err(errno) => taken |= errno == Errno::EWOULDBLOCK,
            }
        }
        if taken { Answer::AllTaken } else { Answer::None }
    }
}

/// Where the slots may be; the first one that will do is used.
fn folders() -> Vec<PathBuf> {
    // Tests have slots of their own, so that they do not wait for what else is delivered on the machine.
    if cfg!(debug_assertions)
        && let Some(own) = std::env::var_os("SVALARM_TEST_SLOTS")
    {
        return vec![own.into()];
    }
    let user = geteuid();
    let of_root = user.is_root().then(|| PathBuf::from("/run/svalarm"));
    of_root.into_iter().chain([PathBuf::from(format!("/tmp/svalarm-{user}"))]).collect()
}

/// Opens a folder, and makes it if it is missing. `None`: it is not ours alone, whoever made it.
fn folder(path: &Path) -> Option<OwnedFd> {
    let mode = Mode::from_bits_truncate(0o700);
    let made = mkdir(path, mode).is_ok();
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let folder = open(path, flags, Mode::empty()).ok()?;
    if made {
        let _ = give_mode(&folder, mode); // whatever the umask says
    }
    let stat = fstat(&folder).ok()?;
    let others = Mode::S_IRWXG | Mode::S_IRWXO;
    let is_ours = stat.st_uid == geteuid().as_raw() && stat.st_mode & others.bits() == 0;
    is_ours.then_some(folder)
}

/// A number by chance: the standard library seeds its hash maps with the kernel's random numbers.
fn chance_number() -> u64 {
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

/// From 0 to below 1, by chance.
pub(super) fn chance() -> f64 {
    let bits = chance_number() >> 32;
    f64::from(u32::try_from(bits).unwrap_or(0)) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn chance_is_spread() {
        let numbers: Vec<f64> = (0..100).map(|_| chance()).collect();
        assert!(numbers.iter().all(|number| (0.0..1.0).contains(number)));
        assert!(numbers.iter().any(|number| *number < 0.4) && numbers.iter().any(|number| *number > 0.6));
    }

    #[test]
    fn there_are_eight_and_one_that_is_given_back_can_be_taken() {
        let above = tempfile::tempdir().unwrap();
        let slots = Slots::open_in(&above.path().join("slots"));
        let mut held: Vec<Answer> = (0..8).map(|_| slots.take()).collect();
        assert!(held.iter().all(|answer| matches!(answer, Answer::Slot(_))), "{held:?}");
        let others = Slots::open_in(&above.path().join("slots"));
        assert!(matches!(others.take(), Answer::AllTaken));
        held.pop();
        assert!(matches!(others.take(), Answer::Slot(_)));
    }

    /// Whoever could enter the folder could take all slots for ever.
    #[test]
    fn a_folder_that_others_can_enter_has_no_slots() {
        let above = tempfile::tempdir().unwrap();
        let path = above.path().join("slots");
        assert!(folder(&path).is_some());
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        assert!(folder(&path).is_none());
        fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
        symlink(&path, above.path().join("link")).unwrap();
        assert!(folder(&above.path().join("link")).is_none());
        if geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(1), None).unwrap();
            assert!(folder(&path).is_none(), "it is another user's");
        }
        fs::write(above.path().join("file"), "").unwrap();
        assert!(folder(&above.path().join("file")).is_none());
        assert!(matches!(Slots { folder: None }.take(), Answer::None));
    }
}
