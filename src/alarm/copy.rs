//! Delivers one copy of one message to one recipient: what a process of its own does, which may be killed at any time.

use std::io::{Read, Write};

use nix::sys::resource::{Resource, setrlimit};

use super::read::{Message, Recipient, SIZE_LIMIT};
use super::ways::Ways;
use super::{mail, program, webhook};

/// What became of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Somebody took it.
    Accepted,
    /// It was refused for good.
    Refused(String),
    /// It is to be tried again.
    Again(String),
    /// The same, and it is not about this copy: nobody can be reached that way now.
    Unreachable(String),
}

/// sysexits.h: EX_DATAERR, EX_UNAVAILABLE, EX_TEMPFAIL.
pub(super) const REFUSED: u8 = 65;
pub(super) const UNREACHABLE: u8 = 69;
pub(super) const AGAIN: u8 = 75;

/// What a copy says first once the relay has the whole mail.
pub(super) const SENT: &str = "sent\n";

/// No copy lives longer, in seconds: twice the deadline that it has, and so long again with a mail that was sent.
const LIFETIME: u32 = 120;
const LIFETIME_ONCE_SENT: u32 = 720;

/// So much address space is enough for any delivery; a server that sends for ever gets no more.
const MEMORY: u64 = 256 << 20;

/// Delivers the copy for the recipient with this number of the message that is read from `from`, and says on `to`
/// what became of it. The answer is the exit code: 0, 65 refused for good, 69 nobody can be reached that way, 75 to be
/// tried again.
pub fn deliver_copy(number: usize, mut from: impl Read, mut to: impl Write) -> u8 {
    // Whoever started it ends it long before; where that one died at the wrong instant, the kernel does.
    nix::unistd::alarm::set(LIFETIME);
    let mut bytes = Vec::new();
    let outcome = match from.by_ref().take(SIZE_LIMIT).read_to_end(&mut bytes) {
        Err(error) => Outcome::Again(format!("unable to read the message: {error}")),
        Ok(_) => match Message::decode(&bytes) {
            Err(wrong) => Outcome::Again(format!("this is no message: {wrong}")),
            Ok(message) => deliver(&message, number, &mut to),
        },
    };
    let (code, reason) = match outcome {
        Outcome::Accepted => (0, String::new()),
        Outcome::Refused(reason) => (REFUSED, reason),
        Outcome::Again(reason) => (AGAIN, reason),
        Outcome::Unreachable(reason) => (UNREACHABLE, reason),
    };
    let _ = writeln!(to, "{}", reason.replace(['\n', '\r'], " ")); // the code says enough where nobody listens
    code
}

fn deliver(message: &Message, number: usize, to: &mut impl Write) -> Outcome {
    let Some((_, recipient)) = message.recipients.get(number) else {
        return Outcome::Again("there is no such recipient".to_owned());
    };
    enter_folder(message);
    let ways = Ways::of(message);
    match recipient {
        Recipient::Mail(address) => mail::deliver(message, address, &ways, || {
            let _ = to.write_all(SENT.as_bytes()).and_then(|()| to.flush());
            nix::unistd::alarm::set(LIFETIME_ONCE_SENT);
        }),
        Recipient::Gsm(number) => program::send_gsm(message, number, &ways),
        Recipient::Exec(words) => program::run(message, words),
        Recipient::Webhook(address) => {
            bound_memory();
            webhook::deliver(message, address)
        }
    }
}

/// A relative path of the conf is meant from where supervise was started, whoever starts svalarm and where. Where that
/// folder is gone nothing relative is found, and not by chance something else.
fn enter_folder(message: &Message) {
    if let Some(folder) = &message.folder
        && nix::unistd::chdir(folder).is_err()
    {
        let _ = nix::unistd::chdir("/"); // it is there
    }
}

/// Not for programs of others, which would inherit it.
pub(super) fn bound_memory() {
    let _ = setrlimit(Resource::RLIMIT_AS, MEMORY, MEMORY); // the deadline still bounds it
}
