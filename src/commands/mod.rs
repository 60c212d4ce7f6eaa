//! The programs, as they are typed: the only place that prints, and that says with which code to exit.
#![forbid(unsafe_code)]

mod arguments;
mod check;
mod daemontools;
mod help;
/// The program `supervise`.
pub mod supervise;
/// The program `svalarm`.
pub mod svalarm;
/// The program `svc`.
pub mod svc;
/// The program `svok`.
pub mod svok;
/// The program `svstat`.
pub mod svstat;
