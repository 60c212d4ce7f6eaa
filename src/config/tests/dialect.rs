//! What is a section, an item, a comment; what is said about the rest.

use super::*;
use std::num::NonZeroU32;

/// The limit that this text gives to module `web`, as a probe for whether an item counted.
fn tries(text: impl AsRef<[u8]>) -> u32 {
    let mut text = text.as_ref().to_vec();
    text.extend_from_slice(b"\nalarm_interval : 60\n");
    web(text).0.max_tries.map_or(0, NonZeroU32::get)
}

#[test]
fn items_that_count() {
    for text in [
        &b"[web]\nmax_tries : 5"[..],
        b"[web]\nmax_tries:5",
        b"[web]\nmax_tries=5",
        b"[web]\nmax_tries \t=\t 5 \t",
        b"[web]\r\nmax_tries : 5\r",
        b"\xEF\xBB\xBF[web]\nmax_tries : 5",
        b"[web] rest of the line\nmax_tries : 5",
        b"[web]rest] of ] the line\nmax_tries : 5",
        b"; comment\n# comment\n\n \t\n[web]\n#max_tries : 6\n;max_tries : 6\nmax_tries : 5",
        b"# \xff\xfe\x00 is harmless in a comment\n[web]\nmax_tries : 5",
    ] {
        assert_eq!(tries(text), 5, "{}", text.escape_ascii());
        let found = told(parse(text).problems());
        assert!(found.iter().all(|text| text.contains(": without effect, ")), "{}: {found:?}", text.escape_ascii());
    }
}

#[test]
fn lines_that_are_warned_of() {
    let table: [(&[u8], &[&str]); 26] = [
        (b"max_tries : 5\n[web]", &["1: max_tries: ignored: it stands before the first section"]),
        (b"words\n[web]", &["1: ignored: it stands before the first section"]),
        (b"[web]\njust words", &["2: a line without : or = is ignored"]),
        (b"[web]\nwords\x00", &["2: a line without : or = is ignored"]),
        (b"[web]\n: 5", &["2: there is no key before the separator; ignored"]),
        (b"[web]\nmax_trys : 5", &["2: max_trys: unknown key, ignored; is max_tries meant?"]),
        (b"[web]\nMAX-Tries : 5", &["2: MAX-Tries: unknown key, ignored; is max_tries meant?"]),
        (b"[web]\nalarm_mial : a", &["2: alarm_mial: unknown key, ignored; is alarm_mail meant?"]),
        (b"[web]\ncolour : red", &["2: colour: unknown key, ignored"]),
        (b"[web]\nhub : \x00", &["2: hub: unknown key, ignored; is hup meant?"]),
        (b"[web]\nx\x1b\xff\xc3\xa4\xc2\x85 : 5", &["2: x\\x1b\\xff\u{e4}\\xc2\\x85: unknown key, ignored"]),
        (b"[web]\n max_tries : 5", &["2: max_tries: starts with a blank, so it is not an item and is ignored"]),
        (b"[web]\n\thup=default", &["2: hup: starts with a blank, so it is not an item and is ignored"]),
        (b"[web]\n max_trys : 5", &[]),
        (b"[web]\n max_tries 5", &[]),
        (b"[web]\n # max_tries : 5", &[]),
        (b"[a]\n [web]", &["2: [web] starts with a blank, so it starts no section"]),
        (b"[web\nmax_tries : x", &["1: a section's name needs a ] behind it; ignored up to the next section"]),
        (b"[]\nmax_tries : x", &["1: a section without a name is ignored"]),
        (b"[ web]", &["1: the blanks between the brackets are part of the name: [ web] is not [web]"]),
        (b"[web ]", &["1: the blanks between the brackets are part of the name: [web ] is not [web]"]),
        (b"[we\tb\x07]", &["1: [we\\x09b\\x07] holds a control byte, as no module's name does"]),
        (b"[global]\rmax_tries : 5\r", &["1: control bytes behind the ]; the rest of this line is ignored"]),
        (b"[web]\nhup : default\n[web]\nhup : x", &["3: a second section [web] is ignored: the first one counts"]),
        (b"[global]\n[global]\nhup : x", &["2: a second section [global] is ignored: the first one counts"]),
        (b"[web]\nhup : x\n\nhup : default", &["2: hup: ignored: it stands again in line 4, and the last one counts"]),
    ];
    for (text, expected) in table {
        assert_eq!(told(&web(text).1), expected, "{}", text.escape_ascii());
        assert_eq!(told(parse(text).problems()), expected, "{}", text.escape_ascii());
    }
}

