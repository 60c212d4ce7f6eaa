//! Which system call can fail with which error, where nothing but the world around supervise is wrong.

use std::path::PathBuf;

use nix::errno::Errno;
use nix::libc::{self, c_long};
use nix::unistd::Pid;

use Errno::{
    E2BIG, EACCES, EAGAIN, EBUSY, EDQUOT, EFBIG, EINTR, EINVAL, EIO, EMFILE, EMLINK, ENFILE, ENOENT, ENOEXEC, ENOLCK,
    ENOMEM, ENOSPC, ENOSYS, ENOTTY, EOPNOTSUPP, EPERM, EROFS, ESRCH, ETXTBSY,
};

/// From the manual pages, section 2, less what a caller's own mistake would bring (EBADF, EFAULT) and what these
/// calls cannot meet with these arguments (EINTR from a call that never waits on a slow device is kept: NFS does it).
const TABLE: &[(c_long, &[Errno])] = &[
    (libc::SYS_openat, &[EMFILE, ENFILE, ENOMEM, ENOSPC, EDQUOT, EACCES, EIO, EROFS, EINTR]),
    (libc::SYS_read, &[EIO, EINTR]),
    (libc::SYS_pread64, &[EIO, EINTR]),
    (libc::SYS_write, &[ENOSPC, EDQUOT, EIO, EROFS, EFBIG, EINTR]),
    (libc::SYS_pwrite64, &[ENOSPC, EDQUOT, EIO, EROFS, EFBIG, EINTR]),
    (libc::SYS_pwritev, &[ENOSPC, EDQUOT, EIO, EROFS, EFBIG, EINTR]),
    (libc::SYS_close, &[EIO, EINTR, ENOSPC, EDQUOT]),
    (libc::SYS_fstat, &[EIO, ENOMEM]),
    (libc::SYS_newfstatat, &[EIO, ENOMEM, EACCES]),
    (libc::SYS_statx, &[EIO, ENOMEM, EACCES, ENOSYS]),
    (libc::SYS_ftruncate, &[EIO, EROFS, EINTR]),
    (libc::SYS_getdents64, &[EIO, ENOENT]),
    (libc::SYS_getcwd, &[ENOENT, ENOMEM]),
    (libc::SYS_renameat, &[ENOSPC, EDQUOT, EIO, EROFS, ENOMEM, EACCES]),
    (libc::SYS_renameat2, &[ENOSPC, EDQUOT, EIO, EROFS, ENOMEM, EACCES, EINVAL, ENOSYS]),
    (libc::SYS_unlinkat, &[EIO, EROFS, ENOMEM, EACCES, EPERM]),
    (libc::SYS_mkdirat, &[ENOSPC, EDQUOT, EIO, EROFS, ENOMEM, EACCES, EMLINK]),
    (libc::SYS_mknodat, &[ENOSPC, EDQUOT, EIO, EROFS, ENOMEM, EACCES, EPERM]),
    (libc::SYS_linkat, &[ENOSPC, EDQUOT, EIO, EROFS, ENOMEM, EACCES, EPERM, EMLINK, EOPNOTSUPP]),
    (libc::SYS_readlinkat, &[EIO, ENOMEM, EACCES]),
    (libc::SYS_fchmod, &[EIO, EROFS, EPERM]),
    (libc::SYS_fchmodat, &[EIO, EROFS, EPERM, ENOMEM]),
    (libc::SYS_fcntl, &[EPERM, EBUSY, EINVAL, ENOMEM]),
    (libc::SYS_flock, &[ENOLCK, EINTR]),
    (libc::SYS_ioctl, &[ENOTTY, EINVAL]),
    (libc::SYS_pipe2, &[EMFILE, ENFILE]),
    (libc::SYS_clone, &[EAGAIN, ENOMEM]),
    (libc::SYS_clone3, &[EAGAIN, ENOMEM]),
    (libc::SYS_execve, &[ENOENT, EACCES, ENOMEM, EIO, ENOEXEC, E2BIG, ETXTBSY, EMFILE, EAGAIN]),
    (libc::SYS_execveat, &[ENOENT, EACCES, ENOMEM, EIO, ENOEXEC, E2BIG, ETXTBSY, EMFILE, EAGAIN]),
    (libc::SYS_memfd_create, &[EMFILE, ENFILE, ENOMEM, EACCES, ENOSYS]),
    (libc::SYS_setpgid, &[EPERM, EACCES, ESRCH]),
    (libc::SYS_kill, &[EPERM]),
    (libc::SYS_ppoll, &[EINTR]),
    (libc::SYS_rt_sigtimedwait, &[EINTR]),
    (libc::SYS_signalfd4, &[EMFILE, ENFILE, ENOMEM]),
    (libc::SYS_pidfd_open, &[EMFILE, ENFILE, ENOMEM, ENOSYS]),
    (libc::SYS_pidfd_send_signal, &[EPERM]),
    (libc::SYS_close_range, &[ENOMEM, EMFILE, ENOSYS]),
    (libc::SYS_getrandom, &[EINTR, ENOSYS]),
    (libc::SYS_clock_nanosleep, &[EINTR]),
];

