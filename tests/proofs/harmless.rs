//! Failures that are neither told nor to be told, each with its reason.

use std::sync::LazyLock;

use nix::errno::Errno;
use nix::libc::{self, c_long};

use crate::tracer::Strike;

/// The call, the names that its object may have (none: any), the errors (none: all), and why it is harmless.
type Line = (c_long, &'static [&'static str], &'static [Errno], &'static str);

/// There is no room.
const FULL: &[Errno] = &[Errno::ENOSPC, Errno::EDQUOT];
const LOGS: &[&str] = &["supervise.log", "supervise.log.wf", "supervise.log.1", "supervise.log.wf.1"];
const NEW: &[&str] = &["status.new", "state.new"];
const RECORDS: &[&str] = &["status", "state"];
const FIFOS: &[&str] = &["svcontrol", "control"];
const CONF: &[&str] = &["supervise.conf"];
/// Where a message is looked for that may be stored already.
const STORED: &[&str] = &["failed", "ID"];
const OWN_FILE: &[&str] = &["exe", "supervise"];

const HARMLESS: &[Line] = &[
    (libc::SYS_close, &[], &[], "the descriptor is gone all the same"),
    (libc::SYS_rt_sigtimedwait, &[], &[], "a wake-up that is not forgotten costs a look at the fifo"),
    (libc::SYS_ppoll, &[], &[], "a turn in which nothing has happened"),
    (libc::SYS_brk, &[], &[], "the C library takes memory elsewhere"),
    (libc::SYS_mmap, &[], &[], "the C library takes memory elsewhere, and a child gets a copy of it"),
    (libc::SYS_munmap, &[], &[], "the memory stays ours"),
    (libc::SYS_getrandom, &[], &[], "the runtime's own, which has other sources"),
    (libc::SYS_close_range, &[], &[], "each descriptor is closed by itself"),
    (libc::SYS_setpgid, &[], &[], "the child does the same"),
    (libc::SYS_getcwd, &[], &[], "the alarm names no conf, and is delivered as it was then"),
    // The logs.
    (libc::SYS_write, LOGS, &[], "a line that can't be written is lost, and nothing else (rule 19.6)"),
    (libc::SYS_newfstatat, LOGS, &[], "the log is opened anew"),
    (libc::SYS_flock, LOGS, &[], "it is rotated all the same"),
    (libc::SYS_openat, LOGS, &[], "the line goes to the file that is open, or is lost (rule 19.6)"),
    (libc::SYS_fchmod, LOGS, &[], "its mode is what the umask has left of it"),
    (libc::SYS_renameat, LOGS, &[], "a log must not grow: where it can't be moved away it is cut"),
    // The records.
    (libc::SYS_newfstatat, RECORDS, &[], "only a folder of that name matters, and renaming over one fails too"),
    (libc::SYS_unlinkat, NEW, &[], "what is left is removed by the next one"),
    (libc::SYS_openat, NEW, FULL, "the old file is overwritten in place (rule 4.7)"),
    (libc::SYS_openat, NEW, &[Errno::EACCES], "another file is made in its place"),
    (libc::SYS_fcntl, NEW, &[], "another file is made in its place"),
    (libc::SYS_pwrite64, NEW, FULL, "the old file is overwritten in place (rule 4.7)"),
    (libc::SYS_renameat2, NEW, FULL, "the old file is overwritten in place (rule 4.7)"),
    (libc::SYS_renameat2, NEW, &[Errno::EINVAL, Errno::ENOSYS], "renameat(2) follows"),
    // The lock, the fifos and the claim.
    (libc::SYS_newfstatat, &["lock"], &[], "it is tried again"),
    (libc::SYS_fchmod, &["lock", "claim"], &[], "its mode is what the umask has left of it"),
    (libc::SYS_newfstatat, &["claim"], &[], "what is there is opened all the same"),
    (libc::SYS_newfstatat, FIFOS, &[], "it was not there, or is made and found to be there"),
    (libc::SYS_openat, FIFOS, &[Errno::EACCES], "as with a umask that forbids even the owner: chmod by name"),
    (libc::SYS_fcntl, FIFOS, &[], "a fifo that holds more is still read a page a turn"),
    (libc::SYS_linkat, FIFOS, &[Errno::EPERM, Errno::EMLINK, Errno::EOPNOTSUPP], "the other name is a second fifo"),
    (libc::SYS_newfstatat, &["ok"], &[], "it was not there"),
    (libc::SYS_openat, &["ok"], &[Errno::EACCES], "as with a umask that forbids even the owner: chmod by name"),
    (libc::SYS_unlinkat, &["ok"], &[], "held by nobody, it says the same as none"),
    (libc::SYS_fcntl, &["app"], &[], "the names of the fifo are looked at in every turn"),
    (libc::SYS_statx, &["app"], &[], "whether it is there shows when it is made"),
    (libc::SYS_newfstatat, &["app"], &[], "svalarm is given the name that the kernel knows, or it is told"),
    // The service's output.
    (libc::SYS_openat, &["__stderr"], &[], "the alarm says that there was no __stderr; the child's own open is told"),
    (libc::SYS_statx, &["__stderr"], &[], "the alarm says that there was no __stderr"),
    // The conf.
    (libc::SYS_openat, CONF, &[Errno::EINTR], "it is opened again"),
    (libc::SYS_read, CONF, &[Errno::EINTR], "it is read again"),
    (libc::SYS_statx, CONF, &[], "only its length is asked for, to make room"),
    // The kernel's files.
    (libc::SYS_openat, &["boot_id", "cmdline"], &[Errno::EINTR], "it is opened again"),
    (libc::SYS_statx, &["boot_id", "cmdline", "stat"], &[], "only its length is asked for, to make room"),
    (
        libc::SYS_openat,
        &["stat"],
        &[],
        "how it ended is said to be unknown; where it matters if it lives, nothing is started",
    ),
    (libc::SYS_openat, &["fd"], &[Errno::EACCES], "one whose descriptors may not be seen counts as none (rule 4.3)"),
    (libc::SYS_ioctl, &["anon_inode:[pidfd]"], &[], "a kernel before 6.15: how it ended is said to be unknown"),
    (libc::SYS_pidfd_send_signal, &["signal 0"], &[], "only asked whether it is there"),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_readlink, &["user"], &[], "its user namespace: how it ended is asked of the kernel, or unknown"),
    (libc::SYS_readlinkat, &["user"], &[], "its user namespace: how it ended is asked of the kernel, or unknown"),
    (libc::SYS_statx, OWN_FILE, &[], "the kernel's name of its own file serves as well, and U says if none does"),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_readlink, &["exe"], &[], "the C library's own, before main; and later it is told"),
    (libc::SYS_openat, &["maps"], &[], "the runtime's own, before main"),
    (libc::SYS_newfstatat, &["maps"], &[], "the runtime's own, before main"),
    (libc::SYS_statx, &["null"], &[], "the runtime asks so if the kernel has the call, and has fstat(2)"),
    // Times.
    (libc::SYS_openat, &["localtime"], &[], "times are in UTC"),
    (libc::SYS_newfstatat, &["localtime"], &[], "times are in UTC"),
    (libc::SYS_read, &["localtime"], &[], "times are in UTC"),
    // The spool.
    (
        libc::SYS_openat,
        &["alarms"],
        &[],
        "not stored, or not counted, is told; else svalarm is started, and looks itself",
    ),
    (
        libc::SYS_newfstatat,
        &["alarms"],
        &[],
        "not stored, or not counted, is told; else svalarm is started, and looks itself",
    ),
    (libc::SYS_getdents64, &["alarms"], &[], "not counted is told; at the end svalarm is started, and looks itself"),
    (libc::SYS_openat, STORED, &[], "stored once more, it has the same name and id"),
    (libc::SYS_newfstatat, STORED, &[], "stored once more, it has the same name and id"),
    (libc::SYS_statx, STORED, &[], "stored once more, it has the same name and id"),
    (libc::SYS_read, STORED, &[], "stored once more, it has the same name and id"),
    (libc::SYS_openat, &[".delivery", "next"], &[], "svalarm is started again after a minute"),
    (libc::SYS_read, &["next"], &[], "svalarm is started again after a minute"),
];

