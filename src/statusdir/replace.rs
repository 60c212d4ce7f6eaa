//! Replacing a small file so that whoever opens it finds the old text or the new one, whole.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, fstatat};
use nix::sys::uio::pwrite;
use nix::unistd::{UnlinkatFlags, ftruncate, unlinkat};

use crate::sys::{exchange_names, lease};

/// A file that is replaced again and again.
///
/// The new file changes places with the old one: replacing it by rename(2) makes ext4 write the new one to the disk first.
/// The old one is kept as `NAME.new`, and the next text is written there: to make a file takes three times as long, and
/// longer with each that was removed in the last minutes. But only where nobody has it open, and no other name leads to
/// it: a reader keeps what it has opened.
#[derive(Debug)]
pub struct Replaced {
    name: &'static str,
    /// What stands there, if it was put there by this value.
    current: Option<Identity>,
    /// What stood there before that.
    spare: Option<Identity>,
}

/// Device and inode number, and whose it is.
type Identity = (u64, u64, u32);

impl Replaced {
    /// One that was not written so far.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self { name, current: None, spare: None }
    }

    /// Replaces it in `dir` by a file with these bytes and this mode. Where no new file can be made (a full disk), the
    /// old one is overwritten in place.
    ///
    /// # Errors
    /// What the system call that failed says; the old file is still there.
    pub fn replace(&mut self, dir: BorrowedFd<'_>, bytes: &[u8], mode: Mode) -> Result<(), Errno> {
        match self.write_new(dir, bytes, mode) {
            Err(errno @ (Errno::ENOSPC | Errno::EDQUOT)) => overwrite(dir, self.name, bytes).map_err(|_| errno),
            other => other,
        }
    }

    /// Removes what it keeps for the next time.
    pub fn tidy(&mut self, dir: BorrowedFd<'_>) {
        if self.spare.take().is_some() {
            let _ = unlinkat(dir, self.new_name().as_str(), UnlinkatFlags::NoRemoveDir); // the next one does it
        }
    }

    fn new_name(&self) -> String {
        format!("{}.new", self.name)
    }

    fn write_new(&mut self, dir: BorrowedFd<'_>, bytes: &[u8], mode: Mode) -> Result<(), Errno> {
        let there = fstatat(dir, self.name, AtFlags::AT_SYMLINK_NOFOLLOW);
        if there.is_ok_and(|stat| is_directory(&stat)) {
            return Err(Errno::EISDIR); // somebody's, perhaps the status directory of another module
        }
        let (current, spare) = (self.current.take(), self.spare.take());
        let new = self.new_name();
        let placed = Self::written(dir, &new, spare, bytes, mode).and_then(|(identity, file)| {
            drop(file); // the lease ends with it
            let exchanged = there.is_ok() && exchange(dir, &new, self.name)?;
            if !exchanged {
                renameat(dir, new.as_str(), dir, self.name)?;
            }
            Ok((identity, exchanged))
        });
        match placed {
            Ok((identity, exchanged)) => {
                self.current = Some(identity);
                self.spare = current.filter(|_| exchanged);
                if exchanged && self.spare.is_none() {
                    let _ = unlinkat(dir, new.as_str(), UnlinkatFlags::NoRemoveDir); // somebody else's
                }
                Ok(())
            }
            Err(errno) => {
                let _ = unlinkat(dir, new.as_str(), UnlinkatFlags::NoRemoveDir);
                Err(errno)
            }
        }
    }

    /// The bytes, in the spare file or a new one. Nobody else can open it until the descriptor is closed.
    fn written(
        dir: BorrowedFd<'_>,
        new: &str,
        spare: Option<Identity>,
        bytes: &[u8],
        mode: Mode,
    ) -> Result<(Identity, OwnedFd), Errno> {
        let refillable = spare.map_or(Ok(None), |spare| refillable(dir, new, spare, mode))?;
        let (file, stat) = match refillable {
            Some(file) => file,
            None => created(dir, new, mode)?,
        };
        write_whole(file.as_fd(), bytes, 0)?;
        if usize::try_from(stat.st_size).is_ok_and(|size| size > bytes.len()) {
            ftruncate(&file, i64::try_from(bytes.len()).map_err(|_| Errno::EFBIG)?)?;
        }
        Ok((identity_of(&stat), file))
    }
}

