//! What the exit codes of `svc` mean.

use crate::client::Outcome;
use crate::exit_code;

/// The effect was seen (`status`: everything named is up).
pub(super) const DONE: u8 = 0;
/// It did not become so; what happened instead was said.
pub(super) const NOT_SO: u8 = 1;
/// `status`: something is down.
pub(super) const SOME_DOWN: u8 = 3;
/// `status`: something has no supervise or no readable record.
pub(super) const SOME_UNREADABLE: u8 = 4;
/// Not in time.
pub(super) const NOT_IN_TIME: u8 = 99;
/// Wrong use.
pub(super) const MISUSE: u8 = exit_code::USAGE;
/// No supervise there.
pub(super) const NO_SUPERVISE: u8 = 102;
/// A system call failed.
pub(super) const SYSTEM: u8 = exit_code::SYSTEM;

/// The code of one outcome. Of several services the largest counts.
pub(super) fn of(outcome: &Outcome) -> u8 {
    match outcome {
        Outcome::Done(_) => DONE,
        Outcome::NotSo(_) => NOT_SO,
        Outcome::NotInTime(_) => NOT_IN_TIME,
        Outcome::NoSupervise(_) => NO_SUPERVISE,
        Outcome::System(_) => SYSTEM,
    }
}

/// Prints what clap has to say of a command line: help and version are no misuse.
pub(super) fn of_misuse(error: &clap::Error) -> u8 {
    let printed = error.print();
    match (error.use_stderr(), printed) {
        (true, _) => MISUSE,
        (false, Ok(())) => DONE,
        (false, Err(_)) => SYSTEM, // nobody reads the answer
    }
}
