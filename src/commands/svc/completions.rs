//! Scaffold.
use clap_complete::engine::{ArgValueCompleter, PathCompleter};
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}
pub(super) fn answer_shell() {}
pub(super) fn run(_: &Arguments) -> u8 {
    100
}
pub(super) fn names() -> ArgValueCompleter {
    ArgValueCompleter::new(PathCompleter::dir())
}
