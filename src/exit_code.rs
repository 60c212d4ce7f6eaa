//! The exit codes that all programs share (docs/operation.md, section 20), a sentence each.

/// The command line or the conf is wrong; trying again cannot help.
pub const USAGE: u8 = 100;
/// The status directory can't be made or entered.
pub const DIRECTORY: u8 = 110;
/// A system call failed, or another supervise holds the lock; the same command may work later.
pub const SYSTEM: u8 = 111;
