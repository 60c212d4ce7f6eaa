//! The service of the benchmarks: notes the time as the first thing it does, and again for each signal.
//!
//! It appends to `stamps` in its folder, or to the file that its argument names: `S NANOSECONDS PID` for its start and
//! `G NANOSECONDS SIGNAL` for a signal, on CLOCK_MONOTONIC. TERM ends it. With a file `crash` in its folder it ends at
//! once.
//!
//! It has no C library, whose start asks the processor about itself some fifty times: on a virtual machine that is
//! a third of a millisecond, in which every difference between supervisors would be lost. So it is not one of cargo's
//! programs: `place.rs` builds it.
#![no_std]
#![no_main]
#![no_builtins]

use core::arch::{asm, global_asm};

/// The numbers of system calls.
#[cfg(target_arch = "x86_64")]
mod number {
    pub const WRITE: usize = 1;
    pub const MASK: usize = 14;
    pub const GETPID: usize = 39;
    pub const WAIT_FOR_SIGNAL: usize = 128;
    pub const CLOCK: usize = 228;
    pub const EXIT: usize = 231;
    pub const OPENAT: usize = 257;
    pub const FACCESSAT: usize = 269;
}

/// The numbers of system calls.
#[cfg(target_arch = "aarch64")]
mod number {
    pub const FACCESSAT: usize = 48;
    pub const OPENAT: usize = 56;
    pub const WRITE: usize = 64;
    pub const EXIT: usize = 94;
    pub const CLOCK: usize = 113;
    pub const MASK: usize = 135;
    pub const WAIT_FOR_SIGNAL: usize = 137;
    pub const GETPID: usize = 172;
}

#[cfg(target_arch = "x86_64")]
global_asm!(".globl _start", "_start:", "xor ebp, ebp", "mov rdi, rsp", "and rsp, -16", "call {main}", main = sym main);
#[cfg(target_arch = "aarch64")]
global_asm!(".globl _start", "_start:", "mov x29, #0", "mov x0, sp", "bl {main}", main = sym main);

const CURRENT_FOLDER: usize = -100_isize as usize;
/// O_WRONLY, O_CREAT, O_APPEND and O_CLOEXEC of every architecture here.
const APPEND: usize = 0o2_002_101;
const TERM: usize = 15;

unsafe fn call(number: usize, a: usize, b: usize, c: usize, d: usize) -> isize {
    // SAFETY: the registers are those of the kernel's convention; the caller answers for the call.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        {
            let mut result = number;
            asm!("syscall", inlateout("rax") result, in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d,
                lateout("rcx") _, lateout("r11") _, options(nostack));
            result as isize
        }
        #[cfg(target_arch = "aarch64")]
        {
            let mut result = a;
            asm!("svc 0", in("x8") number, inlateout("x0") result, in("x1") b, in("x2") c, in("x3") d,
                options(nostack));
            result as isize
        }
    }
}

fn now() -> usize {
    let mut time = [0_usize; 2];
    // SAFETY: the pointer is to a timespec of 64 bits.
    unsafe { call(number::CLOCK, 1, (&raw mut time) as usize, 0, 0) };
    time[0] * 1_000_000_000 + time[1]
}

/// Writes `KIND TIME NUMBER`, from its end to its beginning.
fn note(file: usize, kind: u8, time: usize, number: usize) {
    let mut line = [0_u8; 48];
    let mut place = line.len();
    let mut put = |byte: u8| {
        place = place.wrapping_sub(1);
        if let Some(at) = line.get_mut(place) {
            *at = byte;
        }
    };
    put(b'\n');
    for mut number in [number, time] {
        loop {
            put(b'0' + (number % 10) as u8);
            number /= 10;
            if number == 0 {
                break;
            }
        }
        put(b' ');
    }
    put(kind);
    // SAFETY: the bytes are those of the line from here to its end.
    unsafe { call(number::WRITE, file, (&raw const line) as usize + place, 48 - place, 0) };
}

unsafe extern "C" fn main(stack: *const usize) -> ! {
    let started = now();
    // SAFETY: the kernel puts the number of words there, and then pointers to them; the others are to values of ours.
    unsafe {
        let path = if *stack > 1 { *stack.add(2) } else { c"stamps".as_ptr() as usize };
        let file = call(number::OPENAT, CURRENT_FOLDER, path, APPEND, 0o644) as usize;
        let all = !0_u64;
        let all = (&raw const all) as usize;
        call(number::MASK, 2, all, 0, 8);
        note(file, b'S', started, call(number::GETPID, 0, 0, 0, 0) as usize);
        let crashes = call(number::FACCESSAT, CURRENT_FOLDER, c"crash".as_ptr() as usize, 0, 0) == 0;
        while !crashes {
            let signal = call(number::WAIT_FOR_SIGNAL, all, 0, 0, 8) as usize;
            note(file, b'G', now(), signal);
            if signal == TERM {
                call(number::EXIT, 0, 0, 0, 0);
            }
        }
        loop {
            call(number::EXIT, 1, 0, 0, 0);
        }
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        // SAFETY: takes a number.
        unsafe { call(number::EXIT, 101, 0, 0, 0) };
    }
}
