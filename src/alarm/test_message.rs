//! A message that says no more than that it is a test: for who wants to see whether alarms arrive.

use std::fmt::Write as _;
use std::path::Path;

use super::Facts;
use super::message::{local_text, mail_host, recipients, rfc5322_date, ways_from};
use crate::config::Settings;
use crate::policy::Stamp;
use crate::text::escape;

/// The message file of a test. `folder`: where supervise runs. `sender`: who asks for it. Its subject is that of no exit,
/// its `kind` is `test`, and it has no facts about one.
#[must_use]
pub fn test_message(id: &str, at: Stamp, facts: Facts<'_>, folder: &Path, sender: &str) -> String {
    let mut out = String::with_capacity(1024);
    let (host, module) = (escape(facts.host.as_bytes()), escape(facts.module));
    let command = escape(facts.command);
    let mut header = |key: &str, value: &str| {
        let _ = writeln!(out, "{key}: {value}"); // writing to a String cannot fail
    };
    header("Message-ID", &format!("<{id}@{}>", mail_host(&host)));
    header("Date", &rfc5322_date(at));
    header("Subject", &format!("{} [Alarm: {host}] Test for service {module}, nothing happened", local_text(at)));
    for (key, value) in recipients(facts.settings).into_iter().chain(ways_from(facts, Some(folder))) {
        header(key, &value);
    }
    let time = format!("{}.{:09}", at.seconds(), at.nanos());
    for (key, value) in [("kind", "test"), ("host", &host), ("module", &module), ("command", &command), ("time", &time)]
    {
        header("Fact", &format!("{key} {value}"));
    }
    let sender = escape(sender.as_bytes());
    let _ = write!(
        out,
        "\nhost:        {host}\nmodule:      {module}\ncommand:     {command}\n\nThis is a test: `svc alarm test`, run by \
         {sender}. The service did not exit, and there is\nnothing to do. Who reads this gets the alarms of this service.\n"
    );
    out
}

/// Who is to receive alarms, a line each, as a message names them: `To: ops@example.org`.
#[must_use]
pub fn recipients_of(settings: &Settings) -> Vec<String> {
    recipients(settings).into_iter().map(|(key, value)| format!("{key}: {value}")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::read::Message;
    use super::*;
    use crate::config::parse;

    #[test]
    fn a_test_is_a_message_that_tells_of_no_exit() {
        let conf = b"[a]\nalarm_interval : 60\nalarm_mail : ops\nmail_password_file : p\nalarm_exec : x y\n";
        let settings = parse(conf).resolve(b"a").settings;
        let facts = Facts {
            host: "h",
            module: b"a",
            command: b"sleep \n1",
            program: b"sleep",
            settings: &settings,
            conf: Some(b"c"),
        };
        let text = test_message("7.8.9", Stamp(5_000_000_000), facts, Path::new("/f"), "root\n");
        let message = Message::decode(text.as_bytes()).unwrap();
        assert_eq!((message.message_id.as_str(), message.fact("kind")), ("<7.8.9@h>", Some("test")));
        assert!(message.subject.ends_with("[Alarm: h] Test for service a, nothing happened"), "{}", message.subject);
        for word in ["exited", "gave up", "recovered"] {
            assert!(!message.subject.contains(word));
        }
        assert_eq!((message.fact("pid"), message.fact("ended")), (None, None));
        let lines: Vec<&str> = message.recipients.iter().map(|(line, _)| line.as_str()).collect();
        assert_eq!(
            (lines, recipients_of(&settings)),
            (vec!["To: ops", "Exec: x y"], vec!["To: ops".into(), "Exec: x y".into()])
        );
        assert_eq!((message.conf, message.folder), (Some("/f/c".into()), Some("/f".into())));
        assert_eq!(message.password_file, Some("/f/p".into()));
    }
}
