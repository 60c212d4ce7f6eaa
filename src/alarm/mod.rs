//! Alarms: what a message says, and the spool that holds it until everybody has it.
#![forbid(unsafe_code)]

mod core_file;
mod message;
mod spool;
mod stderr_tail;

pub use message::{Facts, message};
pub use spool::{count, store};
pub use stderr_tail::mark;
