//! What the classic keys take, and what they say about the rest.

use super::*;
use std::num::NonZeroU32;
use std::time::Duration;

#[test]
fn classic_numbers_are_read_like_atoi() {
    let table = [
        ("5", 5, ""),
        ("+5", 5, ""),
        ("007", 7, ""),
        ("0", 0, ""),
        ("", 0, ""),
        ("5 times", 5, "5 times counts as 5: the rest behind the digits is ignored"),
        ("1.5", 1, "1.5 counts as 1: the rest behind the digits is ignored"),
        ("0x10", 0, "0x10 counts as 0: the rest behind the digits is ignored"),
        ("five", 0, "five is not a number, so it counts as unset"),
        ("-5", 0, "-5 is not a number, so it counts as unset"),
        ("+-5", 0, "+-5 is not a number, so it counts as unset"),
        ("4294967295", u32::MAX, ""),
        ("4294967296", u32::MAX, "4294967296 is too large and counts as 4294967295"),
        ("99999999999999999999 x", u32::MAX, "99999999999999999999 x is too large and counts as 4294967295"),
    ];
    for (value, number, problem) in table {
        let problems: Vec<_> = if problem.is_empty() { vec![] } else { vec![problem] };
        for key in ["max_tries", "max_tries_if_coredumped"] {
            let (settings, found) = one(format!("{key} : {value}"));
            let mut expected = with_window();
            match key {
                "max_tries" => expected.max_tries = NonZeroU32::new(number),
                _ => expected.max_tries_if_coredumped = NonZeroU32::new(number),
            }
            assert_eq!(settings, expected, "{key} : {value}");
            let problems: Vec<_> = problems.iter().map(|text| format!("3: {key}: {text}")).collect();
            assert_eq!(told(&found), problems, "{key} : {value}");
        }
    }
    let (settings, found) = one(b"max_tries : 5 \xfcber");
    assert_eq!(settings.max_tries, NonZeroU32::new(5));
    assert_eq!(found.len(), 1);
}

#[test]
fn the_window_has_at_least_sixty_seconds() {
    for (value, window) in [("1", 60), ("59", 60), ("60", 60), ("61", 61), ("4294967295", 4_294_967_295)] {
        let (settings, found) = web(format!("[web]\nalarm_interval : {value}"));
        assert_eq!(settings.alarm_interval, Some(Duration::from_secs(window)), "{value}");
        assert_eq!(found, []);
    }
    for value in ["", "0", "-1", "x"] {
        assert_eq!(web(format!("[web]\nalarm_interval : {value}")).0, Settings::default(), "{value}");
    }
}

#[test]
fn what_is_without_effect_for_want_of_a_window_is_told() {
    const MAIL: &str = "alarm_mail : a@b\n";
    let table: [(String, &[&str]); 11] = [
        (format!("[global]\n{MAIL}max_tries : 5"), &["2: alarm_mail", "3: max_tries"]),
        (format!("[global]\nalarm_interval : 0\n{MAIL}"), &["3: alarm_mail"]),
        (format!("[global]\n{MAIL}alarm_interval : 60"), &[]),
        (
            "[web]\nalarm_gsm : 1\nmax_tries_if_coredumped : 2".to_owned(),
            &["2: alarm_gsm", "3: max_tries_if_coredumped"],
        ),
        (format!("[global]\nalarm_interval : 60\n[web]\n{MAIL}"), &[]),
        // A section before [global] inherits nothing.
        (format!("[web]\n{MAIL}[global]\nalarm_interval : 60"), &["2: alarm_mail"]),
        // One that inherits has a window: then it is of use to somebody.
        (format!("[global]\n{MAIL}[db]\nalarm_interval : 60"), &[]),
        (format!("[global]\n{MAIL}[web]\nmax_tries : 1\n[db]\nalarm_interval : 60"), &["4: max_tries"]),
        (format!("[db]\nalarm_interval : 60\n[global]\n{MAIL}"), &["4: alarm_mail"]),
        // What says nothing, and what needs no window.
        ("[global]\nalarm_mail :\nmax_tries : 0\nmax_tries_if_coredumped : 0".to_owned(), &[]),
        ("[global]\nalarm_exec : /bin/true\nalarm_recovered : yes".to_owned(), &[]),
    ];
    for (text, expected) in table {
        let why = "without effect, because alarm_interval is not set or 0";
        let expected: Vec<_> = expected.iter().map(|item| format!("{item}: {why}")).collect();
        assert_eq!(told(&web(&text).1), expected, "{text}");
    }
}

#[test]
fn addresses_that_are_taken() {
    let table: [(&str, &[&str]); 8] = [
        ("root", &["root"]),
        ("a@b", &["a@b"]),
        ("a@b.example,c , d\te", &["a@b.example", "c", "d", "e"]),
        (",,a,,", &["a"]),
        ("a b a", &["a", "b"]),
        ("first.last+tag@mail-1.example.org", &["first.last+tag@mail-1.example.org"]),
        ("user_x=y#z%h!i@h", &["user_x=y#z%h!i@h"]),
        ("", &[]),
    ];
    for (value, expected) in table {
        let (settings, found) = one(format!("alarm_mail : {value}"));
        assert_eq!(settings.alarm_mail, expected);
        assert_eq!(found, [], "{value}");
    }
}

