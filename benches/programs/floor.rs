//! The floor: the least that a supervisor can be. It waits for its program and starts it again at once, in the cheapest
//! way that the C library has (posix_spawn, which shares the memory until the exec), and writes nothing.
#![no_main]

use std::ffi::{c_char, c_int};

unsafe extern "C" {
    static environ: *const *mut c_char;
}

// SAFETY: no other function of the program has this name.
#[unsafe(no_mangle)]
extern "C" fn main(count: c_int, words: *const *mut c_char) -> c_int {
    if count < 2 {
        return 100;
    }
    loop {
        let (mut pid, mut status) = (0, 0);
        // SAFETY: the C library passes so many words and a null; the other pointers are to values of ours, or null.
        unsafe {
            let program = words.add(1);
            let none = std::ptr::null();
            if libc::posix_spawn(&raw mut pid, *program, none, std::ptr::null(), program, environ) != 0 {
                return 111;
            }
            while libc::waitpid(pid, &raw mut status, 0) != pid {}
        }
    }
}
