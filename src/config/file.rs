//! Reads supervise.conf from disk, whatever the path turns out to be.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The largest file that is read, in bytes. Real ones have a few kilobytes; what is larger is a log or an
/// image that was named by mistake, and supervise is to stay small.
pub const SIZE_LIMIT: u64 = 1 << 20;

/// A path as messages name it. An empty one is told as such: it is what `-F "$CONF"` gives where that variable is unset.
#[must_use]
pub fn shown(path: &Path) -> String {
    let bytes = path.as_os_str().as_encoded_bytes();
    if bytes.is_empty() { "'' (-F is empty)".to_owned() } else { crate::text::escape(bytes) }
}

/// The bytes of the configuration file at `path`. A symbolic link is followed.
///
/// # Errors
///
/// What open(2), fstat(2) or read(2) said; or, in words, that the path is no regular file or is larger than
/// [`SIZE_LIMIT`]. The path is not part of the text. Never blocks on a fifo or a device.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    // O_NONBLOCK keeps a fifo without a writer from stopping a start, O_NOCTTY a terminal from becoming
    // ours; what was opened is looked at before it is read. The standard library adds O_CLOEXEC.
    let file =
        OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC).open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a directory, not a regular file"));
    }
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    if metadata.len() > SIZE_LIMIT {
        return Err(too_large());
    }
    let mut text = Vec::with_capacity(usize::try_from(metadata.len()).map_or(0, |size| size + 1));
    // The size may be a lie (/proc) or out of date by now, so the read is bounded by itself.
    file.take(SIZE_LIMIT + 1).read_to_end(&mut text)?;
    if text.len() as u64 > SIZE_LIMIT {
        return Err(too_large());
    }
    Ok(text)
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, "larger than 1 MiB")
}