#[cfg(target_arch = "x86_64")]
const OLD: &[(c_long, &[Errno])] = &[
    (libc::SYS_mkdir, &[ENOSPC, EDQUOT, EIO, EROFS, ENOMEM, EACCES, EMLINK]),
    (libc::SYS_readlink, &[EIO, ENOMEM, EACCES, ENOENT]),
    (libc::SYS_pipe, &[EMFILE, ENFILE]),
    (libc::SYS_chmod, &[EIO, EROFS, EPERM]),
];
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[(c_long, &[Errno])] = &[];

/// Files that are none: what the kernel keeps in memory has no disk that could fail.
const IN_MEMORY: &[&str] =
    &["svcontrol", "control", "ok", "boot_id", "maps", "stat", "locks", "null", "syscall", "cmdline", "user", "fd"];
/// The same by how their names begin.
const IN_MEMORY_TOO: &[&str] = &["pipe:", "memfd:", "anon_inode:"];

fn is_in_memory(object: &str) -> bool {
    IN_MEMORY.contains(&object) || IN_MEMORY_TOO.iter().any(|name| object.starts_with(name))
}

/// Whether a process finds a file of this name in one of its folders.
fn is_there(pid: Pid, folder: i32, name: &str) -> bool {
    let folder = if folder == libc::AT_FDCWD { "cwd".to_owned() } else { format!("fd/{folder}") };
    PathBuf::from(format!("/proc/{pid}/{folder}")).join(name).symlink_metadata().is_ok()
}

/// Whether a call with these arguments, about this object, can really fail so.
pub(crate) fn can_happen(pid: Pid, kind: c_long, object: &str, arguments: &[u64; 6], errno: Errno) -> bool {
    let argument = |number: usize| i32::try_from(arguments[number]).unwrap_or(0);
    match kind {
        libc::SYS_read | libc::SYS_write => !is_in_memory(object),
        // What a file system has kept to itself until then it says at the close; of a folder there is nothing.
        libc::SYS_close => errno == EINTR || !is_in_memory(object) && !object.ends_with('/'),
        libc::SYS_openat => match errno {
            // What is there takes no room.
            ENOSPC | EDQUOT => argument(2) & libc::O_CREAT != 0 && !is_there(pid, argument(0), object),
            EROFS => argument(2) & libc::O_ACCMODE != libc::O_RDONLY,
            _ => true,
        },
        // To its own session a process may always send that (kill(2)).
        libc::SYS_kill => argument(1) != libc::SIGCONT,
        libc::SYS_brk => arguments[0] != 0,
        libc::SYS_fcntl => matches!(argument(1), F_NOTIFY | libc::F_SETPIPE_SZ),
        _ => true,
    }
}

/// linux/fcntl.h
const F_NOTIFY: i32 = 1026;

/// Out of memory. A program that runs must go on without more; one that begins may end.
const MEMORY: &[(c_long, &[Errno])] = &[
    (libc::SYS_brk, &[ENOMEM]),
    (libc::SYS_mmap, &[ENOMEM]),
    (libc::SYS_munmap, &[ENOMEM]),
    (libc::SYS_mremap, &[ENOMEM]),
];

/// The errors of a kind of call. `runs`: the process is past its beginning.
pub(crate) fn of(kind: c_long, runs: bool) -> &'static [Errno] {
    let memory = if runs { MEMORY } else { &[] };
    let known = TABLE.iter().chain(OLD).chain(memory).find(|(known, _)| *known == kind);
    known.map_or(&[], |(_, errors)| *errors)
}

/// Cannot fail, or not for a reason from outside.
const NEVER: &[c_long] = &[
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_geteuid,
    libc::SYS_clock_gettime,
    libc::SYS_getsid,  // its own
    libc::SYS_getpgid, // of a process that was just found: one that is gone meanwhile is found dead
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigaction,
    libc::SYS_prctl,
    libc::SYS_prlimit64, // only asks
    libc::SYS_uname,
    libc::SYS_lseek,
    libc::SYS_setsid,
    libc::SYS_dup3, // of two descriptors that are open
    libc::SYS_exit_group,
    // What the C library and the runtime do before `main`.
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_rseq,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_sigaltstack,
];

#[cfg(target_arch = "x86_64")]
const OLD_NEVER: &[c_long] = &[libc::SYS_dup2, libc::SYS_arch_prctl];
#[cfg(not(target_arch = "x86_64"))]
const OLD_NEVER: &[c_long] = &[];

/// Whether it was decided if and how a kind of call can fail.
pub(crate) fn is_known(kind: c_long) -> bool {
    NEVER.contains(&kind) || OLD_NEVER.contains(&kind) || !of(kind, true).is_empty()
}
