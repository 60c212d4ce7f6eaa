//! From what the operator calls a status directory to the name of its module.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// A status directory as the operator named it, and its module name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    path: PathBuf,
    name: Vec<u8>,
}

/// Why a path names no status directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// There is no `status/` with something after it.
    NoModule,
    /// The module name holds a control byte.
    ControlByte,
    /// `.` or `..` is a part of the module name.
    Dots,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoModule => "a status directory is written .../status/NAME",
            Self::ControlByte => "a module name holds no control bytes",
            Self::Dots => "`.` and `..` are no parts of a module name",
        })
    }
}

impl Module {
    /// Takes a STATUS_DIR apart: the module name is what follows the first `status/`, wherever that stands
    /// (docs/operation.md, "Names"). Slashes and blanks at the end do not count.
    ///
    /// # Errors
    /// [`NameError`] says what is wrong with it.
    pub fn from_status_dir(path: &OsStr) -> Result<Self, NameError> {
        const MARK: &[u8] = b"status/";
        let bytes = path.as_bytes();
        let end = bytes.iter().rposition(|byte| !matches!(byte, b'/' | b' ' | b'\t')).map_or(0, |last| last + 1);
        let bytes = &bytes[..end];
        let start = bytes.windows(MARK.len()).position(|window| window == MARK).ok_or(NameError::NoModule)?;
        let name = &bytes[start + MARK.len()..];
        let name = &name[name.iter().take_while(|&&byte| byte == b'/').count()..];
        if name.is_empty() {
            return Err(NameError::NoModule);
        }
        if name.iter().any(u8::is_ascii_control) {
            return Err(NameError::ControlByte);
        }
        if name.split(|&byte| byte == b'/').any(|part| part == b"." || part == b"..") {
            return Err(NameError::Dots);
        }
        Ok(Self { path: PathBuf::from(OsString::from_vec(bytes.to_vec())), name: name.to_vec() })
    }

    /// The path of the status directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The module name, as it stands in supervise.conf.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }
}

impl fmt::Display for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::text::escape(&self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(path: &str) -> Result<String, NameError> {
        Module::from_status_dir(OsStr::new(path)).map(|module| String::from_utf8_lossy(module.name()).into_owned())
    }

    #[test]
    fn the_name_follows_the_first_status() {
        for (path, expected) in [
            ("status/app", "app"),
            ("./status/app", "app"),
            ("/srv/status/app/", "app"),
            ("status/app/ / ", "app"),
            ("mystatus/app", "app"),
            ("status/a/b", "a/b"),
            ("status/x/status/app", "x/status/app"),
            ("status//app", "app"),
            ("../status/app", "app"),
            ("status/my app", "my app"),
            ("status/应用", "应用"),
            ("status/...", "..."),
            ("status/-x'\"", "-x'\""),
        ] {
            assert_eq!(name(path).as_deref(), Ok(expected), "{path}");
        }
    }

    #[test]
    fn what_names_no_module_is_refused() {
        for (path, error) in [
            ("", NameError::NoModule),
            ("app", NameError::NoModule),
            ("status", NameError::NoModule),
            ("status/", NameError::NoModule),
            ("status// /", NameError::NoModule),
            ("Status/app", NameError::NoModule),
            ("status/a\nb", NameError::ControlByte),
            ("status/a\x7f", NameError::ControlByte),
            ("status/..", NameError::Dots),
            ("status/a/../b", NameError::Dots),
            ("status/./a", NameError::Dots),
        ] {
            assert_eq!(name(path), Err(error), "{path:?}");
        }
    }
}
