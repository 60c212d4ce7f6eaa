//! What the further keys take, and what they refuse.

use super::*;
use crate::config::{Hup, KillMode, Security, Transport};
use std::time::Duration;

fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

#[test]
fn programs_and_paths_may_be_any_bytes() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let word = OsStr::from_bytes(b"/srv/\xfcber").to_owned();
    let words = Some(vec![word.clone(), "a".into()]);
    for (key, get) in [
        ("command", (|settings| settings.command) as fn(Settings) -> _),
        ("gsm_command", |settings| settings.gsm_command),
        ("alarm_exec", |settings| settings.alarm_exec),
    ] {
        let (settings, found) = one([key.as_bytes(), b" : /srv/\xfcber\ta"].concat());
        assert_eq!((get(settings), found), (words.clone(), vec![]), "{key}");
        let (settings, found) = one(format!("{key} : sh -c 'a b'"));
        assert_eq!(get(settings), Some(vec!["sh".into(), "-c".into(), "a b".into()]));
        assert_eq!(found, []);
        let (settings, found) = one(format!("{key} : it's here"));
        assert_eq!(get(settings), Some(vec!["it's".into(), "here".into()]));
        assert_eq!(told(&found), [format!("3: {key}: its quotes don't come out even, so it is split on blanks")]);
        let (settings, found) = one(format!("{key} : '' a"));
        assert_eq!(get(settings), None);
        assert_eq!(told(&found), [format!("!3: {key}: it names no program")]);
    }
    let (settings, found) = one(b"mail_password_file : /srv/\xfc b's");
    assert_eq!(settings.mail_password_file, Some(OsStr::from_bytes(b"/srv/\xfc b's").into()));
    assert_eq!(found, []);
}

/// Each value with what it makes of the settings; then those that are refused.
#[test]
fn keys_of_ours() {
    type Change = fn(&mut Settings);
    let good: [(&str, Change); 26] = [
        ("pacing : 0.1", |s| s.pacing = secs(0.1)),
        ("pacing : 2", |s| s.pacing = secs(2.0)),
        ("pacing : 0.5", |s| s.pacing = secs(0.5)),
        ("pacing : 1000000000.0", |s| s.pacing = secs(1e9)),
        ("pacing : 1.0000000019", |s| s.pacing = Duration::new(1, 1)),
        ("pacing :", |_| {}),
        ("stop_timeout : 0", |_| {}),
        ("stop_timeout : 0.0", |_| {}),
        ("stop_timeout : 12.25", |s| s.stop_timeout = Some(secs(12.25))),
        ("hook_timeout : 0.000000001", |s| s.hook_timeout = Duration::from_nanos(1)),
        ("kill_mode : process", |_| {}),
        ("kill_mode : group", |s| s.kill_mode = KillMode::Group),
        ("hup : ignored", |_| {}),
        ("hup : default", |s| s.hup = Hup::Default),
        ("log_max_size : 1", |s| s.log_max_size = 1),
        ("log_max_size : 100k", |s| s.log_max_size = 102_400),
        ("log_max_size : 3M", |s| s.log_max_size = 3 << 20),
        ("log_max_size : 17179869183g", |s| s.log_max_size = 17_179_869_183 << 30),
        ("log_backups : 0", |s| s.log_backups = 0),
        ("log_backups : 1000", |s| s.log_backups = 1000),
        ("mail_from : ops@example.org", |s| s.mail_from = Some("ops@example.org".to_owned())),
        ("mail_from : root", |s| s.mail_from = Some("root".to_owned())),
        ("alarm_recovered : yes", |s| s.alarm_recovered = true),
        ("alarm_recovered : no", |_| {}),
        ("alarm_webhook : http://h", |s| s.alarm_webhook = Some("http://h".to_owned())),
        ("alarm_webhook : https://h.example:8443/x?y=%20#z", |s| {
            s.alarm_webhook = Some("https://h.example:8443/x?y=%20#z".to_owned());
        }),
    ];
    for (item, change) in good {
        let mut expected = with_window();
        change(&mut expected);
        assert_eq!(one(item), (expected, vec![]), "{item}");
    }
    for item in [
        "pacing : 0",
        "pacing : 0.0999999999",
        "pacing : -1",
        "pacing : +1",
        "pacing : 1e3",
        "pacing : .5",
        "pacing : 5.",
        "pacing : 1,5",
        "pacing : 1 s",
        "pacing : inf",
        "pacing : NaN",
        "pacing : 1000000000.1",
        "pacing : 99999999999999999999999",
        "pacing : 1.2.3",
        "pacing : .",
        "stop_timeout : -1",
        "stop_timeout : never",
        "stop_timeout : 1000000001",
        "hook_timeout : 0",
        "hook_timeout : 0.0000000001",
        "kill_mode : Group",
        "kill_mode : all",
        "hup : ignore",
        "log_max_size : 0",
        "log_max_size : 0k",
        "log_max_size : 64mb",
        "log_max_size : m",
        "log_max_size : 1.5m",
        "log_max_size : +1m",
        "log_max_size : 17179869184g",
        "log_max_size : 18446744073709551616",
        "log_max_size : 1 m",
        "log_backups : 1001",
        "log_backups : -1",
        "log_backups : +1",
        "log_backups : 1.0",
        "log_backups : 4294967296",
        "mail_from : a b",
        "mail_from : <a@b>",
        "mail_from : a@b@c",
        "mail_from : -a",
        "mail_from : Ops <a@b>",
        "alarm_recovered : Yes",
        "alarm_recovered : 1",
        "alarm_webhook : ftp://h",
        "alarm_webhook : h",
        "alarm_webhook : http://",
        "alarm_webhook : http:///x",
        "alarm_webhook : http://h:0",
        "alarm_webhook : http://h:65536/",
        "alarm_webhook : http://h:/",
        "alarm_webhook : http://h/a b",
        "alarm_webhook : http://h/\u{fc}",
        "alarm_webhook : http://u:p@h/",
        "alarm_webhook : HTTP://h",
        "alarm_webhook : http://::1/",
    ] {
        let (settings, found) = one(item);
        assert_eq!(settings, with_window(), "{item}");
        let found = told(&found);
        let key = item.split(' ').next().unwrap();
        assert!(found.len() == 1 && found[0].starts_with(&format!("!3: {key}: ")), "{item}: {found:?}");
    }
}

