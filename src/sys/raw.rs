//! System calls that leave errno alone: a child that shares its parent's memory shares that too.

use std::ffi::{c_int, c_long};

use nix::errno::Errno;

/// Here [`call`] goes to the kernel by itself. Elsewhere the C library does it, and errno is touched.
pub(super) const LEAVES_ERRNO: bool =
    cfg!(all(target_pointer_width = "64", any(target_arch = "x86_64", target_arch = "aarch64")));

/// Makes a system call with these arguments.
///
/// # Safety
/// That of the call.
pub(super) unsafe fn call<const N: usize>(number: c_long, arguments: [usize; N]) -> Result<usize, Errno> {
    let mut all = [0; 6]; // no call has more
    all.iter_mut().zip(arguments).for_each(|(place, argument)| *place = argument);
    // SAFETY: the caller answers for it.
    let result = unsafe { kernel(number, all) };
    // Of all numbers the last 4095 are errors (syscall(2), "Architecture-specific requirements").
    match c_int::try_from(result) {
        Ok(error @ -4095..0) => Err(Errno::from_raw(-error)),
        _ => Ok(result.cast_unsigned()),
    }
}

/// A descriptor or another small number as an argument.
pub(super) fn word(number: c_int) -> usize {
    number.cast_unsigned() as usize
}

#[cfg(all(target_pointer_width = "64", target_arch = "x86_64"))]
unsafe fn kernel(number: c_long, [a, b, c, d, e, f]: [usize; 6]) -> isize {
    let mut result = number as isize;
    // SAFETY: the registers are those of the kernel's convention, which changes these two others; the caller answers for
    // what the call does.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

#[cfg(all(target_pointer_width = "64", target_arch = "aarch64"))]
unsafe fn kernel(number: c_long, [a, b, c, d, e, f]: [usize; 6]) -> isize {
    let mut result = a;
    // SAFETY: the registers are those of the kernel's convention; the caller answers for what the call does.
    unsafe {
        std::arch::asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") result,
            in("x1") b, in("x2") c, in("x3") d, in("x4") e, in("x5") f,
            options(nostack),
        );
    }
    result.cast_signed()
}

#[cfg(not(all(target_pointer_width = "64", any(target_arch = "x86_64", target_arch = "aarch64"))))]
unsafe fn kernel(number: c_long, [a, b, c, d, e, f]: [usize; 6]) -> isize {
    // SAFETY: the caller answers for it.
    match unsafe { libc::syscall(number, a, b, c, d, e, f) } {
        -1 => -(Errno::last_raw() as isize),
        result => result as isize,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_number_or_an_error() {
        Errno::set_raw(77);
        // SAFETY: neither touches memory.
        let (pid, closed) = unsafe { (call(libc::SYS_getpid, []), call(libc::SYS_close, [word(-1)])) };
        assert_eq!(pid, Ok(std::process::id() as usize));
        assert_eq!(closed, Err(Errno::EBADF));
        assert!(Errno::last_raw() == 77 || !LEAVES_ERRNO);
    }
}
