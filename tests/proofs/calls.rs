//! The system calls by name, and what one is about.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use nix::libc::{self, c_long};
use nix::unistd::Pid;

macro_rules! names {
    ($($name:ident)*) => { &[$((stringify!($name), libc::$name)),*] };
}

/// Those that supervise makes, or might.
const NAMES: &[(&str, c_long)] = names!(
    SYS_read SYS_write SYS_openat SYS_close SYS_fstat SYS_newfstatat SYS_statx SYS_lseek SYS_mmap SYS_munmap SYS_brk
    SYS_mprotect SYS_mremap SYS_rt_sigaction SYS_rt_sigprocmask SYS_rt_sigtimedwait SYS_rt_sigreturn SYS_sigaltstack
    SYS_ioctl SYS_pread64 SYS_pwrite64 SYS_preadv SYS_pwritev SYS_memfd_create SYS_ppoll SYS_clone SYS_clone3 SYS_execve SYS_execveat SYS_wait4 SYS_waitid
    SYS_exit_group SYS_kill SYS_uname SYS_fcntl SYS_flock SYS_ftruncate SYS_getdents64 SYS_getcwd SYS_renameat
    SYS_renameat2 SYS_unlinkat SYS_mkdirat SYS_mknodat SYS_linkat SYS_readlinkat SYS_fchmod SYS_fchmodat
    SYS_setpgid SYS_setsid SYS_getpid SYS_getppid SYS_getuid SYS_geteuid SYS_dup SYS_dup3 SYS_pipe2 SYS_signalfd4
    SYS_prctl SYS_prlimit64 SYS_close_range SYS_pidfd_open SYS_pidfd_send_signal SYS_getrandom SYS_nanosleep
    SYS_clock_nanosleep SYS_futex SYS_set_tid_address SYS_set_robust_list SYS_rseq SYS_fchmodat2 SYS_clock_gettime
    SYS_utimensat SYS_fsync SYS_sched_yield SYS_gettid SYS_tgkill SYS_faccessat SYS_faccessat2 SYS_getegid SYS_getgid
    SYS_getsid SYS_getpgid SYS_madvise
);

/// Only where the architecture has calls of the old kind.
#[cfg(target_arch = "x86_64")]
const OLD_NAMES: &[(&str, c_long)] = names!(
    SYS_open SYS_stat SYS_lstat SYS_access SYS_poll SYS_pipe SYS_fork SYS_vfork SYS_rename SYS_mkdir SYS_unlink
    SYS_readlink SYS_dup2 SYS_arch_prctl SYS_chmod
);
#[cfg(not(target_arch = "x86_64"))]
const OLD_NAMES: &[(&str, c_long)] = &[];

/// `openat` and so on.
pub(crate) fn name(number: c_long) -> String {
    let known = NAMES.iter().chain(OLD_NAMES).find(|(_, known)| *known == number);
    known.map_or_else(|| format!("call {number}"), |(name, _)| name.trim_start_matches("SYS_").to_owned())
}

/// Calls whose first argument is a descriptor.
const BY_DESCRIPTOR: &[c_long] = &[
    libc::SYS_read,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_ftruncate,
    libc::SYS_getdents64,
    libc::SYS_fchmod,
    libc::SYS_fcntl,
    libc::SYS_flock,
    libc::SYS_ioctl,
    libc::SYS_dup3,
    libc::SYS_lseek,
    libc::SYS_pidfd_send_signal,
];

/// Calls whose second argument is a name, in the folder that is the first.
const BY_NAME: &[c_long] = &[
    libc::SYS_openat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_unlinkat,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_linkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_readlinkat,
    libc::SYS_fchmodat,
    libc::SYS_fchmodat2,
    libc::SYS_execveat,
];

/// The name of the file that a call is about, as far as it is about one.
pub(crate) fn object(pid: Pid, kind: c_long, arguments: &[u64; 6]) -> String {
    let link = |number: u64| {
        let path = format!("/proc/{pid}/fd/{number}");
        let target = fs::read_link(&path).unwrap_or_default();
        let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // A folder is told by what it ends in.
        if fs::metadata(&path).is_ok_and(|meta| meta.is_dir()) { name + "/" } else { name }
    };
    #[cfg(target_arch = "x86_64")]
    if kind == libc::SYS_dup2 {
        return link(arguments[0]);
    }
    if BY_NAME.contains(&kind) {
        let name = text(pid, arguments[1]);
        return if name.is_empty() { link(arguments[0]) } else { name };
    }
    if !BY_DESCRIPTOR.contains(&kind) {
        return text(pid, arguments[0]);
    }
    match (kind, i32::try_from(arguments[1])) {
        (libc::SYS_pidfd_send_signal, Ok(signal)) => format!("signal {signal}"),
        _ => link(arguments[0]),
    }
}

/// The text at an address of another process; empty where there is none.
fn text(pid: Pid, address: u64) -> String {
    let mut bytes = [0; 256];
    let memory = File::open(format!("/proc/{pid}/mem"));
    let length = memory.and_then(|memory| memory.read_at(&mut bytes, address)).unwrap_or(0);
    let end = bytes[..length].iter().position(|&byte| byte == 0).unwrap_or(0);
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}
