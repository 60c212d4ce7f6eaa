//! Alarms: what a message says, the spool that holds it, and its delivery.
//!
//! supervise uses the first four of these modules; all others are svalarm's, which alone links mail, web and TLS.
#![forbid(unsafe_code)]

mod core_file;
mod message;
mod spool;
mod stderr_tail;

mod copy;
mod facts;
mod mail;
mod program;
mod progress;
mod queue;
mod read;
mod schedule;
mod slots;
mod ways;
mod webhook;

pub use copy::deliver_copy;
pub use message::{Facts, message};
pub use queue::{BUSY, Stay, serve};
pub use spool::{count, next_attempt, store};
pub use stderr_tail::mark;
