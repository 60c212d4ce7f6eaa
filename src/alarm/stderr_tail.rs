//! The last lines of `__stderr` as they stood at an exit, made harmless.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};

use crate::statusdir::{Directory, StderrMark};
use crate::text::escape;

/// So many lines are shown.
pub(super) const LINES: usize = 20;
/// Looked at: enough for that many long lines, however large the file is.
const WINDOW: u64 = 64 * 1024;
/// A line longer than this is cut; a reader of mail has no use for more.
pub(super) const LINE_BYTES: usize = 1000;

/// How far `__stderr` reached, and the end of what it held.
pub type LastWords = (StderrMark, Vec<u8>);

/// Notes how far `__stderr` reaches now, and reads the end of it: whatever is started next may empty or move it. `None`:
/// there is no such file.
#[must_use]
pub fn last_words(dir: &Directory) -> Option<LastWords> {
    let file = File::from(dir.open_output(c"__stderr").ok()?);
    let stat = file.metadata().ok()?;
    let mark = StderrMark { device: stat.dev(), inode: stat.ino(), length: stat.len() };
    stat.is_file().then(|| (mark, before(&file, mark.length)))
}

/// The lines before the mark. `None`: the file is not there any more, or may not be read.
pub(super) fn tail(dir: &Directory, mark: StderrMark) -> Option<Vec<String>> {
    let file = File::from(dir.open_output(c"__stderr").ok()?);
    let stat = file.metadata().ok()?;
    if !stat.is_file() || (stat.dev(), stat.ino()) != (mark.device, mark.inode) {
        return None;
    }
    Some(last_lines(&before(&file, mark.length.min(stat.len()))))
}

/// The bytes before this place, as many as are looked at.
fn before(file: &File, end: u64) -> Vec<u8> {
    let start = end.saturating_sub(WINDOW);
    let mut bytes = vec![0; usize::try_from(end - start).unwrap_or(0)];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], start + filled as u64) {
            Ok(0) | Err(_) => break, // it was cut meanwhile: what is there counts
            Ok(length) => filled += length,
        }
    }
    bytes.truncate(filled);
    bytes
}

pub(super) fn last_lines(bytes: &[u8]) -> Vec<String> {
    let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    if text.is_empty() {
        return Vec::new();
    }
    let mut lines: Vec<String> = text.rsplit(|&byte| byte == b'\n').take(LINES).map(harmless).collect();
    lines.reverse();
    lines
}

fn harmless(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let cut = line.get(..LINE_BYTES);
    let text: Vec<String> = cut.unwrap_or(line).split(|&byte| byte == b'\t').map(escape).collect();
    text.join("\t") + if cut.is_some() && line.len() > LINE_BYTES { " ..." } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_made_harmless() {
        assert_eq!(last_lines(b""), Vec::<String>::new());
        assert_eq!(last_lines(b"\n"), Vec::<String>::new());
        assert_eq!(last_lines(b"a\nb"), ["a", "b"]);
        assert_eq!(last_lines(b"a\tb\r\n\x1b[31m\\\xff\n"), ["a\tb", "\\x1b[31m\\x5c\\xff"]);
        let many: String = (0..100).map(|number| format!("{number}\n")).collect();
        let last = last_lines(many.as_bytes());
        assert_eq!((last.len(), last[0].as_str(), last[19].as_str()), (20, "80", "99"));
        let long = last_lines(&[b'x'; 5000]);
        assert_eq!(long[0].len(), LINE_BYTES + 4);
    }
}
