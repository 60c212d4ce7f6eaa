//! Reads a message file: strictly, since who wrote it is not known for sure.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::facts::Fact;
use crate::config::{Transport, check_address, check_number, parse_transport, parse_webhook, split_words};
use crate::text::unescape;

/// A message of ours has a tenth of it.
pub(super) const SIZE_LIMIT: u64 = 1 << 20;

/// In seconds of Unix time. A mail's year has four digits, and the mail library panics at a later one.
const YEAR_10000: u64 = 253_402_300_800;

/// Somebody who is to get a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Recipient {
    /// `user` or `user@domain`.
    Mail(String),
    /// A telephone number.
    Gsm(String),
    /// The words of a program.
    Exec(Vec<OsString>),
    /// An `http://` or `https://` address.
    Webhook(String),
}

/// A message file, taken apart.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Message {
    /// `<ID@HOST>`
    pub(super) message_id: String,
    pub(super) subject: String,
    /// Who is to get it, each with its line of the file, which is how it is remembered.
    pub(super) recipients: Vec<(String, Recipient)>,
    pub(super) transport: Option<Transport>,
    pub(super) from: Option<String>,
    pub(super) password_file: Option<PathBuf>,
    pub(super) gsm_command: Option<Vec<OsString>>,
    pub(super) conf: Option<PathBuf>,
    /// Where supervise ran.
    pub(super) folder: Option<PathBuf>,
    pub(super) facts: Vec<Fact>,
    pub(super) body: String,
}

impl Message {
    /// Takes a message file apart. Lines with an unknown key are skipped, so that an older svalarm can deliver what a
    /// newer supervise wrote.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8")?;
        let (head, body) = text.split_once("\n\n").ok_or("it has no end of its headers")?;
        let mut message = Self {
            message_id: String::new(),
            subject: String::new(),
            recipients: Vec::new(),
            transport: None,
            from: None,
            password_file: None,
            gsm_command: None,
            conf: None,
            folder: None,
            facts: Vec::new(),
            body: body.to_owned(),
        };
        for line in head.lines() {
            let (key, value) = line.split_once(": ").ok_or("a line of its head has no key")?;
            if value.chars().any(char::is_control) {
                return Err(format!("{key} holds a control character"));
            }
            message.take_line(line, key, value).ok_or_else(|| format!("its {key} is wrong"))?;
        }
        for (key, value) in [("Message-ID", &message.message_id), ("Subject", &message.subject)] {
            if value.is_empty() {
                return Err(format!("it has no {key}"));
            }
        }
        Ok(message)
    }

    /// `None`: the value is none that this key may have.
    fn take_line(&mut self, line: &str, key: &str, value: &str) -> Option<()> {
        let mut recipient = |recipient| self.recipients.push((line.to_owned(), recipient));
        match key {
            "To" => recipient(Recipient::Mail(address(value)?)),
            "Gsm" => recipient(Recipient::Gsm(plain(value).filter(|it| check_number(it.as_bytes()).is_some())?)),
            "Exec" => recipient(Recipient::Exec(words(value)?)),
            "Webhook" => recipient(Recipient::Webhook(plain(value).filter(|it| parse_webhook(it).is_ok())?)),
            "Message-ID" => self.message_id = Some(value).filter(|value| is_message_id(value))?.to_owned(),
            "Subject" => value.clone_into(&mut self.subject),
            "Mail-Transport" => self.transport = Some(parse_transport(&plain(value)?).ok()?),
            "Mail-From" => self.from = Some(address(value)?),
            "Mail-Password-File" => self.password_file = Some(path(value)?),
            "Gsm-Command" => self.gsm_command = Some(words(value)?),
            "Conf" => self.conf = Some(path(value)?),
            "Folder" => self.folder = Some(path(value)?),
            "Fact" => self.facts.push(fact(value)?),
            _ => {}
        }
        Some(())
    }

    /// A fact by its key, as it stands in the file.
    pub(super) fn fact(&self, key: &str) -> Option<&str> {
        self.facts.iter().find(|fact| fact.key == key).map(|fact| fact.value.as_str())
    }

    /// The module's name, as supervise.conf knows it.
    pub(super) fn module(&self) -> Option<Vec<u8>> {
        unescape(self.fact("module")?)
    }

    /// When it was raised; `None` too where a mail can't say so.
    pub(super) fn time(&self) -> Option<SystemTime> {
        let (seconds, _) = self.fact("time")?.split_once('.')?;
        let seconds = seconds.parse().ok().filter(|&seconds| seconds < YEAR_10000)?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
    }

    /// Subject and body, as a program gets them on its stdin.
    pub(super) fn text(&self) -> String {
        format!("{}\n\n{}", self.subject, self.body)
    }
}

