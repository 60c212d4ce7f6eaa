//! Says what one line of supervise.conf is.

/// What a line is, before any key is known.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// A blank line or a comment.
    Nothing,
    /// `[name] rest`. The name is what stands between the brackets, blanks included.
    Header { name: &'a [u8], rest: &'a [u8] },
    /// A `[` in column 0 that is never closed.
    Unclosed,
    /// `key : value`, both trimmed; `column` is the number of bytes of the line before the value.
    Item { key: &'a [u8], value: &'a [u8], column: usize },
    /// Neither of these: it has no separator.
    Bare,
    /// It starts with a blank, so it is not an item; what it would be without it.
    Indented(&'a [u8]),
}

/// The two characters that count as blank inside a line.
pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Without the blanks at both ends.
pub(super) fn trim(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text
        && is_blank(*first)
    {
        text = rest;
    }
    while let [rest @ .., last] = text
        && is_blank(*last)
    {
        text = rest;
    }
    text
}

/// The lines with their numbers from 1, without line ends (LF or CRLF) and without a UTF-8 byte order mark
/// at the start of the file, which some editors leave there.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    (1..).zip(text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line)))
}

/// What this line is.
pub(super) fn classify(line: &[u8]) -> Line<'_> {
    match line {
        [] | [b'#' | b';', ..] => Line::Nothing,
        [b'[', rest @ ..] => match rest.iter().position(|byte| *byte == b']') {
            Some(end) => Line::Header { name: &rest[..end], rest: &rest[end + 1..] },
            None => Line::Unclosed,
        },
        [first, ..] if is_blank(*first) => match trim(line) {
            [] | [b'#' | b';', ..] => Line::Nothing,
            text => Line::Indented(text),
        },
        _ => match line.iter().position(|byte| matches!(byte, b':' | b'=')) {
            None => Line::Bare,
            Some(at) => {
                let behind = &line[at + 1..];
                let blanks = behind.iter().take_while(|byte| is_blank(**byte)).count();
                Line::Item { key: trim(&line[..at]), value: trim(behind), column: at + 1 + blanks }
            }
        },
    }
}
