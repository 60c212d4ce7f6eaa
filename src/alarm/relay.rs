//! Speaks with a relay: one connection, one mail, one recipient.

use std::fs::File;
use std::io::Read;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Instant;

use lettre::address::Envelope;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{SmtpConnection, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::{self, commands};

use super::copy::Outcome;
use super::times;
use crate::config::Security;
use crate::sys::why_io;
use crate::text::escape;

/// Who logs in, with the first line of the password file.
pub(super) fn credentials(user: String, file: Option<&Path>) -> Result<Credentials, String> {
    let path = file.ok_or("there is a user for the relay, but no mail_password_file")?;
    let name = escape(path.as_os_str().as_encoded_bytes());
    let failed = |error: std::io::Error| format!("unable to read {name}: {}", why_io(&error));
    // A fifo must not make us wait.
    let mut file = File::options()
        .read(true)
        .custom_flags(nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY)
        .open(path)
        .map_err(failed)?;
    let stat = file.metadata().map_err(failed)?;
    if !stat.is_file() {
        return Err(format!("{name} is no regular file"));
    }
    if stat.uid() != 0 && stat.uid() != nix::unistd::geteuid().as_raw() {
        return Err(format!(
            "{name} belongs to another user ({}): chown it to root or to who runs supervise",
            stat.uid()
        ));
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

pub(super) struct Relay<'a> {
    pub(super) security: Security,
    pub(super) name: &'a str,
    pub(super) port: u16,
    pub(super) own_name: &'a str,
}

impl Relay<'_> {
    /// One connection, one transaction, one recipient: what becomes of it says nothing about the others. Until the
    /// relay is asked about this mail, nothing that it says is about this mail, and so nothing is for good. `sent` is
    /// called when it is about to get the end of the mail.
    pub(super) fn send(
        &self,
        envelope: &Envelope,
        mail: &[u8],
        credentials: Option<&Credentials>,
        sent: impl FnOnce(),
    ) -> Outcome {
        let mut connection = match self.log_in(credentials) {
            Ok(connection) => connection,
            Err(reason) => return Outcome::Unreachable(reason),
        };
        let result = transact(&mut connection, envelope, mail, sent);
        // Whatever it says to the goodbye is not waited for long.
        let _ = connection.set_timeout(Some(times::to_quit()));
        match &result {
            Ok(()) => drop(connection.quit()), // it has taken the mail
            Err(_) => connection.abort(),
        }
        match result {
            Ok(()) => Outcome::Accepted,
            Err(error) if is_timeout(&error) => Outcome::Unreachable(self.words(&error)),
            Err(error) if error.is_permanent() && !error.status().is_some_and(|code| about_us(code.into())) => {
                Outcome::Refused(self.words(&error))
            }
            Err(error) => Outcome::Again(self.words(&error)),
        }
    }

    /// Up to where a mail can be sent; else why not.
    fn log_in(&self, credentials: Option<&Credentials>) -> Result<SmtpConnection, String> {
        let words = |error: smtp::Error| self.words(&error);
        let hello = ClientId::Domain(self.own_name.to_owned());
        let tls = match self.security {
            Security::Plain => None,
            Security::StartTls | Security::Tls => Some(TlsParameters::new_rustls(self.name.to_owned()).map_err(words)?),
        };
        let mut connection = self.connect(&hello, tls.as_ref().filter(|_| self.security == Security::Tls))?;
        let _ = connection.set_timeout(Some(times::to_answer())); // else it has less time
        if self.security == Security::StartTls
            && let Some(tls) = &tls
        {
            connection.starttls(tls, &hello).map_err(words)?;
        }
        if let Some(credentials) = credentials {
            connection.auth(&[Mechanism::Plain, Mechanism::Login], credentials).map_err(words)?;
        }
        Ok(connection)
    }

    /// Tries one address after the other: each has its share of the time that is left, and the last one all of it.
    fn connect(&self, hello: &ClientId, tls: Option<&TlsParameters>) -> Result<SmtpConnection, String> {
        let resolved = (self.name, self.port).to_socket_addrs();
        let resolved = resolved.map_err(|error| format!("{}:{}: {}", self.name, self.port, why_io(&error)))?;
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for address in resolved {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        let until = Instant::now() + times::to_connect();
        let mut reasons = Vec::new();
        for (left, address) in (1..=addresses.len()).rev().zip(&addresses) {
            let share = until.saturating_duration_since(Instant::now()) / u32::try_from(left).unwrap_or(u32::MAX);
            match SmtpConnection::connect(address, Some(share.max(times::least_to_connect())), hello, tls, None) {
                Ok(connection) => return Ok(connection),
                Err(error) if addresses.len() == 1 => reasons.push(self.words(&error)),
                Err(error) => reasons.push(format!("{address}: {}", self.words(&error))),
            }
        }
        Err(if reasons.is_empty() { format!("{} has no address", self.name) } else { reasons.join("; ") })
    }
    fn words(&self, error: &smtp::Error) -> String {
        if is_timeout(error) {
            return format!("{}:{}: no answer in time", self.name, self.port); // the kernel's words mislead
        }
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

/// A read or a write took too long; the kernel says EAGAIN then (socket(7), SO_RCVTIMEO).
fn is_timeout(error: &smtp::Error) -> bool {
    use std::io::{Error, ErrorKind};
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<Error>() {
            return matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        }
        cause = error.source();
    }
    false
}

/// One mail to one recipient. The mail goes out in one piece with the dot that ends it: written on its own, the dot would
/// wait in the kernel for an acknowledgement (40 ms on most systems), and whoever is killed in that time has sent a mail
/// without knowing.
fn transact(
    connection: &mut SmtpConnection,
    envelope: &Envelope,
    mail: &[u8],
    sent: impl FnOnce(),
) -> Result<(), smtp::Error> {
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
    // The mail is small enough for the kernel to take it whole: only the answer is waited for.
    let _ = connection.set_timeout(Some(times::to_take_a_mail())); // else it has less time
    sent();
    connection.command(text).map(drop)
}

/// Codes about logging in and encryption (RFC 4954, section 6): the conf is wrong, not the mail.
fn about_us(code: u16) -> bool {
    [530, 534, 535, 538].contains(&code)
}
