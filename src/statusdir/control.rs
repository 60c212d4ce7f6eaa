//! The fifos: `svcontrol` with its other name `control`, and `ok`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, linkat, mkfifoat, unlinkat};

use super::Directory;
use super::lock::leads_to;

const NAMES: [&str; 2] = ["svcontrol", "control"];
/// One page: a writer can be this far ahead of us, and no further.
const FIFO_SIZE: i32 = 4096;
/// So many of them are read with one call; more than most commands ever are.
const AT_ONCE: usize = 256;

/// The open control fifo, or two where the names were given to different ones.
#[derive(Debug)]
pub struct Control {
    fifos: Vec<Fifo>,
}

#[derive(Debug)]
struct Fifo {
    fd: OwnedFd,
    device: u64,
    inode: u64,
}

impl Control {
    /// Opens the control fifo under both of its names, and makes what is missing. What stands there and is no fifo is
    /// replaced; `warn` is told its name.
    ///
    /// # Errors
    /// The name, and what the system call that failed says.
    pub fn open(dir: &Directory, mut warn: impl FnMut(&str)) -> Result<Self, (&'static str, Errno)> {
        let mut there = [false; NAMES.len()];
        for (name, is_there) in NAMES.into_iter().zip(&mut there) {
            let stat = stat(dir, name);
            *is_there = stat.is_some_and(|stat| is_fifo(&stat));
            if stat.is_some() && !*is_there {
                unlinkat(dir, name, UnlinkatFlags::NoRemoveDir).map_err(|errno| (name, errno))?;
                warn(name);
            }
        }
        let (first, other) = if !there[0] && there[1] { (NAMES[1], NAMES[0]) } else { (NAMES[0], NAMES[1]) };
        if there == [false, false] {
            make(dir, first).map_err(|errno| (first, errno))?;
        }
        if there != [true, true] {
            match linkat(dir, first, dir, other, AtFlags::empty()) {
                // Where no hard link can be made (another's fifo, protected_hardlinks), a second one serves as well.
                Err(Errno::EPERM | Errno::EMLINK | Errno::EOPNOTSUPP) => make(dir, other),
                result => result,
            }
            .map_err(|errno| (other, errno))?;
        }
        let mut fifos: Vec<Fifo> = Vec::with_capacity(1);
        for name in NAMES {
            let is_known = |stat| fifos.iter().any(|known| known.is(&stat));
            if !stat(dir, name).is_some_and(is_known) {
                fifos.push(Fifo::open(dir, name).map_err(|errno| (name, errno))?);
            }
        }
        Ok(Self { fifos })
    }

    /// Opens what is there, and neither makes nor changes anything.
    ///
    /// # Errors
    /// `ENOENT`: there is no fifo; else what open(2) says.
    pub fn open_existing(dir: &Directory) -> Result<Vec<OwnedFd>, Errno> {
        let flags = OFlag::O_RDWR | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let names = NAMES.into_iter().filter(|name| stat(dir, name).is_some_and(|stat| is_fifo(&stat)));
        let fifos = names.map(|name| openat(dir, name, flags, Mode::empty())).collect::<Result<Vec<_>, _>>()?;
        if fifos.is_empty() { Err(Errno::ENOENT) } else { Ok(fifos) }
    }

    /// Those that a predecessor in this process had open.
    ///
    /// # Errors
    /// `EEXIST`: one of them is no fifo.
    pub fn inherited(fds: Vec<OwnedFd>) -> Result<Self, Errno> {
        Ok(Self { fifos: fds.into_iter().map(Fifo::new).collect::<Result<_, _>>()? })
    }

