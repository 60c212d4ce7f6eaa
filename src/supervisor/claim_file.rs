//! The open `claim`: of one size from the start, and only ever written in place.

use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use nix::sys::uio::{pread, pwrite, pwritev};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::statusdir::{Claim, ClaimBlock, Directory, give_mode};

const NAME: &str = "claim";

/// The claim's file, and what was last written there.
#[derive(Debug)]
pub(super) struct ClaimFile {
    file: OwnedFd,
    written: Option<Claim>,
}

/// What a predecessor left in the file.
#[derive(Debug)]
pub(super) enum Left {
    /// There was none, or it left nothing.
    Nothing,
    /// This.
    Claim(Box<Claim>),
    /// Something that can't be read any more.
    Damaged,
    /// It was never written, or removed since, where a supervise has been.
    Lost,
}

/// Why there is no claim's file.
#[derive(Clone, Copy, Debug)]
pub(super) enum OpenFailed {
    /// A new one could not be made: nobody can have left anything.
    NotMade(Errno),
    /// There is one, and what it says is not known.
    Unreadable(Errno),
}

impl OpenFailed {
    pub(super) fn errno(self) -> Errno {
        match self {
            Self::NotMade(errno) | Self::Unreadable(errno) => errno,
        }
    }
}

fn left_in(file: &OwnedFd) -> Result<Left, Errno> {
    let mut bytes = vec![0; ClaimBlock::SIZE];
    let length = pread(file, &mut bytes, 0)?;
    bytes.truncate(length);
    Ok(match Claim::decode(&bytes) {
        Some(claim) => Left::Claim(Box::new(claim)),
        None if bytes.iter().any(|&byte| byte != b'\n') => Left::Damaged,
        None => Left::Nothing,
    })
}

fn is_file(stat: &FileStat) -> bool {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG
}

impl ClaimFile {
    /// Opens the file, and makes it where it is missing or something else has its name.
    pub(super) fn open(dir: &Directory) -> Result<(Self, Left), OpenFailed> {
        let there = fstatat(dir, NAME, AtFlags::AT_SYMLINK_NOFOLLOW);
        let opened = Self::open_there(dir, there.is_ok_and(|stat| !is_file(&stat)));
        // A start fills it before anything else; what has no room for that is a full disk.
        let is_lost = match there {
            Ok(stat) => usize::try_from(stat.st_size).is_ok_and(|size| size < ClaimBlock::SIZE),
            Err(errno) => errno == Errno::ENOENT && fstatat(dir, "state", AtFlags::AT_SYMLINK_NOFOLLOW).is_ok(),
        };
        let opened = opened.map(|(file, left)| match left {
            Left::Nothing if is_lost => (file, Left::Lost),
            left => (file, left),
        });
        // Where it is not known if there is one, it may be.
        let was_none = there == Err(Errno::ENOENT);
        opened.map_err(|errno| if was_none { OpenFailed::NotMade(errno) } else { OpenFailed::Unreadable(errno) })
    }

    fn open_there(dir: &Directory, something_else: bool) -> Result<(Self, Left), Errno> {
        if something_else {
            unlinkat(dir, NAME, UnlinkatFlags::NoRemoveDir)?;
        }
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let mode = Mode::from_bits_truncate(0o600);
        let file = openat(dir, NAME, flags, mode)?;
        let _ = give_mode(&file, mode); // less the umask otherwise
        let left = match left_in(&file)? {
            Left::Nothing if something_else => Left::Damaged,
            left => left,
        };
        Ok((Self { file, written: None }, left))
    }

    /// The one that a predecessor in this process had open.
    pub(super) fn inherited(file: OwnedFd) -> Self {
        Self { file, written: None }
    }

    /// Writes a claim for somebody else. Where that fails, all is as it was.
    pub(super) fn put(dir: &Directory, claim: Claim) -> Result<(), Errno> {
        let was_there = fstatat(dir, NAME, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok();
        let opened = Self::open(dir).map_err(OpenFailed::errno);
        let written = opened.and_then(|(mut file, _)| file.fill().and_then(|()| file.write(claim)));
        if written.is_err() && !was_there {
            let _ = unlinkat(dir, NAME, UnlinkatFlags::NoRemoveDir); // there may be none
        }
        written
    }

    /// Reads what the file says now, and changes nothing.
    pub(super) fn read(dir: &Directory) -> Result<Left, Errno> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        match openat(dir, NAME, flags, Mode::empty()) {
            Ok(file) => left_in(&file),
            Err(Errno::ENOENT) => Ok(Left::Nothing),
            Err(errno) => Err(errno),
        }
    }

    /// Fills the file to its size, so that no later write needs room.
    pub(super) fn fill(&self) -> Result<(), Errno> {
        let size = usize::try_from(fstat(&self.file)?.st_size).unwrap_or(0);
        let rest = ClaimBlock::EMPTY.get(size..).unwrap_or_default();
        match pwrite(&self.file, rest, i64::try_from(size).unwrap_or(0))? {
            written if written == rest.len() => Ok(()),
            _ => Err(Errno::ENOSPC),
        }
    }

    /// Writes this, if it is not what was written last.
    pub(super) fn write(&mut self, claim: Claim) -> Result<(), Errno> {
        if self.written.as_ref() == Some(&claim) {
            return Ok(());
        }
        let block = claim.encode();
        match pwritev(&self.file, &block.bytes().map(IoSlice::new), 0)? {
            ClaimBlock::SIZE => {
                self.written = Some(claim);
                Ok(())
            }
            _ => Err(Errno::ENOSPC),
        }
    }

    /// For the next program in this process.
    pub(super) fn to_hand_over(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// A child writes its own claim: what is there is not known until supervise writes again.
    pub(super) fn written_by_child(&mut self) -> BorrowedFd<'_> {
        self.written = None;
        self.file.as_fd()
    }
}
