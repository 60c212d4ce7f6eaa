//! Replacing a small file so that whoever opens it finds the old text or the new one, whole.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, RenameFlags, openat, renameat, renameat2};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, fstatat};
use nix::sys::uio::pwrite;
use nix::unistd::{UnlinkatFlags, ftruncate, unlinkat};

/// Replaces `name` in `dir` by a file with these bytes and this mode.
///
/// The new file changes places with the old one, which is then removed: replacing it by rename(2) makes ext4 write
/// the new one to the disk first. Where no new file can be made (a full disk), the old one is overwritten in place.
///
/// # Errors
/// What the system call that failed says; the old file is still there.
pub fn replace(dir: BorrowedFd<'_>, name: &str, bytes: &[u8], mode: Mode) -> Result<(), Errno> {
    match write_new(dir, name, bytes, mode) {
        Err(errno @ (Errno::ENOSPC | Errno::EDQUOT)) => overwrite(dir, name, bytes).map_err(|_| errno),
        other => other,
    }
}

/// Makes a new file with this mode, whatever the umask, in the place of anything of that name but a directory.
///
/// # Errors
/// What the system call that failed says.
pub fn create_afresh(dir: BorrowedFd<'_>, name: &str, mode: Mode) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = match openat(dir, name, flags, mode) {
        Err(Errno::EEXIST) => {
            unlinkat(dir, name, UnlinkatFlags::NoRemoveDir)?; // left by one that was killed
            openat(dir, name, flags, mode)?
        }
        other => other?,
    };
    fchmod(&file, mode)?;
    Ok(file)
}

fn write_new(dir: BorrowedFd<'_>, name: &str, bytes: &[u8], mode: Mode) -> Result<(), Errno> {
    if fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok_and(|stat| is_directory(&stat)) {
        return Err(Errno::EISDIR); // somebody's, perhaps the status directory of another module
    }
    let new = format!("{name}.new");
    let file = create_afresh(dir, &new, mode)?;
    let placed = write_whole(file.as_fd(), bytes, 0).and_then(|()| exchange(dir, &new, name));
    if placed.is_err() {
        let _ = unlinkat(dir, new.as_str(), UnlinkatFlags::NoRemoveDir);
    }
    placed
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

fn exchange(dir: BorrowedFd<'_>, new: &str, name: &str) -> Result<(), Errno> {
    match renameat2(dir, new, dir, name, RenameFlags::RENAME_EXCHANGE) {
        Ok(()) => {
            let _ = unlinkat(dir, new, UnlinkatFlags::NoRemoveDir); // the new one is in its place all the same
            Ok(())
        }
        // There is no old one, or the file system knows no exchange.
        Err(Errno::ENOENT | Errno::EINVAL | Errno::ENOSYS) => renameat(dir, new, dir, name),
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
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode() -> Mode {
        Mode::from_bits_truncate(0o644)
    }

    #[test]
    fn the_new_file_takes_the_old_one_s_place() {
        let folder = tempfile::tempdir().unwrap();
        let dir = File::open(folder.path()).unwrap();
        let path = folder.path().join("state");
        for text in ["one\n", "two, longer\n", ""] {
            replace(dir.as_fd(), "state", text.as_bytes(), mode()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o644);
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
            fs::write(folder.path().join("state.new"), "left by one that was killed").unwrap();
        }
    }

    #[test]
    fn a_directory_of_that_name_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let dir = File::open(folder.path()).unwrap();
        fs::create_dir_all(folder.path().join("status/other")).unwrap();
        assert_eq!(replace(dir.as_fd(), "status", b"x", mode()), Err(Errno::EISDIR));
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