#[test]
fn what_does_not_count() {
    for text in [
        &b"max_tries : 5\n[web]"[..],
        b"[web]\n max_tries : 5",
        b"[web]\n\tmax_tries : 5",
        b"[web]\nmax_tries 5",
        b" [web]\nmax_tries : 5",
        b"[web\nmax_tries : 5",
        b"[]\nmax_tries : 5",
        b"[ web ]\nmax_tries : 5",
        b"[Web]\nmax_tries : 5",
        b"[web]\n[]\nmax_tries : 5",
        b"[web]\n[other\nmax_tries : 5",
        b"[web]\n[web]\nmax_tries : 5",
        b"[web]\nMax_tries : 5",
    ] {
        assert_eq!(tries(text), 0, "{}", text.escape_ascii());
    }
}

#[test]
fn the_first_section_and_the_last_key_count() {
    assert_eq!(tries("[web]\nmax_tries : 5\nmax_tries : 6"), 6);
    assert_eq!(tries("[web]\nmax_tries : 5\nmax_tries :"), 0);
    let (settings, _) = web("[web]\nalarm_interval : 60\nmax_tries : 5\n[b]\n[web]\nmax_tries : 6");
    assert_eq!(settings.max_tries, NonZeroU32::new(5));
    // Of two lists the last counts too: they are not joined.
    let (settings, _) = one("alarm_mail : a\nalarm_mail : b");
    assert_eq!(settings.alarm_mail, ["b"]);
}

#[test]
fn the_first_separator_separates() {
    assert_eq!(one("command = a:b=c").0.command, Some(vec!["a:b=c".into()]));
    assert_eq!(one("command : a=b:c").0.command, Some(vec!["a=b:c".into()]));
}

#[test]
fn a_value_is_the_rest_of_the_line() {
    assert_eq!(one("command : a # b ; c").0.command.map(|words| words.len()), Some(5));
    assert_eq!(one("command : a\\\n b : c").0.command, Some(vec!["a\\".into()]));
}

#[test]
fn names_are_bytes_and_come_once_in_file_order() {
    let conf = parse(b"[z]\n[global]\n[a b]\n[\xff/y]\n[z]\n[]\n[open\n[a\\]\n");
    assert_eq!(names(&conf), [&b"z"[..], b"a b", b"\xff/y", b"a\\"]);
    let conf = parse(b"[global]\npacing : 2\n[\xff]\npacing : 3\n");
    assert_eq!(conf.resolve(b"\xff").settings.pacing.as_secs(), 3);
    assert_eq!(conf.resolve(b"\xfe").settings.pacing.as_secs(), 2);
}

#[test]
fn a_problem_repeats_no_more_than_a_log_line_can_take() {
    for filler in ["x", "\u{e4}", "\u{20ac}", "\u{1f600}", "\u{0}"] {
        for shift in 0..4 {
            let text = format!("[web]\n{}{}:1", "y".repeat(shift), filler.repeat(100_000));
            let problems = web(text).1;
            let key = problems[0].key.clone().unwrap_or_default();
            assert!(key.len() < 300 && key.ends_with("..."), "{key}");
            assert!(filler == "\u{0}" || !key.contains("\\x"), "a character was cut: {key}");
        }
    }
}