/// What is harmless in supervise, and in its child between fork and exec is not.
const TOLD_BY_A_CHILD: &[(c_long, &str)] = &[(libc::SYS_openat, "__stderr"), (libc::SYS_setpgid, "")];

/// The file that `/etc/localtime` leads to, by its last name.
static LOCALTIME: LazyLock<Option<String>> = LazyLock::new(|| {
    let path = std::fs::canonicalize("/etc/localtime").ok()?;
    Some(path.file_name()?.to_string_lossy().into_owned())
});

/// The last part of a path; `ID` for a message.
fn name_of(object: &str) -> &str {
    let name = object.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    if LOCALTIME.as_deref() == Some(name) {
        "localtime"
    } else if name.matches('.').count() >= 2 && name.starts_with(|c: char| c.is_ascii_digit()) {
        "ID"
    } else {
        name
    }
}

/// Whether a failure belongs to them. `in_child`: it was in a child of supervise.
pub(crate) fn is_harmless(strike: &Strike, errno: Errno, in_child: bool) -> bool {
    let name = name_of(&strike.object);
    // A program that is not in its `main` yet says nothing; whoever waits for it says how it ended.
    strike.beginning
        || !(in_child && TOLD_BY_A_CHILD.iter().any(|(kind, told)| *kind == strike.kind && [name, ""].contains(told)))
            && HARMLESS.iter().any(|(kind, names, errors, _)| {
                *kind == strike.kind
                    && (names.is_empty() || names.contains(&name))
                    && (errors.is_empty() || errors.contains(&errno))
            })
}