    /// The names that do not lead to a fifo that is open any more.
    #[must_use]
    pub fn out_of_place(&self, dir: &Directory) -> Vec<&'static str> {
        let leads_here = |stat| self.fifos.iter().any(|fifo| fifo.is(&stat));
        NAMES.into_iter().filter(|name| !stat(dir, name).is_some_and(leads_here)).collect()
    }

    /// The descriptors to wait for.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.fifos.iter().map(|fifo| fifo.fd.as_fd())
    }

    /// Reads what each fifo holds, at most a page of each, never waiting, and appends it.
    pub fn read(&self, into: &mut Vec<u8>) {
        // A page at once would be a page of stack more, for a byte or two.
        let mut buffer = [0; AT_ONCE];
        for fifo in &self.fifos {
            for _ in 0..FIFO_SIZE as usize / AT_ONCE {
                let length = nix::unistd::read(&fifo.fd, &mut buffer).unwrap_or(0);
                into.extend_from_slice(&buffer[..length]);
                if length < AT_ONCE {
                    break;
                }
            }
        }
    }
}

impl Fifo {
    fn open(dir: &Directory, name: &str) -> Result<Self, Errno> {
        // Open for writing too: otherwise the end of each writer would look like the end of the fifo (fifo(7)).
        let flags = OFlag::O_RDWR | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fifo = Self::new(openat(dir, name, flags, Mode::empty())?)?;
        let _ = crate::sys::set_pipe_size(fifo.fd.as_fd(), FIFO_SIZE); // EBUSY: more than that waits already
        Ok(fifo)
    }

    fn new(fd: OwnedFd) -> Result<Self, Errno> {
        let stat = fstat(&fd)?;
        if !is_fifo(&stat) {
            return Err(Errno::EEXIST);
        }
        Ok(Self { fd, device: stat.st_dev, inode: stat.st_ino })
    }

    fn is(&self, stat: &FileStat) -> bool {
        (self.device, self.inode) == (stat.st_dev, stat.st_ino)
    }
}

/// The fifo that tells clients that a supervise lives: only then can it be opened for writing without waiting.
#[derive(Debug)]
pub struct OkFifo {
    fd: OwnedFd,
}

impl OkFifo {
    const NAME: &str = "ok";

    /// Makes it, in the place of whatever stands there, and holds it open for reading.
    ///
    /// # Errors
    /// What the system call that failed says.
    pub fn open(dir: &Directory) -> Result<Self, Errno> {
        if stat(dir, Self::NAME).is_some() {
            unlinkat(dir, Self::NAME, UnlinkatFlags::NoRemoveDir)?;
        }
        make(dir, Self::NAME)?;
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(Self { fd: openat(dir, Self::NAME, flags, Mode::empty())? })
    }

    /// The one that a predecessor in this process had open.
    #[must_use]
    pub fn inherited(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// Whether the name still leads to this fifo.
    #[must_use]
    pub fn is_in_place(&self, dir: &Directory) -> bool {
        leads_to(dir, Self::NAME, &self.fd)
    }

    /// Removes it: supervise ends by itself. Where it can't be removed it is held no more, which says the same.
    pub fn remove(&mut self, dir: &Directory) {
        let removed = unlinkat(dir, Self::NAME, UnlinkatFlags::NoRemoveDir);
        if let (Err(_), Ok(other)) = (removed, dir.as_fd().try_clone_to_owned()) {
            self.fd = other;
        }
    }
}

impl AsFd for OkFifo {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn stat(dir: &Directory, name: &str) -> Option<FileStat> {
    fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW).ok()
}

fn is_fifo(stat: &FileStat) -> bool {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFIFO
}

fn make(dir: &Directory, name: &str) -> Result<(), Errno> {
    let mode = Mode::from_bits_truncate(0o600);
    mkfifoat(dir, name, mode)?;
    if stat(dir, name).is_some_and(|stat| stat.st_mode & 0o7777 == mode.bits()) {
        return Ok(()); // the umask has taken nothing away
    }
    // Opened for both sides, since a fifo opened for one would wait.
    let flags = OFlag::O_RDWR | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    match openat(dir, name, flags, Mode::empty()) {
        Ok(fifo) => fchmod(&fifo, mode),
        // With a umask that forbids even the owner.
        Err(Errno::EACCES) => nix::sys::stat::fchmodat(dir, name, mode, nix::sys::stat::FchmodatFlags::NoFollowSymlink),
        Err(errno) => Err(errno),
    }
}
