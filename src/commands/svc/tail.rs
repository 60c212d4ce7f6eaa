//! Scaffold.
use std::ffi::OsString;
use std::path::Path;
#[derive(Debug, clap::Args)]
#[allow(dead_code, reason = "scaffold")]
pub(crate) struct Arguments {
    #[arg(short, long)]
    follow: bool,
    #[arg(short = 'n', long, value_name = "LINES", default_value_t = 20)]
    lines: usize,
    #[arg(long)]
    stdout: bool,
    #[arg(long)]
    stderr: bool,
    #[arg(long)]
    log: bool,
    #[arg(value_name = "NAME", required = true)]
    names: Vec<OsString>,
}
pub(super) fn run(_: &Path, _: Arguments) -> u8 {
    100
}
