//! Replacing a small file so that whoever opens it finds the old text or the new one, whole.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, RenameFlags, openat, renameat, renameat2};
use nix::sys::stat::{Mode, fchmod};
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

fn write_new(dir: BorrowedFd<'_>, name: &str, bytes: &[u8], mode: Mode) -> Result<(), Errno> {
    let new = CString::new(format!("{name}.new")).map_err(|_| Errno::EINVAL)?;
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let create = || openat(dir, new.as_c_str(), flags, mode);
    let file = match create() {
        Err(Errno::EEXIST) => {
            // Left by one that was killed.
            unlinkat(dir, new.as_c_str(), UnlinkatFlags::NoRemoveDir)?;
            create()?
        }
        other => other?,
    };
    let placed = fchmod(&file, mode)
        .and_then(|()| write_whole(file.as_fd(), bytes))
        .and_then(|()| exchange(dir, new.as_c_str(), name));
    if placed.is_err() {
        let _ = unlinkat(dir, new.as_c_str(), UnlinkatFlags::NoRemoveDir);
    }
    placed
}

fn write_whole(file: BorrowedFd<'_>, bytes: &[u8]) -> Result<(), Errno> {
    match nix::unistd::write(file, bytes)? {
        written if written == bytes.len() => Ok(()),
        _ => Err(Errno::ENOSPC),
    }
}

fn exchange(dir: BorrowedFd<'_>, new: &std::ffi::CStr, name: &str) -> Result<(), Errno> {
    match renameat2(dir, new, dir, name, RenameFlags::RENAME_EXCHANGE) {
        Ok(()) => unlinkat(dir, new, UnlinkatFlags::NoRemoveDir).or_else(|errno| match errno {
            Errno::EISDIR => nix::unistd::unlinkat(dir, new, UnlinkatFlags::RemoveDir),
            other => Err(other),
        }),
        // There is no old one, or the file system knows no exchange.
        Err(Errno::ENOENT | Errno::EINVAL | Errno::ENOSYS) => renameat(dir, new, dir, name),
        Err(errno) => Err(errno),
    }
}

/// In place, for a disk without room: the old blocks are there. Shorter text is filled up with newlines, so that no
/// reader meets a file that was cut.
fn overwrite(dir: BorrowedFd<'_>, name: &str, bytes: &[u8]) -> Result<(), Errno> {
    let flags = OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let file = openat(dir, name, flags, Mode::empty())?;
    let stat = nix::sys::stat::fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    let old = usize::try_from(stat.st_size).unwrap_or(0);
    let mut text = bytes.to_vec();
    if text.ends_with(b"\n") {
        text.resize(old.max(text.len()), b'\n');
    }
    write_whole(file.as_fd(), &text)?;
    if text.len() < old {
        ftruncate(&file, i64::try_from(text.len()).unwrap_or(0))?;
    }
    Ok(())
}
