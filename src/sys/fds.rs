//! What is done to descriptors that no safe wrapper offers.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

use super::raw::{call, word};

/// Closes every descriptor from `first` on: whatever the caller had open is no business of a background process.
pub fn close_from(first: RawFd) {
    // SAFETY: called at start, before this process has opened anything above stderr that it still uses.
    unsafe { close_range(first, 0) };
}

/// Makes every descriptor from `first` on close-on-exec, so that no service inherits what the caller left open.
pub fn close_on_exec_from(first: RawFd) {
    // SAFETY: changes flags only.
    unsafe { close_range(first, libc::CLOSE_RANGE_CLOEXEC) };
}

/// close_range(2), by hand on kernels that lack it (before 5.9).
unsafe fn close_range(first: RawFd, flags: libc::c_uint) {
    let from = libc::c_uint::try_from(first).unwrap_or(0);
    // SAFETY: the caller answers for the descriptors.
    if unsafe { libc::syscall(libc::SYS_close_range, from, libc::c_uint::MAX, flags) } == 0 {
        return;
    }
    // SAFETY: sysconf has no preconditions.
    let open_max = unsafe { libc::sysconf(libc::_SC_OPEN_MAX) };
    for fd in first..RawFd::try_from(open_max).unwrap_or(1024) {
        // SAFETY: the caller answers for the descriptors; one that is not open is refused with EBADF.
        unsafe {
            if flags == 0 {
                libc::close(fd);
            } else {
                libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
            }
        }
    }
}

/// Takes over a descriptor that a predecessor left open in this process, and makes it close-on-exec.
///
/// # Errors
/// `EBADF`: it is not open, or is one of stdin, stdout and stderr.
pub fn inherited(number: RawFd) -> Result<OwnedFd, Errno> {
    if number <= 2 {
        return Err(Errno::EBADF);
    }
    // SAFETY: changes a flag only; one that is not open is refused.
    Errno::result(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    // SAFETY: it is open, and what is called at the start with numbers of a predecessor has opened none of them itself.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Lets a descriptor pass an exec, or not.
///
/// # Errors
/// What fcntl(2) says.
pub fn pass_exec(fd: BorrowedFd<'_>, passes: bool) -> Result<(), Errno> {
    let flags = if passes { 0 } else { libc::FD_CLOEXEC };
    // SAFETY: changes a flag of a descriptor that is open.
    Errno::result(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, flags) }).map(drop)
}

/// Takes the exclusive flock(2) on an open file without waiting. It is held until every copy of the descriptor,
/// also in children, is closed.
///
/// # Errors
/// `EWOULDBLOCK` where somebody holds it.
pub fn lock_exclusively(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: a system call on a descriptor that is open.
    Errno::result(unsafe { libc::flock(fd.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) }).map(drop)
}

/// Gives a lock of [`lock_exclusively`] back.
///
/// # Errors
/// What flock(2) says; it ends with the last descriptor at the latest.
pub fn unlock(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: a system call on a descriptor that is open.
    Errno::result(unsafe { libc::flock(fd.as_raw_fd(), libc::LOCK_UN) }).map(drop)
}

/// Takes a lease on a file that is open for writing (fcntl(2), F_SETLEASE): nobody else has it open now, nor opens it until
/// the descriptor is closed.
///
/// # Errors
/// `EAGAIN` where somebody else has it open, `EINVAL` where the file system has no leases.
pub fn lease(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: a system call on a descriptor that is open.
    Errno::result(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK) }).map(drop)
}

/// Makes a pipe as small as it can be: `bytes` is rounded up to a page by the kernel.
///
/// # Errors
/// `EBUSY` where more than that waits in it already.
pub fn set_pipe_size(fd: BorrowedFd<'_>, bytes: i32) -> Result<(), Errno> {
    // SAFETY: a system call on a descriptor that is open.
    Errno::result(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETPIPE_SZ, bytes) }).map(drop)
}

