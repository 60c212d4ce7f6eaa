//! The service of the benchmarks: notes the time as the first thing it does, and again for each signal.
//!
//! It appends to `stamps` in its folder, or to the file that its argument names: `S NANOSECONDS PID` for its start and
//! `G NANOSECONDS SIGNAL` for a signal, on CLOCK_MONOTONIC. TERM ends it. With a file `crash` in its folder it ends at
//! once.
#![no_main]

use std::ffi::{CStr, c_char, c_int};
use std::io::Write as _;

fn now() -> i64 {
    // SAFETY: all-zero bytes are a valid timespec, and the pointer is to one of ours.
    let time = unsafe {
        let mut time = std::mem::zeroed::<libc::timespec>();
        libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time);
        time
    };
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

fn note(file: c_int, kind: char, time: i64, number: c_int) {
    let mut line = [0_u8; 64];
    let mut rest = line.as_mut_slice();
    let _ = writeln!(rest, "{kind} {time} {number}");
    let length = 64 - rest.len();
    // SAFETY: writes from an array that is alive.
    unsafe { libc::write(file, line.as_ptr().cast(), length) };
}

// SAFETY: no other function of the program has this name.
#[unsafe(no_mangle)]
extern "C" fn main(count: c_int, words: *const *const c_char) -> c_int {
    let started = now();
    // SAFETY: the C library passes so many words; the other calls take plain numbers and values of ours.
    unsafe {
        let word = |number| (number < count).then(|| CStr::from_ptr(*words.offset(number as isize)));
        let path = word(1).unwrap_or(c"stamps");
        let file = libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_APPEND | libc::O_CREAT | libc::O_CLOEXEC, 0o644);
        let mut all = std::mem::zeroed::<libc::sigset_t>();
        libc::sigfillset(&raw mut all);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut());
        note(file, 'S', started, libc::getpid());
        if libc::access(c"crash".as_ptr(), libc::F_OK) == 0 {
            return 1;
        }
        loop {
            let signal = libc::sigwaitinfo(&raw const all, std::ptr::null_mut());
            note(file, 'G', now(), signal);
            if signal == libc::SIGTERM {
                return 0;
            }
        }
    }
}
