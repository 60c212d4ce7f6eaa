//! What the kernel knows of a terminal.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

/// How many columns the terminal has (ioctl_tty(2), TIOCGWINSZ). `None`: it is no terminal, or does not know.
#[must_use]
pub fn columns(fd: BorrowedFd<'_>) -> Option<u16> {
    let mut size = MaybeUninit::<libc::winsize>::zeroed();
    // SAFETY: the descriptor is open, and the pointer is to a winsize of ours, for which all-zero bytes are valid.
    let (answer, size) = unsafe {
        let answer = libc::ioctl(fd.as_raw_fd(), libc::TIOCGWINSZ, size.as_mut_ptr());
        (answer, size.assume_init())
    };
    (answer == 0 && size.ws_col > 0).then_some(size.ws_col)
}
