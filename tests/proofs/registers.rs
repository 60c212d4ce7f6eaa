//! Changes a system call that a traced process makes.

use nix::errno::Errno;
use nix::sys::ptrace;
use nix::unistd::Pid;

/// The call that a process is about to make is not made.
#[cfg(target_arch = "x86_64")]
pub(crate) fn skip(pid: Pid) {
    if let Ok(mut registers) = ptrace::getregs(pid) {
        registers.orig_rax = u64::MAX;
        let _ = ptrace::setregs(pid, registers);
    }
}

/// Of the call that a process is about to make, or has made.
#[cfg(target_arch = "x86_64")]
pub(crate) fn set_first_argument(pid: Pid, argument: u64) {
    if let Ok(mut registers) = ptrace::getregs(pid) {
        registers.rdi = argument;
        let _ = ptrace::setregs(pid, registers);
    }
}

/// What the call answers.
#[cfg(target_arch = "x86_64")]
pub(crate) fn answer(pid: Pid, errno: Errno) {
    if let Ok(mut registers) = ptrace::getregs(pid) {
        registers.rax = (-i64::from(errno as i32)).cast_unsigned();
        let _ = ptrace::setregs(pid, registers);
    }
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn skip(_: Pid) {}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn set_first_argument(_: Pid, _: u64) {}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn answer(_: Pid, _: Errno) {}
