//! Scaffold.
use std::ffi::OsString;
use std::path::Path;
#[derive(Debug, clap::Args)]
#[allow(dead_code, reason = "scaffold")]
pub(crate) struct Arguments {
    #[arg(long)]
    json: bool,
    #[arg(long)]
    watch: bool,
    #[arg(long)]
    failed: bool,
    #[arg(value_name = "NAME")]
    names: Vec<OsString>,
}
pub(super) fn run(_: &Path, _: Arguments) -> u8 {
    100
}
