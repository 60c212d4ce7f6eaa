//! A program with its arguments, laid out for execve(2) ahead of time, so that a start has nothing to allocate.

use std::ffi::{CStr, CString, OsStr, OsString, c_char};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;

use super::raw::{call, word};

/// The words of a command, and the files that its first word may mean.
#[derive(Debug)]
pub struct Program {
    #[expect(dead_code, reason = "what `argv` points to")]
    words: Vec<CString>,
    /// The words, as execve(2) wants them: pointers, with a null at the end.
    argv: Vec<*const c_char>,
    /// What to try, in this order: the word itself if it has a slash, else it in every folder of PATH.
    candidates: Vec<CString>,
    /// Executed instead of them: an open file, whatever its name leads to by now.
    file: Option<OwnedFd>,
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
        Some(Self { words, argv, candidates, file: None })
    }

    /// Lays out a command for an open file. `None`: there is no first word, or a word holds a NUL.
    #[must_use]
    pub fn of_file(file: OwnedFd, words: &[OsString]) -> Option<Self> {
        Some(Self { candidates: Vec::new(), file: Some(file), ..Self::new(words, None)? })
    }

    /// The same file with other words. `None`: there is none, or no descriptor left for it.
    #[must_use]
    pub fn with_words(&self, words: &[OsString]) -> Option<Self> {
        Self::of_file(self.file.as_ref()?.try_clone().ok()?, words)
    }

    /// One of the files that are tried.
    #[must_use]
    pub fn candidate(&self, number: u16) -> Option<&CStr> {
        self.candidates.get(usize::from(number)).map(CString::as_c_str)
    }

    /// Replaces the calling process by the program; returns only if that failed, with the reason and the number of the
    /// candidate that it is about. A file that may not be executed is passed over for one further on in PATH, as
    /// execvp(3) does, but no shell is ever tried. Async-signal-safe.
    pub(super) fn exec(&self) -> (Errno, u16) {
        if let Some(file) = self.file.as_ref() {
            // SAFETY: the process's own environment ends with a null.
            return (unsafe { self.exec_file(file, environ) }, u16::MAX);
        }
        let mut refused = (Errno::ENOENT, if self.candidates.len() == 1 { 0 } else { u16::MAX });
        for (number, candidate) in (0..).zip(&self.candidates) {
            // SAFETY: the argument vector ends with a null and its strings live as long as `self`; the environment
            // is the process's own.
            match unsafe { execute(candidate, self.argv.as_ptr(), environ) } {
                Errno::ENOENT | Errno::ENOTDIR => {}
                Errno::EACCES => refused = (Errno::EACCES, number),
                other => return (other, number),
            }
        }
        refused
    }

    /// Replaces this process by the program of an open file, with one more variable (`NAME=VALUE`) in its environment.
    /// Returns only if that failed, with the reason.
    pub fn replace_process(&self, variable: &CStr) -> Errno {
        let Some(file) = self.file.as_ref() else { return Errno::EBADF };
        let mut environment = Vec::new();
        // SAFETY: the process's own environment ends with a null, and nothing changes it meanwhile: there is one thread.
        unsafe {
            let mut next = environ;
            while !(*next).is_null() {
                environment.push(*next);
                next = next.add(1);
            }
        }
        environment.extend([variable.as_ptr(), std::ptr::null()]);
        // SAFETY: the environment's strings live on, and it ends with a null.
        unsafe { self.exec_file(file, environment.as_ptr()) }
    }

    /// execveat(2) of the file itself. Async-signal-safe.
    unsafe fn exec_file(&self, file: &OwnedFd, environment: *const *const c_char) -> Errno {
        let (argv, flags) = (self.argv.as_ptr().expose_provenance(), word(libc::AT_EMPTY_PATH));
        // SAFETY: the argument vector ends with a null and its strings live as long as `self`; the caller answers for
        // the environment.
        let executed = unsafe {
            let (file, name) = (word(file.as_raw_fd()), c"".as_ptr().expose_provenance());
            call(libc::SYS_execveat, [file, name, argv, environment.expose_provenance(), flags])
        };
        executed.err().unwrap_or(Errno::ENOEXEC) // there is no way back from one that went well
    }
}

/// execve(2); returns only if that failed. Async-signal-safe.
unsafe fn execute(file: &CStr, argv: *const *const c_char, environment: *const *const c_char) -> Errno {
    // SAFETY: the caller answers for it.
    let executed = unsafe {
        call(
            libc::SYS_execve,
            [file.as_ptr().expose_provenance(), argv.expose_provenance(), environment.expose_provenance()],
        )
    };
    executed.err().unwrap_or(Errno::ENOEXEC) // there is no way back from one that went well
}

unsafe extern "C" {
    static environ: *const *const c_char;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(word: &str, path: Option<&str>) -> Vec<String> {
        let program = Program::new(&[word.into()], path.map(OsStr::new)).unwrap();
        (0..).map_while(|number| program.candidate(number)).map(|file| file.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn where_a_program_is_looked_for() {
        assert_eq!(candidates("run", Some("/a:/b/")), ["/a/run", "/b//run"]);
        assert_eq!(candidates("run", Some("/a::b")), ["/a/run", "./run", "b/run"]);
        assert_eq!(candidates("run", Some("")), ["./run"]);
        assert_eq!(candidates("run", None), ["/bin/run", "/usr/bin/run"]);
        assert_eq!(candidates("./run", Some("/a")), ["./run"]);
        assert_eq!(candidates("", Some("/a")), [""], "an empty word names no file");
    }

    #[test]
    fn what_no_program_can_be_given() {
        assert!(Program::new(&[], None).is_none());
        assert!(Program::new(&["a".into(), "b\0c".into()], None).is_none());
    }
}
