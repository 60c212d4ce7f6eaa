//! Scaffold.
use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant};

use super::exit::{DONE, NO_SUPERVISE, NOT_IN_TIME};
use crate::client::{Look, Outcome, select, write_only};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Stops
    Stop {},
}
pub(super) fn run(_: &Path, _: Verb) -> u8 {
    100
}
/// `svc alarm on|off`.
pub(super) fn alarms(root: &Path, on: bool, names: &[OsString], timeout: Duration, wait: bool) -> u8 {
    let (services, errors) = select(root, names);
    let mut code = if errors.is_empty() { DONE } else { NO_SUPERVISE };
    for service in services {
        if !matches!(write_only(&service, if on { b"n" } else { b"s" }), Outcome::Done(_)) {
            code = NO_SUPERVISE;
            continue;
        }
        let until = Instant::now() + timeout;
        while wait && !Look::at(&service.dir).is_ok_and(|l| l.record.is_ok_and(|r| r.alarms_off != on)) {
            if Instant::now() > until {
                code = NOT_IN_TIME;
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    code
}
