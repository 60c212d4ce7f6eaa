//! From the status root to the status directories below it.

use std::ffi::{CStr, OsStr, OsString};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::libc;
use nix::sys::stat::{SFlag, fstatat};

use super::in_parts::in_parts;
use super::owner::refusal;
use super::select::{Service, distinct};
use crate::statusdir::Directory;
use crate::sys::each_name;

/// Folders inside folders are looked into so deep: module names have a slash or two.
const DEPTH: usize = 16;

/// What `look` makes of every service below the root, by name: each folder that holds a `status` record or a
/// `svcontrol`. One that has other names too, through links, has the one without a link. `look` is given the folder
/// while it is open for the search, or why it may not be opened: it counts as a service then, for that it is there must
/// be seen.
///
/// # Errors
/// The root cannot be read.
pub(super) fn walk<Made: AsRef<Service> + Send>(
    root: &Path,
    look: impl Fn(Service, Result<&Directory, Errno>) -> Made + Sync,
) -> io::Result<Vec<Made>> {
    let way = Way { depth: DEPTH, linked: false };
    let (_, folders) = folders(&Directory::open(root)?, way)?; // the root itself is no service
    let mut found = in_parts(&folders, |part| {
        let mut walk = Walk { root, name: Vec::new(), look: &look, found: Vec::new() };
        part.iter().for_each(|folder| walk.enter(folder, way));
        walk.found
    });
    // What was reached through a link comes last.
    found.sort_by(|(linked, one), (also, other)| (linked, one.as_ref()).cmp(&(also, other.as_ref())));
    // A folder that is renamed and back while the root is read can be listed twice.
    found.dedup_by(|(_, one), (_, other)| one.as_ref() == other.as_ref());
    let has_links = found.last().is_some_and(|(linked, _)| *linked);
    let found: Vec<Made> = found.into_iter().map(|(_, made)| made).collect();
    if !has_links {
        return Ok(found);
    }
    let mut found = distinct(found);
    found.sort_by(|one, other| one.as_ref().cmp(other.as_ref()));
    Ok(found)
}

/// Why there is no walk, in words.
pub(super) fn no_root(root: &Path, error: &io::Error) -> String {
    let help = if error.kind() == io::ErrorKind::NotFound { "; --root or SUPERVISE_ROOT names another" } else { "" };
    format!("unable to read the status root: {}{help}", refusal(root, crate::sys::errno_of(error)))
}

/// How a folder was reached.
#[derive(Clone, Copy)]
struct Way {
    /// How much deeper it may go.
    depth: usize,
    /// Through a link. Further links are not followed then: two of them can lead to each other.
    linked: bool,
}

/// A folder in a folder, and whether it is a link.
type Folder = (OsString, bool);

/// Whether these are the files of a service, and the folders to look into.
///
/// # Errors
/// What getdents64(2) says, where it tells nothing before.
fn folders(dir: &Directory, way: Way) -> Result<(bool, Vec<Folder>), Errno> {
    let (mut is_service, mut folders) = (false, Vec::new());
    // By the descriptor that is open already: of a thousand services each call counts.
    let listed = each_name(dir.as_fd(), |name, kind| {
        let file = OsStr::from_bytes(name.to_bytes());
        let kind = if kind == libc::DT_UNKNOWN { asked(dir, name) } else { kind };
        let is_link = kind == libc::DT_LNK;
        let is_folder = kind == libc::DT_DIR && file != "." && file != "..";
        if is_folder || (is_link && !way.linked && leads_on(&dir.path().join(file))) {
            folders.push((file.to_owned(), is_link));
        } else if file == "status" || file == "svcontrol" {
            is_service = true;
        }
    });
    if !is_service && folders.is_empty() {
        listed?;
    }
    Ok((is_service, folders))
}

/// What it is, where the list does not say it.
fn asked(dir: &Directory, name: &CStr) -> u8 {
    let stat = fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW);
    match stat.map(|stat| SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT) {
        Ok(SFlag::S_IFDIR) => libc::DT_DIR,
        Ok(SFlag::S_IFLNK) => libc::DT_LNK,
        _ => libc::DT_UNKNOWN,
    }
}

/// One that is under way.
struct Walk<'a, Made, Look> {
    root: &'a Path,
    /// Where it is, below the root.
    name: Vec<u8>,
    look: &'a Look,
    /// What was made of the services so far, and whether they were reached through a link.
    found: Vec<(bool, Made)>,
}

impl<Made, Look: Fn(Service, Result<&Directory, Errno>) -> Made> Walk<'_, Made, Look> {
    /// Looks into a folder of the one where it is.
    fn enter(&mut self, (folder, is_link): &Folder, way: Way) {
        let (length, linked) = (self.name.len(), way.linked || *is_link);
        if length > 0 {
            self.name.push(b'/');
        }
        self.name.extend_from_slice(folder.as_bytes());
        let path = self.root.join(OsStr::from_bytes(&self.name));
        let service = || Service { name: OsString::from_vec(self.name.clone()), dir: path.clone() };
        match Directory::open(&path) {
            Ok(dir) => {
                let way = Way { depth: way.depth - 1, linked };
                let (is_service, mut inside) = folders(&dir, way).unwrap_or_default();
                if is_service {
                    self.found.push((linked, (self.look)(service(), Ok(&dir))));
                }
                drop(dir);
                // Not into the spool of alarms, which has no services.
                inside.retain(|(folder, _)| way.depth > 0 && !(is_service && folder == "alarms"));
                inside.iter().for_each(|folder| self.enter(folder, way));
            }
            Err(errno @ (Errno::EACCES | Errno::EPERM)) => {
                self.found.push((linked, (self.look)(service(), Err(errno))))
            }
            Err(_) => {}
        }
        self.name.truncate(length);
    }
}

/// Whether a link leads to a folder, and not to one that it is in itself.
fn leads_on(link: &Path) -> bool {
    let Ok(target) = std::fs::canonicalize(link) else { return false };
    let here = link.parent().and_then(|folder| std::fs::canonicalize(folder).ok()).unwrap_or_default();
    target.is_dir() && !here.starts_with(&target)
}
