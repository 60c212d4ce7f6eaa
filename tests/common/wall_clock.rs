//! A wall clock that a test sets for one process alone: its system calls are watched, and what it is told is changed.

use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicI64, Ordering};

use super::Pid;

/// Starts the program and sees it to its end; `ahead` are the seconds that its CLOCK_REALTIME is ahead, at any moment.
/// `started` is told its pid. Its children have the machine's clock.
///
/// The process is kept from the kernel's clock that needs no system call (vdso(7)): its address is taken out of what
/// the program gets at its start.
pub(crate) fn run_with_wall_clock(
    mut command: Command,
    ahead: &AtomicI64,
    started: impl FnOnce(Pid),
) -> io::Result<ExitStatus> {
    let trace_me = || done(ptrace(libc::PTRACE_TRACEME, 0, 0, 0));
    // SAFETY: the closure makes one system call.
    unsafe { command.pre_exec(trace_me) };
    let child = command.spawn()?; // this thread is its tracer
    let pid = Pid::try_from(child.id()).map_err(io::Error::other)?;
    let mut status = wait(pid)?; // stopped after its exec
    hide_vdso(pid)?;
    done(ptrace(libc::PTRACE_SETOPTIONS, pid, 0, (libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_EXITKILL) as u64))?;
    started(pid);
    let (mut signal, mut inside) = (0, false);
    loop {
        done(ptrace(libc::PTRACE_SYSCALL, pid, 0, signal))?;
        signal = 0;
        status = match wait(pid) {
            Ok(status) => status,
            Err(_) => return Ok(ExitStatus::from_raw(status)),
        };
        if !libc::WIFSTOPPED(status) {
            return Ok(ExitStatus::from_raw(status));
        }
        match libc::WSTOPSIG(status) {
            number if number == libc::SIGTRAP | 0x80 => {
                inside = !inside;
                if !inside {
                    change_time(pid, ahead.load(Ordering::SeqCst))?;
                }
            }
            libc::SIGTRAP => {} // of an exec
            number => signal = number as u64,
        }
    }
}

/// After a system call: adds to what clock_gettime(2) has answered for CLOCK_REALTIME.
fn change_time(pid: Pid, ahead: i64) -> io::Result<()> {
    // SAFETY: all-zero registers are valid; PTRACE_GETREGS fills them.
    let registers = unsafe {
        let mut registers: libc::user_regs_struct = std::mem::zeroed();
        done(ptrace(libc::PTRACE_GETREGS, pid, 0, (&raw mut registers) as u64))?;
        registers
    };
    let is_asked = registers.orig_rax == libc::SYS_clock_gettime as u64 && registers.rdi == libc::CLOCK_REALTIME as u64;
    if is_asked && registers.rax == 0 && ahead != 0 {
        let seconds = peek(pid, registers.rsi)?;
        done(ptrace(libc::PTRACE_POKEDATA, pid, registers.rsi, seconds.wrapping_add_signed(ahead)))?;
    }
    Ok(())
}

/// Of the stack at the start of a program: argc, argv, NULL, environment, NULL, pairs of the auxiliary vector.
fn hide_vdso(pid: Pid) -> io::Result<()> {
    // SAFETY: as above.
    let mut at = unsafe {
        let mut registers: libc::user_regs_struct = std::mem::zeroed();
        done(ptrace(libc::PTRACE_GETREGS, pid, 0, (&raw mut registers) as u64))?;
        registers.rsp
    };
    at += 8 * (peek(pid, at)? + 2);
    while peek(pid, at)? != 0 {
        at += 8;
    }
    at += 8;
    loop {
        match peek(pid, at)? {
            0 => return Ok(()),
            kind if kind == libc::AT_SYSINFO_EHDR => done(ptrace(libc::PTRACE_POKEDATA, pid, at, libc::AT_IGNORE))?,
            _ => {}
        }
        at += 16;
    }
}

fn wait(pid: Pid) -> io::Result<i32> {
    let mut status = 0;
    // SAFETY: the status is a place of ours. __WALL is for who is traced.
    match unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(status),
    }
}

/// One word of its memory: the system call itself, which stores it where its last argument leads (ptrace(2)).
fn peek(pid: Pid, at: u64) -> io::Result<u64> {
    let mut word = 0_u64;
    // SAFETY: numbers, and a place of ours for the word.
    let done = unsafe { libc::syscall(libc::SYS_ptrace, libc::PTRACE_PEEKDATA, pid, at, &raw mut word) };
    if done == -1 { Err(io::Error::last_os_error()) } else { Ok(word) }
}

fn ptrace(request: impl Into<i64>, pid: Pid, at: u64, data: u64) -> i64 {
    // SAFETY: the process is a traced child of this thread; a structure that the call fills is passed by its address.
    unsafe { libc::syscall(libc::SYS_ptrace, request.into(), pid, at, data) }
}

fn done(result: i64) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
