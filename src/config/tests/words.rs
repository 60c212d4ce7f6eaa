//! How the text of a command falls into words.

use crate::config::split_words;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

#[test]
fn words_of_a_command() {
    type Row<'a> = (&'a [u8], &'a [&'a [u8]], bool);
    let table: [Row<'_>; 27] = [
        (b"", &[], false),
        (b" \t ", &[], false),
        (b"a", &[b"a"], false),
        (b" a\t b  c ", &[b"a", b"b", b"c"], false),
        (b"a\\ b \\", &[b"a\\", b"b", b"\\"], false),
        (b"a\nb", &[b"a\nb"], false),
        (b"a #b $c *;|&", &[b"a", b"#b", b"$c", b"*;|&"], false),
        (b"\xff \xc3", &[b"\xff", b"\xc3"], false),
        (b"a\0b c", &[b"a\0b", b"c"], false),
        (b"sh -c 'a  b'", &[b"sh", b"-c", b"a  b"], false),
        (b"sh -c \"a  b\"", &[b"sh", b"-c", b"a  b"], false),
        (b"''", &[b""], false),
        (b"a '' b", &[b"a", b"", b"b"], false),
        (b"a'b'\"c\"d", &[b"abcd"], false),
        (b"'a\\b' \"a\\b\" \"a\\\\b\\\"\" a\\ b", &[b"a\\b", b"a\\b", b"a\\b\"", b"a b"], false),
        (b"\"$HOME `id` *\" $HOME *", &[b"$HOME `id` *", b"$HOME", b"*"], false),
        (b"'a' | b; c & d > e", &[b"a", b"|", b"b;", b"c", b"&", b"d", b">", b"e"], false),
        (b"'a' #b", &[b"a", b"#b"], false),
        (b"\"#\" '#'# \\# \"\\#\"", &[b"#", b"##", b"#", b"\\#"], false),
        (b"'\xff'", &[b"\xff"], false),
        (b"'a\0b'", &[b"'a\0b'"], false), // can't be executed, wherever it is split
        (b"#\"\0", &[b"#\"\0"], false),
        (b"it's here", &[b"it's", b"here"], true),
        (b"a \"b c", &[b"a", b"\"b", b"c"], true),
        (b"'a b' c\\", &[b"'a", b"b'", b"c\\"], true),
        (b"'a #b", &[b"'a", b"#b"], true),
        (b"'", &[b"'"], true),
    ];
    for (text, words, uneven) in table {
        let words: Vec<_> = words.iter().map(|word| OsStr::from_bytes(word).to_owned()).collect();
        assert_eq!(split_words(text), (words, uneven), "{}", text.escape_ascii());
    }
}
