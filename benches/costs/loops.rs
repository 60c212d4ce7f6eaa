//! What is used over time: the processor in a crash loop, and wake-ups while nothing happens.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use super::place::{Place, Programs};
use super::report::Report;

/// Each supervisor crashes for so long.
const CRASHES: Duration = Duration::from_secs(6);
/// And is left alone for so long. Ten minutes say the same.
const IDLE: Duration = Duration::from_secs(20);

/// Processor time of a supervisor for each restart of a service that ends at once, at its shortest pacing.
pub(crate) fn crash(programs: &Programs, report: &mut Report) {
    for who in programs.all() {
        let folder = programs.folder();
        let place = Place::start(programs, who, &folder.join("place"), "");
        let (_, pid) = place.stamp("S", 1);
        fs::write(folder.join("place/crash"), "").expect("a file can be written");
        sleep(Duration::from_millis(1100));
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        place.stamp("S", 2);
        let (starts, used) = (place.count("S"), processor_ns(place.pid()));
        sleep(CRASHES);
        let (used, starts) = (processor_ns(place.pid()) - used, place.count("S") - starts);
        report.take("crash loop", "µs of processor for a restart", who.name(), vec![used / 1e3 / starts.max(1) as f64]);
    }
}

/// How often a supervisor wakes up with a conf that configures alarms, two seconds after its start, and nothing to do.
pub(crate) fn idle(programs: &Programs, report: &mut Report) {
    let folder = programs.folder();
    let lines = "alarm_mail : ops@example.invalid\nmail_transport : smtp://127.0.0.1:1\n";
    let all = programs.all().into_iter();
    let places: Vec<Place> = all.map(|who| Place::start(programs, who, &folder.join(who.name()), lines)).collect();
    for place in &places {
        place.stamp("S", 1);
    }
    sleep(Duration::from_secs(2));
    let before: Vec<f64> = places.iter().map(|place| wake_ups(place.pid())).collect();
    sleep(IDLE);
    for (place, before) in places.iter().zip(before) {
        report.take("idle", "wake-ups in 20 s", place.who.name(), vec![wake_ups(place.pid()) - before]);
    }
}

/// What a process has used so far (proc_pid_schedstat, first field).
fn processor_ns(pid: i32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
    text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0.0)
}

/// How often it has left the processor by itself (proc_pid_status(5)).
fn wake_ups(pid: i32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.and_then(|number| number.trim().parse().ok()).unwrap_or(0.0)
}
