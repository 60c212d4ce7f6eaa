//! From the names on a command line to status directories.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern};
use nix::errno::Errno;

use super::owner::{refusal, shown as shown_path};
use super::target::Refusal;
use super::walk::{no_root, walk};
use crate::sys::errno_of;
use crate::text::escape;

/// One service: what it is called, and where its status directory is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Service {
    /// Its name below the status root; of one that was named by its path, that path.
    pub name: OsString,
    /// Its status directory.
    pub dir: PathBuf,
}

impl Service {
    /// The name as it may be shown anywhere.
    #[must_use]
    pub fn shown(&self) -> String {
        escape(self.name.as_bytes())
    }
}

impl AsRef<Self> for Service {
    fn as_ref(&self) -> &Self {
        self
    }
}

/// The status root: what `--root` says, else `SUPERVISE_ROOT`, else `./status`.
#[must_use]
pub fn root(option: Option<PathBuf>) -> PathBuf {
    let variable = || std::env::var_os("SUPERVISE_ROOT").filter(|value| !value.is_empty()).map(PathBuf::from);
    option.or_else(variable).unwrap_or_else(|| PathBuf::from("./status"))
}

/// The services that were named, in the order of the names and none twice; without names all below `root`. A name is
/// that of a module (`root`/NAME), else the path of a status directory, else a pattern for either.
///
/// # Errors
/// One for each name that names nothing, or that we may not look for; what the others name is not lost: it comes with
/// them.
pub fn select(root: &Path, names: &[OsString]) -> (Vec<Service>, Vec<Refusal>) {
    if names.is_empty() {
        return match find_all(root) {
            Ok(services) => (services, Vec::new()),
            Err(error) => (Vec::new(), vec![Refusal::System(error)]),
        };
    }
    let (mut services, mut errors) = (Vec::new(), Vec::new());
    for name in names {
        match named(root, name) {
            Ok(found) => services.extend(found),
            Err(error) => errors.push(error),
        }
    }
    (distinct(services), errors)
}

/// Each status directory once, by its first name: `app`, `status/app/` and a link to it are one.
#[must_use]
pub fn distinct<Named: AsRef<Service>>(services: Vec<Named>) -> Vec<Named> {
    if services.len() < 2 {
        return services;
    }
    let mut seen = HashSet::new();
    services.into_iter().filter(|service| seen.insert(identity(service.as_ref()))).collect()
}

/// What tells one folder from another; the path of one that we can't look at.
fn identity(service: &Service) -> Result<(u64, u64), PathBuf> {
    fs::metadata(&service.dir).map(|meta| (meta.dev(), meta.ino())).map_err(|_| service.dir.clone())
}

fn named(root: &Path, name: &OsStr) -> Result<Vec<Service>, Refusal> {
    let trimmed = name.as_bytes().trim_ascii_end();
    let end = trimmed.iter().rposition(|&byte| byte != b'/').map_or(trimmed.len().min(1), |last| last + 1);
    let plain = OsStr::from_bytes(&trimmed[..end]);
    let shown = escape(name.as_bytes());
    if plain.is_empty() {
        return Err(Refusal::NoSupervise("an empty name names no service".to_owned()));
    }
    let unknown = |why: &str| Refusal::NoSupervise(format!("{shown}: no such service{why}"));
    let closed =
        |path: &Path| Refusal::System(format!("{shown}: unable to look for it: {}", refusal(path, Errno::EACCES)));
    // An absolute path is the same with and without the root.
    for dir in [root.join(plain), PathBuf::from(plain)] {
        match fs::metadata(&dir) {
            Ok(meta) if meta.is_dir() => return Ok(vec![Service { name: plain.to_owned(), dir }]),
            // What comes first is not passed over because nobody knows if it is there.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return Err(closed(&dir)),
            _ => {}
        }
    }
    let Some(pattern) = plain.to_str().filter(|text| text.contains(['*', '?', '['])) else {
        let below = root.join(plain);
        return Err(unknown(&match fs::metadata(&below) {
            Ok(_) => format!(": it is no folder: {}", shown_path(&below)),
            Err(error) => format!(": {}", refusal(&below, errno_of(&error))),
        }));
    };
    let (found, out_of_sight) = matching(root, pattern).map_err(|why| unknown(&format!(": {why}")))?;
    match out_of_sight {
        _ if !found.is_empty() => Ok(found),
        Some(folder) => Err(closed(&folder)),
        None => Err(unknown("")),
    }
}

