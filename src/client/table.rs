//! A table in columns, for any width: on a narrow terminal the less important gives way first.

use std::ops::Range;

use super::in_parts::in_parts;
use crate::text::printable;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// What a text is about, for a terminal that shows colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// Nothing in particular.
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// On its way.
    Busy,
    /// Somebody should look.
    Bad,
    /// It matters less.
    Quiet,
    /// The headings.
    Heading,
}

impl Tone {
    /// What ends any of them.
    pub const END: &'static str = "\x1b[0m";

    /// How a terminal is told (ECMA-48, SGR).
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Good => "\x1b[32m",
            Self::Busy => "\x1b[33m",
            Self::Bad => "\x1b[1;31m",
            Self::Quiet => "\x1b[2m",
            Self::Heading => "\x1b[1m",
        }
    }
}

/// The text in one column of one row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// All of it.
    pub text: String,
    /// What is enough where there is little room.
    pub short: Option<String>,
    /// What it is about.
    pub tone: Tone,
}

/// Whatever the text holds, it does nothing to a terminal.
impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: printable(text.as_ref().as_bytes()), ..Self::default() }
    }
}

impl Cell {
    /// The same with a shorter text for where there is little room.
    #[must_use]
    pub fn or_short(self, short: impl AsRef<str>) -> Self {
        Self { short: Some(printable(short.as_ref().as_bytes())), ..self }
    }

    /// The same with a tone.
    #[must_use]
    pub fn toned(self, tone: Tone) -> Self {
        Self { tone, ..self }
    }
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its heading.
    pub heading: &'static str,
    /// Numbers stand at the right.
    pub right: bool,
    /// It is not cut below so many characters; where that is not enough it is left out.
    pub least: usize,
    /// The column with the highest number gives way first. 0 and 1 are the last to be cut, and never left out where there
    /// is room for anything.
    pub order: u8,
}

/// One line: a cell for each column. Where there are fewer, the last one reaches over the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row(pub Vec<Cell>);

/// Between two columns.
const GAP: usize = 2;

/// The lines of a table, headings first, without line ends. The last column is for remarks: where no row has one it is
/// not there. `width`: so many columns has the terminal; `None`: it is
/// for a file, so nothing is cut. `painted`: with colours.
#[must_use]
pub fn lines(columns: &[Column], rows: &[Row], width: Option<usize>, painted: bool) -> Vec<String> {
    let layout = Layout::of(columns, rows, width);
    let line = |row: &Row| {
        let mut out = String::new();
        for (text, tone) in layout.pieces(columns, row) {
            if painted && tone != Tone::Plain && !text.is_empty() {
                out.extend([tone.code(), &text, Tone::END]);
            } else {
                out.push_str(&text);
            }
        }
        let end = out.trim_end().len();
        out.truncate(end);
        out
    };
    let all = in_parts(rows, |part| part.iter().map(line).collect());
    std::iter::once(line(&headings(columns))).chain(all).collect()
}

/// The same in pieces of one tone each, and only these rows besides the headings; the widths are those of all.
#[must_use]
pub fn pieces(columns: &[Column], rows: &[Row], width: usize, visible: Range<usize>) -> Vec<Vec<(String, Tone)>> {
    let layout = Layout::of(columns, rows, Some(width));
    let visible = rows.get(visible).unwrap_or_default();
    std::iter::once(&headings(columns)).chain(visible).map(|row| layout.pieces(columns, row)).collect()
}

fn headings(columns: &[Column]) -> Row {
    Row(columns.iter().map(|column| Cell::from(column.heading).toned(Tone::Heading)).collect())
}

/// How wide each column is; 0: it is left out.
struct Layout {
    widths: Vec<usize>,
    short: Vec<bool>,
    total: Option<usize>,
}

impl Layout {
    fn of(columns: &[Column], rows: &[Row], total: Option<usize>) -> Self {
        let widest = |place: usize, short: bool| {
            let spans = |row: &&Row| row.0.len() == columns.len() || place + 1 < row.0.len();
            let cells = rows.iter().filter(spans).filter_map(|row| row.0.get(place));
            let wide = |cell: &Cell| shown(cell, short).width();
            cells.map(wide).max().unwrap_or(0).max(columns[place].heading.width())
        };
        let mut widths: Vec<usize> = (0..columns.len()).map(|place| widest(place, false)).collect();
        let last = columns.len().saturating_sub(1);
        let is_said = |row: &Row| row.0.get(last).is_some_and(|cell| !cell.text.is_empty());
        if let Some(width) = widths.last_mut().filter(|_| !rows.iter().any(is_said)) {
            *width = 0;
        }
        let mut layout = Self { widths, short: vec![false; columns.len()], total };
        let Some(total) = total else { return layout };
        let mut places: Vec<usize> = (0..columns.len()).collect();
        places.sort_by_key(|&place| std::cmp::Reverse(columns[place].order));
        for &place in &places {
            if layout.sum() > total && layout.widths[place] > 0 {
                layout.short[place] = true;
                layout.widths[place] = widest(place, true);
            }
        }
        for &place in &places {
            let over = layout.sum().saturating_sub(total);
            let least = layout.widths[place].min(columns[place].least);
            layout.widths[place] = layout.widths[place].saturating_sub(over).max(least);
            if layout.sum() > total && columns[place].order > 1 {
                layout.widths[place] = 0;
            }
        }
        // Too narrow for what these two should have at least.
        for &place in places.iter().filter(|&&place| columns[place].order == 1) {
            layout.widths[place] = layout.widths[place].saturating_sub(layout.sum().saturating_sub(total));
        }
        layout
    }

    fn sum(&self) -> usize {
        let shown = self.widths.iter().filter(|&&width| width > 0);
        shown.map(|width| width + GAP).sum::<usize>().saturating_sub(GAP)
    }

    /// The texts of a row with the blanks between them, as wide as they are to be.
    fn pieces(&self, columns: &[Column], row: &Row) -> Vec<(String, Tone)> {
        let mut out: Vec<(String, Tone)> = Vec::new();
        let mut used = 0; // columns of the terminal
        for (place, cell) in row.0.iter().enumerate() {
            let spans = place + 1 == row.0.len() && row.0.len() < columns.len();
            let reached: usize = self.widths[..place].iter().filter(|&&width| width > 0).map(|w| w + GAP).sum();
            let room = match self.total {
                _ if !spans => self.widths[place],
                Some(total) => total.saturating_sub(reached),
                None => usize::MAX,
            };
            if room == 0 {
                continue;
            }
            let text = cut(shown(cell, self.short[place]), room);
            let ahead = if columns[place].right && !spans { room.saturating_sub(text.width()) } else { 0 };
            out.push((" ".repeat((reached + ahead).saturating_sub(used)), Tone::Plain));
            used = reached + ahead + text.width();
            out.push((text, cell.tone));
        }
        out
    }
}

fn shown(cell: &Cell, short: bool) -> &str {
    cell.short.as_deref().filter(|_| short).unwrap_or(&cell.text)
}

/// The text, cut with `…` where it is wider than so many columns of a terminal.
#[must_use]
pub fn cut(text: &str, room: usize) -> String {
    if text.width() <= room {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 1; // the `…` itself
    for character in text.chars() {
        used += character.width().unwrap_or(0);
        if used > room {
            break;
        }
        out.push(character);
    }
    // Some characters are wider together than each alone (U+FE0F makes a picture of the one before it).
    while !out.is_empty() && out.width() + 1 > room {
        out.pop();
    }
    if room > 0 {
        out.push('…');
    }
    out
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
