//! What the programs that daemontools has too have in common: how DIR is found, and the words of an error.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::client::{Service, root};
use crate::sys::why;

/// The status directory that DIR names: the folder of that path, as with daemontools, else the module of that name.
pub(super) fn service(dir: &OsStr) -> Service {
    let module = || Some(root(None).join(dir)).filter(|below| !dir.is_empty() && below.is_dir());
    let path = if Path::new(dir).is_dir() { None } else { module() };
    Service { name: dir.to_owned(), dir: path.unwrap_or_else(|| PathBuf::from(dir)) }
}

/// Why a system call failed, in the words of daemontools, which scripts look for.
pub(super) fn reason(errno: Errno) -> String {
    match errno {
        Errno::ENOENT => "file does not exist".to_owned(),
        Errno::EACCES => "access denied".to_owned(),
        Errno::EPERM => "permission denied".to_owned(),
        Errno::ENOTDIR => "not a directory".to_owned(),
        Errno::ELOOP => "symbolic link loop".to_owned(),
        Errno::EIO => "input/output error".to_owned(),
        Errno::ENAMETOOLONG => "file name too long".to_owned(),
        errno => why(errno),
    }
}