/// The file that was kept, if nobody can notice that it is written to.
fn refillable(
    dir: BorrowedFd<'_>,
    new: &str,
    spare: Identity,
    mode: Mode,
) -> Result<Option<(OwnedFd, FileStat)>, Errno> {
    let flags = OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let file = match openat(dir, new, flags, Mode::empty()) {
        // It is gone, or something else stands there.
        Err(Errno::ENOENT | Errno::ELOOP | Errno::ENXIO | Errno::EISDIR | Errno::EACCES) => return Ok(None),
        other => other?,
    };
    let stat = fstat(&file)?;
    let is_it = identity_of(&stat) == spare && stat.st_nlink == 1 && stat.st_mode & 0o7777 == mode.bits();
    Ok((is_it && lease(file.as_fd()).is_ok()).then_some((file, stat)))
}

fn identity_of(stat: &FileStat) -> Identity {
    (stat.st_dev, stat.st_ino, stat.st_uid)
}

/// Makes a new file with this mode, whatever the umask, in the place of anything of that name but a directory.
///
/// # Errors
/// What the system call that failed says.
pub fn create_afresh(dir: BorrowedFd<'_>, name: &str, mode: Mode) -> Result<OwnedFd, Errno> {
    created(dir, name, mode).map(|(file, _)| file)
}

fn created(dir: BorrowedFd<'_>, name: &str, mode: Mode) -> Result<(OwnedFd, FileStat), Errno> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = match openat(dir, name, flags, mode) {
        Err(Errno::EEXIST) => {
            unlinkat(dir, name, UnlinkatFlags::NoRemoveDir)?; // left by one that was killed
            openat(dir, name, flags, mode)?
        }
        other => other?,
    };
    let stat = give_mode(&file, mode)?;
    Ok((file, stat))
}

/// Gives a file that was just made its mode, of which the umask may have taken something: to look is cheaper than to
/// change what is right, which a file system writes down too. Returns what it was.
///
/// # Errors
/// What the system call that failed says.
pub fn give_mode(file: impl AsFd, mode: Mode) -> Result<FileStat, Errno> {
    let stat = fstat(&file)?;
    if stat.st_mode & 0o7777 != mode.bits() {
        fchmod(&file, mode)?;
    }
    Ok(stat)
}

fn is_directory(stat: &FileStat) -> bool {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR
}

fn write_whole(file: BorrowedFd<'_>, bytes: &[u8], at: usize) -> Result<(), Errno> {
    match pwrite(file, bytes, i64::try_from(at).map_err(|_| Errno::EFBIG)?)? {
        written if written == bytes.len() => Ok(()),
        _ => Err(Errno::ENOSPC),
    }
}

