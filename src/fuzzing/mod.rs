//! What must hold for any bytes from outside: a function for each target of `fuzz/`, which panics where it does not.
//!
//! Only there for fuzzing and for the tests, which run all that is in `fuzz/corpus`.

mod commands;
mod conf;
mod records;
mod table;

#[cfg(test)]
mod tests;

pub use crate::alarm::any_bytes::{message, progress, stderr_tail};
pub use commands::commands;
pub use conf::{conf, words};
pub use records::{claim, long_record, status_record};
pub use table::table;
