//! Giving back what only the start of a long life needed.

use std::hint::black_box;

/// Between the variables of a function and the stack pointer of a system call that it makes lies less than this, in
/// bytes.
const OWN_FRAMES: usize = 2048;
/// As much of a stack as the kernel makes before anything is asked for (128 KiB): nothing here has needed more.
const STACK: usize = 128 << 10;

/// Gives the memory that is not in use back to the kernel: free pages of the heap, and the part of the stack that
/// deeper calls have left behind.
#[inline(never)]
pub fn give_back_memory() {
    let here = black_box(0_u8);
    // SAFETY: no preconditions.
    let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(1);
    let end = (&raw const here).addr().saturating_sub(OWN_FRAMES) / page * page;
    // SAFETY: below the stack pointer there is nothing of ours; pages that are needed again are zero then, as new ones
    // are. Where the stack has never reached so far down, that part is refused and the rest is done (madvise(2)).
    unsafe {
        #[cfg(target_env = "gnu")]
        libc::malloc_trim(0);
        libc::madvise(std::ptr::with_exposed_provenance_mut(end - STACK), STACK, libc::MADV_DONTNEED);
    }
}
