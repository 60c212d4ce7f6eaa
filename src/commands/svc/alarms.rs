//! Scaffold.
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Scaffold
    #[command(subcommand)]
    Alarm(Alarm),
    /// Scaffold
    Alarms {},
}
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Alarm {
    /// Scaffold
    On(Switch),
    /// Scaffold
    Off(Switch),
}
#[derive(Debug, clap::Args)]
pub(crate) struct Switch {
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0)]
    timeout: f64,
    #[arg(long)]
    no_wait: bool,
    #[arg(value_name = "NAME", required = true)]
    names: Vec<OsString>,
}
pub(super) fn run(root: &Path, verb: Verb) -> u8 {
    let (on, line) = match verb {
        Verb::Alarm(Alarm::On(line)) => (true, line),
        Verb::Alarm(Alarm::Off(line)) => (false, line),
        Verb::Alarms {} => return 100,
    };
    let limit = Duration::try_from_secs_f64(line.timeout).unwrap_or_default();
    super::steer::alarms(root, on, &line.names, limit, !line.no_wait)
}
