//! A status directory as a reader finds it, decoded by docs/operation.md and not by the program's own code.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use super::process::{Pid, marked};

/// The keys of the long record, in their order.
pub(crate) const STATE_KEYS: [&str; 27] = [
    "module",
    "supervise",
    "version",
    "upgraded",
    "upgrade_problem",
    "command",
    "conf",
    "conf_read",
    "conf_problem",
    "pid",
    "state",
    "since",
    "wanted",
    "paused",
    "alarms",
    "adopted",
    "next_start",
    "last_exit",
    "last_exit_at",
    "last_ran",
    "last_exit_expected",
    "starts",
    "exits",
    "window_opened",
    "window_exits",
    "window_coredumps",
    "undelivered",
];

/// The status record, all 20 bytes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// When the pid last changed: Unix seconds and nanoseconds.
    pub(crate) seconds: u64,
    pub(crate) nanoseconds: u32,
    pub(crate) paused: u8,
    /// `u`, `d` or 0.
    pub(crate) wanted: u8,
    /// `o` on, `x` off.
    pub(crate) alarms: u8,
    pub(crate) zero: u8,
    pub(crate) pid: Option<Pid>,
}

/// None where the bytes cannot be a record: the length or the label is wrong.
pub(crate) fn decode_record(bytes: &[u8]) -> Option<Record> {
    let bytes: &[u8; 20] = bytes.try_into().ok()?;
    let label = u64::from_be_bytes(bytes[0..8].try_into().ok()?);
    let pid = Pid::try_from(u32::from_le_bytes(bytes[16..20].try_into().ok()?)).ok()?;
    Some(Record {
        seconds: label.checked_sub((1 << 62) + 10)?,
        nanoseconds: u32::from_be_bytes(bytes[8..12].try_into().ok()?),
        paused: bytes[12],
        wanted: bytes[13],
        alarms: bytes[14],
        zero: bytes[15],
        pid: (pid != 0).then_some(pid),
    })
}

/// One `status/<module>` of a sandbox.
pub(crate) struct StatusDir {
    path: PathBuf,
    mark: String,
}

impl StatusDir {
    pub(crate) fn new(path: PathBuf, mark: &str) -> Self {
        StatusDir { path, mark: mark.to_owned() }
    }

    pub(crate) fn status_path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in the status directory.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The text of a file in the status directory, empty where there is none.
    pub(crate) fn text(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.file(name)).unwrap_or_default()).into_owned()
    }

    /// The permission bits of a file itself, not of what a link points to.
    #[track_caller]
    pub(crate) fn mode(&self, name: &str) -> u32 {
        match fs::symlink_metadata(self.file(name)) {
            Ok(meta) => meta.permissions().mode() & 0o7777,
            Err(error) => panic!("{name}: {error}"),
        }
    }

    /// The status record, which must be there and whole.
    #[track_caller]
    pub(crate) fn record(&self) -> Record {
        let bytes = fs::read(self.file("status")).expect("a status record can be read");
        match decode_record(&bytes) {
            Some(record) => record,
            None => panic!("not a status record: {bytes:02x?}"),
        }
    }

    /// The service's pid by the status record; none where it is down or no record is there yet.
    pub(crate) fn service_pid(&self) -> Option<Pid> {
        decode_record(&fs::read(self.file("status")).ok()?)?.pid
    }

    /// The long record, line by line in its order. Empty lines are skipped: on a full disk the file keeps its size.
    pub(crate) fn state_items(&self) -> Vec<(String, String)> {
        let text = self.text("state");
        let item = |line: &str| line.split_once(" :").map(|(key, value)| (key.to_owned(), value.trim().to_owned()));
        let lines = text.lines().filter(|line| !line.is_empty());
        lines.map(|line| item(line).unwrap_or_else(|| panic!("not `key : value`: {line:?} in {text:?}"))).collect()
    }

    /// The long record by its keys.
    pub(crate) fn state(&self) -> HashMap<String, String> {
        self.state_items().into_iter().collect()
    }

    /// One value of the long record; none where the key is not there. Other lines may be of an older text: on a full disk
    /// it is overwritten in place.
    pub(crate) fn value(&self, key: &str) -> Option<String> {
        let text = self.text("state");
        let value = |line: &str| Some(line.strip_prefix(key)?.strip_prefix(" :")?.trim().to_owned());
        text.lines().find_map(value)
    }

    /// A number in the long record; 0 where it is not there.
    pub(crate) fn count(&self, key: &str) -> u64 {
        self.value(key).and_then(|value| value.parse().ok()).unwrap_or(0)
    }

    pub(crate) fn log(&self) -> String {
        self.text("supervise.log")
    }

    pub(crate) fn warnings(&self) -> String {
        self.text("supervise.log.wf")
    }

    pub(crate) fn stdout(&self) -> String {
        self.text("__stdout")
    }

    pub(crate) fn stderr(&self) -> String {
        self.text("__stderr")
    }

    /// The message files in the spool, by name.
    pub(crate) fn alarms(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.file("alarms")).into_iter().flatten().flatten();
        // One that is still being written has a name that begins with a dot.
        let whole = entries.filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."));
        let mut files: Vec<PathBuf> = whole.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
        files.sort();
        files
    }

    /// Writes command bytes to svcontrol; there must be a supervise that reads them.
    #[track_caller]
    pub(crate) fn write_control(&self, bytes: &[u8]) {
        self.write_fifo("svcontrol", bytes).expect("svcontrol has a reader and room");
    }

    /// Writes to a fifo in the status directory without ever waiting: ENXIO where nobody reads it.
    pub(crate) fn write_fifo(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut fifo = File::options().write(true).custom_flags(libc::O_NONBLOCK).open(self.file(name))?;
        fifo.write_all(bytes)
    }

    /// Whether `ok` is held open for reading: how scripts ask whether a supervise lives.
    pub(crate) fn ok_is_held(&self) -> bool {
        File::options().write(true).custom_flags(libc::O_NONBLOCK).open(self.file("ok")).is_ok()
    }

    /// Whether flock(2) of `lock` can be had; it is given back at once.
    pub(crate) fn lock_is_free(&self) -> bool {
        let mut options = File::options();
        options.read(true).custom_flags(nix::libc::O_NONBLOCK); // it may be a fifo
        let Ok(file) = options.open(self.file("lock")) else { return true };
        Flock::lock(file, FlockArg::LockExclusiveNonblock).is_ok()
    }

    /// The processes of the sandbox that have `lock` open, as fuser(1) finds them.
    pub(crate) fn lock_holders(&self) -> Vec<Pid> {
        marked(&self.mark).into_iter().filter(|pid| self.holds_lock(*pid)).collect()
    }

    /// Whether a process has `lock` open.
    pub(crate) fn holds_lock(&self, pid: Pid) -> bool {
        let Ok(lock) = fs::metadata(self.file("lock")) else { return false };
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        descriptors.flat_map(|entry| fs::metadata(entry.path())).any(|m| (m.dev(), m.ino()) == (lock.dev(), lock.ino()))
    }
}