#[test]
fn mail_transports() {
    let smtp = |security, user: Option<&str>, host: &str, port| Transport::Smtp {
        security,
        user: user.map(str::to_owned),
        host: host.to_owned(),
        port,
    };
    let good = [
        ("none", Transport::None),
        ("sendmail", Transport::Sendmail(None)),
        ("sendmail:/usr/local/bin/send mail", Transport::Sendmail(Some("/usr/local/bin/send mail".into()))),
        ("smtp://localhost", smtp(Security::Plain, None, "localhost", 25)),
        ("smtp://relay.example.org:2525", smtp(Security::Plain, None, "relay.example.org", 2525)),
        ("smtp://[::1]", smtp(Security::Plain, None, "::1", 25)),
        ("smtp://[fe80::1]:26", smtp(Security::Plain, None, "fe80::1", 26)),
        ("smtp+starttls://h", smtp(Security::StartTls, None, "h", 587)),
        ("smtp+starttls://u@h:65535", smtp(Security::StartTls, Some("u"), "h", 65535)),
        ("smtp://my_relay", smtp(Security::Plain, None, "my_relay", 25)),
        ("smtps://h:1", smtp(Security::Tls, None, "h", 1)),
        ("smtps://u@example.org@h", smtp(Security::Tls, Some("u@example.org"), "h", 465)),
    ];
    for (value, transport) in good {
        let (settings, found) = one(format!("mail_transport : {value}"));
        assert_eq!((settings.mail_transport, found), (Some(transport.clone()), vec![]), "{value}");
        assert_eq!(transport.to_string(), value);
    }
    assert_eq!(smtp(Security::Tls, None, "h", 465).to_string(), "smtps://h");
    for value in [
        "None",
        "mail",
        "sendmail:",
        "sendmail:bin/x",
        "smtp:",
        "smtp://",
        "smtp:///",
        "smtp://h/",
        "smtp://:25",
        "smtp://h:",
        "smtp://h:0",
        "smtp://h:65536",
        "smtp://h:+25",
        "smtp://h:x",
        "smtp://::1",
        "smtp://[::1",
        "smtp://[h]",
        "smtp://[::1]25",
        "smtp://-h",
        "smtp://u@h",
        "smtps://@h",
        "smtps://u v@h",
        "smtps://u:secret",
        "smtps://u:secret@h",
        "smtp://u:secret@h",
        "smtps://u:sec/ret@h",
        "smtsp://u:secret@h",
        "http://h",
        "smtp://h h",
        "smtp://\u{fc}",
        "u:secret@h",
    ] {
        let (settings, found) = one(format!("mail_transport : {value}"));
        assert_eq!(settings.mail_transport, None, "{value}");
        let found = told(&found);
        assert!(found.len() == 1 && found[0].starts_with("!3: mail_transport: "), "{value}: {found:?}");
        assert!(!found[0].contains("secret"), "a password went to the log: {}", found[0]);
    }
}

#[test]
fn a_misspelt_transport_is_told_what_is_right() {
    let relay = |scheme: &str| format!("a relay is named as in {scheme}://HOST, in small letters and with ://");
    let none = |word: &str, hint: &str| {
        format!(
            "{word} is none of sendmail, sendmail:PATH, smtp://HOST, smtp+starttls://HOST, smtps://HOST, none{hint}"
        )
    };
    let sendmail =
        "behind sendmail stands nothing, or a colon and an absolute path, as in sendmail:/usr/sbin/sendmail".to_owned();
    for (value, told_of) in [
        ("smtp:/h", relay("smtp")),
        ("smtp:h:25", relay("smtp")),
        ("smtp", relay("smtp")),
        ("SMTP://h", relay("smtp")),
        ("smtps//h", relay("smtps")),
        ("smtp+starttls:u:secret@h", relay("smtp+starttls")),
        ("smpt://h", none("smpt", "; is smtp://HOST meant?")),
        ("smtp+startls://h", none("smtp+startls", "; is smtp+starttls://HOST meant?")),
        ("sendmial", none("sendmial", "; is sendmail meant?")),
        ("sendmail /usr/sbin/sendmail", sendmail.clone()),
        ("Sendmail", sendmail),
        ("/usr/sbin/sendmail", none("", "; a program is named as in sendmail:/usr/sbin/sendmail")),
        ("relay.example.org", none("relay.example.org", "")),
        ("NONE", "none is written in small letters, and nothing stands behind it".to_owned()),
    ] {
        let (_, found) = one(format!("mail_transport : {value}"));
        assert_eq!(told(&found), [format!("!3: mail_transport: {told_of}")], "{value}");
    }
}