/// Text that was escaped.
fn plain(value: &str) -> Option<String> {
    String::from_utf8(unescape(value)?).ok()
}

fn address(value: &str) -> Option<String> {
    plain(value).filter(|address| check_address(address.as_bytes()).is_ok())
}

fn path(value: &str) -> Option<PathBuf> {
    Some(PathBuf::from(OsStr::from_bytes(&unescape(value)?))).filter(|path| path.is_absolute())
}

fn words(value: &str) -> Option<Vec<OsString>> {
    let bytes = unescape(value).filter(|bytes| !bytes.contains(&0))?;
    Some(split_words(&bytes).0).filter(|words| words.first().is_some_and(|first| !first.is_empty()))
}

fn is_message_id(value: &str) -> bool {
    let inner = value.strip_prefix('<').and_then(|value| value.strip_suffix('>')).unwrap_or_default();
    !inner.is_empty() && inner.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'>')
}

fn fact(value: &str) -> Option<Fact> {
    let (key, value) = value.split_once(' ').unwrap_or((value, ""));
    let fits = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    fits.then(|| Fact { key: key.to_owned(), value: value.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "Message-ID: <1.2.3@h>\nDate: d\nSubject: s\nTo: a@b\nTo: root\nGsm: +1\nExec: 'a b' c\n\
                         Webhook: http://h/x\nMail-Transport: smtps://u@h:1\nMail-From: me@h\n\
                         Mail-Password-File: /p\\x0aq\nConf: /c\nFolder: /f\nFact: module \\xff\nFact: time 5.000000000\n\
                         Later: x\n\nbody\n\nmore\n";

    #[test]
    fn a_whole_message() {
        let message = Message::decode(WHOLE.as_bytes()).unwrap();
        let recipients: Vec<_> = message.recipients.iter().map(|(_, recipient)| recipient.clone()).collect();
        assert_eq!(
            recipients,
            [
                Recipient::Mail("a@b".to_owned()),
                Recipient::Mail("root".to_owned()),
                Recipient::Gsm("+1".to_owned()),
                Recipient::Exec(vec!["a b".into(), "c".into()]),
                Recipient::Webhook("http://h/x".to_owned()),
            ]
        );
        assert_eq!(message.recipients[0].0, "To: a@b");
        assert_eq!(message.password_file, Some(PathBuf::from("/p\nq")));
        assert_eq!((message.module().as_deref(), message.body.as_str()), (Some(&b"\xff"[..]), "body\n\nmore\n"));
        assert_eq!(message.time(), SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(5)));
    }

    #[test]
    fn a_time_that_no_mail_can_say_is_none() {
        let with = |time: &str| Message::decode(WHOLE.replace("time 5.", time).as_bytes()).unwrap();
        assert!(with("time 253402300799.").time().is_some(), "the last second of the year 9999");
        for time in ["time 253402300800.", "time 18446744073709551615."] {
            assert_eq!(with(time).time(), None);
        }
    }

    #[test]
    fn what_is_no_message() {
        for (from, to) in [
            ("\n\nbody\n\nmore\n", ""),
            ("To: a@b", "To: -oQ/tmp@b"),
            ("To: a@b", "To: a@b\\x0aBcc: c@d"),
            ("To: a@b", "To a@b"),
            ("Gsm: +1", "Gsm: 1;ls"),
            ("Webhook: http", "Webhook: file"),
            ("Exec: 'a b' c", "Exec: ''"),
            ("Conf: /c", "Conf: c"),
            ("Folder: /f", "Folder: f"),
            ("Message-ID: <1.2.3@h>", "Message-ID: <1.2 3@h>"),
            ("Message-ID: <1.2.3@h>\n", ""),
            ("Subject: s", "Subject: s\rx"),
            ("Fact: module", "Fact: Module"),
            ("Mail-Transport: smtps", "Mail-Transport: ftp"),
        ] {
            assert!(WHOLE.contains(from));
            assert!(Message::decode(WHOLE.replace(from, to).as_bytes()).is_err(), "{from:?} -> {to:?}");
        }
        assert!(Message::decode(b"\xff\n\n").is_err() && Message::decode(b"").is_err());
    }
}
