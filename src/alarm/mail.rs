//! Sends one mail to one address, through the sendmail program or to a relay.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lettre::address::Envelope;
use lettre::message::header::{ContentType, HeaderName, HeaderValue, MIME_VERSION_1_0};
use lettre::message::{Mailbox, Message as Mail};
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{SmtpConnection, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::{self, commands};
use lettre::{Address, address::AddressError};

use super::copy::{Outcome, bound_memory};
use super::message::mail_host;
use super::program::{call, ended_badly};
use super::read::Message;
use super::ways::Ways;
use crate::config::{Security, Transport};
use crate::sys::why_io;
use crate::text::escape;

/// For one read or write; the deadline of the whole copy is longer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Where sendmail is, beside PATH.
const SENDMAIL_FOLDERS: [&str; 2] = ["/usr/sbin", "/usr/lib"];
/// sysexits.h: EX_DATAERR, EX_NOUSER.
const SENDMAIL_REFUSES: [i32; 2] = [65, 67];

/// Delivers a message to an address.
pub(super) fn deliver(message: &Message, address: &str, ways: &Ways) -> Outcome {
    let host = mail_host(message.fact("host").unwrap_or_default());
    let from = ways.from.as_deref().unwrap_or("supervise");
    let transport = ways.transport.clone().unwrap_or_else(|| match installed_sendmail() {
        Some(path) => Transport::Sendmail(Some(path)),
        None => relay_here(),
    });
    match transport {
        Transport::None => Outcome::Again("mail_transport is `none`".to_owned()),
        Transport::Sendmail(path) => {
            let Some(path) = path.or_else(installed_sendmail) else {
                return Outcome::Again("sendmail is not installed".to_owned());
            };
            let mail = match compose(message, from, address, host, host) {
                Ok((_, mail)) => mail,
                Err(error) => return Outcome::Again(format!("unable to make a mail: {error}")),
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
                Err(error) => return Outcome::Again(format!("unable to make a mail: {error}")),
            };
            let credentials = match user.map(|user| credentials(user, ways.password_file.as_deref())).transpose() {
                Ok(credentials) => credentials,
                Err(reason) => return Outcome::Again(reason),
            };
            let relay = Relay { security, name: &relay, port, own_name: host };
            match relay.send(&envelope, &mail, credentials.as_ref()) {
                Ok(()) => Outcome::Accepted,
                Err(Failed { text, for_good: true }) => Outcome::Refused(text),
                Err(Failed { text, for_good: false }) => Outcome::Again(text),
            }
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

/// The envelope, and the sender with the mail's bytes.
fn compose(
    message: &Message,
    from: &str,
    to: &str,
    host: &str,
    local: &str,
) -> Result<(Envelope, (String, Vec<u8>)), String> {
    let words = |error: AddressError| error.to_string();
    let from = qualified(from, host).map_err(words)?;
    let recipient = qualified(to, local).map_err(words)?;
    let envelope = Envelope::new(Some(from.clone()), vec![recipient.clone()]).map_err(|error| error.to_string())?;
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
    let mail = builder.body(message.body.clone()).map_err(|error| error.to_string())?;
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
        Err(reason) => Outcome::Again(reason),
    }
}

/// Who logs in, with the first line of the password file.
fn credentials(user: String, file: Option<&Path>) -> Result<Credentials, String> {
    let path = file.ok_or("there is a user for the relay, but no mail_password_file")?;
    let name = escape(path.as_os_str().as_encoded_bytes());
    let failed = |error: std::io::Error| format!("unable to read {name}: {}", why_io(&error));
    let mut file = File::open(path).map_err(failed)?;
    let stat = file.metadata().map_err(failed)?;
    if !stat.is_file() {
        return Err(format!("{name} is no regular file"));
    }
    if stat.mode() & 0o077 != 0 {
        return Err(format!("{name} can be read or changed by others (mode {:04o}): chmod 600", stat.mode() & 0o7777));
    }
    let mut text = String::new();
    file.by_ref().take(4096).read_to_string(&mut text).map_err(failed)?;
    let password = text.lines().next().unwrap_or_default();
    if password.is_empty() {
        return Err(format!("{name} holds no password"));
    }
    Ok(Credentials::new(user, password.to_owned()))
}

struct Failed {
    text: String,
    for_good: bool,
}

struct Relay<'a> {
    security: Security,
    name: &'a str,
    port: u16,
    own_name: &'a str,
}

impl Relay<'_> {
    /// One connection, one transaction, one recipient: what becomes of it says nothing about the others. Until the
    /// relay is asked about this mail, nothing that it says is about this mail, and so nothing is for good.
    fn send(&self, envelope: &Envelope, mail: &[u8], credentials: Option<&Credentials>) -> Result<(), Failed> {
        let for_now = |error: smtp::Error| Failed { text: self.words(&error), for_good: false };
        let hello = ClientId::Domain(self.own_name.to_owned());
        let tls = match self.security {
            Security::Plain => None,
            Security::StartTls | Security::Tls => {
                Some(TlsParameters::new_rustls(self.name.to_owned()).map_err(for_now)?)
            }
        };
        let at_once = tls.as_ref().filter(|_| self.security == Security::Tls);
        let mut connection =
            SmtpConnection::connect((self.name, self.port), Some(TIMEOUT), &hello, at_once, None).map_err(for_now)?;
        if self.security == Security::StartTls
            && let Some(tls) = &tls
        {
            connection.starttls(tls, &hello).map_err(for_now)?;
        }
        if let Some(credentials) = credentials {
            connection.auth(&[Mechanism::Plain, Mechanism::Login], credentials).map_err(for_now)?;
        }
        let result = transact(&mut connection, envelope, mail);
        match &result {
            Ok(()) => drop(connection.quit()), // it has taken the mail, whatever it says now
            Err(_) => connection.abort(),
        }
        result.map_err(|error| Failed {
            text: self.words(&error),
            for_good: error.is_permanent() && !error.status().is_some_and(|code| about_us(code.into())),
        })
    }

    fn words(&self, error: &smtp::Error) -> String {
        let mut text = format!("{}:{}: {error}", self.name, self.port);
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            let words = error.to_string();
            if !text.contains(&words) {
                text = format!("{text}: {words}");
            }
            cause = error.source();
        }
        escape(text.as_bytes())
    }
}

