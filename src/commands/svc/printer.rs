//! Lines of several files on one output, each with the name of where it comes from.

use std::io::{self, BufWriter, StdoutLock, Write};

use super::terminal::harmless;
use crate::client::table::Tone;
use crate::text::printable;

/// One prefix a colour, in turn.
const COLOURS: [&str; 6] = ["\x1b[36m", "\x1b[33m", "\x1b[32m", "\x1b[35m", "\x1b[34m", "\x1b[31m"];

/// Where lines come from.
#[derive(Debug)]
pub(super) struct Source {
    /// What stands before its lines; empty where there is only one.
    pub(super) prefix: String,
    /// Sources with the same number have the same colour.
    pub(super) colour: usize,
}

/// The output.
pub(super) struct Printer<W: Write = BufWriter<StdoutLock<'static>>> {
    out: W,
    sources: Vec<Source>,
    /// Bytes from outside could do something to it.
    is_terminal: bool,
    painted: bool,
    /// The source whose line has not ended yet.
    unended: Option<usize>,
    /// The first bytes of a character whose last ones are still to come, by source.
    begun: Vec<Vec<u8>>,
}

impl<W: Write> Printer<W> {
    pub(super) fn new(out: W, sources: Vec<Source>, is_terminal: bool, painted: bool) -> Self {
        let begun = sources.iter().map(|_| Vec::new()).collect();
        Self { out, sources, is_terminal, painted, unended: None, begun }
    }

    /// Prints what a source said. A line of it may come in pieces; one of another source does not come in between
    /// without a line end.
    pub(super) fn print(&mut self, source: usize, bytes: &[u8]) -> io::Result<()> {
        let mut bytes = [std::mem::take(&mut self.begun[source]).as_slice(), bytes].concat();
        if self.is_terminal {
            self.begun[source] = bytes.split_off(bytes.len() - begun_character(&bytes));
        }
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            if self.unended != Some(source) {
                self.end_line()?;
                self.print_prefix(source)?;
            }
            let (text, ends) = piece.strip_suffix(b"\n").map_or((piece, false), |text| (text, true));
            if self.is_terminal {
                let text = if ends { text.strip_suffix(b"\r").unwrap_or(text) } else { text };
                self.out.write_all(harmless(text).as_bytes())?;
            } else {
                self.out.write_all(text)?;
            }
            if ends {
                self.out.write_all(b"\n")?;
            }
            self.unended = (!ends).then_some(source);
        }
        Ok(())
    }

    fn print_prefix(&mut self, source: usize) -> io::Result<()> {
        let Source { prefix, colour } = &self.sources[source];
        if prefix.is_empty() {
            return Ok(());
        }
        if self.painted {
            write!(self.out, "{}{prefix}{} ", COLOURS[colour % COLOURS.len()], Tone::END)
        } else {
            write!(self.out, "{prefix} ")
        }
    }

    /// Ends the line of whoever has begun one.
    pub(super) fn end_line(&mut self) -> io::Result<()> {
        match self.unended.take() {
            Some(_) => self.out.write_all(b"\n"),
            None => Ok(()),
        }
    }

    /// Shows all that was printed.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Nothing comes any more. Where lines have prefixes, or are for a person, the last one is ended too.
    pub(super) fn end(&mut self) -> io::Result<()> {
        for source in 0..self.sources.len() {
            let rest = std::mem::take(&mut self.begun[source]);
            if !rest.is_empty() {
                self.unended = Some(source);
                self.out.write_all(printable(&rest).as_bytes())?;
            }
        }
        if self.is_terminal || self.sources.iter().any(|source| !source.prefix.is_empty()) {
            self.end_line()?;
        }
        self.flush()
    }
}

/// How many bytes at the end are the beginning of a character.
fn begun_character(bytes: &[u8]) -> usize {
    let last: Vec<u8> = bytes.iter().rev().take(3).copied().collect();
    for (place, byte) in last.iter().enumerate() {
        let length = match byte {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            0x80..=0xbf => continue,
            _ => return 0,
        };
        return if place + 1 < length { place + 1 } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(prefixes: &[&str], terminal: bool, said: &[(usize, &[u8])]) -> String {
        let source = |(colour, prefix): (usize, &&str)| Source { prefix: (*prefix).to_owned(), colour };
        let sources = prefixes.iter().enumerate().map(source).collect();
        let mut printer = Printer::new(Vec::new(), sources, terminal, false);
        for (source, bytes) in said {
            printer.print(*source, bytes).unwrap();
        }
        printer.end().unwrap();
        String::from_utf8_lossy(&printer.out).into_owned()
    }

    #[test]
    fn every_line_says_where_it_comes_from() {
        let two = ["a |", "b |"];
        assert_eq!(printed(&two, false, &[(0, b"1\n2\n"), (1, b"x\n"), (0, b"3\n")]), "a | 1\na | 2\nb | x\na | 3\n");
        assert_eq!(printed(&two, false, &[(0, b"half"), (0, b" line\n")]), "a | half line\n");
        assert_eq!(printed(&two, false, &[(0, b"half"), (1, b"x\n"), (0, b"line")]), "a | half\nb | x\na | line\n");
        assert_eq!(printed(&two, false, &[(0, b"\n\n")]), "a | \na | \n");
    }

    #[test]
    fn one_file_comes_as_it_is_but_on_a_terminal() {
        let junk = b"\x1b]0;x\x07\xff\t\xe5\xba\x94\r\nno end";
        assert_eq!(printed(&[""], false, &[(0, junk)]), String::from_utf8_lossy(junk));
        assert_eq!(printed(&[""], true, &[(0, junk)]), "\\x1b]0;x\\x07\\xff\t应\nno end\n");
    }

    #[test]
    fn a_character_may_come_in_pieces() {
        for cut in 0..=7 {
            let (first, second) = "\u{1f600}应".as_bytes().split_at(cut);
            assert_eq!(printed(&[""], true, &[(0, first), (0, second)]), "\u{1f600}应\n");
        }
        assert_eq!(printed(&[""], true, &[(0, b"\xe5"), (0, b"x\n"), (0, b"\xe5\xba")]), "\\xe5x\n\\xe5\\xba\n");
    }
}
