//! The start of a program without Rust's own run-time.
//!
//! A supervisor is many copies of one program. What Rust does before `main` costs each of them two pages and fifteen
//! system calls: it reads /proc/self/maps and makes a second stack, to explain a stack overflow. What of it matters
//! is done here.

use std::ffi::{CStr, OsStr, OsString, c_char, c_int};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::Relaxed};

/// Makes this the `main` of a program (whose crate says `#![no_main]`): a function from the arguments, the program's
/// name not included, to the exit code.
#[macro_export]
macro_rules! program {
    ($main:path) => {
        /// What the C library calls.
        // SAFETY: no other function of the program has this name.
        #[unsafe(no_mangle)]
        extern "C" fn main(count: std::ffi::c_int, words: *const *const std::ffi::c_char) -> std::ffi::c_int {
            // SAFETY: these are the arguments that the C library called `main` with.
            unsafe { $crate::sys::enter(count, words, $main) }
        }
    };
}

/// What the C library called `main` with. The standard library knows it without its own `main` from some C libraries
/// only (glibc, not musl).
static COUNT: AtomicUsize = AtomicUsize::new(0);
static WORDS: AtomicPtr<*const c_char> = AtomicPtr::new(std::ptr::null_mut());

/// The words that this process was started with, the program's name first.
#[must_use]
pub fn words() -> Vec<OsString> {
    let words = WORDS.load(Relaxed);
    if words.is_null() {
        return std::env::args_os().collect(); // a program with Rust's own `main`
    }
    let word = |at| {
        // SAFETY: `enter` was told so many C strings that stay as they are.
        let word = unsafe { CStr::from_ptr(*words.add(at)) };
        OsStr::from_bytes(word.to_bytes()).to_owned()
    };
    (0..COUNT.load(Relaxed)).map(word).collect()
}

/// The exit code of a program of Rust's that has panicked.
const PANICKED: u8 = 101;

/// Runs the program. Its first three descriptors are open from here on, so that no file of its own becomes one of
/// them, and writing to a pipe that nobody reads is an error and not its end.
///
/// # Safety
/// `words` are `count` C strings that stay as they are.
pub unsafe fn enter(count: c_int, words: *const *const c_char, program: fn(Vec<OsString>) -> u8) -> c_int {
    // SAFETY: there is no code of ours in this disposition.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    for number in 0..3 {
        // SAFETY: system calls on plain numbers and a C string. What is opened becomes the lowest number that is free.
        unsafe {
            if libc::fcntl(number, libc::F_GETFD) == -1 && libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) != number {
                libc::abort();
            }
        }
    }
    COUNT.store(usize::try_from(count).unwrap_or(0), Relaxed);
    WORDS.store(words.cast_mut(), Relaxed);
    let arguments = self::words().into_iter().skip(1).collect();
    // A panic must not unwind into the C library; its message was printed. (A release build ends at once instead.)
    let code = std::panic::catch_unwind(|| program(arguments)).unwrap_or(PANICKED);
    let _ = std::io::stdout().flush(); // nobody reads it
    c_int::from(code)
}
