//! What it takes to see many services.

use std::process::{Command, Stdio};

use supervise::sys::now;

use super::place::Programs;
use super::report::Report;

/// `svc status` over so many services, all of them up, from its start to its end.
pub(crate) fn status(programs: &Programs, number: usize, rounds: usize, report: &mut Report) {
    let folder = programs.folder();
    let command = |program: &str| {
        let mut command = Command::new(programs.supervise.with_file_name(program));
        command.current_dir(&folder).stdin(Stdio::null()).stdout(Stdio::null());
        command
    };
    for service in 0..number {
        let mut start = command("supervise");
        start.args(["-p", &format!("status/s{service}"), "--"]).arg(&programs.stamp).arg("stamps");
        assert!(start.status().is_ok_and(|status| status.success()), "a service can be started");
    }
    let status = || {
        let begun = now().moment;
        assert!(command("svc").arg("status").status().is_ok_and(|status| status.success()), "all are up");
        now().moment.since(begun).as_secs_f64() * 1000.0
    };
    status(); // what it reads is in memory from now on
    let times = (0..rounds).map(|_| status()).collect();
    let ended = command("svc").args(["exit", "--all"]).stderr(Stdio::null()).status();
    assert!(ended.is_ok_and(|status| status.success()), "all are ended");
    report.take("svc status", "ms", "supervise", times);
}
