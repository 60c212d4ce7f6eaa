//! What a status directory says at one moment: the one reader of both records.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use nix::errno::Errno;

use super::fare::Fare;
use super::liveness::Liveness;
use crate::policy::Wanted;
use crate::statusdir::{Directory, ReadRecord, Record};
use crate::sys::{errno_of, why};

/// A long record is about half a kilobyte; what is longer than this is none.
const STATE_LIMIT: u64 = 1 << 20;
/// So a buffer of this size holds it, and shows by its rest that this was all.
const USUAL_SIZE: usize = 2048;
/// supervise replaces `status` before `state`: a look in between is repeated so often.
const LOOKS: usize = 3;

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

/// Both records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Records {
    /// The 20 bytes.
    pub record: Result<Record, Unreadable>,
    /// The long record. A classic program writes none (`ENOENT`), and leaves alone what ours wrote before it.
    pub state: Result<ReadRecord, Unreadable>,
}

impl Records {
    /// Reads both, so that they tell of one moment where one supervise wrote them.
    #[must_use]
    pub fn read(dir: &Directory) -> Self {
        let damaged = Unreadable::Damaged;
        let mut looks = 1;
        loop {
            let records = Self {
                record: read(dir, "status", Record::LEN as u64).and_then(|bytes| Record::decode(&bytes).ok_or(damaged)),
                state: read(dir, "state", STATE_LIMIT).and_then(|bytes| ReadRecord::decode(&bytes).ok_or(damaged)),
            };
            if looks == LOOKS || records.agree() {
                return records;
            }
            looks += 1;
        }
    }

    /// Whether both tell of the same process, as far as both can be read. What another version says in words that are
    /// not known here contradicts nothing.
    #[must_use]
    pub fn agree(&self) -> bool {
        match (&self.record, &self.state) {
            (Ok(record), Ok(long)) => {
                record.pid == long.pid() && wanted(long).is_none_or(|wanted| wanted == record.wanted)
            }
            _ => true,
        }
    }

    /// The long record where it counts: the status record is the one that every program writes.
    #[must_use]
    pub fn long(&self) -> Option<&ReadRecord> {
        self.state.as_ref().ok().filter(|_| self.agree())
    }
}

/// What the operator asked for, by the long record.
pub(super) fn wanted(long: &ReadRecord) -> Option<Wanted> {
    match long.text("wanted")? {
        "up" => Some(Wanted::Up),
        "down" => Some(Wanted::Down),
        "once" => Some(Wanted::Once),
        _ => None,
    }
}

/// Both records, and whether somebody keeps them true.
#[derive(Clone, Debug)]
pub struct Look {
    /// Whether a supervise lives.
    pub supervise: Liveness,
    /// The 20 bytes; where there are none, what they would be by the long record.
    pub record: Result<Record, Unreadable>,
}

impl Look {
    /// Looks at the status directory of this path.
    ///
    /// # Errors
    /// What open(2) says of the directory.
    pub fn at(path: &Path) -> Result<Self, Errno> {
        let dir = Directory::open(path)?;
        let records = Records::read(&dir);
        let supervise = Liveness::seen(&dir, records.state.as_ref().ok());
        let record = match records.record {
            Err(Unreadable::System(Errno::ENOENT)) => {
                Fare::of(&dir, records, supervise.known()).map(|fare| fare.record)
            }
            record => record,
        };
        Ok(Self { supervise, record })
    }
}

/// A whole file, opened so that nothing that stands there instead can make us wait.
fn read(dir: &Directory, name: &str, limit: u64) -> Result<Vec<u8>, Unreadable> {
    let mut file = File::from(dir.open_file(name).map_err(Unreadable::System)?);
    let failed = |error: std::io::Error| Unreadable::System(errno_of(&error));
    // Of a plain file, less than was asked for is all there is: one call, which matters for a thousand services.
    let size = USUAL_SIZE.min(usize::try_from(limit).unwrap_or(USUAL_SIZE) + 1);
    let mut bytes = vec![0; size];
    let length = file.read(&mut bytes).map_err(failed)?;
    bytes.truncate(length);
    if length == size {
        file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    }
    if bytes.len() as u64 > limit { Err(Unreadable::Damaged) } else { Ok(bytes) }
}
