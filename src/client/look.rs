//! How a service fares, as far as its status directory can be read.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::target::open_to_write;
use crate::statusdir::{Directory, ReadRecord, Record};
use crate::sys::why;

/// A long record is about a kilobyte; what is longer than this is none.
const STATE_LIMIT: u64 = 1 << 20;
/// So a buffer of this size holds it, and shows by its rest that this was all.
const USUAL_SIZE: usize = 4096;

/// Whether a supervise holds `ok` open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// It lives.
    Lives,
    /// It does not: it was killed (`ENXIO`), or ended by itself (`ENOENT`).
    Gone,
    /// We may not ask.
    Unknown(Errno),
}

impl Liveness {
    /// Asks, without waiting.
    #[must_use]
    pub fn of(dir: &Directory) -> Self {
        match open_to_write(dir, "ok") {
            Ok(_) => Self::Lives,
            Err(Errno::ENXIO | Errno::ENOENT | Errno::EEXIST | Errno::ELOOP) => Self::Gone,
            Err(errno) => Self::Unknown(errno),
        }
    }
}

/// Why a file of the status directory says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// A system call failed.
    System(Errno),
    /// Its bytes are not what they should be.
    Damaged,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(errno) => f.write_str(&why(*errno)),
            Self::Damaged => f.write_str("damaged"),
        }
    }
}

/// What a status directory says at one moment.
#[derive(Clone, Debug)]
pub struct Look {
    /// Whether a supervise lives.
    pub supervise: Liveness,
    /// The 20 bytes.
    pub record: Result<Record, Unreadable>,
    /// The long record; a classic program writes none.
    pub state: Result<ReadRecord, Unreadable>,
}

impl Look {
    /// Looks at the status directory of this path.
    ///
    /// # Errors
    /// What open(2) says of the directory.
    pub fn at(path: &Path) -> Result<Self, Errno> {
        Ok(Self::of(&Directory::open(path)?))
    }

    /// Looks at an open status directory.
    #[must_use]
    pub fn of(dir: &Directory) -> Self {
        let (record, state) = records(dir);
        Self { supervise: Liveness::of(dir), record, state }
    }
}

/// The status record and the long record.
pub(super) fn records(dir: &Directory) -> (Result<Record, Unreadable>, Result<ReadRecord, Unreadable>) {
    let damaged = Unreadable::Damaged;
    (
        read(dir, "status", Record::LEN as u64).and_then(|bytes| Record::decode(&bytes).ok_or(damaged)),
        read(dir, "state", STATE_LIMIT).and_then(|bytes| ReadRecord::decode(&bytes).ok_or(damaged)),
    )
}

/// A whole file, opened so that nothing that stands there instead can make us wait.
fn read(dir: &Directory, name: &str, limit: u64) -> Result<Vec<u8>, Unreadable> {
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = openat(dir.as_fd(), name, flags, Mode::empty()).map_err(Unreadable::System)?;
    let mut file = File::from(file);
    let failed =
        |error: std::io::Error| Unreadable::System(Errno::from_raw(error.raw_os_error().unwrap_or(nix::libc::EIO)));
    // Of a plain file, less than was asked for is all there is: one call, which matters for a thousand services.
    let mut bytes = vec![0; USUAL_SIZE];
    let length = file.read(&mut bytes).map_err(failed)?;
    bytes.truncate(length);
    if length == USUAL_SIZE {
        file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    }
    if bytes.len() as u64 > limit { Err(Unreadable::Damaged) } else { Ok(bytes) }
}
