//! Alarms: what a message says, the spool that holds it, and its delivery.
//!
//! supervise writes messages: `message` with what it is made of (`facts`, `core_file`, `stderr_tail`), and the free
//! functions of `spool`. All else is svalarm's, which alone links mail, web and TLS: `queue` (the loop), `serving`,
//! `waiting`, `attempt`, `departures` and `copies` in the process that serves a spool, `copy` and what it calls in those
//! that deliver. `inspect` and `test_message` are svc's.
#![forbid(unsafe_code)]

mod core_file;
mod facts;
mod message;
mod spool;
mod stderr_tail;

#[cfg(any(test, fuzzing))]
pub(crate) mod any_bytes;
mod attempt;
mod copies;
mod copy;
mod departures;
mod inspect;
mod mail;
mod program;
mod progress;
mod queue;
mod read;
mod relay;
mod schedule;
mod serving;
mod slots;
mod test_message;
mod times;
mod waiting;
mod ways;
mod webhook;

pub use copy::deliver_copy;
pub use inspect::{Delivery, Kept, Place, list, remove, requeue, submit, text};
pub use message::{Facts, message};
pub use queue::{BUSY, Stay, serve};
pub use spool::{Stored, count, distrusted, holds, make, next_attempt, store, store_failed};
pub use stderr_tail::{LastWords, last_words};
pub use test_message::{recipients_of, test_message};