/// RFC 5321, 4.5.3.1.1.
#[test]
fn what_is_before_the_at_has_at_most_64_bytes() {
    let (fits, too_long) = ("a".repeat(64), "a".repeat(65));
    let (settings, found) = one(format!("alarm_mail : {fits} {fits}@b {too_long}@b {too_long}"));
    assert_eq!(settings.alarm_mail, [fits.clone(), format!("{fits}@b")]);
    assert_eq!(found.len(), 2, "{found:?}");
}

#[test]
fn a_wrong_address_leaves_the_others_theirs() {
    for wrong in [
        "-a",
        "-a@b",
        "/a",
        "a@b@c",
        "a@",
        "@b",
        "@",
        "<a@b>",
        "a(b)",
        "a\"b",
        "a'b",
        "a`b",
        "a;b",
        "a|b",
        "a&b",
        "a$b",
        "a\\b",
        "a:b",
        "a[b]",
        "a@-b",
        "a@b-",
        "a@b..c",
        "a@.b",
        "a@b.",
        ".a",
        "a.",
        "a..b",
        "a@[127.0.0.1]",
        "\u{fc}@b",
        "a@\u{fc}",
        "a@b/c",
        "a@b$c",
    ] {
        let (settings, found) = one(format!("alarm_mail : x@y {wrong},z"));
        assert_eq!(settings.alarm_mail, ["x@y", "z"], "{wrong}");
        let found = told(&found);
        assert_eq!(found.len(), 1, "{wrong}");
        assert!(found[0].starts_with(&format!("3: alarm_mail: {wrong} is ignored: ")), "{}", found[0]);
    }
    // Bytes that are not UTF-8 spoil their address and no more.
    let (settings, found) = one(b"alarm_mail : x@y M\xfcller z");
    assert_eq!(settings.alarm_mail, ["x@y", "z"]);
    assert_eq!(told(&found), ["3: alarm_mail: M\\xfcller is ignored: an address has only ASCII characters"]);
    assert_eq!(one(format!("alarm_mail : {} b", "a".repeat(255))).0.alarm_mail, ["b"]);
}

#[test]
fn a_mail_line_ends_at_byte_2048_and_never_in_an_address() {
    let line = |length: usize, rest: &str| {
        let mut line = "alarm_mail : first,".to_owned();
        line.push_str(&"x".repeat(60));
        while line.len() < length - 5 {
            line.push(' ');
        }
        line.push_str("last1");
        assert_eq!(line.len(), length);
        line + rest
    };
    let long = "x".repeat(60);
    let past = "3: alarm_mail: what is past byte 2048 of the line is ignored";
    let whole = ["first", long.as_str(), "last1"];
    let table: [(String, &[&str], &[&str]); 7] = [
        (line(2048, ""), &whole, &[]),
        (line(2048, "\r"), &whole, &[]),
        (line(2048, "   "), &whole, &[]),
        (line(2048, " more"), &whole, &[past]),
        (line(2048, "2@elsewhere.example"), &whole[..2], &[past]),
        (line(2049, ""), &whole[..2], &[past]),
        (format!("alarm_mail : {}first", " ".repeat(3000)), &[], &[past]),
    ];
    for (text, addresses, problems) in table {
        let (settings, found) = one(text);
        assert_eq!(settings.alarm_mail, addresses);
        assert_eq!(told(&found), problems);
    }
}

#[test]
fn numbers_for_text_messages() {
    let (settings, found) = one("alarm_gsm : 0171123, +49171123\t0171123 12-34 x + ++1 \u{661}");
    assert_eq!(settings.alarm_gsm, ["0171123", "+49171123"]);
    assert_eq!(found.len(), 5);
    assert!(told(&found)[0].starts_with("3: alarm_gsm: 12-34 is ignored: "));
    let (settings, found) = one("alarm_gsm : 1 2 3 4 5 6 7 8 9 10 10 11 12");
    assert_eq!(settings.alarm_gsm.len(), 10);
    assert_eq!(told(&found), ["3: alarm_gsm: more than 10 numbers, [global]'s included: 2 ignored"]);
    assert_eq!(one(format!("alarm_gsm : {}", "1".repeat(33))).0.alarm_gsm, [""; 0]);
}

#[test]
fn control_bytes_unset_a_classic_value_and_refuse_one_of_ours() {
    for byte in (0..=8).chain(11..=31).chain([127]) {
        for key in crate::config::keys::KEYS.iter().map(|key| key.name) {
            let mut item = format!("{key} : 1 ").into_bytes();
            item.extend([byte, b'2']);
            let classic = key.starts_with("max") || ["alarm_interval", "alarm_mail", "alarm_gsm"].contains(&key);
            let mut text = b"[web]\n".to_vec();
            text.extend_from_slice(&item);
            let (settings, found) = web(&text);
            assert_eq!(settings, Settings::default(), "{key} {byte}");
            let expected = if classic {
                format!("2: {key}: the value holds a control byte, so it counts as unset")
            } else {
                format!("!2: {key}: the value holds a control byte")
            };
            assert_eq!(told(&found), [expected]);
        }
    }
    assert_eq!(told(&one("mail_from : a\u{85}b").1), ["!3: mail_from: the value holds a control character"]);
    assert_eq!(told(&one(b"mail_from : \xff").1), ["!3: mail_from: the value is not UTF-8"]);
    assert_eq!(told(&one(b"pacing : \xff").1), ["!3: pacing: the value is not UTF-8"]);
}