/// The services below the root whose names match, else the status directories whose paths do; and a folder that could
/// not be read for it.
///
/// # Errors
/// What is wrong with the pattern.
fn matching(root: &Path, text: &str) -> Result<(Vec<Service>, Option<PathBuf>), String> {
    let pattern = Pattern::new(text).map_err(|error| error.to_string())?;
    // As in a shell, except that a star may stand for a slash in a name: `web*` is web/a too.
    let options = MatchOptions { require_literal_separator: false, ..MatchOptions::new() };
    let (mut found, mut closed) = match walk(root, |service, _| service) {
        Ok(found) => (found, None),
        Err(error) => (Vec::new(), (error.kind() == ErrorKind::PermissionDenied).then(|| root.to_owned())),
    };
    found.retain(|service| service.name.to_str().is_some_and(|name| pattern.matches_with(name, options)));
    if found.is_empty() {
        for path in glob::glob(text).into_iter().flatten() {
            match path {
                Ok(dir) if is_status_dir(&dir) => found.push(Service { name: dir.clone().into_os_string(), dir }),
                Err(error) if error.error().kind() == ErrorKind::PermissionDenied => {
                    closed.get_or_insert_with(|| error.path().to_owned());
                }
                _ => {}
            }
        }
    }
    Ok((found, closed))
}

/// Every service below the root, by name: each folder that holds a `status` record or a `svcontrol`.
///
/// # Errors
/// In words.
pub fn find_all(root: &Path) -> Result<Vec<Service>, String> {
    walk(root, |service, _| service).map_err(|error| no_root(root, &error))
}

/// Whether a folder holds a `status` record or a `svcontrol`, or may not be looked into.
fn is_status_dir(path: &Path) -> bool {
    ["status", "svcontrol"].iter().any(|name| match fs::symlink_metadata(path.join(name)) {
        Ok(meta) => !meta.is_dir(),
        Err(error) => error.kind() == ErrorKind::PermissionDenied,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A status root with these files in it.
    fn root_with(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        root
    }

    fn names(found: &[Service]) -> Vec<String> {
        found.iter().map(Service::shown).collect()
    }

    fn selected(root: &Path, wanted: &[&str]) -> (Vec<String>, usize) {
        let wanted: Vec<OsString> = wanted.iter().map(OsString::from).collect();
        let (found, errors) = select(root, &wanted);
        (names(&found), errors.len())
    }

    #[test]
    fn every_folder_with_a_record_or_a_fifo_is_a_service() {
        let root = root_with(&[
            "web/status",
            "web/alarms/status",
            "web/a/svcontrol",
            "db/svcontrol",
            "status/status",
            "empty/other",
            "folder/status/x",
            "deep/er/still/status",
            "README.md",
            "svcontrol",
        ]);
        std::os::unix::fs::symlink("..", root.path().join("web/loop")).unwrap();
        std::os::unix::fs::symlink("../db", root.path().join("empty/link")).unwrap();
        let outside = root_with(&["mail/status"]);
        for link in ["mail", "post"] {
            std::os::unix::fs::symlink(outside.path().join("mail"), root.path().join(link)).unwrap();
        }
        std::os::unix::fs::symlink("../empty", root.path().join("db/back")).unwrap();
        let found = find_all(root.path()).unwrap();
        assert_eq!(names(&found), ["db", "deep/er/still", "mail", "status", "web", "web/a"]);
        assert_eq!(found[0].dir, root.path().join("db"));
        assert!(find_all(&root.path().join("none")).unwrap_err().contains("No such file"));
    }

    #[test]
    fn a_name_is_a_module_a_path_or_a_pattern() {
        let root = root_with(&["web/status", "web/a/status", "db1/status", "db2/status"]);
        let root = root.path();
        let path = root.join("db1").into_os_string().into_string().unwrap();
        for (wanted, expected, errors) in [
            (&["web"][..], &["web"][..], 0),
            (&["db2", "db1", "db2/"], &["db2", "db1"], 0),
            (&[path.as_str()], &[path.as_str()], 0),
            (&["./db1", "db1/", path.as_str()], &["./db1"], 0),
            (&["db*"], &["db1", "db2"], 0),
            (&["web*"], &["web", "web/a"], 0),
            (&["no", "web"], &["web"], 1),
            (&["no*"], &[], 1),
            (&["["], &[], 1),
            (&[""], &[], 1),
            (&[], &["db1", "db2", "web", "web/a"], 0),
        ] {
            let expected: Vec<String> = expected.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(selected(root, wanted), (expected, errors), "{wanted:?}");
        }
        let by_path = format!("{}/d*1", root.display());
        assert_eq!(selected(root, &[&by_path]).0, [path]);
    }
}
