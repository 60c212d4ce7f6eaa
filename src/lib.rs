//! `supervise` keeps one program running. The rooms of the house, a sentence each:
#![deny(unsafe_code)]

/// Turns the text of supervise.conf into settings.
pub mod config;
/// What happened, and what to do about it: the state machine.
pub mod policy;
/// The status directory as a protocol: what both of its ends agree on.
pub mod statusdir;
/// System calls that need `unsafe`.
pub mod sys;
