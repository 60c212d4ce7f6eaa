//! Exit codes (scaffold).
pub(super) const DONE: u8 = 0;
pub(super) const NOT_SO: u8 = 1;
pub(super) const SOME_DOWN: u8 = 3;
pub(super) const SOME_UNREADABLE: u8 = 4;
pub(super) const NOT_IN_TIME: u8 = 99;
pub(super) const MISUSE: u8 = 100;
pub(super) const NO_SUPERVISE: u8 = 102;
pub(super) const SYSTEM: u8 = 111;

pub(super) fn of_misuse(error: &clap::Error) -> u8 {
    let _ = error.print();
    if error.use_stderr() { MISUSE } else { DONE }
}
