//! The open status directory: every file in it is reached through its descriptor, so that it may be renamed.

use std::ffi::CStr;
use std::fmt;
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::sys::stat::{Mode, SFlag, fstat, fstatat};

/// So often a file that is leased is tried again, after a millisecond.
const LEASED: u32 = 1000;

/// An open status directory.
#[derive(Debug)]
pub struct Directory {
    fd: OwnedFd,
    path: PathBuf,
}

/// Why it could not be made or entered.
#[derive(Debug)]
pub struct OpenError {
    /// `make` or `enter`.
    pub doing: &'static str,
    /// Which folder.
    pub path: PathBuf,
    /// Why.
    pub cause: io::Error,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cause = crate::sys::why_io(&self.cause);
        let path = crate::text::escape(self.path.as_os_str().as_encoded_bytes());
        write!(f, "unable to {} {path}: {cause}", self.doing)
    }
}

impl Directory {
    /// Opens a status directory, and makes it and the folders above it where they are missing.
    ///
    /// # Errors
    /// [`OpenError`] says which folder, and why.
    pub fn make(path: &Path) -> Result<Self, OpenError> {
        let fail = |doing, path: &Path| {
            let path = path.to_owned();
            move |cause| OpenError { doing, path, cause }
        };
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs::create_dir_all(parent).map_err(fail("make", parent))?;
        }
        match fs::DirBuilder::new().mode(0o700).create(path) {
            // Less the umask otherwise, which could shut us out.
            Ok(()) => fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(fail("make", path))?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(fail("make", path)(error)),
        }
        Self::open(path).map_err(|errno| fail("enter", path)(errno.into()))
    }

    /// Opens a status directory that is there.
    ///
    /// # Errors
    /// What open(2) says.
    pub fn open(path: &Path) -> Result<Self, Errno> {
        let fd = open(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        Ok(Self { fd, path: path.to_owned() })
    }

    /// One that a predecessor in this process had open. `path`: by which name.
    #[must_use]
    pub fn inherited(fd: OwnedFd, path: &Path) -> Self {
        Self { fd, path: path.to_owned() }
    }

    /// The path by which it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path that leads to it now: the one by which it was opened, or, where it was moved meanwhile and another may
    /// stand there, the one that the kernel knows. `None`: there is none, or it can't be told.
    #[must_use]
    pub fn path_now(&self) -> Option<PathBuf> {
        let own = fstat(self).ok()?;
        let leads_here = |path: &PathBuf| {
            nix::sys::stat::stat(path).is_ok_and(|there| (there.st_dev, there.st_ino) == (own.st_dev, own.st_ino))
        };
        let known = || fs::read_link(format!("/proc/self/fd/{}", self.as_raw_fd())).ok();
        Some(self.path.clone()).filter(leads_here).or_else(|| known().filter(leads_here))
    }

    /// A folder has this name in it.
    #[must_use]
    pub fn has_folder(&self, name: &str) -> bool {
        fstatat(self, name, AtFlags::AT_SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR)
    }

    /// Reads a file of at most so many bytes, never through a link and never waiting.
    ///
    /// # Errors
    /// What open(2) and read(2) say.
    pub fn read(&self, name: &str, limit: usize) -> Result<Vec<u8>, Errno> {
        let file = self.open_file(name)?;
        let mut bytes = vec![0; limit];
        let length = nix::unistd::read(&file, &mut bytes)?;
        bytes.truncate(length);
        Ok(bytes)
    }

    /// Opens a file to be read, never through a link, and so that nothing that stands there instead can make us wait.
    ///
    /// A record that supervise is just writing anew is the only thing waited for, a second at most: who has found it by
    /// its name a moment ago opens the one that was kept for the next text (`replace.rs`).
    ///
    /// # Errors
    /// What open(2) says.
    pub fn open_file(&self, name: &str) -> Result<OwnedFd, Errno> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        for _ in 0..LEASED {
            match openat(self, name, flags, Mode::empty()) {
                Err(Errno::EWOULDBLOCK) => thread::sleep(Duration::from_millis(1)), // it takes microseconds
                other => return other,
            }
        }
        Err(Errno::EWOULDBLOCK)
    }

    /// Opens one of the service's output files, following only a link of root's or our own.
    ///
    /// # Errors
    /// What open(2) says; `ELOOP` for a link of somebody else's.
    pub fn open_output(&self, name: &CStr) -> Result<OwnedFd, Errno> {
        crate::sys::open_owned_link(self.as_fd(), name, nix::libc::O_RDONLY)
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Directory {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
