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
    pub(super) date: String,
    pub(super) subject: String,
    /// Who is to get it, each with its line of the file, which is how it is remembered.
    pub(super) recipients: Vec<(String, Recipient)>,
    pub(super) transport: Option<Transport>,
    pub(super) from: Option<String>,
    pub(super) password_file: Option<PathBuf>,
    pub(super) gsm_command: Option<Vec<OsString>>,
    pub(super) conf: Option<PathBuf>,
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
            date: String::new(),
            subject: String::new(),
            recipients: Vec::new(),
            transport: None,
            from: None,
            password_file: None,
            gsm_command: None,
            conf: None,
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

    fn take_line(&mut self, line: &str, key: &str, value: &str) -> Option<()> {
        let plain = || String::from_utf8(unescape(value)?).ok();
        let path = || Some(PathBuf::from(OsStr::from_bytes(&unescape(value)?))).filter(|path| path.is_absolute());
        let words = || {
            let bytes = unescape(value).filter(|bytes| !bytes.contains(&0))?;
            Some(split_words(&bytes).0).filter(|words| words.first().is_some_and(|first| !first.is_empty()))
        };
        let address = || plain().filter(|address| check_address(address.as_bytes()).is_ok());
        let recipient = match key {
            "Message-ID" => {
                let inner = value.strip_prefix('<')?.strip_suffix('>')?;
                let fits = !inner.is_empty() && inner.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'>');
                self.message_id = Some(value).filter(|_| fits)?.to_owned();
                return Some(());
            }
            "To" => Recipient::Mail(address()?),
            "Gsm" => Recipient::Gsm(plain().filter(|number| check_number(number.as_bytes()).is_some())?),
            "Exec" => Recipient::Exec(words()?),
            "Webhook" => Recipient::Webhook(plain().filter(|address| parse_webhook(address).is_ok())?),
            _ => return self.take_other(key, value, plain, path, words, address),
        };
        self.recipients.push((line.to_owned(), recipient));
        Some(())
    }

    fn take_other(
        &mut self,
        key: &str,
        value: &str,
        plain: impl Fn() -> Option<String>,
        path: impl Fn() -> Option<PathBuf>,
        words: impl Fn() -> Option<Vec<OsString>>,
        address: impl Fn() -> Option<String>,
    ) -> Option<()> {
        match key {
            "Date" => value.clone_into(&mut self.date),
            "Subject" => value.clone_into(&mut self.subject),
            "Mail-Transport" => self.transport = Some(parse_transport(&plain()?).ok()?),
            "Mail-From" => self.from = Some(address()?),
            "Mail-Password-File" => self.password_file = Some(path()?),
            "Gsm-Command" => self.gsm_command = Some(words()?),
            "Conf" => self.conf = Some(path()?),
            "Fact" => {
                let (key, value) = value.split_once(' ').unwrap_or((value, ""));
                let fits = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
                let key = Some(key).filter(|_| fits)?.to_owned();
                self.facts.push(Fact { key, value: value.to_owned() });
            }
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

    /// When it was raised.
    pub(super) fn time(&self) -> Option<SystemTime> {
        let (seconds, _) = self.fact("time")?.split_once('.')?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds.parse().ok()?))
    }

    /// Subject and body, as a program gets them on its stdin.
    pub(super) fn text(&self) -> String {
        format!("{}\n\n{}", self.subject, self.body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "Message-ID: <1.2.3@h>\nDate: d\nSubject: s\nTo: a@b\nTo: root\nGsm: +1\nExec: 'a b' c\n\
                         Webhook: http://h/x\nMail-Transport: smtps://u@h:1\nMail-From: me@h\n\
                         Mail-Password-File: /p\\x0aq\nConf: /c\nFact: module \\xff\nFact: time 5.000000000\n\
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
