//! The table of keys against the settings, the sample file and the man page.

use super::*;
use crate::config::keys::KEYS;

const SAMPLE: &[u8] = include_bytes!("../../../conf/supervise.conf");
const MAN_PAGE: &str = include_str!("../../../docs/man/supervise.conf.5");

#[test]
fn the_sample_is_the_default_and_names_every_key() {
    let conf = parse(SAMPLE);
    assert_eq!(told(conf.problems()), [""; 0]);
    let resolved = conf.resolve(b"web");
    assert_eq!(resolved.settings, Settings::default());
    assert_eq!(resolved.problems, []);
    let items: Vec<_> = conf.sections[0].items.iter().map(|item| item.key.name).collect();
    assert_eq!(items, KEYS.each_ref().map(|key| key.name), "each key once, in the order of the table");
    // And each says what --check says.
    for (item, (name, value)) in conf.sections[0].items.iter().zip(Settings::default().describe()) {
        assert_eq!(item.value, value.as_bytes(), "{name}");
    }
}

#[test]
fn the_commented_module_of_the_sample_is_right() {
    let text = String::from_utf8(SAMPLE.to_vec()).unwrap();
    let (top, end) = text.split_once("#[web]").unwrap();
    let (settings, problems) = web(format!("{top}[web]{}", end.replace("\n#", "\n")));
    assert_eq!(told(&problems), [""; 0]);
    assert_eq!(settings.alarm_mail, ["web@example.org"]);
}

#[test]
fn the_man_page_names_every_key_in_order() {
    let lines: Vec<_> = MAN_PAGE.lines().collect();
    let tagged: Vec<_> = lines
        .windows(2)
        .filter(|pair| pair[0] == ".TP")
        .filter_map(|pair| pair[1].strip_prefix(".B "))
        .filter(|tag| KEYS.iter().any(|key| key.name == *tag))
        .collect();
    assert_eq!(tagged, KEYS.each_ref().map(|key| key.name));
}

#[test]
fn every_name_is_there_once_and_is_its_own_nearest() {
    for key in &KEYS {
        assert_eq!(KEYS.iter().filter(|other| other.name == key.name).count(), 1);
        assert_eq!(super::super::keys::Key::nearest(key.name.as_bytes()), Some(key.name));
    }
}

#[test]
fn what_is_described_can_be_read_again() {
    let text = b"[web]\nalarm_interval : 61\nalarm_mail : a b@c\nalarm_gsm : 1 +2\nmax_tries : 3\n\
        max_tries_if_coredumped : 4\ncommand : sh -c 'a \"b\"' '' #c \\  d\npacing : 0.25\nstop_timeout : 1.5\n\
        kill_mode : group\nhup : default\nhook_timeout : 7\nlog_max_size : 1536\nlog_backups : 0\n\
        mail_transport : smtps://u@v@[::1]:99\nmail_from : a@b\nmail_password_file : /a b'c\n\
        gsm_command : x y\nalarm_exec : z\nalarm_webhook : https://h/\nalarm_recovered : yes\n";
    let (settings, problems) = web(text);
    assert_eq!(told(&problems), [""; 0]);
    let fresh = Settings::default().describe();
    let described = settings.describe();
    for ((name, value), (_, default)) in described.iter().zip(&fresh) {
        assert_ne!(value, default, "{name} was not changed by the text above");
    }
    let again: String = described.iter().map(|(name, value)| format!("{name} : {value}\n")).collect();
    assert_eq!(web(format!("[web]\n{again}")), (settings, vec![]));
}
