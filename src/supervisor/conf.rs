//! Reading supervise.conf, at the start and on command.

use std::path::Path;

use super::options::ConfSource;
use crate::config::{self, Settings, Severity};
use crate::policy::Stamp;
use crate::sys::why_io;

const USUAL: &str = "supervise.conf";
/// What to say where it was there, and is not any more.
pub(super) const GONE: &str = "supervise.conf is gone";

/// What was last read, for the long record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfFile {
    /// Its path.
    pub path: Option<Vec<u8>>,
    /// When.
    pub read: Option<Stamp>,
    /// What is wrong with it.
    pub problem: Option<String>,
}

/// What reading it gave.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What holds: the defaults where nothing could be read.
    pub settings: Settings,
    /// The path that was read or tried; `None`: there is none to read.
    pub path: Option<Vec<u8>>,
    /// It was opened and read.
    pub read: bool,
    /// Everything that is wrong, a line each, `FILE:LINE: KEY: what`.
    pub problems: Vec<String>,
    /// One of them refuses a start.
    pub refused: bool,
    /// Which of them counts most: the first that refuses a start, else the first.
    pub worst: usize,
}

impl Loaded {
    /// What is wrong with it, in a line: what refuses a start, else the first.
    #[must_use]
    pub fn problem(&self) -> Option<&String> {
        self.problems.get(self.worst)
    }
}

/// Reads the conf for a module.
#[must_use]
pub fn load(source: &ConfSource, module: &[u8]) -> Loaded {
    let mut loaded = Loaded {
        settings: Settings::default(),
        path: None,
        read: false,
        problems: Vec::new(),
        refused: false,
        worst: 0,
    };
    let (path, must_be_there) = match source {
        ConfSource::Named(path) => (path.as_path(), true),
        ConfSource::Usual => (Path::new(USUAL), false),
        ConfSource::NotRead => return loaded,
    };
    let name = config::shown(path);
    let bytes = match config::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_be_there => return loaded,
        Err(error) => {
            loaded.path = Some(path.as_os_str().as_encoded_bytes().to_vec());
            loaded.problems.push(format!("unable to read {name}: {}", why_io(&error)));
            return loaded;
        }
    };
    let resolved = config::parse(&bytes).resolve(module);
    loaded.path = Some(path.as_os_str().as_encoded_bytes().to_vec());
    loaded.read = true;
    let refusing = resolved.problems.iter().position(|problem| problem.severity == Severity::Refused);
    loaded.refused = refusing.is_some();
    loaded.worst = refusing.unwrap_or(0);
    loaded.problems = resolved.problems.iter().map(|problem| format!("{name}:{problem}")).collect();
    loaded.settings = resolved.settings;
    loaded
}
