//! Going into the background: a child goes on, and the process that was called waits for its answer.
//!
//! The process that was called needs nothing any more but a number to end with. So nothing is copied, which would be the most
//! expensive step of a start: the child goes on in the same memory and on the same stack, and the process that was
//! called uses neither as long as the child lives.

use std::mem::offset_of;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

use super::lent::dumps_alone;
use super::process::fork_bare;
use super::raw::{LEAVES_ERRNO, call, word};

/// Where the C library asks the kernel which thread it is before it sends itself the signal of abort(3), and does not look
/// at what it has noted before the clone. musl looks.
const ABORT_ASKS_THE_KERNEL: bool = cfg!(target_env = "gnu");

/// What the process that was called works with. The child leaves it as it is, for ever.
#[repr(C)]
struct Waiting {
    /// Of the pipe of the answer: the end of the child, and its own.
    child_end: RawFd,
    own_end: RawFd,
    /// The answer.
    code: u8,
    /// What is said, and the exit code, where there is none.
    unanswered_code: u8,
    unanswered: &'static [u8],
}

/// Goes on in a child of this process, which has one thread. This process itself does not return from here: it waits
/// for one byte from `answer`, the exit code, and ends with it. Its caller finds nothing left running where it is not 0.
/// Where no answer comes it says `unanswered` on stderr and ends with `unanswered_code`. `child_end` is the other end
/// of the pipe, the child's.
///
/// # Errors
/// What clone(2) says; there is no child.
pub fn go_on_in_background(
    answer: OwnedFd,
    child_end: &OwnedFd,
    unanswered: Vec<u8>,
    unanswered_code: u8,
) -> Result<(), Errno> {
    let waiting = Box::leak(Box::new(Waiting {
        child_end: child_end.as_raw_fd(),
        own_end: answer.as_raw_fd(),
        code: 0,
        unanswered_code,
        unanswered: unanswered.leak(),
    }));
    if LEAVES_ERRNO && ABORT_ASKS_THE_KERNEL && dumps_alone() {
        // SAFETY: it is leaked, and nothing else refers to it.
        match unsafe { share(&raw mut *waiting) } {
            Ok(()) => return Ok(()),
            Err(errno @ (Errno::EAGAIN | Errno::ENOMEM)) => return Err(errno),
            Err(_) => {} // a filter, or what stands in for a kernel, knows no such child
        }
    }
    // SAFETY: with one thread the child finds every lock of the C library free, and that library remembers nothing of a
    // process that would be another in its child, but a number for locks that this program has none of.
    match unsafe { fork_bare() }? {
        0 => Ok(()),
        child => wait(waiting, child),
    }
}

/// The process that was called, where its child has a copy of the memory.
fn wait(waiting: &mut Waiting, child: libc::pid_t) -> ! {
    let code = (&raw mut waiting.code).expose_provenance();
    // SAFETY: the descriptor of the child is not used here, and its memory is its own; the byte is one of ours.
    unsafe {
        let _ = call(libc::SYS_close, [word(waiting.child_end)]);
        let length = again(libc::SYS_read, [word(waiting.own_end), code, 1, 0]);
        if length != 1 || waiting.code != 0 {
            again(libc::SYS_wait4, [word(child), 0, 0, 0]);
        }
        end(waiting, length)
    }
}

/// A system call until no signal interrupts it.
///
/// # Safety
/// That of the call.
unsafe fn again(number: libc::c_long, arguments: [usize; 4]) -> isize {
    loop {
        // SAFETY: the caller answers for it.
        match unsafe { call(number, arguments) } {
            Err(Errno::EINTR) => {}
            Err(errno) => return -(errno as isize),
            Ok(result) => return result.cast_signed(),
        }
    }
}

/// Ends the process that was called, which has read so many bytes as the answer. Nobody else has its memory, and nothing
/// of what the child may have left half done in it is used.
extern "C" fn end(waiting: &Waiting, length: isize) -> ! {
    let mut code = waiting.code;
    // SAFETY: system calls on plain numbers, and on bytes that are leaked.
    unsafe {
        if length != 1 {
            let (text, length) = (waiting.unanswered.as_ptr().expose_provenance(), waiting.unanswered.len());
            let _ = call(libc::SYS_write, [word(libc::STDERR_FILENO), text, length]); // it may be closed
            code = waiting.unanswered_code;
        }
        libc::_exit(libc::c_int::from(code))
    }
}

/// Makes a child in the same memory and on the same stack, in which this returns. The process that was called stays in here.
///
/// # Errors
/// What clone(2) says; there is no child.
///
/// # Safety
/// `waiting` is used by nobody else, and a core dump of one process does not end another that shares its memory.
#[inline(never)]
unsafe fn share(waiting: *mut Waiting) -> Result<(), Errno> {
    // It is no program for shadow stacks (CET, GCS): the kernel would give the child an empty one.
    // SAFETY: it would be memory of the child's in which the kernel notes the end of this process.
    let _ = unsafe { call(libc::SYS_set_tid_address, [0]) };
    // SAFETY: between the clone and its own end, or that of its child, the process that was called uses registers only.
    // It never leaves, so that nothing in the child sees what it does to them; the stack, of which `end` takes what lies
    // below, has nobody else then.
    let result = unsafe { clone_and_wait(waiting, word(libc::CLONE_VM | libc::SIGCHLD)) };
    if result == 0 { Ok(()) } else { Err(Errno::from_raw(libc::c_int::try_from(-result).unwrap_or(libc::EIO))) }
}

