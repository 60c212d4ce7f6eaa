//! What svc shows of texts from outside.

use unicode_width::UnicodeWidthStr;

use crate::client::table::{Cell, Column, Row, Tone, cut, lines, pieces};

const COLUMNS: [Column; 3] = [
    Column { heading: "NAME", right: false, least: 4, order: 0 },
    Column { heading: "PID", right: true, least: 3, order: 2 },
    Column { heading: "NOTE", right: false, least: 4, order: 1 },
];

/// The first byte is the width of the terminal; the cells are the lines of the rest. No line is wider, and none does
/// anything to the terminal.
pub fn table(bytes: &[u8]) {
    let [width, bytes @ ..] = bytes else { return };
    let width = usize::from(*width);
    let text = String::from_utf8_lossy(bytes);
    let cells: Vec<Cell> =
        text.split('\n').map(|line| Cell::from(line).or_short(line.split(' ').next().unwrap_or_default())).collect();
    let rows: Vec<Row> = cells.chunks(COLUMNS.len()).map(|row| Row(row.to_vec())).collect();
    for cell in &cells {
        let cut = cut(&cell.text, width);
        assert!(cut.width() <= width, "{cut:?} in {width}");
    }
    // The first column is never left out.
    let width = width.max(COLUMNS[0].least);
    for line in lines(&COLUMNS, &rows, Some(width), false) {
        assert!(line.width() <= width && !line.contains(char::is_control), "{line:?} in {width}");
    }
    for line in pieces(&COLUMNS, &rows, width, 0..rows.len()) {
        assert!(line.iter().map(|(text, _): &(String, Tone)| text.width()).sum::<usize>() <= width);
    }
    let _ = lines(&COLUMNS, &rows, None, true);
}