/// The old file now stands where the new one did. False: it can't, there is none or the file system knows no exchange.
fn exchange(dir: BorrowedFd<'_>, new: &str, name: &str) -> Result<bool, Errno> {
    match exchange_names(dir, new, name) {
        Ok(()) => Ok(true),
        Err(Errno::ENOENT | Errno::EINVAL | Errno::ENOSYS) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// In place, for a disk without room: the old blocks are there. What is longer than the old text is written first, so
/// that nothing was touched if there is no room for it; shorter text is filled up with newlines, so that no reader
/// meets a file that was cut.
fn overwrite(dir: BorrowedFd<'_>, name: &str, bytes: &[u8]) -> Result<(), Errno> {
    let flags = OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let file = openat(dir, name, flags, Mode::empty())?;
    let old = usize::try_from(fstat(&file)?.st_size).unwrap_or(0);
    let mut text = bytes.to_vec();
    if text.ends_with(b"\n") {
        text.resize(old.max(text.len()), b'\n');
    }
    let (over, beyond) = text.split_at(old.min(text.len()));
    if !beyond.is_empty()
        && let Err(errno) = write_whole(file.as_fd(), beyond, old)
    {
        let _ = ftruncate(&file, i64::try_from(old).unwrap_or(0));
        return Err(errno);
    }
    write_whole(file.as_fd(), over, 0)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;

    fn mode() -> Mode {
        Mode::from_bits_truncate(0o644)
    }

    #[test]
    fn the_new_file_takes_the_old_one_s_place() {
        let folder = tempfile::tempdir().unwrap();
        let dir = File::open(folder.path()).unwrap();
        let path = folder.path().join("state");
        let mut state = Replaced::new("state");
        for text in ["one\n", "two, longer\n", "", "three\n"] {
            state.replace(dir.as_fd(), text.as_bytes(), mode()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o644);
            let _ = fs::remove_file(folder.path().join("state.new"));
            fs::write(folder.path().join("state.new"), "left by one that was killed").unwrap();
        }
        state.tidy(dir.as_fd());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn two_files_take_turns() {
        let folder = tempfile::tempdir().unwrap();
        let dir = File::open(folder.path()).unwrap();
        let path = folder.path().join("state");
        let mut state = Replaced::new("state");
        let mut inodes = std::collections::HashSet::new();
        let mut spare = None;
        for text in ["one\n", "two\n", "three, longer\n", "four, longer\n", "five\n", "six\n"] {
            state.replace(dir.as_fd(), text.as_bytes(), mode()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            let inode = fs::metadata(&path).unwrap().ino();
            inodes.insert(inode);
            assert!(spare.is_none_or(|spare| spare == inode), "the one that was kept");
            spare = fs::metadata(folder.path().join("state.new")).ok().map(|meta| meta.ino());
        }
        assert!(inodes.len() == 2 && spare.is_some());
    }

    #[test]
    fn what_a_reader_has_opened_or_another_name_leads_to_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let dir = File::open(folder.path()).unwrap();
        let path = folder.path().join("state");
        let mut state = Replaced::new("state");
        let mut replace = |text: &str| state.replace(dir.as_fd(), text.as_bytes(), mode()).unwrap();
        let mut kept = Vec::new();
        for number in 0..6 {
            replace(&format!("{number}\n"));
            kept.push((File::open(&path).unwrap(), format!("{number}\n")));
        }
        replace("linked\n"); // nobody has it open
        fs::hard_link(&path, folder.path().join("snapshot")).unwrap();
        for text in ["a\n", "b\n", "c\n"] {
            replace(text);
        }
        for (file, text) in kept {
            assert_eq!(std::io::read_to_string(file).unwrap(), text);
        }
        assert_eq!(fs::read_to_string(folder.path().join("snapshot")).unwrap(), "linked\n");
    }

    #[test]
    fn a_directory_of_that_name_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let dir = File::open(folder.path()).unwrap();
        fs::create_dir_all(folder.path().join("status/other")).unwrap();
        assert_eq!(Replaced::new("status").replace(dir.as_fd(), b"x", mode()), Err(Errno::EISDIR));
        assert!(folder.path().join("status/other").is_dir());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn in_place_no_reader_meets_a_file_that_was_cut() {
        let folder = tempfile::tempdir().unwrap();
        let dir = File::open(folder.path()).unwrap();
        let path = folder.path().join("state");
        fs::write(&path, "a : 1\nb : 2\n").unwrap();
        for (text, expected) in [("a : 3\n", "a : 3\n\n\n\n\n\n\n"), ("a : 4\nb : 5\nc : 6\n", "a : 4\nb : 5\nc : 6\n")]
        {
            overwrite(dir.as_fd(), "state", text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        }
    }
}
