//! A program with its arguments, laid out for execve(2) ahead of time, so that a start has nothing to allocate.

use std::ffi::{CString, OsStr, OsString, c_char};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use nix::errno::Errno;

/// The words of a command, and the files that its first word may mean.
#[derive(Debug)]
pub struct Program {
    words: Vec<CString>,
    /// The words again, as execve(2) wants them: pointers, with a null at the end.
    argv: Vec<*const c_char>,
    /// What to try, in this order: the word itself if it has a slash, else it in every folder of PATH.
    candidates: Vec<CString>,
}

impl Program {
    /// Lays out a command. `None`: there is no first word, or a word holds a NUL, which no program can be given.
    /// `path` is the PATH to search, `None` where the environment has none.
    #[must_use]
    pub fn new(words: &[OsString], path: Option<&OsStr>) -> Option<Self> {
        let words: Vec<CString> =
            words.iter().map(|word| CString::new(word.as_bytes())).collect::<Result<_, _>>().ok()?;
        let first = words.first()?.as_bytes();
        let candidates = if first.contains(&b'/') || first.is_empty() {
            vec![words[0].clone()]
        } else {
            let folders = path.map_or(b"/bin:/usr/bin".as_slice(), OsStr::as_bytes);
            folders
                .split(|&byte| byte == b':')
                .filter_map(|folder| {
                    // An empty part of PATH is the current folder (environ(7)).
                    let folder = if folder.is_empty() { b".".as_slice() } else { folder };
                    CString::new([folder, first].join(&b'/')).ok()
                })
                .collect()
        };
        let argv = words.iter().map(|word| word.as_ptr()).chain([std::ptr::null()]).collect();
        Some(Self { words, argv, candidates })
    }

    /// The words.
    #[must_use]
    pub fn words(&self) -> Vec<OsString> {
        self.words.iter().map(|word| OsString::from_vec(word.as_bytes().to_vec())).collect()
    }

    /// Replaces the calling process by the program; returns only if that failed. A file that may not be executed is
    /// passed over for one further on in PATH, as execvp(3) does, but no shell is ever tried. Async-signal-safe.
    pub(super) fn exec(&self) -> Errno {
        let mut refused = Errno::ENOENT;
        for candidate in &self.candidates {
            // SAFETY: the argument vector ends with a null and its strings live as long as `self`; the environment
            // is the process's own.
            unsafe { libc::execve(candidate.as_ptr(), self.argv.as_ptr(), environ.cast()) };
            match Errno::last() {
                Errno::ENOENT | Errno::ENOTDIR => {}
                Errno::EACCES => refused = Errno::EACCES,
                other => return other,
            }
        }
        refused
    }
}

unsafe extern "C" {
    static environ: *const *const c_char;
}
