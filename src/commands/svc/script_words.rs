//! The words of the classic script that follow DIR: what they mean, and what is wrong with others.

use std::ffi::{OsStr, OsString};

use crate::text::escape;

/// The words of the classic script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Restart,
    Stop,
    Start,
    Status,
    Exit,
    Reconf,
    AlarmOn,
    AlarmOff,
}

/// All that may follow DIR; `alarm` has one more behind it.
const WORDS: [&str; 7] = ["restart", "stop", "start", "status", "exit", "reconf", "alarm"];
/// So many letters of a word may be wrong, added, left out, or have changed places.
const NEAR: usize = 2;

/// What these words mean.
pub(super) fn word(words: &[OsString]) -> Option<Word> {
    let words: Vec<&str> = words.iter().map(|word| word.to_str()).collect::<Option<_>>()?;
    Some(match words.as_slice() {
        ["restart"] => Word::Restart,
        ["stop"] => Word::Stop,
        ["start"] => Word::Start,
        ["status"] => Word::Status,
        ["exit"] => Word::Exit,
        ["reconf"] => Word::Reconf,
        ["alarm", "on"] => Word::AlarmOn,
        ["alarm", "off"] => Word::AlarmOff,
        _ => return None,
    })
}

/// The verbs of ours, which stand in front of the names. They are written down here because asking clap for them takes
/// longer than most of what svc does.
const VERBS: [&str; 17] = [
    "status",
    "start",
    "stop",
    "restart",
    "once",
    "kill",
    "pause",
    "continue",
    "exit",
    "reload",
    "upgrade",
    "signal",
    "wait",
    "tail",
    "alarm",
    "alarms",
    "completions",
];

/// Whether this is one of them.
pub(super) fn is_verb(word: &OsStr) -> bool {
    VERBS.iter().any(|verb| word == *verb)
}

/// What is wrong with words that mean nothing, and which ones would.
pub(super) fn misuse(dir: &OsStr, words: &[OsString]) -> String {
    let shown = |word: &OsStr| escape(word.as_encoded_bytes());
    let dir = shown(dir);
    let all = "restart, stop, start, status, exit, reconf, alarm on or alarm off";
    let (Some(first), second) = (words.first(), words.get(1)) else {
        return format!("{dir}: what about it? After DIR comes {all}; `svc status {dir}` shows it");
    };
    let text = first.to_string_lossy();
    match second {
        None if text == "alarm" => format!("{dir} alarm: on or off comes behind it"),
        Some(second) if text == "alarm" && second != "on" && second != "off" => {
            format!("{dir} alarm {}: alarm on or alarm off is meant", shown(second))
        }
        _ if WORDS.contains(&&*text) => {
            let too_much = words.get(if text == "alarm" { 2 } else { 1 }).map(|word| shown(word)).unwrap_or_default();
            format!("{dir} {text}: {too_much} is too much behind it; of several services it is `svc {text} NAME...`")
        }
        _ if is_verb(first) => format!("{dir} {text}: the verb comes first: `svc {text} {dir}`"),
        _ => {
            let near = WORDS.iter().map(|word| (strsim::osa_distance(word, &text), *word)).min();
            let meant = match near.filter(|(distance, _)| *distance <= NEAR) {
                Some((_, word)) => format!("; did you mean {word}?"),
                None => ".".to_owned(),
            };
            format!("{dir}: unknown word {}{meant} After DIR comes {all}", shown(first))
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn clap_knows_the_same_verbs() {
        let command = super::super::Line::command();
        let known: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
        assert_eq!(known, VERBS);
    }

    #[test]
    fn the_wrong_word_is_named() {
        let said = |words: &[&str]| {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            assert_eq!(word(&words), None);
            misuse(OsStr::new("web"), &words)
        };
        let all = "After DIR comes restart, stop, start, status, exit, reconf, alarm on or alarm off";
        for (words, expected) in [
            (&["stpo"][..], format!("web: unknown word stpo; did you mean stop? {all}")),
            (&["alram", "on"], format!("web: unknown word alram; did you mean alarm? {all}")),
            (&["\u{1b}dance"], format!("web: unknown word \\x1bdance. {all}")),
            (&["alarm"], "web alarm: on or off comes behind it".to_owned()),
            (&["alarm", "xx"], "web alarm xx: alarm on or alarm off is meant".to_owned()),
            (&["kill"], "web kill: the verb comes first: `svc kill web`".to_owned()),
            (&[], format!("web: what about it? {all}; `svc status web` shows it")),
        ] {
            assert_eq!(said(words), expected);
        }
        assert!(said(&["stop", "db"]).starts_with("web stop: db is too much behind it"));
        assert!(said(&["alarm", "on", "db"]).starts_with("web alarm: db is too much"));
    }
}
