//! supervise.conf, and the words of a command.

use std::time::Duration;

use crate::config::{Settings, join_words, parse, split_words};

/// Any text is parsed; each problem has its line and can go to a log, and each module gets settings that can be used.
pub fn conf(text: &[u8]) {
    let conf = parse(text);
    let lines = text.split(|byte| *byte == b'\n').count();
    for problem in conf.problems() {
        assert!((1..=lines).contains(&problem.line), "{problem}");
        assert!(!problem.to_string().contains(char::is_control), "{problem}");
    }
    assert!(conf.problems().is_sorted_by_key(|problem| problem.line));
    let others = [&b"global"[..], b"web", b"elsewhere", b""];
    for module in conf.modules().chain(others) {
        let resolved = conf.resolve(module);
        assert!(resolved.problems.iter().all(|problem| conf.problems().contains(problem)));
        check_settings(&resolved.settings, std::str::from_utf8(text).is_ok());
    }
}

fn check_settings(settings: &Settings, is_utf8: bool) {
    assert!(settings.pacing >= Duration::from_millis(100));
    assert!(settings.log_max_size > 0 && settings.alarm_gsm.len() <= 10);
    assert!(settings.rules(None).window.is_some() || settings.alarm_mail.is_empty());
    let mut again = b"[web]\n".to_vec();
    for (name, value) in settings.describe() {
        assert!(!value.contains(char::is_control));
        again.extend_from_slice(format!("{name} : {value}\n").as_bytes());
    }
    // What --check shows is a configuration that gives the same, but for bytes that are not UTF-8.
    if is_utf8 && !again.windows(2).any(|pair| pair == b"\\x") {
        let read_again = parse(&again).resolve(b"web");
        assert_eq!(read_again.problems, []);
        assert_eq!(&read_again.settings, settings);
    }
}

/// Any text is split; what is joined from the words is split into the same.
pub fn words(text: &[u8]) {
    let (words, uneven) = split_words(text);
    assert!(!uneven || text.contains(&b'\'') || text.contains(&b'"'));
    assert!(!words.is_empty() || text.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\\')));
    if !text.contains(&0) {
        assert_eq!(split_words(&join_words(&words)), (words, false));
    }
}
