//! The lower part of the live view: the end of what one service said.

use std::collections::VecDeque;
use std::io;

use crate::client::{Followed, Service};
use crate::commands::svc::terminal::harmless;

/// So many lines are kept: more than any screen shows.
const LINES: usize = 500;
/// A longer line is not seen whole on any screen.
const LONGEST: usize = 4096;
/// So much of each file is taken at one look: a service may write faster than that can be shown.
const MOST: u64 = 1 << 20;

/// What is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// `__stdout` and `__stderr`.
    Output,
    /// Both logs of supervise.
    Log,
}

/// The lines of one service.
pub(super) struct Pane {
    pub(super) service: Service,
    pub(super) what: What,
    files: [Followed; 2],
    /// From which of both files, and the text.
    pub(super) lines: VecDeque<(usize, Vec<u8>)>,
    unended: [bool; 2],
}

impl Pane {
    pub(super) fn new(service: Service, what: What) -> Self {
        let names = match what {
            What::Output => ["__stdout", "__stderr"],
            What::Log => ["supervise.log", "supervise.log.wf"],
        };
        let mut files = names.map(|name| Followed::new(&service.dir, name));
        for file in &mut files {
            let _ = file.open(LINES / 2); // what is not there may come
        }
        let mut pane = Self { service, what, files, lines: VecDeque::new(), unended: [false; 2] };
        pane.read();
        pane
    }

    /// Takes what was written since, or the end of it, where it is more than anybody can read along.
    pub(super) fn read(&mut self) {
        for (number, file) in self.files.iter_mut().enumerate() {
            let (lines, unended) = (&mut self.lines, &mut self.unended[number]);
            if file.skip_to_last(MOST) {
                *unended = false;
            }
            let mut taken = 0;
            // What is not taken now is there at the next look.
            let _ = file.read(&mut |bytes| {
                for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
                    let text = piece.strip_suffix(b"\n").unwrap_or(piece);
                    let begun = lines.iter_mut().rfind(|(from, _)| *from == number).filter(|_| *unended);
                    match begun {
                        Some((_, line)) => line.extend(text.iter().take(LONGEST.saturating_sub(line.len()))),
                        None => lines.push_back((number, text[..text.len().min(LONGEST)].to_vec())),
                    }
                    *unended = text.len() == piece.len();
                }
                while lines.len() > LINES {
                    lines.pop_front();
                }
                taken += bytes.len() as u64;
                if taken > MOST { Err(io::ErrorKind::QuotaExceeded.into()) } else { Ok(()) }
            });
        }
    }

    /// What stands before the lines of a file.
    pub(super) fn tag(&self, file: usize) -> &'static str {
        match (self.what, file) {
            (What::Output, 0) => "out ",
            (What::Output, _) => "err ",
            (What::Log, _) => "",
        }
    }

    /// The last lines, as a terminal may have them.
    pub(super) fn last(&self, count: usize) -> impl Iterator<Item = (usize, String)> {
        let skip = self.lines.len().saturating_sub(count);
        self.lines.iter().skip(skip).map(|(file, line)| (*file, plain(line)))
    }
}

/// A tab has no width of its own, and the return of a line that ends as on other systems says nothing.
fn plain(line: &[u8]) -> String {
    harmless(line.strip_suffix(b"\r").unwrap_or(line)).replace('\t', "    ")
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write as _;

    use super::*;

    /// A status directory, and the pane of its service.
    fn pane() -> (tempfile::TempDir, Pane) {
        let dir = tempfile::tempdir().unwrap();
        let service = Service { name: "a".into(), dir: dir.path().to_owned() };
        (dir, Pane::new(service, What::Output))
    }

    fn write(dir: &tempfile::TempDir, name: &str, text: &str) {
        let file = File::options().append(true).create(true).open(dir.path().join(name));
        file.unwrap().write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn a_line_that_goes_on_behind_another_one_is_cut() {
        let (dir, mut pane) = pane();
        write(&dir, "__stdout", &"o".repeat(LONGEST - 1));
        pane.read();
        write(&dir, "__stderr", "an error\n");
        pane.read();
        write(&dir, "__stdout", "pq\nnext\n");
        pane.read();
        let lines: Vec<(usize, String)> = pane.last(9).collect();
        let long = format!("{}p", "o".repeat(LONGEST - 1));
        assert_eq!(lines, [(0, long), (1, "an error".to_owned()), (0, "next".to_owned())]);
    }

    #[test]
    fn who_writes_more_than_can_be_shown_holds_nobody_up() {
        let (dir, mut pane) = pane();
        write(&dir, "__stdout", "first\n");
        pane.read();
        let file = File::options().append(true).open(dir.path().join("__stdout")).unwrap();
        file.set_len(100 << 30).unwrap(); // which takes minutes to read
        write(&dir, "__stdout", "\nlast\n");
        pane.read();
        pane.read();
        assert_eq!(pane.last(1).next(), Some((0, "last".to_owned())));
    }
}
