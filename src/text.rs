//! Text from outside, made harmless: nothing in it ends a line, moves a cursor or is half a character.
#![forbid(unsafe_code)]

use std::fmt::Write as _;

/// The bytes as text in which control bytes, backslashes and what is not UTF-8 are written as `\xNN`: whoever undoes
/// that has the same bytes again.
#[must_use]
pub fn escape(bytes: &[u8]) -> String {
    hexed(bytes, |character| character.is_control() || character == '\\')
}

/// The same for people: backslashes stay as they are.
#[must_use]
pub fn printable(bytes: &[u8]) -> String {
    hexed(bytes, char::is_control)
}

/// What [`escape`] was given. `None`: a backslash that begins no `\xNN`.
#[must_use]
pub fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        if byte != b'\\' {
            out.push(byte);
            rest = after;
            continue;
        }
        let digits = after.strip_prefix(b"x")?.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
        out.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = &after[3..];
    }
    Some(out)
}

fn hexed(bytes: &[u8], is_hexed: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if is_hexed(character) {
                let mut buffer = [0; 4];
                hex(character.encode_utf8(&mut buffer).as_bytes(), &mut out);
            } else {
                out.push(character);
            }
        }
        hex(chunk.invalid(), &mut out);
    }
    out
}

fn hex(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        let _ = write!(out, "\\x{byte:02x}"); // writing to a String cannot fail
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_a_line() {
        assert_eq!(escape("\u{85}\u{9b}x\t\x7f".as_bytes()), "\\xc2\\x85\\xc2\\x9bx\\x09\\x7f");
        assert_eq!(escape(b"a\\b\xff\xe5\xba\x94"), "a\\x5cb\\xff应");
    }

    #[test]
    fn what_was_made_printable_stays_as_it_is() {
        let once = printable(b"a\\b\n\xff");
        assert_eq!((once.as_str(), printable(once.as_bytes())), ("a\\b\\x0a\\xff", once.clone()));
    }

    #[test]
    fn what_was_escaped_comes_back() {
        for bytes in [&b"a\nb\\\xff\xe5\xba\x94"[..], b"", b"\\x41", b"\x00"] {
            assert_eq!(unescape(&escape(bytes)).as_deref(), Some(bytes));
        }
        for text in ["\\", "\\x4", "\\xzz", "\\n", "\\x+1"] {
            assert_eq!(unescape(text), None, "{text}");
        }
    }
}
