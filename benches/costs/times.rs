//! The latencies: restart, control, start.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use supervise::sys::now;

use super::place::{Place, Programs, Who};
use super::report::Report;

const MS: f64 = 1e6;

/// One of each, which take turns.
fn places(programs: &Programs, folder: &tempfile::TempDir) -> Vec<(Place, Vec<f64>)> {
    let all = programs.all().into_iter();
    let place = |who: Who| Place::start(programs, who, &folder.path().join(who.name()), "");
    all.map(|who| (place(who), Vec::new())).collect()
}

/// From kill -9 to the first line of the next service.
pub(crate) fn restart(programs: &Programs, rounds: usize, report: &mut Report) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let mut places = places(programs, &folder);
    for round in 1..=rounds {
        // The others have a pacing of a second.
        sleep(Duration::from_millis(if places.len() > 2 { 1100 } else { 150 }));
        for (place, times) in &mut places {
            let (_, pid) = place.stamp("S", round);
            let killed = now().moment.0;
            kill(Pid::from_raw(pid), Signal::SIGKILL).expect("the service runs");
            let (started, _) = place.stamp("S", round + 1);
            times.push(started.saturating_sub(killed) as f64 / MS);
            sleep(Duration::from_millis(10));
        }
    }
    for (place, times) in places {
        report.take("restart", "ms", place.who.name(), times);
    }
}

/// From a byte in the fifo to the signal in the service; of the floor, from kill(2).
pub(crate) fn control(programs: &Programs, rounds: usize, report: &mut Report) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let mut places = places(programs, &folder);
    for round in 1..=rounds {
        for (place, times) in &mut places {
            let (_, pid) = place.stamp("S", 1);
            sleep(Duration::from_millis(10));
            let sent = match place.fifo() {
                None => {
                    let sent = now().moment.0;
                    kill(Pid::from_raw(pid), Signal::SIGHUP).expect("the service runs");
                    sent
                }
                Some(fifo) => {
                    let opened = OpenOptions::new().write(true).custom_flags(nix::libc::O_NONBLOCK).open(fifo);
                    let mut fifo = opened.expect("the supervisor reads its fifo");
                    let sent = now().moment.0;
                    fifo.write_all(b"h").expect("the fifo has room");
                    sent
                }
            };
            let (arrived, _) = place.stamp("G", round);
            times.push(arrived.saturating_sub(sent) as f64 / MS);
        }
    }
    for (place, times) in places {
        report.take("control", "ms", place.who.name(), times);
    }
}

/// From the start of the supervisor to the first line of its service. Ours goes into the background meanwhile.
pub(crate) fn start(programs: &Programs, rounds: usize, report: &mut Report) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let mut all: Vec<(Who, Vec<f64>)> = programs.all().into_iter().map(|who| (who, Vec::new())).collect();
    for round in 0..rounds {
        for (who, times) in &mut all {
            let place = Place::start(programs, *who, &folder.path().join(format!("{}-{round}", who.name())), "");
            let (started, _) = place.stamp("S", 1);
            times.push(started.saturating_sub(place.begun) as f64 / MS);
        }
    }
    for (who, times) in all {
        report.take("start", "ms", who.name(), times);
    }
}
