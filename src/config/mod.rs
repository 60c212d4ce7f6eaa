//! Turns the text of supervise.conf into what one module gets.
//!
//! `read` is the only function here that touches a file. `parse` takes any bytes and never fails: it
//! notes every `Problem` with its line, and `Conf::resolve` layers `[global]` and the module's own
//! section into `Settings`. The dialect is described in docs/man/supervise.conf.5.
//!
//! The parser is our own because the dialect is: general ini parsers know no line numbers and no
//! column 0, and some take a line without a separator as the start of the next one's key.
#![forbid(unsafe_code)]

mod address;
mod conf;
mod file;
mod host;
mod keys;
mod line;
mod number;
mod parse;
mod problem;
mod settings;
mod transport;
mod words;

#[cfg(test)]
mod tests;

pub use address::{check_address, check_number};
pub use conf::{Conf, Resolved};
pub use file::{SIZE_LIMIT, read, shown};
pub use parse::parse;
pub use problem::{Problem, Severity};
pub use settings::{Hup, KillMode, Settings};
pub use transport::{Security, Transport, parse_transport, parse_webhook};
pub use words::{join_words, split_words};
