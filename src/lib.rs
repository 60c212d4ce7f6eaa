//! `supervise` keeps one program running. The rooms of the house, a sentence each:
#![deny(unsafe_code)]

/// Alarms: what a message says, the spool that holds it, and its delivery.
pub mod alarm;
/// The other end of a status directory: finds services, reads how they fare, and steers them.
pub mod client;
/// From the words of a command line to what is to be done, and back to texts and exit codes.
pub mod commands;
/// Turns the text of supervise.conf into settings.
pub mod config;
/// The exit codes that all programs share.
pub mod exit_code;
/// What must hold for any bytes from outside.
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
/// What happened, and what to do about it: the state machine.
pub mod policy;
/// The status directory as a protocol: what both of its ends agree on.
pub mod statusdir;
/// The part that waits: it performs what the policy decides.
pub mod supervisor;
/// System calls that need `unsafe`.
pub mod sys;
/// Text from outside, made harmless.
pub mod text;
