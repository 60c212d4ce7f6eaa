//! The names in a folder: reading them without the 32 KiB of memory that the C library takes for it, and two that change
//! places, for which not every C library has a function.

use std::ffi::CStr;
use std::mem::offset_of;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::NixPath;
use nix::errno::Errno;

/// Room for what one call returns, in bytes: a name has at most 255 of them.
const ROOM: usize = 1024;

/// The kernel's records have numbers of eight bytes in them.
#[repr(C, align(8))]
struct Records([u8; ROOM]);

/// Tells every name in an open folder, and what it is: `DT_REG`, `DT_DIR`, …, `DT_UNKNOWN` where the file system does not
/// say it (readdir(3)).
///
/// # Errors
/// What getdents64(2) says.
pub fn each_name(folder: BorrowedFd<'_>, mut found: impl FnMut(&CStr, u8)) -> Result<(), Errno> {
    let mut records = Records([0; ROOM]);
    loop {
        // SAFETY: the kernel writes no more than there is room for.
        let length = unsafe {
            Errno::result(libc::syscall(libc::SYS_getdents64, folder.as_raw_fd(), records.0.as_mut_ptr(), ROOM))?
        };
        let mut rest = records.0.get(..usize::try_from(length).unwrap_or(0)).unwrap_or_default();
        if rest.is_empty() {
            return Ok(());
        }
        while let Some(record) = record_in(rest) {
            let kind = record[offset_of!(libc::dirent64, d_type)];
            if let Ok(name) = CStr::from_bytes_until_nul(&record[offset_of!(libc::dirent64, d_name)..]) {
                found(name, kind);
            }
            rest = &rest[record.len()..];
        }
    }
}

/// Two names in an open folder change places (renameat2(2), RENAME_EXCHANGE).
///
/// # Errors
/// `ENOENT`: one of them is not there; `EINVAL`, `ENOSYS`: the file system or the kernel can't do it.
pub fn exchange_names(folder: BorrowedFd<'_>, one: &str, other: &str) -> Result<(), Errno> {
    let exchanged = |one: &CStr, other: &CStr| {
        let (folder, flags) = (folder.as_raw_fd(), libc::RENAME_EXCHANGE);
        // SAFETY: the folder is open, and the names are C strings.
        let result = unsafe { libc::syscall(libc::SYS_renameat2, folder, one.as_ptr(), folder, other.as_ptr(), flags) };
        Errno::result(result).map(drop)
    };
    one.with_nix_path(|one| other.with_nix_path(|other| exchanged(one, other)))??
}

/// The first record (getdents64(2)): its length is at a fixed place in it.
fn record_in(bytes: &[u8]) -> Option<&[u8]> {
    const AT: usize = offset_of!(libc::dirent64, d_reclen);
    let length = u16::from_ne_bytes([*bytes.get(AT)?, *bytes.get(AT + 1)?]);
    bytes.get(..usize::from(length)).filter(|record| record.len() > offset_of!(libc::dirent64, d_name))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs::{self, File};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn every_name_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let names: BTreeSet<String> = (1..=200).map(|length| format!("{length}{}", "x".repeat(length))).collect();
        for name in &names {
            fs::write(folder.path().join(name), "").unwrap();
        }
        fs::create_dir(folder.path().join("folder")).unwrap();
        let mut found = Vec::new();
        let mut others = Vec::new();
        each_name(File::open(folder.path()).unwrap().as_fd(), |name, kind| {
            if kind == libc::DT_REG { &mut found } else { &mut others }.push(name.to_str().unwrap().to_owned());
        })
        .unwrap();
        others.sort();
        assert_eq!(others, [".", "..", "folder"]);
        assert_eq!(found.len(), names.len());
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), names);
        assert_eq!(each_name(File::open("/dev/null").unwrap().as_fd(), |_, _| ()), Err(Errno::ENOTDIR));
    }
}
