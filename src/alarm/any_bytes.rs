//! What must hold for any bytes in the spool and in `__stderr`.

use std::time::Duration;

use super::mail::compose;
use super::progress::Progress;
use super::read::{Message, Recipient};
use super::stderr_tail::{LINE_BYTES, LINES, last_lines};
use crate::policy::Moment;

/// Any message file is read or refused; from what is read a mail can be made that has the headers of ours and no other.
pub fn message(bytes: &[u8]) {
    let Ok(message) = Message::decode(bytes) else { return };
    assert!(!message.subject.contains(char::is_control) && !message.text().is_empty());
    let _ = message.module();
    for (line, recipient) in &message.recipients {
        assert!(!line.contains(char::is_control));
        match recipient {
            Recipient::Mail(address) => check_mail(&message, address),
            Recipient::Exec(words) => assert!(!words[0].is_empty()),
            Recipient::Gsm(_) | Recipient::Webhook(_) => {}
        }
    }
    if message.recipients.is_empty() {
        check_mail(&message, "root");
    }
}

fn check_mail(message: &Message, address: &str) {
    const KEYS: [&str; 9] = [
        "From: ",
        "To: ",
        "Subject: ",
        "Message-ID: ",
        "MIME-Version: ",
        "Content-Type: ",
        "Content-Transfer-Encoding: ",
        "Date: ",
        "Auto-Submitted: ",
    ];
    let from = message.from.as_deref().unwrap_or("supervise");
    let Ok((envelope, (_, mail))) = compose(message, from, address, "localhost", "localhost") else { return };
    assert_eq!(envelope.to().len(), 1);
    let text = String::from_utf8_lossy(&mail);
    let (head, _) = text.split_once("\r\n\r\n").expect("an end of the head");
    for line in head.split("\r\n") {
        assert!(line.starts_with([' ', '\t']) || KEYS.iter().any(|key| line.starts_with(key)), "{line:?}");
        assert!(!line.contains(['\r', '\n']), "{line:?}");
    }
}

/// Any progress is read or refused; what is read is written in the same way, and goes on within an hour.
pub fn progress(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Some(mut progress) = Progress::decode(text) else { return };
    assert_eq!(Progress::decode(&progress.encode()).as_ref(), Some(&progress));
    let now = Moment(1 << 40);
    for boot in ["", "b"] {
        assert!(progress.due(now, boot) <= now + Duration::from_secs(3600));
    }
    progress.end_pause(now, "b");
    assert_eq!(progress.due(now, "b"), now);
    progress.end_pause(now, "b");
}

/// Any output ends in so many lines of harmless text.
pub fn stderr_tail(bytes: &[u8]) {
    let lines = last_lines(bytes);
    assert!(lines.len() <= LINES);
    for line in &lines {
        assert!(line.len() <= 4 * LINE_BYTES + " ...".len(), "a byte has four characters at most");
        assert!(!line.contains(|character: char| character.is_control() && character != '\t'), "{line:?}");
    }
    let only_line_ends = bytes.iter().all(|&byte| byte == b'\n');
    assert!(only_line_ends || !lines.is_empty());
}
