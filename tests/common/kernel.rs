//! Kernels and machines that lack something: system calls that are refused, and no /proc.

use std::io::{Error, Result};
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::{Sandbox, is_root, skip};

/// A system call that a process and its children are refused.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refused {
    /// Its number (`libc::SYS_…`).
    pub(crate) call: libc::c_long,
    /// Only if the lower 32 bits of this argument (0 is the first) are this.
    pub(crate) argument: Option<(u32, u32)>,
    pub(crate) errno: libc::c_int,
}

/// The ioctl that gives the exit status of a process that is not a child: PIDFD_GET_INFO of linux/pidfd.h, with the
/// size that its structure had when the status came (Linux 6.15).
pub(crate) const NO_PIDFD_GET_INFO: Refused = Refused {
    call: libc::SYS_ioctl,
    argument: Some((1, (3 << 30) | (64 << 16) | (0xff << 8) | 11)),
    errno: libc::ENOTTY,
};

/// What proc_pid_ns(5) asks a permission for, and what else is read through links in /proc.
pub(crate) fn no_links() -> Vec<Refused> {
    let refused = |call| Refused { call, argument: None, errno: libc::EACCES };
    vec![
        refused(libc::SYS_readlinkat),
        #[cfg(target_arch = "x86_64")]
        refused(libc::SYS_readlink),
    ]
}

fn filter(refused: &[Refused]) -> Vec<libc::sock_filter> {
    // Offsets in struct seccomp_data of linux/seccomp.h.
    const NUMBER: u32 = 0;
    const ARGUMENTS: u32 = 16;
    let low_half = if cfg!(target_endian = "big") { 4 } else { 0 };
    let instruction = |code: u32, k: u32, jf: u8| libc::sock_filter { code: code as u16, jt: 0, jf, k };
    let load = |offset| instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0);
    let else_skip = |k: u32, count| instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, k, count);
    let answer = |k: u32| instruction(libc::BPF_RET | libc::BPF_K, k, 0);
    let mut program = Vec::new();
    for Refused { call, argument, errno } in refused {
        let call = u32::try_from(*call).expect("numbers of system calls are small");
        program.push(load(NUMBER));
        program.push(else_skip(call, if argument.is_some() { 3 } else { 1 }));
        if let Some((place, value)) = argument {
            program.push(load(ARGUMENTS + 8 * place + low_half));
            program.push(else_skip(*value, 1));
        }
        program.push(answer(libc::SECCOMP_RET_ERRNO | *errno as u32));
    }
    program.push(answer(libc::SECCOMP_RET_ALLOW));
    program
}

fn done(result: libc::c_int) -> Result<()> {
    if result == 0 { Ok(()) } else { Err(Error::last_os_error()) }
}

/// The command line, on a kernel that refuses these system calls.
pub(crate) fn refusing(mut command: Command, refused: &[Refused]) -> Command {
    let mut filter = filter(refused);
    let install = move || {
        let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
        // SAFETY: both calls take numbers but for the program, which is alive. prctl is safe between fork and exec.
        unsafe {
            done(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
            done(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program))
        }
    };
    // SAFETY: the closure calls nothing but prctl.
    unsafe { command.pre_exec(install) };
    command
}

/// Whether this kernel lets a process refuse itself system calls; says so where it doesn't.
pub(crate) fn can_refuse(sandbox: &Sandbox) -> bool {
    let mut command = refusing(sandbox.program("./service"), &[NO_PIDFD_GET_INFO]);
    let can = command.args(["exit", "0"]).status().is_ok_and(|status| status.success());
    if !can {
        skip("this kernel has no seccomp filters, or they are not allowed here");
    }
    can
}

/// The command line, in a mount namespace without /proc. None where that can't be made; that is said.
pub(crate) fn without_proc(mut command: Command) -> Option<Command> {
    if !is_root() {
        skip("only root can unmount /proc");
        return None;
    }
    let unmount = || {
        let none = std::ptr::null();
        // SAFETY: the arguments are numbers and C strings; system calls are safe between fork and exec.
        unsafe {
            done(libc::unshare(libc::CLONE_NEWNS))?;
            done(libc::mount(c"none".as_ptr(), c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, none.cast()))?;
            done(libc::umount2(c"/proc".as_ptr(), libc::MNT_DETACH))
        }
    };
    // SAFETY: the closure makes system calls only.
    unsafe { command.pre_exec(unmount) };
    Some(command)
}
