//! The child's way to the exec: a straight line of named steps, each of which tells if it fails, and why.
//!
//! It does only what cannot block for long, and allocates nothing, so that the way from a death to the next exec stays
//! short. Its memory may be its parent's (`lent.rs`): so it makes system calls only, which leave errno alone, and can't
//! panic.

use std::io::IoSlice;
use std::os::fd::{BorrowedFd, IntoRawFd, RawFd};
use std::rc::Rc;

use nix::errno::Errno;

use super::Program;
use super::clock::boot_ns_of_child;
use super::fds::open_owned_link;
use super::process::end_with;
use super::raw::{call, word};
use super::signals::KernelAction;
use super::spawn::{Report, StampClaim, Step};

/// What a child has to do. Descriptors are its own copies, whatever its parent does with them meanwhile.
pub(super) struct Orders {
    pub(super) program: Rc<Program>,
    pub(super) streams: Streams,
    pub(super) own_session: bool,
    pub(super) hup: KernelAction,
    pub(super) ends_with_parent: Option<libc::pid_t>,
    pub(super) claim: Option<(RawFd, Box<dyn StampClaim>)>,
    /// Where it tells what has failed.
    pub(super) tell: RawFd,
}

/// [`super::Output`] in numbers.
pub(super) enum Streams {
    Inherit,
    Files(RawFd),
    Null,
    Dialogue { question: RawFd, answer: RawFd },
}

/// Takes the steps and becomes the program, or tells why not and ends.
pub(super) fn follow(orders: &mut Orders) -> ! {
    let failed = take_steps(orders);
    send(orders.tell, failed);
    loop {
        // SAFETY: ends this process without running what its parent registered for its exit.
        let _ = unsafe { call(libc::SYS_exit_group, [127]) };
    }
}

/// The line of steps; returns the one that failed.
fn take_steps(orders: &mut Orders) -> Report {
    let failed = |step| move |errno| Report { step, errno, file: 0 };
    let steps = |orders: &mut Orders| -> Result<(), Report> {
        let tell = orders.tell;
        // SAFETY: system calls on plain numbers.
        unsafe {
            if orders.own_session {
                call(libc::SYS_setsid, []).map_err(failed(Step::Group))?;
            } else {
                call(libc::SYS_setpgid, [0, 0]).map_err(failed(Step::Group))?;
            }
        }
        if let Some(parent) = orders.ends_with_parent {
            end_with(parent);
        }
        match orders.streams {
            Streams::Inherit => {}
            Streams::Files(dir) => {
                redirect(dir, c"__stdout", 1, Step::Stdout, tell);
                redirect(dir, c"__stderr", 2, Step::Stderr, tell);
            }
            Streams::Null => replace_each([(0, 1), (0, 2)]),
            Streams::Dialogue { question, answer } => replace_each([(0, 2), (answer, 1), (question, 0)]),
        }
        if let Some((file, claim)) = orders.claim.as_mut() {
            // SAFETY: takes no arguments.
            let pid = unsafe { call(libc::SYS_getpid, []) }.unwrap_or(0);
            let block = claim.stamp(u32::try_from(pid).unwrap_or(0), boot_ns_of_child());
            let size = block[0].len() + block[1].len();
            let written = write_from_the_start(*file, block.map(IoSlice::new));
            if written != Ok(size) {
                let errno = written.err().unwrap_or(Errno::ENOSPC);
                send(tell, Report { step: Step::Claim, errno, file: 0 });
                forget_file_limit();
            }
        }
        // Neither disposition has code of ours. All other signals have the default already.
        orders.hup.set(libc::SIGHUP);
        // Behind the last write: before, a limit on file sizes is an error (setrlimit(2)) and not the end of the child.
        unblock_all().map_err(failed(Step::Signals)).map(drop)
    };
    match steps(orders) {
        Ok(()) => {
            let (errno, file) = orders.program.exec();
            Report { step: Step::Exec, errno, file }
        }
        Err(report) => report,
    }
}

/// pwritev(2) at offset 0.
fn write_from_the_start(file: RawFd, pieces: [IoSlice<'_>; 2]) -> Result<usize, Errno> {
    // SAFETY: an IoSlice is an iovec, and the pieces live. The offset is in two halves.
    unsafe { call(libc::SYS_pwritev, [word(file), pieces.as_ptr().expose_provenance(), pieces.len(), 0, 0]) }
}

/// A write beyond the limit on file sizes has left a signal behind, which is blocked: it is dropped.
fn forget_file_limit() {
    // A signal that is ignored is dropped though it is blocked (signal(7)).
    KernelAction::ignore().set(libc::SIGXFSZ);
    KernelAction::default().set(libc::SIGXFSZ);
}

fn unblock_all() -> Result<usize, Errno> {
    let none = 0_u64; // the kernel's set has as many bits
    // SAFETY: the pointer is to a set of ours, and the old one is not asked for.
    unsafe {
        call(
            libc::SYS_rt_sigprocmask,
            [word(libc::SIG_SETMASK), (&raw const none).expose_provenance(), 0, size_of_val(&none)],
        )
    }
}

/// dup3(2) of two different descriptors.
fn replace(from: RawFd, number: RawFd) -> Result<usize, Errno> {
    // SAFETY: a system call on plain numbers.
    unsafe { call(libc::SYS_dup3, [word(from), word(number), 0]) }
}

fn replace_each<const N: usize>(numbers: [(RawFd, RawFd); N]) {
    for (from, number) in numbers {
        let _ = replace(from, number);
    }
}

/// Makes `name` in `dir` the descriptor `number`, or /dev/null (which is what stdin is) where that fails.
fn redirect(dir: RawFd, name: &std::ffi::CStr, number: RawFd, step: Step, tell: RawFd) {
    let flags = libc::O_WRONLY | libc::O_APPEND | libc::O_CREAT;
    // SAFETY: it is open as long as this child is none but this.
    let dir = unsafe { BorrowedFd::borrow_raw(dir) };
    let redirected = open_owned_link(dir, name, flags).and_then(|file| {
        // Closed by hand, since close(3) touches errno where a file system has something to say.
        let file = file.into_raw_fd();
        // O_NONBLOCK was for the opening alone. O_APPEND stays.
        // SAFETY: system calls on descriptors that are open.
        unsafe {
            let _ = call(libc::SYS_fcntl, [word(file), word(libc::F_SETFL), word(libc::O_APPEND)]);
            let redirected = replace(file, number);
            let _ = call(libc::SYS_close, [word(file)]);
            redirected
        }
    });
    if let Err(errno) = redirected {
        send(tell, Report { step, errno, file: 0 });
        let _ = replace(0, number);
    }
}

fn send(tell: RawFd, report: Report) {
    let message = report.message();
    // SAFETY: the message is ours. Nobody is left to tell of it where this fails.
    let _ = unsafe { call(libc::SYS_write, [word(tell), message.as_ptr().expose_provenance(), message.len()]) };
}
