//! Splits the text of a command into its words, without a shell, and joins words to such a text.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::line::is_blank;

/// The words of `text`, and whether its quotes did not come out even.
///
/// Without `'` and `"` in it, the text is split on blanks and tabs exactly so, backslashes and all. With
/// them, by the word rules of the POSIX shell: quotes and backslashes, but no expansion, no globbing, no
/// operators and no comments (a `#` is a byte like any other, or an argument would silently get lost).
/// Where that leaves a quote open, the text is split on blanks after all and the answer's second half is
/// true. No words come out only of a text without any; the first may be empty (`''`). Bytes of any kind
/// are kept, NUL included: a word that holds one can't be executed, so a caller whose text may hold one
/// has to look. (docs/operation.md, the command line.)
pub fn split_words(text: &[u8]) -> (Vec<OsString>, bool) {
    // What holds a NUL can't be executed, wherever it is split.
    let quoted = text.iter().any(|byte| matches!(byte, b'\'' | b'"')) && !text.contains(&0);
    if quoted {
        match shell_words(text) {
            Some(words) => (words.into_iter().map(OsString::from_vec).collect(), false),
            None => (blank_words(text), true),
        }
    } else {
        (blank_words(text), false)
    }
}

/// A text that [`split_words`] splits into these words again; none of them holds a NUL.
pub fn join_words(words: &[OsString]) -> Vec<u8> {
    let plain = |word: &[u8]| !word.is_empty() && !word.iter().any(|byte| is_blank(*byte) || b"'\"".contains(byte));
    if words.iter().all(|word| plain(word.as_bytes())) {
        return words.join(" ".as_ref()).into_vec();
    }
    // Quoted all of them: then the rules of the shell hold for the whole text.
    let quoted = words.iter().map(|word| {
        let mut out = vec![b'\''];
        for byte in word.as_bytes() {
            match byte {
                b'\'' => out.extend(b"'\\''"),
                other => out.push(*other),
            }
        }
        out.push(b'\'');
        out
    });
    quoted.collect::<Vec<_>>().join(&b' ')
}

fn blank_words(text: &[u8]) -> Vec<OsString> {
    text.split(|byte| is_blank(*byte))
        .filter(|word| !word.is_empty())
        .map(|word| OsString::from_vec(word.to_vec()))
        .collect()
}

/// `None` where quotes or backslashes don't come out even.
fn shell_words(text: &[u8]) -> Option<Vec<Vec<u8>>> {
    // The splitter takes a `#` at the start of a word for a comment. NUL means nothing to it, in quotes
    // or out of them, and does not occur here, so it stands in for `#`.
    let swap = |from: u8, to: u8, bytes: &mut [u8]| {
        bytes.iter_mut().filter(|byte| **byte == from).for_each(|byte| *byte = to);
    };
    let mut text = text.to_vec();
    swap(b'#', 0, &mut text);
    let mut words = shlex::bytes::split(&text)?;
    words.iter_mut().for_each(|word| swap(0, b'#', word));
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_joined_is_split_into_the_same_words() {
        for words in [
            vec!["./notify", "-x", "a\\b", "#c", "$(d)"],
            vec!["a b", "", "it's", "\"", "\\"],
            vec!["'"],
            vec!["a\tb", "x#"],
        ] {
            let words: Vec<OsString> = words.into_iter().map(OsString::from).collect();
            assert_eq!(split_words(&join_words(&words)), (words.clone(), false));
        }
    }
}
