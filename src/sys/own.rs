//! What this process knows of itself: the file that it was started from, its name, its variables.

use std::ffi::{CStr, CString, OsStr, OsString, c_char};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const EXE: &str = "/proc/self/exe";

/// The path that this process was started from, absolute, with the links in it as they are: what is there later may be
/// another file. `None`: it can't be told.
#[must_use]
pub fn started_from() -> Option<PathBuf> {
    // SAFETY: the kernel's string at this address, if there is one, lives as long as the process (getauxval(3)).
    let named = unsafe {
        let name = libc::getauxval(libc::AT_EXECFN) as *const c_char;
        if name.is_null() { None } else { Some(OsStr::from_bytes(CStr::from_ptr(name).to_bytes())) }
    };
    // A file that was executed by its descriptor has a name that means nothing any more.
    let named = named.filter(|name| !name.as_bytes().starts_with(b"/dev/fd/"));
    let named = named.and_then(|name| std::path::absolute(name).ok()).filter(|path| is_own_file(path));
    named.or_else(|| fs::read_link(EXE).ok().filter(|path| is_own_file(path)))
}

fn is_own_file(path: &Path) -> bool {
    match (fs::metadata(path), fs::metadata(EXE)) {
        (Ok(there), Ok(own)) => (there.dev(), there.ino()) == (own.dev(), own.ino()),
        _ => false,
    }
}

/// Gives this process the name of a file, as execve(2) does: one that was executed by its descriptor has a number for
/// a name (before Linux 6.14).
pub fn set_name_after(path: &Path) {
    if let Some(name) = path.file_name().and_then(|name| CString::new(name.as_bytes()).ok()) {
        // SAFETY: takes a C string, of which the kernel reads 15 bytes at most.
        unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
    }
}

/// Takes a variable out of the environment: what this process starts will not see it. Only while there is one thread.
#[must_use]
pub fn take_variable(name: &CStr) -> Option<OsString> {
    // SAFETY: one thread, so nobody changes the environment meanwhile; the value is copied before it is removed.
    unsafe {
        let value = libc::getenv(name.as_ptr());
        if value.is_null() {
            return None;
        }
        let value = OsString::from_vec(CStr::from_ptr(value).to_bytes().to_vec());
        libc::unsetenv(name.as_ptr());
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_knows_its_own_file() {
        let path = started_from().unwrap();
        assert!(path.is_absolute() && is_own_file(&path), "{path:?}");
    }
}
