//! A `main` for programs that are over in half a millisecond: C's own, without what Rust's does before it.

use nix::errno::Errno;
use nix::sys::signal::{SigHandler, Signal, signal};

/// Makes the `main` of a program that calls `$main` with its arguments, the program's name first.
///
/// Rust's own reads `/proc/self/maps` to guard the stack and sets up an alternate one: of the time that `svc -t DIR`
/// takes that is a tenth. The two things it does that matter are done by [`prepare`].
#[macro_export]
macro_rules! quick_main {
    ($main:path) => {
        /// What the C library calls.
        // SAFETY: no other symbol of that name is there, because of `no_main`.
        #[unsafe(no_mangle)]
        extern "C" fn main() -> std::ffi::c_int {
            $crate::sys::prepare();
            let code: u8 = $main(std::env::args_os());
            let _ = std::io::Write::flush(&mut std::io::stdout());
            code.into()
        }
    };
}

/// What a program can rely on from here on: descriptors 0 to 2 are open, so that no file that it opens is taken for one
/// of them, and a pipe that nobody reads is an error and no signal.
pub fn prepare() {
    for fd in 0..3 {
        // SAFETY: asks for flags; the paths are C strings. What is opened gets the lowest number, which is this one.
        unsafe {
            if libc::fcntl(fd, libc::F_GETFD) == -1 && Errno::last() == Errno::EBADF {
                libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
            }
        }
    }
    // SAFETY: no handler is installed.
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigIgn) }; // cannot fail for a signal that may be ignored
}
