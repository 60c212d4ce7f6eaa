//! Tests that need a disk, or a file of the system, of their own: in a thread with a mount namespace, for root.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

use super::{Sandbox, is_root, skip};

/// What is mounted, and where.
#[allow(dead_code, reason = "not every test program uses all of them")]
pub(crate) enum Mount<'a> {
    /// A tmpfs of so many KiB.
    SmallDisk(&'a Path, u32),
    /// A tmpfs with so many inodes.
    FewInodes(&'a Path, u32),
    /// A file or a folder at the place of another one.
    Bind(&'a Path, &'a Path),
    /// What is mounted there can only be read from now on.
    ReadOnly(&'a Path),
    /// It can be written again.
    Writable(&'a Path),
}

impl Mount<'_> {
    /// Only for a thread that has a mount namespace of its own.
    pub(crate) fn mount(&self) -> io::Result<()> {
        const AGAIN: libc::c_ulong = libc::MS_REMOUNT | libc::MS_BIND;
        let path = |path: &Path| CString::new(path.as_os_str().as_bytes()).expect("no NUL in a path");
        let (source, target, kind, flags, data) = match self {
            Mount::SmallDisk(target, kib) => {
                (c"none".into(), path(target), c"tmpfs", 0, format!("size={kib}k,mode=755"))
            }
            Mount::FewInodes(target, count) => {
                (c"none".into(), path(target), c"tmpfs", 0, format!("nr_inodes={count},mode=755"))
            }
            Mount::Bind(source, target) => (path(source), path(target), c"", libc::MS_BIND, String::new()),
            Mount::ReadOnly(target) => (c"none".into(), path(target), c"", AGAIN | libc::MS_RDONLY, String::new()),
            Mount::Writable(target) => (c"none".into(), path(target), c"", AGAIN, String::new()),
        };
        let data = CString::new(data).expect("no NUL in it");
        // SAFETY: numbers, and C strings that outlive the call.
        let done = unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, data.as_ptr().cast()) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

/// Runs a test in a thread that has a mount namespace of its own, with these mounts. All that the test starts from
/// there sees them too, and nobody else. Only root can do that.
pub(crate) fn with_mounts(sandbox: &Sandbox, mounts: &[Mount], test: impl FnOnce() + Send) {
    if !is_root() {
        return skip("only root can mount");
    }
    let enter = || -> io::Result<()> {
        let none = std::ptr::null();
        // SAFETY: the arguments are numbers and C strings that outlive the calls. A thread may have a mount
        // namespace (and with it a current folder) of its own; see unshare(2).
        let failed = unsafe {
            libc::unshare(libc::CLONE_NEWNS) != 0
                || libc::mount(c"none".as_ptr(), c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, none.cast()) != 0
        };
        if failed {
            return Err(io::Error::last_os_error());
        }
        mounts.iter().try_for_each(Mount::mount)
    };
    let run = || match enter() {
        Err(error) => skip(&format!("nothing can be mounted: {error}")),
        Ok(()) => {
            let result = catch_unwind(AssertUnwindSafe(test));
            if let Err(panic) = result {
                // What the sandbox prints when it is dropped is seen from outside, where the mounts are not.
                eprintln!("{}", sandbox.dump());
                resume_unwind(panic);
            }
        }
    };
    let result = std::thread::scope(|scope| scope.spawn(run).join());
    if let Err(panic) = result {
        resume_unwind(panic);
    }
}

/// The same with a tmpfs of so many KiB as the sandbox's `status`.
pub(crate) fn with_status_on_a_small_disk(sandbox: &Sandbox, kib: u32, test: impl FnOnce() + Send) {
    let folder = sandbox.path("status");
    std::fs::create_dir(&folder).expect("the sandbox is writable");
    with_mounts(sandbox, &[Mount::SmallDisk(&folder, kib)], test);
}
