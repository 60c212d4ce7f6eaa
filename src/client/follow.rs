//! One file of a status directory, read from near its end and on, whatever becomes of it meanwhile.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::statusdir::Directory;
use crate::sys::errno_of;

/// So much is read at once.
const BLOCK: usize = 64 << 10;
/// What is longer counts as several lines, so that finding the last ones in a file without line ends has an end.
const LONGEST: u64 = 1 << 20;

/// A file that is followed by its name.
#[derive(Debug)]
pub struct Followed {
    dir: PathBuf,
    name: &'static str,
    open: Option<File>,
    /// All before this was read.
    at: u64,
}

impl Followed {
    /// The file of this name in a status directory; it need not be there.
    #[must_use]
    pub fn new(dir: &Path, name: &'static str) -> Self {
        Self { dir: dir.to_owned(), name, open: None, at: 0 }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.dir.join(self.name)
    }

    /// The open descriptor, for inotify(7).
    #[must_use]
    pub fn descriptor(&self) -> Option<RawFd> {
        self.open.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// Opens it so that its last lines are what [`Self::read`] gives first.
    ///
    /// # Errors
    /// What open(2) says, `ENOENT` where there is none yet; `EINVAL`: it is no plain file.
    pub fn open(&mut self, lines: usize) -> Result<(), Errno> {
        let file = self.open_name()?;
        let size = file.metadata().map_or(0, |meta| meta.len());
        self.at = start_of_last(&file, size, lines).map_err(|error| errno_of(&error))?;
        self.open = Some(file);
        Ok(())
    }

    /// A link is followed as supervise does it, and nothing that stands there instead can make us wait.
    fn open_name(&self) -> Result<File, Errno> {
        let name = CString::new(self.name).map_err(|_| Errno::EINVAL)?;
        let file = File::from(Directory::open(&self.dir)?.open_output(&name)?);
        match file.metadata() {
            Ok(meta) if meta.is_file() => Ok(file),
            Ok(_) => Err(Errno::EINVAL),
            Err(error) => Err(errno_of(&error)),
        }
    }

    /// Gives all that was written since, in pieces. A file that became shorter is read from its beginning; where
    /// another file has the name now, the rest of the old one comes first, then all of the new one.
    ///
    /// # Errors
    /// What `sink` says. That a file can't be read is no error: it may be read again later.
    pub fn read(&mut self, sink: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        self.read_open(sink)?;
        let Ok(named) = self.open_name() else { return Ok(()) };
        let id = |file: &File| file.metadata().map(|meta| (meta.dev(), meta.ino())).ok();
        if self.open.as_ref().and_then(id) != id(&named) {
            self.read_open(sink)?; // what came between the look and the change
            self.open = Some(named);
            self.at = 0;
            self.read_open(sink)?;
        }
        Ok(())
    }

    /// Leaves out what is unread but for its last bytes. The answer: whether that was anything.
    pub fn skip_to_last(&mut self, bytes: u64) -> bool {
        let size = self.open.as_ref().and_then(|file| file.metadata().ok()).map_or(0, |meta| meta.len());
        let skips = size.saturating_sub(self.at) > bytes;
        if skips {
            self.at = size - bytes;
        }
        skips
    }

    fn read_open(&mut self, sink: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let Some(file) = self.open.as_ref() else { return Ok(()) };
        if file.metadata().is_ok_and(|meta| meta.len() < self.at) {
            self.at = 0;
        }
        let mut buffer = vec![0; BLOCK];
        loop {
            match file.read_at(&mut buffer, self.at) {
                Ok(0) => return Ok(()),
                Ok(length) => {
                    self.at += length as u64;
                    sink(&buffer[..length])?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Ok(()),
            }
        }
    }
}

/// Where the last lines begin, found from the end: the size of the file does not matter.
fn start_of_last(file: &File, size: u64, lines: usize) -> io::Result<u64> {
    let mut buffer = vec![0; BLOCK];
    let (mut missing, mut begin, mut line_end) = (lines, size, size);
    if missing == 0 {
        return Ok(size);
    }
    while begin > 0 {
        let length = begin.min(BLOCK as u64);
        begin -= length;
        let block = &mut buffer[..usize::try_from(length).unwrap_or(BLOCK)];
        file.read_exact_at(block, begin)?;
        for (place, byte) in block.iter().enumerate().rev() {
            let at = begin + place as u64;
            // The line end at the very end ends the last line; it does not begin one.
            if (*byte == b'\n' && at + 1 < size) || line_end - at > LONGEST {
                missing -= 1;
                line_end = at;
                if missing == 0 {
                    return Ok(at + 1);
                }
            }
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write as _;

    struct Log(tempfile::TempDir);

    impl Log {
        fn new(text: impl AsRef<[u8]>) -> Self {
            let log = Self(tempfile::tempdir().unwrap());
            fs::write(log.path(), text).unwrap();
            log
        }

        fn path(&self) -> PathBuf {
            self.0.path().join("__stdout")
        }

        fn followed(&self, lines: usize) -> Followed {
            let mut followed = Followed::new(self.0.path(), "__stdout");
            followed.open(lines).unwrap();
            followed
        }
    }

    fn read(followed: &mut Followed) -> String {
        let mut all = Vec::new();
        followed
            .read(&mut |bytes| {
                all.extend_from_slice(bytes);
                Ok(())
            })
            .unwrap();
        String::from_utf8_lossy(&all).into_owned()
    }

    #[test]
    fn the_last_lines() {
        let long = format!("{}\nb\n", "x".repeat(BLOCK));
        for (text, lines, expected) in [
            ("a\nb\nc\n", 2, "b\nc\n"),
            ("a\nb\nc", 2, "b\nc"),
            ("a\nb\n", 0, ""),
            ("a\nb\n", 9, "a\nb\n"),
            ("", 3, ""),
            ("\n\n\n", 2, "\n\n"),
            ("no end", 1, "no end"),
            (&long, 1, "b\n"),
            (&long, 2, &long),
        ] {
            assert_eq!(read(&mut Log::new(text).followed(lines)), expected, "{} {lines}", text.len());
        }
    }

    #[test]
    fn a_huge_file_is_read_from_its_end() {
        let log = Log::new("");
        let file = File::options().write(true).open(log.path()).unwrap();
        file.set_len(10 << 30).unwrap();
        file.write_all_at(b"\nlast\n", 10 << 30).unwrap();
        assert_eq!(read(&mut log.followed(1)), "last\n");
        let zeros = read(&mut log.followed(3));
        assert!(zeros.len() <= (2 << 20) + 64 && zeros.ends_with("\nlast\n"), "{}", zeros.len());
    }

    #[test]
    fn truncation_and_renames_lose_nothing() {
        let log = Log::new("old\n");
        let mut followed = log.followed(0);
        let append = |text: &str| {
            File::options().append(true).create(true).open(log.path()).unwrap().write_all(text.as_bytes()).unwrap();
        };
        append("one\n");
        assert_eq!(read(&mut followed), "one\n");
        fs::write(log.path(), "cut\n").unwrap();
        assert_eq!(read(&mut followed), "cut\n");
        let mut held = File::options().append(true).open(log.path()).unwrap();
        fs::rename(log.path(), log.0.path().join("__stdout.1")).unwrap();
        held.write_all(b"still to the old one\n").unwrap();
        assert_eq!(read(&mut followed), "still to the old one\n");
        held.write_all(b"last of it\n").unwrap();
        append("first of the new\n");
        assert_eq!(read(&mut followed), "last of it\nfirst of the new\n");
        fs::remove_file(log.path()).unwrap();
        append("after a removal\n");
        assert_eq!(read(&mut followed), "after a removal\n");
        fs::remove_file(log.path()).unwrap();
        assert_eq!(read(&mut followed), "");
    }

    #[test]
    fn what_is_no_plain_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut followed = Followed::new(dir.path(), "__stdout");
        assert_eq!(followed.open(3), Err(Errno::ENOENT));
        assert_eq!(read(&mut followed), "");
        fs::write(dir.path().join("__stdout"), "late\n").unwrap();
        assert_eq!(read(&mut followed), "late\n", "what comes later is read whole");
        let path = dir.path().join("__stderr");
        std::os::unix::fs::symlink("/dev/null", path).unwrap();
        assert_eq!(Followed::new(dir.path(), "__stderr").open(3), Err(Errno::EINVAL));
    }
}