#[cfg(all(target_pointer_width = "64", target_arch = "x86_64"))]
#[inline(always)]
unsafe fn clone_and_wait(waiting: *mut Waiting, flags: usize) -> isize {
    let mut result = libc::SYS_clone as isize;
    // SAFETY: the caller answers for it; the registers are those of the kernel's convention. Only the child and an error
    // leave the block, both at once: what changes behind the first branch changes for the process that was called alone.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jle 5f", // the child, or an error
            "mov r13, rax",
            "mov edi, dword ptr [r12 + {child_end}]",
            "mov eax, {close}",
            "syscall",
            "2:",
            "mov edi, dword ptr [r12 + {own_end}]",
            "lea rsi, [r12 + {code}]",
            "mov edx, 1",
            "mov eax, {read}",
            "syscall",
            "cmp rax, -{interrupted}",
            "je 2b",
            "mov r14, rax",
            "cmp rax, 1",
            "jne 3f",
            "cmp byte ptr [r12 + {code}], 0",
            "jne 3f",
            "xor edi, edi",
            "mov eax, {exit}",
            "syscall",
            "3:",
            "mov rdi, r13",
            "xor esi, esi",
            "xor edx, edx",
            "xor r10d, r10d",
            "mov eax, {wait}",
            "syscall",
            "cmp rax, -{interrupted}",
            "je 3b",
            "mov rdi, r12",
            "mov rsi, r14",
            "and rsp, -16",
            "call {end}",
            "5:",
            child_end = const offset_of!(Waiting, child_end),
            own_end = const offset_of!(Waiting, own_end),
            code = const offset_of!(Waiting, code),
            close = const libc::SYS_close,
            read = const libc::SYS_read,
            exit = const libc::SYS_exit_group,
            wait = const libc::SYS_wait4,
            interrupted = const libc::EINTR,
            end = sym end,
            inlateout("rax") result,
            in("rdi") flags, in("rsi") 0, in("rdx") 0, in("r10") 0, in("r8") 0,
            in("r12") waiting,
            out("rcx") _, out("r11") _,
        );
    }
    result
}

#[cfg(all(target_pointer_width = "64", target_arch = "aarch64"))]
#[inline(always)]
unsafe fn clone_and_wait(waiting: *mut Waiting, flags: usize) -> isize {
    let mut result = flags.cast_signed();
    // SAFETY: the caller answers for it; the registers are those of the kernel's convention. Only the child and an error
    // leave the block, both at once: what changes behind the first branch changes for the process that was called alone.
    unsafe {
        std::arch::asm!(
            "svc 0",
            "cmp x0, #0",
            "b.le 5f", // the child, or an error
            "mov x13, x0",
            "ldr w0, [x12, #{child_end}]",
            "mov x8, #{close}",
            "svc 0",
            "2:",
            "ldr w0, [x12, #{own_end}]",
            "add x1, x12, #{code}",
            "mov x2, #1",
            "mov x8, #{read}",
            "svc 0",
            "cmn x0, #{interrupted}",
            "b.eq 2b",
            "mov x14, x0",
            "cmp x0, #1",
            "b.ne 3f",
            "ldrb w0, [x12, #{code}]",
            "cbnz w0, 3f",
            "mov x8, #{exit}",
            "svc 0",
            "3:",
            "mov x0, x13",
            "mov x1, #0",
            "mov x2, #0",
            "mov x3, #0",
            "mov x8, #{wait}",
            "svc 0",
            "cmn x0, #{interrupted}",
            "b.eq 3b",
            "mov x0, x12",
            "mov x1, x14",
            "bl {end}",
            "5:",
            child_end = const offset_of!(Waiting, child_end),
            own_end = const offset_of!(Waiting, own_end),
            code = const offset_of!(Waiting, code),
            close = const libc::SYS_close,
            read = const libc::SYS_read,
            exit = const libc::SYS_exit_group,
            wait = const libc::SYS_wait4,
            interrupted = const libc::EINTR,
            end = sym end,
            in("x8") libc::SYS_clone,
            inlateout("x0") result,
            in("x1") 0, in("x2") 0, in("x3") 0, in("x4") 0,
            in("x12") waiting,
        );
    }
    result
}

#[cfg(not(all(target_pointer_width = "64", any(target_arch = "x86_64", target_arch = "aarch64"))))]
unsafe fn clone_and_wait(_: *mut Waiting, _: usize) -> isize {
    -(libc::ENOSYS as isize)
}