/// One mail to one recipient. The mail goes out in one piece with the dot that ends it: written on its own, the dot would
/// wait in the kernel for an acknowledgement (40 ms on most systems), and whoever is killed in that time has sent a mail
/// without knowing.
fn transact(connection: &mut SmtpConnection, envelope: &Envelope, mail: &[u8]) -> Result<(), smtp::Error> {
    connection.command(commands::Mail::new(envelope.from().cloned(), Vec::new()))?;
    for recipient in envelope.to() {
        connection.command(commands::Rcpt::new(recipient.clone(), Vec::new()))?;
    }
    connection.command(commands::Data)?;
    let mail = String::from_utf8_lossy(mail); // ASCII: lettre encodes all else
    let mut text = String::with_capacity(mail.len() + 5);
    for line in mail.split_inclusive('\n') {
        if line.starts_with('.') {
            text.push('.'); // RFC 5321, 4.5.2
        }
        text.push_str(line);
    }
    text.push_str(if text.ends_with("\r\n") { ".\r\n" } else { "\r\n.\r\n" });
    connection.command(text).map(drop)
}

/// Codes about logging in and encryption (RFC 4954, section 6): the conf is wrong, not the mail.
fn about_us(code: u16) -> bool {
    [530, 534, 535, 538].contains(&code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_sendmail_it_is_the_relay_of_this_machine() {
        assert_eq!(relay_here().to_string(), "smtp://localhost");
    }
}
