//! The lower part of the live view: the end of what one service said.

use std::collections::VecDeque;

use crate::client::{Followed, Service};
use crate::text::printable;

/// So many lines are kept: more than any screen shows.
const LINES: usize = 500;
/// A longer line is not seen whole on any screen.
const LONGEST: usize = 4096;

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

    /// Takes what was written since; whether it was anything.
    pub(super) fn read(&mut self) -> bool {
        let mut came = false;
        for (number, file) in self.files.iter_mut().enumerate() {
            let (lines, unended) = (&mut self.lines, &mut self.unended[number]);
            let _ = file.read(&mut |bytes| {
                came = true;
                for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
                    let text = piece.strip_suffix(b"\n").unwrap_or(piece);
                    let begun = lines.iter_mut().rfind(|(from, _)| *from == number).filter(|_| *unended);
                    match begun {
                        Some((_, line)) => line.extend_from_slice(text),
                        None => lines.push_back((number, text.to_vec())),
                    }
                    if let Some((_, line)) = lines.back_mut() {
                        line.truncate(LONGEST);
                    }
                    *unended = text.len() == piece.len();
                }
                while lines.len() > LINES {
                    lines.pop_front();
                }
                Ok(())
            });
        }
        came
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
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let parts: Vec<String> = line.split(|&byte| byte == b'\t').map(printable).collect();
    parts.join("    ")
}
