//! Any bytes at all.

use super::*;
use crate::config::keys::KEYS;
use crate::config::split_words;
use proptest::prelude::*;

/// Text that looks enough like a configuration to get past the first lines of the parser.
fn likely_text() -> impl Strategy<Value = Vec<u8>> {
    let key = prop::sample::select(KEYS.iter().map(|key| key.name).collect::<Vec<_>>());
    let value = prop_oneof![
        "[0-9.]{0,12}[kmg]?",
        "[a-z0-9@,. '\"#\\\\]{0,40}",
        "(smtp|smtps|smtp\\+starttls|http|sendmail|none)(://)?([a-z@]{0,4}@)?[a-z:.\\[\\]0-9]{0,9}",
        prop::sample::select(vec!["yes", "no", "group", "process", "default", "ignored", "", "0", "-5", "60"])
            .prop_map(str::to_owned),
        "\\PC{0,20}",
        "[+0-9 ,]{0,80}",
    ];
    let item = (key, prop::sample::select(vec![" : ", "=", ":", "  ", " :\t"]), value)
        .prop_map(|(key, separator, value)| format!("{key}{separator}{value}").into_bytes());
    let line = prop_oneof![
        12 => item,
        3 => prop::sample::select(vec!["[global]", "[web]", "[a]", "[", "[]", " [web]", "[ web ]", "[web] x"])
            .prop_map(|header| header.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..30),
        1 => "[#; \t].{0,10}".prop_map(String::into_bytes),
    ];
    let end = prop::sample::select(vec!["\n", "\r\n", "\n\n"]);
    prop::collection::vec((line, end), 0..30)
        .prop_map(|lines| lines.into_iter().flat_map(|(line, end)| [line, end.into()].concat()).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_parsed(text in prop::collection::vec(any::<u8>(), 0..2000)) {
        crate::fuzzing::conf(&text);
    }

    #[test]
    fn any_likely_text_is_parsed(text in likely_text()) {
        crate::fuzzing::conf(&text);
    }

    #[test]
    fn any_command_is_split(text in prop::collection::vec(any::<u8>(), 0..200)) {
        crate::fuzzing::words(&text);
    }

    #[test]
    fn words_without_quotes_are_what_stands_between_blanks(text in "[^'\"\0]{0,80}") {
        let words: Vec<_> = text.split([' ', '\t']).filter(|word| !word.is_empty()).map(Into::into).collect();
        prop_assert_eq!(split_words(text.as_bytes()), (words, false));
    }
}

/// The largest file there can be is parsed in the time of a start, whatever it is made of: nothing here
/// grows with the square of its length.
#[test]
fn a_large_file_takes_no_longer_than_its_length() {
    let limit = crate::config::SIZE_LIMIT as usize;
    let many = |line: &dyn Fn(usize) -> String| {
        let mut text = String::from("[global]\nalarm_interval : 60\n");
        for number in 0.. {
            if text.len() >= limit {
                break;
            }
            text.push_str(&line(number));
        }
        text.into_bytes()
    };
    for text in [
        many(&|number| format!("[{number}]\n")),
        many(&|_| "[a]\n".to_owned()),
        many(&|_| "hup:x\n".to_owned()),
        many(&|_| "max_trys:x\n".to_owned()),
        many(&|_| "x\n".to_owned()),
        many(&|number| format!("{number}")),
        [&b"[global]\nalarm_gsm :"[..], &b"1,".repeat(limit / 2)].concat(),
        [&b"[global]\nalarm_gsm :"[..], &b"x ".repeat(limit / 2)].concat(),
        [&b"[global]\nalarm_mail :"[..], &b"x ".repeat(limit / 2)].concat(),
        [&b"[global]\ncommand :'' "[..], &b"x ".repeat(limit / 2)].concat(),
    ] {
        let conf = parse(&text);
        conf.resolve(b"a");
        assert!(conf.problems().iter().all(|problem| problem.text.len() < 300));
    }
}
