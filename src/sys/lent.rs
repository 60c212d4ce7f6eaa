//! A child in the memory of its parent, until it executes its program: there is nothing to copy then, for neither.
//!
//! Both run at the same time (CLONE_VM without CLONE_VFORK), so that a child that is stuck before its exec holds nobody
//! up. It has a stack of its own, makes system calls only, leaves errno alone, and reads nothing but what it was lent:
//! that stays as it is until the kernel has said, by the end of the start report, that the child is out of this memory.

use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use nix::errno::Errno;

use super::child::{Orders, follow};
use super::process::fork_bare;
use super::raw::LEAVES_ERRNO;

/// A child's deepest way (a `__stdout` that is a link) takes less than half of it, in bytes.
const STACK: usize = 32 << 10;
/// Below it is nothing, so that what went deeper would end there. The largest page of any processor, in bytes.
const GUARD: usize = 64 << 10;

/// The first version of the kernel in which a core dump ends one process and not all that share its memory.
const DUMPS_ALONE: (u32, u32) = (5, 16);

/// The stack that the child before has left, for the next one.
static SPARE: AtomicPtr<c_void> = AtomicPtr::new(null_mut());

/// What a child was lent. Dropped, it stays lent for ever: only who knows that the child has it no more gives it back.
#[derive(Debug)]
pub(super) struct Lent {
    orders: NonNull<Orders>,
    /// The lowest byte of the guard below it.
    stack: NonNull<c_void>,
}

impl Lent {
    /// Takes it back.
    ///
    /// # Safety
    /// The child has executed its program, or ended.
    pub(super) unsafe fn give_back(self) -> Box<Orders> {
        // SAFETY: nobody uses it; its pages are zero when they are needed again.
        unsafe { libc::madvise(self.stack.as_ptr().byte_add(GUARD), STACK, libc::MADV_DONTNEED) };
        let unused = SPARE.swap(self.stack.as_ptr(), Relaxed);
        if !unused.is_null() {
            // SAFETY: a mapping of this size that nobody uses.
            unsafe { libc::munmap(unused, GUARD + STACK) };
        }
        // SAFETY: they came from a box, and nobody else has them any more.
        unsafe { Box::from_raw(self.orders.as_ptr()) }
    }
}

/// Starts a child that follows these orders, in this process's memory or, where that cannot be, in a copy.
///
/// # Errors
/// What clone(2) says; there is no child.
pub(super) fn start(orders: Orders) -> Result<(libc::pid_t, Option<Lent>), Errno> {
    let mut orders = Box::new(orders);
    if let Some(stack) = stack() {
        let lent = Lent { orders: NonNull::from(Box::leak(orders)), stack };
        // SAFETY: the stack is the child's alone, as are the orders until they are given back. It makes system calls
        // only, and there are no handlers of signals.
        let pid = unsafe {
            let top = stack.as_ptr().byte_add(GUARD + STACK);
            libc::clone(child, top, libc::CLONE_VM | libc::SIGCHLD, lent.orders.as_ptr().cast())
        };
        if pid > 0 {
            return Ok((pid, Some(lent)));
        }
        let refused = Errno::last();
        // SAFETY: there is no child.
        orders = unsafe { lent.give_back() };
        if matches!(refused, Errno::EAGAIN | Errno::ENOMEM) {
            return Err(refused);
        }
        // A filter, or what stands in for a kernel, knows no such child.
    }
    // SAFETY: the child makes system calls only, and then becomes another program or ends.
    match unsafe { fork_bare() }? {
        0 => follow(&mut orders),
        pid => Ok((pid, None)),
    }
}

extern "C" fn child(orders: *mut c_void) -> c_int {
    // SAFETY: they were lent to this child alone.
    follow(unsafe { &mut *orders.cast::<Orders>() })
}

/// `None`: the memory can't be shared, or there is none.
fn stack() -> Option<NonNull<c_void>> {
    if let Some(spare) = NonNull::new(SPARE.swap(null_mut(), Relaxed)) {
        return Some(spare);
    }
    if !LEAVES_ERRNO || !dumps_alone() {
        return None;
    }
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_STACK;
    // SAFETY: a new mapping. Where its guard can't be made it serves as well.
    unsafe {
        let lowest = libc::mmap(null_mut(), GUARD + STACK, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
        if lowest == libc::MAP_FAILED {
            return None;
        }
        libc::mprotect(lowest, GUARD, libc::PROT_NONE);
        NonNull::new(lowest)
    }
}

/// A core dump of one process leaves another that shares its memory alone.
pub(super) fn dumps_alone() -> bool {
    kernel_version() >= DUMPS_ALONE
}

/// The first two numbers of the kernel's version; zeros where they can't be told.
fn kernel_version() -> (u32, u32) {
    let mut name = MaybeUninit::<libc::utsname>::zeroed();
    // SAFETY: the pointer is to one of ours; all zeros are one with empty texts.
    let release = unsafe {
        libc::uname(name.as_mut_ptr());
        name.assume_init().release
    };
    version(release.into_iter().map(|byte| byte as u8))
}

fn version(release: impl Iterator<Item = u8>) -> (u32, u32) {
    let mut numbers = [0_u32; 2];
    let mut place = 0;
    for byte in release {
        match (byte, numbers.get_mut(place)) {
            (b'0'..=b'9', Some(number)) => *number = number.saturating_mul(10).saturating_add(u32::from(byte - b'0')),
            (b'.', Some(_)) => place += 1,
            _ => break,
        }
    }
    (numbers[0], numbers[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_a_kernel() {
        for (release, expected) in [
            ("6.18.44-fc", (6, 18)),
            ("5.16.0", (5, 16)),
            ("5.4-rc1", (5, 4)),
            ("2.6.78-generic", (2, 6)),
            ("10", (10, 0)),
            ("", (0, 0)),
        ] {
            assert_eq!(version(release.bytes()), expected, "{release}");
        }
    }
}