/// How many bytes wait in a pipe, asked through either of its ends.
///
/// # Errors
/// `ENOTTY` where it is none.
pub fn bytes_waiting(fd: BorrowedFd<'_>) -> Result<usize, Errno> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open, and FIONREAD (pipe(7), ioctl_pipe) fills one int.
    Errno::result(unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &raw mut bytes) })?;
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// Asks for SIGIO whenever a name in the directory appears, disappears or is renamed (fcntl(2), F_NOTIFY).
///
/// inotify would do the same for a descriptor and one of the 128 instances that a user may have.
///
/// # Errors
/// `EINVAL` where the kernel was built without it.
pub fn watch_directory(dir: BorrowedFd<'_>) -> Result<(), Errno> {
    const NAMES: libc::c_uint = 0x4 | 0x8 | 0x10 | 0x8000_0000; // DN_CREATE, DN_DELETE, DN_RENAME, DN_MULTISHOT
    const F_NOTIFY: libc::c_int = 1026;
    // SAFETY: a system call on a descriptor that is open.
    Errno::result(unsafe { libc::fcntl(dir.as_raw_fd(), F_NOTIFY, NAMES) }).map(drop)
}

/// Opens `name` in `dir`, following a symbolic link only if root or the caller itself owns it. Never blocks: a fifo
/// nobody reads is an error. Async-signal-safe. `flags` beyond what is always set: the access mode, O_CREAT, O_APPEND.
///
/// # Errors
/// `ELOOP` where somebody else owns the link, else what open(2) says.
pub fn open_owned_link(dir: BorrowedFd<'_>, name: &CStr, flags: libc::c_int) -> Result<OwnedFd, Errno> {
    match open_plainly(dir, name, flags | libc::O_NOFOLLOW) {
        Err(Errno::ELOOP) => follow_owned_link(dir, name, flags),
        other => other,
    }
}

fn open_plainly(dir: BorrowedFd<'_>, name: &CStr, flags: libc::c_int) -> Result<OwnedFd, Errno> {
    let always = libc::O_CLOEXEC | libc::O_NOCTTY | libc::O_NONBLOCK;
    // SAFETY: the name is a C string and the directory open; a new descriptor is owned by nobody else.
    unsafe {
        let (dir, name) = (word(dir.as_raw_fd()), name.as_ptr().expose_provenance());
        let fd = call(libc::SYS_openat, [dir, name, word(flags | always), 0o666])?;
        Ok(OwnedFd::from_raw_fd(fd as RawFd))
    }
}

/// Owner and target are asked of one and the same link, whatever has its name by then. Not inlined: who meets no link
/// has no use for a page of stack.
#[inline(never)]
fn follow_owned_link(dir: BorrowedFd<'_>, name: &CStr, flags: libc::c_int) -> Result<OwnedFd, Errno> {
    let link = open_plainly(dir, name, libc::O_PATH | libc::O_NOFOLLOW)?;
    let mut target = [0_u8; libc::PATH_MAX as usize];
    let (file, nothing) = (word(link.as_raw_fd()), c"".as_ptr().expose_provenance());
    // SAFETY: all-zero bytes are a valid statx; the pointers are to values of ours, and the last byte of the target
    // stays zero. geteuid(2) has no preconditions.
    let owned = unsafe {
        let mut stat = std::mem::zeroed::<libc::statx>();
        let (place, asked) = ((&raw mut stat).expose_provenance(), libc::STATX_UID as usize);
        call(libc::SYS_statx, [file, nothing, word(libc::AT_EMPTY_PATH), asked, place])?;
        let (place, room) = (target.as_mut_ptr().expose_provenance(), target.len() - 1);
        call(libc::SYS_readlinkat, [file, nothing, place, room])?;
        stat.stx_uid == 0 || call(libc::SYS_geteuid, []) == Ok(stat.stx_uid as usize)
    };
    let target = CStr::from_bytes_until_nul(&target).map_err(|_| Errno::ENAMETOOLONG)?;
    if owned { open_plainly(dir, target, flags) } else { Err(Errno::ELOOP) }
}
