//! What many copies cost: the memory that each has to itself, and a thousand of them.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use supervise::sys::now;

use super::place::{Place, Programs, Who};
use super::report::Report;

/// The sum of some lines of a process's smaps_rollup (proc_pid_smaps(5)), in KiB.
pub(crate) fn kib(pid: i32, keys: &[&str]) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let values = text.lines().filter_map(|line| {
        let (key, rest) = line.split_once(':')?;
        keys.contains(&key).then(|| rest.trim().trim_end_matches(" kB").parse::<f64>().ok()).flatten()
    });
    values.sum()
}

/// What only this process has.
pub(crate) const OWN: [&str; 2] = ["Private_Clean", "Private_Dirty"];

/// So many supervisors, each with a conf read.
pub(crate) fn copies(programs: &Programs, who: Who, folder: &Path, number: usize) -> Vec<Place> {
    let at = |number: usize| folder.join(format!("{}-{number}", who.name()));
    (0..number).map(|number| Place::start(programs, who, &at(number), "")).collect()
}

/// A restart of every one.
pub(crate) fn restart_all(places: &[Place]) {
    sleep(Duration::from_millis(1100));
    for place in places {
        let (_, pid) = place.stamp("S", 1);
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("the service runs");
    }
    for place in places {
        place.stamp("S", 2);
    }
    sleep(Duration::from_millis(300)); // it has written what there is to write
}

/// The memory of one of many, after a restart.
pub(crate) fn memory(programs: &Programs, number: usize, report: &mut Report) {
    for who in programs.all() {
        let folder = programs.folder();
        let places = copies(programs, who, &folder, number);
        restart_all(&places);
        let own = places.iter().map(|place| kib(place.pid(), &OWN)).collect();
        report.take("memory", "KiB to itself", who.name(), own);
    }
}

/// What the program takes on disk; those of the peers share the C library's besides.
pub(crate) fn size(programs: &Programs, report: &mut Report) {
    for who in programs.all() {
        let size = fs::metadata(programs.path(who)).expect("it is installed").len();
        report.take("size", "KiB on disk", who.name(), vec![size as f64 / 1024.0]);
    }
}

/// A thousand at once: how long until all are up, and what they take together.
pub(crate) fn scale(programs: &Programs, number: usize, report: &mut Report) {
    let mut sums = Vec::new();
    for who in programs.all() {
        let folder = programs.folder();
        let at = |number: usize| folder.join(format!("{}-{number}", who.name()));
        let places: Vec<Place> = (0..number).map(|number| Place::spawn(programs, who, &at(number), "")).collect();
        let places: Vec<Place> = places.into_iter().map(Place::answered).collect();
        let last = places.iter().map(|place| place.stamp("S", 1).0).max().unwrap_or(0);
        let begun = places.first().map_or_else(|| now().moment.0, |place| place.begun);
        report.take("scale, time", "s until all are up", who.name(), vec![last.saturating_sub(begun) as f64 / 1e9]);
        sleep(Duration::from_secs(2));
        let sum: f64 = places.iter().map(|place| kib(place.pid(), &["Pss"])).sum();
        sums.push((who, sum / 1024.0));
    }
    for (who, sum) in sums {
        report.take("scale, memory", "MiB of all", who.name(), vec![sum]);
    }
}
