//! Where alarms go out: the mail transport and the webhook's address.

use std::fmt;
use std::path::{Path, PathBuf};

use super::host::host_and_port;
use super::problem::shown;

/// How a mail leaves the machine (`mail_transport`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Through the sendmail program: the one at this absolute path, else the installed one.
    Sendmail(Option<PathBuf>),
    /// To a relay.
    Smtp {
        /// Whether and how the connection is encrypted.
        security: Security,
        /// Who logs in there, with the password from `mail_password_file`; `None`: no login. Never there
        /// without encryption.
        user: Option<String>,
        /// Name or address of the relay; an IPv6 address stands without brackets.
        host: String,
        /// Its port, 1 and up; where the file names none, the one that is usual for the kind.
        port: u16,
    },
    /// No mail is sent.
    None,
}

/// Whether and how a connection to a relay is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// Not at all (`smtp://`).
    Plain,
    /// After STARTTLS, which the relay must offer (`smtp+starttls://`).
    StartTls,
    /// From the first byte (`smtps://`).
    Tls,
}

impl Security {
    /// The name before `://`.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::Plain => "smtp",
            Self::StartTls => "smtp+starttls",
            Self::Tls => "smtps",
        }
    }

    /// The port where the file names none: RFC 5321 section 4.5.4.2, RFC 6409 section 3.1, RFC 8314
    /// section 7.3.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Plain => 25,
            Self::StartTls => 587,
            Self::Tls => 465,
        }
    }
}

/// Prints the form that supervise.conf takes.
impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sendmail(None) => f.write_str("sendmail"),
            Self::Sendmail(Some(path)) => write!(f, "sendmail:{}", path.display()),
            Self::None => f.write_str("none"),
            Self::Smtp { security, user, host, port } => {
                write!(f, "{}://", security.scheme())?;
                if let Some(user) = user {
                    write!(f, "{user}@")?;
                }
                if host.contains(':') {
                    write!(f, "[{host}]")?;
                } else {
                    f.write_str(host)?;
                }
                if *port != security.default_port() {
                    write!(f, ":{port}")?;
                }
                Ok(())
            }
        }
    }
}

/// A mail transport, in the form that supervise.conf takes.
///
/// # Errors
/// What is wrong with it; the text never repeats what could be a password.
pub fn parse_transport(text: &str) -> Result<Transport, String> {
    match text {
        "none" => return Ok(Transport::None),
        "sendmail" => return Ok(Transport::Sendmail(None)),
        _ => {}
    }
    if let Some(path) = text.strip_prefix("sendmail:") {
        return if path.starts_with('/') {
            Ok(Transport::Sendmail(Some(Path::new(path).to_owned())))
        } else {
            Err("the path behind sendmail: is not absolute".to_owned())
        };
    }
    let (scheme, rest) = text.split_once("://").unwrap_or((text, ""));
    let kinds = [Security::Plain, Security::StartTls, Security::Tls];
    let Some(security) = kinds.into_iter().find(|kind| text.contains("://") && kind.scheme() == scheme) else {
        return Err(what_is_meant(text));
    };
    // The last @, since a user is often a mail address.
    let (user, relay) = match rest.rsplit_once('@') {
        Some((user, relay)) => (Some(check_user(security, user)?.to_owned()), relay),
        None => (None, rest),
    };
    let (host, port) = host_and_port(relay)?;
    let port = port.unwrap_or(security.default_port());
    Ok(Transport::Smtp { security, user, host: host.to_owned(), port })
}

/// What is wrong with a text that is no transport, and what is right. Only its first word is repeated: behind a user stands
/// what could be a password.
fn what_is_meant(text: &str) -> String {
    const WORDS: [&str; 5] = ["sendmail", "smtp", "smtp+starttls", "smtps", "none"];
    let end = text.find([':', '@', '/', '\\', '=', ' ', '\t']).unwrap_or(text.len());
    let small = text[..end].to_ascii_lowercase();
    let near = WORDS.into_iter().map(|word| (strsim::osa_distance(word, &small), word)).min();
    let hint = match near {
        _ if text.starts_with('/') => "; a program is named as in sendmail:/usr/sbin/sendmail".to_owned(),
        Some((0, "none")) => return "none is written in small letters, and nothing stands behind it".to_owned(),
        Some((0, "sendmail")) => {
            return "behind sendmail stands nothing, or a colon and an absolute path, as in sendmail:/usr/sbin/sendmail"
                .to_owned();
        }
        Some((0, scheme)) => return format!("a relay is named as in {scheme}://HOST, in small letters and with ://"),
        Some((1, "sendmail" | "none")) => format!("; is {} meant?", near.map_or("", |(_, word)| word)),
        Some((1, scheme)) => format!("; is {scheme}://HOST meant?"),
        _ => String::new(),
    };
    format!(
        "{} is none of sendmail, sendmail:PATH, smtp://HOST, smtp+starttls://HOST, smtps://HOST, none{hint}",
        shown(&text.as_bytes()[..end])
    )
}

fn check_user(security: Security, user: &str) -> Result<&str, &'static str> {
    if user.contains(':') {
        return Err("a password does not belong here but into the file that mail_password_file names");
    }
    if security == Security::Plain {
        return Err("smtp:// is not encrypted, so nobody logs in there; smtps:// and smtp+starttls:// take a user");
    }
    if user.is_empty() || !user.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/') {
        return Err("what is before the @ is not a user");
    }
    Ok(user)
}

/// The address of a webhook: `http://` or `https://`, a host, and whatever follows in visible ASCII.
///
/// # Errors
/// What is wrong with it.
pub fn parse_webhook(text: &str) -> Result<&str, String> {
    let Some(rest) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) else {
        return Err("the address starts neither with http:// nor with https://".to_owned());
    };
    if !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("the address holds a blank or a character that must be written as %NN".to_owned());
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err("a user or a password in the address is not supported".to_owned());
    }
    host_and_port(authority)?;
    Ok(text)
}
