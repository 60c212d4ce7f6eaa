//! Sends one mail to one address, through the sendmail program or to a relay.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use lettre::address::Envelope;
use lettre::message::header::{ContentType, HeaderName, HeaderValue, MIME_VERSION_1_0};
use lettre::message::{Mailbox, Message as Mail};
use lettre::{Address, address::AddressError};

use super::copy::{Outcome, bound_memory};
use super::message::mail_host;
use super::program::{call, ended_badly};
use super::read::Message;
use super::relay::{Relay, credentials};
use super::ways::Ways;
use crate::config::{Security, Transport};

/// Where sendmail is, beside PATH.
const SENDMAIL_FOLDERS: [&str; 2] = ["/usr/sbin", "/usr/lib"];
/// sysexits.h: EX_DATAERR, EX_NOUSER.
const SENDMAIL_REFUSES: [i32; 2] = [65, 67];

/// Delivers a message to an address. `sent` is called when a relay is about to get the end of the mail.
pub(super) fn deliver(message: &Message, address: &str, ways: &Ways, sent: impl FnOnce()) -> Outcome {
    let host = mail_host(message.fact("host").unwrap_or_default());
    let from = ways.from.as_deref().unwrap_or("supervise");
    let transport = ways.transport.clone().unwrap_or_else(|| match installed_sendmail() {
        Some(path) => Transport::Sendmail(Some(path)),
        None => relay_here(),
    });
    match transport {
        Transport::None => Outcome::Unreachable("mail_transport is `none`".to_owned()),
        Transport::Sendmail(path) => {
            let Some(path) = path.or_else(installed_sendmail) else {
                return Outcome::Unreachable("sendmail is not installed".to_owned());
            };
            let mail = match compose(message, from, address, host, host) {
                Ok((_, mail)) => mail,
                Err(outcome) => return outcome,
            };
            // A bare name stays one: the mailer knows what is local here.
            let from = if from.contains('@') { from.to_owned() } else { mail.0 };
            through_sendmail(message, &path, &from, address, &mail.1)
        }
        Transport::Smtp { security, user, host: relay, port } => {
            bound_memory();
            // A name without @ is a user of the relay's machine, where that is this one.
            let loopback = relay == "localhost" || relay.starts_with("127.") || relay == "::1";
            let local = if loopback { "localhost" } else { host };
            let (envelope, mail) = match compose(message, from, address, host, local) {
                Ok((envelope, mail)) => (envelope, mail.1),
                Err(outcome) => return outcome,
            };
            let credentials = match user.map(|user| credentials(user, ways.password_file.as_deref())).transpose() {
                Ok(credentials) => credentials,
                Err(reason) => return Outcome::Unreachable(reason),
            };
            Relay { security, name: &relay, port, own_name: host }.send(&envelope, &mail, credentials.as_ref(), sent)
        }
    }
}

fn relay_here() -> Transport {
    let (security, host) = (Security::Plain, "localhost".to_owned());
    Transport::Smtp { security, user: None, host, port: security.default_port() }
}

fn installed_sendmail() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(SENDMAIL_FOLDERS.map(PathBuf::from));
    folders.map(|folder| folder.join("sendmail")).find(|file| {
        file.is_absolute() && file.metadata().is_ok_and(|there| there.is_file() && there.mode() & 0o111 != 0)
    })
}

/// `user` or `user@domain`; a bare user gets this host.
fn qualified(address: &str, host: &str) -> Result<Address, AddressError> {
    match address.split_once('@') {
        Some((user, domain)) => Address::new(user, domain),
        None => Address::new(address, host),
    }
}

/// The envelope, and the sender with the mail's bytes. A recipient to whom no mail can be written is refused for good.
pub(super) fn compose(
    message: &Message,
    from: &str,
    to: &str,
    host: &str,
    local: &str,
) -> Result<(Envelope, (String, Vec<u8>)), Outcome> {
    let failed = |error: &dyn std::error::Error| Outcome::Again(format!("unable to make a mail: {error}"));
    let from = qualified(from, host).map_err(|error| failed(&error))?;
    let recipient =
        qualified(to, local).map_err(|error| Outcome::Refused(format!("no mail can be sent there: {error}")))?;
    let envelope = Envelope::new(Some(from.clone()), vec![recipient.clone()]).map_err(|error| failed(&error))?;
    let mut builder = Mail::builder()
        .from(Mailbox::new(Some("supervise".to_owned()), from.clone()))
        .to(Mailbox::new(None, recipient))
        .subject(&message.subject)
        .message_id(Some(message.message_id.clone()))
        .envelope(envelope.clone())
        .header(MIME_VERSION_1_0)
        .header(ContentType::TEXT_PLAIN);
    if let Some(time) = message.time() {
        builder = builder.date(time);
    }
    // Nobody's holiday notice answers it (RFC 3834).
    let name = HeaderName::new_from_ascii_str("Auto-Submitted");
    builder = builder.raw_header(HeaderValue::new(name, "auto-generated".to_owned()));
    let mail = builder.body(message.body.clone()).map_err(|error| failed(&error))?;
    Ok((envelope, (from.to_string(), mail.formatted())))
}

fn through_sendmail(message: &Message, program: &Path, from: &str, to: &str, mail: &[u8]) -> Outcome {
    let mut words: Vec<OsString> = vec![program.into()];
    words.extend(["-i", "-f", from, "--", to].map(OsString::from));
    // A mailer reads lines as this system has them.
    let mail: Vec<u8> = mail.iter().copied().filter(|&byte| byte != b'\r').collect();
    match call(message, &words, &mail) {
        Ok((status, _)) if status.success() => Outcome::Accepted,
        Ok((status, said)) => {
            let reason = ended_badly(program.as_os_str(), status, &said);
            let for_good = status.code().is_some_and(|code| SENDMAIL_REFUSES.contains(&code));
            if for_good { Outcome::Refused(reason) } else { Outcome::Again(reason) }
        }
        Err(reason) => Outcome::Unreachable(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_sendmail_it_is_the_relay_of_this_machine() {
        assert_eq!(relay_here().to_string(), "smtp://localhost");
    }
}
