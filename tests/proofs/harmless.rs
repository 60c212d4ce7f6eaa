//! Failures that are neither told nor to be told, each with its reason.

use nix::errno::Errno;
use nix::libc::{self, c_long};

use crate::tracer::Strike;

/// The call, what its object's name holds, the errors (none: all), and
/// why.
const HARMLESS: &[(c_long, &str, &[Errno], &str)] = &[
    (libc::SYS_close, "", &[], "the descriptor is gone all the same"),
    (libc::SYS_write, "supervise.log", &[], "a line that can't be written is lost, and nothing else (rule 19.6)"),
    (libc::SYS_rt_sigtimedwait, "", &[], "a wake-up that is not forgotten costs a look at the fifo"),
    (libc::SYS_ppoll, "", &[], "a turn in which nothing has happened"),
    (libc::SYS_newfstatat, "supervise.log", &[], "the log is opened anew"),
    (libc::SYS_flock, "supervise.log", &[], "it is rotated all the same"),
    (libc::SYS_openat, "supervise.log", &[], "the line goes to the file that is open"),
    (libc::SYS_newfstatat, "state", &[], "only a folder of that name matters, and renaming over one fails too"),
    (libc::SYS_newfstatat, "status", &[], "only a folder of that name matters, and renaming over one fails too"),
    (libc::SYS_unlinkat, ".new", &[], "what is left is removed by the next one"),
    (libc::SYS_openat, ".new", FULL, "the old file is overwritten in place (rule 4.7)"),
    (libc::SYS_pwrite64, ".new", FULL, "the old file is overwritten in place (rule 4.7)"),
    (libc::SYS_renameat2, ".new", FULL, "the old file is overwritten in place (rule 4.7)"),
    (libc::SYS_renameat2, ".new", &[Errno::EINVAL, Errno::ENOSYS], "renameat(2) follows"),
    (libc::SYS_openat, "__stderr", &[], "the alarm says that there was no __stderr; the child's own open is told"),
    (libc::SYS_statx, "__stderr", &[], "the alarm says that there was no __stderr"),
    (libc::SYS_setpgid, "", &[], "the child does the same"),
    (libc::SYS_fcntl, "control", &[], "a fifo that holds more is still read a page a turn"),
    (libc::SYS_fcntl, "app", &[], "the names of the fifo are looked at in every turn"),
    (libc::SYS_newfstatat, "lock", &[], "it is tried again"),
    (libc::SYS_newfstatat, "control", &[], "it was not there, or is made and found to be there"),
    (libc::SYS_read, "supervise.conf", &[Errno::EINTR], "it is read again"),
    (libc::SYS_openat, "supervise.conf", &[Errno::EINTR], "it is opened again"),
    (libc::SYS_close_range, "", &[], "each descriptor is closed by itself"),
    (libc::SYS_getrandom, "", &[], "the runtime's own, which has other sources"),
    (libc::SYS_openat, "/proc/self/maps", &[], "the runtime's own, before main"),
    (libc::SYS_newfstatat, "maps", &[], "the runtime's own, before main"),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_readlink, "/proc/self/exe", &[], "the C library's own, before main; and later it is told"),
    (libc::SYS_openat, "/etc/localtime", &[], "times are in UTC"),
    (libc::SYS_newfstatat, "UTC", &[], "times are in UTC"),
    (libc::SYS_read, "UTC", &[], "times are in UTC"),
    (libc::SYS_fchmod, "lock", &[], "its mode is what the umask has left of it"),
    (libc::SYS_fchmod, "claim", &[], "its mode is what the umask has left of it"),
    (libc::SYS_openat, "svcontrol", &[Errno::EACCES], "as with a umask that forbids even the owner: chmod by name"),
    (libc::SYS_openat, "ok", &[Errno::EACCES], "as with a umask that forbids even the owner: chmod by name"),
    (libc::SYS_openat, "boot_id", &[Errno::EINTR], "it is opened again"),
    (libc::SYS_newfstatat, "claim", &[], "what is there is opened all the same"),
    (libc::SYS_newfstatat, "ok", &[], "it was not there"),
    (libc::SYS_linkat, "control", &[Errno::EPERM, Errno::EMLINK, Errno::EOPNOTSUPP], "the other name is a second fifo"),
    (libc::SYS_statx, "boot_id", &[], "only its length is asked for, to make room"),
    (libc::SYS_statx, "supervise.conf", &[], "only its length is asked for, to make room"),
    (libc::SYS_statx, "/supervise", &[], "the kernel's name of its own file serves as well, and U says if none does"),
    (
        libc::SYS_statx,
        "/proc/self/exe",
        &[],
        "the kernel's name of its own file serves as well, and U says if none does",
    ),
    (libc::SYS_openat, "cmdline", &[Errno::EINTR], "it is opened again"),
    (libc::SYS_statx, "cmdline", &[], "only its length is asked for, to make room"),
    (libc::SYS_statx, "stat", &[], "only its length is asked for, to make room"),
    (
        libc::SYS_openat,
        "/stat",
        &[],
        "how it ended is said to be unknown; where it matters if it lives, nothing is started",
    ),
    (libc::SYS_pidfd_send_signal, "signal 0", &[], "only asked whether it is there"),
    (libc::SYS_renameat, "supervise.log", &[], "a log must not grow: where it can't be moved away it is cut"),
    (libc::SYS_fchmod, "supervise.log", &[], "its mode is what the umask has left of it"),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_readlink, "/ns/user", &[], "how it ended is asked of the kernel, or unknown"),
    (libc::SYS_readlinkat, "/ns/user", &[], "how it ended is asked of the kernel, or unknown"),
    (libc::SYS_statx, "app", &[], "whether it is there shows when it is made"),
    (libc::SYS_unlinkat, "ok", &[], "held by nobody, it says the same as none"),
    (libc::SYS_ioctl, "pidfd", &[], "a kernel before 6.15: how it ended is said to be unknown"),
    (libc::SYS_brk, "", &[], "the C library takes memory elsewhere"),
    (libc::SYS_munmap, "", &[], "the memory stays ours"),
    (libc::SYS_getcwd, "", &[], "the alarm names no conf, and is delivered as it was then"),
    (libc::SYS_openat, "alarms", &[], "not stored, or not counted, is told; else svalarm is started, and looks itself"),
    (
        libc::SYS_newfstatat,
        "alarms",
        &[],
        "not stored, or not counted, is told; else svalarm is started, and looks itself",
    ),
    (libc::SYS_getdents64, "alarms", &[], "not counted is told; at the end svalarm is started, and looks itself"),
    (libc::SYS_mkdirat, ".delivery", &[], "svalarm is started again after a minute"),
    (libc::SYS_openat, ".delivery", &[], "svalarm is started again after a minute"),
    (libc::SYS_openat, "next", &[], "svalarm is started again after a minute"),
    (libc::SYS_read, "next", &[], "svalarm is started again after a minute"),
];

/// There is no room.
const FULL: &[Errno] = &[Errno::ENOSPC, Errno::EDQUOT];

/// What is harmless in supervise, and in its child between fork and exec is not.
const TOLD_BY_A_CHILD: &[(libc::c_long, &str)] = &[(libc::SYS_openat, "__stderr"), (libc::SYS_setpgid, "")];

/// Whether a failure belongs to them.
pub(crate) fn is_harmless(strike: &Strike, errno: Errno, in_child: bool) -> bool {
    let is_told = |(kind, name): &(libc::c_long, &str)| *kind == strike.kind && strike.object.contains(name);
    if in_child && TOLD_BY_A_CHILD.iter().any(is_told) {
        return false;
    }
    HARMLESS.iter().any(|(kind, name, errors, _)| {
        *kind == strike.kind && strike.object.contains(name) && (errors.is_empty() || errors.contains(&errno))
    })
}
