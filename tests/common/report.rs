//! What `./service report FILE` wrote: what the service was given by its parent.

use super::{Sandbox, eventually};

/// The lines of a report, `key value`.
pub(crate) struct Report(Vec<(String, String)>);

impl Report {
    /// The value of a key that is there once, such as `pid`, `sid`, `umask`, `SigIgn`, `cwd`.
    #[track_caller]
    pub(crate) fn value(&self, key: &str) -> &str {
        let values = self.values(key);
        assert_eq!(values.len(), 1, "{key} in the report {:?}", self.0);
        values[0]
    }

    /// The number behind such a key.
    #[track_caller]
    pub(crate) fn number(&self, key: &str) -> i32 {
        self.value(key).parse().unwrap_or_else(|_| panic!("{key} in the report {:?}", self.0))
    }

    /// The signals of a set, such as `SigIgn`, as a bit mask: bit 0 is signal 1.
    #[track_caller]
    pub(crate) fn signals(&self, key: &str) -> u64 {
        u64::from_str_radix(self.value(key), 16).expect("the kernel writes hexadecimal digits")
    }

    /// Every value of a key, in its order: `fd` ("0 /dev/null"), `arg` ("1 ready"), `env` ("HOME=/root"), `limit`.
    pub(crate) fn values(&self, key: &str) -> Vec<&str> {
        self.0.iter().filter(|(k, _)| k == key).map(|(_, value)| value.as_str()).collect()
    }

    /// The words that the service was started with, its own name included.
    pub(crate) fn arguments(&self) -> Vec<&str> {
        self.values("arg").into_iter().map(|arg| arg.split_once(' ').map_or("", |(_, word)| word)).collect()
    }
}

impl Sandbox {
    /// Waits for the report in this file.
    #[track_caller]
    pub(crate) fn until_report(&self, file: &str) -> Report {
        eventually(self, &format!("the service writes its report {file}"), || self.path(file).exists());
        let text = self.read(file);
        let item = |line: &str| line.split_once(' ').map(|(key, value)| (key.to_owned(), value.to_owned()));
        Report(text.lines().filter_map(item).collect())
    }
}
