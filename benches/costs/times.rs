//! The latencies: restart, control, start.

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use supervise::sys::now;

use super::place::{Place, Programs, Who};
use super::report::Report;

const MS: f64 = 1e6;

/// One of each, which take turns.
fn places(programs: &Programs, folder: &Path) -> Vec<(Place, Vec<f64>)> {
    let all = programs.all().into_iter();
    let place = |who: Who| Place::start(programs, who, &folder.join(who.name()), "");
    all.map(|who| (place(who), Vec::new())).collect()
}

/// From kill -9 to the first line of the next service.
pub(crate) fn restart(programs: &Programs, rounds: usize, report: &mut Report) {
    let folder = programs.folder();
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

/// From a byte in the fifo to the signal in the service. The floor is measured twice: from kill(2), and as a thread that
/// waits for the byte and sends the signal, which is the least that anybody who reads a fifo can be.
pub(crate) fn control(programs: &Programs, rounds: usize, report: &mut Report) {
    let folder = programs.folder();
    let mut places = places(programs, &folder);
    let mut passed_on: Vec<Vec<f64>> = places.iter().map(|_| Vec::new()).collect();
    let floor = places.iter().find(|(place, _)| place.fifo().is_none()).expect("there is a floor");
    let pass = pass_on(&folder, Pid::from_raw(floor.0.stamp("S", 1).1));
    for round in 1..=rounds {
        for ((place, times), passed_on) in places.iter_mut().zip(&mut passed_on) {
            let (_, pid) = place.stamp("S", 1);
            let measure = |fifo: Option<&Path>, number: usize| {
                sleep(Duration::from_millis(10));
                let sent = send(fifo, Pid::from_raw(pid));
                let (arrived, _) = place.stamp("G", number);
                arrived.saturating_sub(sent) as f64 / MS
            };
            match place.fifo() {
                Some(fifo) => {
                    times.push(measure(Some(&fifo), round));
                    passed_on.extend(times.last());
                }
                None => {
                    times.push(measure(None, 2 * round - 1));
                    passed_on.push(measure(Some(&pass), 2 * round));
                }
            }
        }
    }
    let who: Vec<Who> = places.iter().map(|(place, _)| place.who).collect();
    for (place, times) in places {
        report.take("control", "ms", place.who.name(), times);
    }
    for (who, times) in who.into_iter().zip(passed_on) {
        report.take("control, passed on", "ms", who.name(), times);
    }
}

/// A fifo, and a thread that sends the signal for each byte in it.
fn pass_on(folder: &Path, service: Pid) -> PathBuf {
    let path = folder.join("fifo");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a fifo can be made");
    let mut fifo = OpenOptions::new().read(true).write(true).open(&path).expect("it is there");
    std::thread::spawn(move || {
        while fifo.read_exact(&mut [0]).is_ok() {
            let _ = kill(service, Signal::SIGHUP); // at the end of the bench it is gone
        }
    });
    path
}

/// Sends HUP, by a byte or by kill(2). The answer: when.
fn send(fifo: Option<&Path>, service: Pid) -> u64 {
    let Some(fifo) = fifo else {
        let sent = now().moment.0;
        kill(service, Signal::SIGHUP).expect("the service runs");
        return sent;
    };
    let opened = OpenOptions::new().write(true).custom_flags(nix::libc::O_NONBLOCK).open(fifo);
    let mut fifo = opened.expect("the supervisor reads its fifo");
    let sent = now().moment.0;
    fifo.write_all(b"h").expect("the fifo has room");
    sent
}

/// From the start of the supervisor to the first line of its service. Ours goes into the background meanwhile.
pub(crate) fn start(programs: &Programs, rounds: usize, report: &mut Report) {
    let folder = programs.folder();
    let mut all: Vec<(Who, Vec<f64>)> = programs.all().into_iter().map(|who| (who, Vec::new())).collect();
    for round in 0..rounds {
        for (who, times) in &mut all {
            let place = Place::start(programs, *who, &folder.join(format!("{}-{round}", who.name())), "");
            let (started, _) = place.stamp("S", 1);
            times.push(started.saturating_sub(place.begun) as f64 / MS);
        }
    }
    for (who, times) in all {
        report.take("start", "ms", who.name(), times);
    }
}
