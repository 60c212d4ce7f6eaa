//! What repeats exactly, checked against limits: each is what was measured when it was written, and a little more.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::memory::{OWN, copies, kib, restart_all};
use super::place::{Programs, Who};

/// A limit.
struct Limit {
    what: &'static str,
    most: f64,
    reason: &'static str,
}

/// What is left out of the C library (`sys/left_out.rs`) is a third of it; a dependency more should be noticed.
const FILE: Limit = Limit { what: "the file, in bytes", most: 920_000.0, reason: "a page cache of it, once a machine" };
/// Half of what the other supervisors have.
const MEMORY: Limit = Limit {
    what: "memory that one of 20 has to itself, in KiB",
    most: 56.0,
    reason: "it is what a thousand supervisors cost",
};
/// Reads of signals and fifos twice, wait4, pipe, clone; then the two records, the claim and three lines of the log. 46 to 48
/// were seen: a busy machine takes a turn in two.
const CALLS: Limit =
    Limit { what: "system calls of supervise for a restart", most: 52.0, reason: "most of its processor time" };
/// Group, the clock, two for signals, two files with four calls each, the claim with its pid, execve.
const CHILD: Limit = Limit {
    what: "system calls of the child until its exec",
    most: 15.0,
    reason: "the service waits for each of them",
};
/// Of these the service's next start waits: signals and the fifo read twice, wait4, the pipe. 6 were seen; a turn that is
/// taken in two has two more.
const PATH: Limit = Limit {
    what: "system calls of supervise from an exit to the next start",
    most: 8.0,
    reason: "the restart is the hot path",
};
/// Four more, five where there is something to read: the end of `__stderr` is noted before the next service writes to it.
const ALARMED: Limit =
    Limit { what: "the same with an alarm to raise", most: 12.0, reason: "the restart never waits for an alarm" };
/// Policy, claim, records, log lines.
const INSTRUCTIONS: Limit = Limit {
    what: "instructions of supervise for a restart",
    most: 105_000.0,
    reason: "formatting that grows unnoticed",
};

/// Counts, prints, and says if all limits are kept.
pub(crate) fn check(programs: &Programs) -> bool {
    let size = fs::metadata(&programs.supervise).expect("it was built").len() as f64;
    let (own, child) = system_calls(programs);
    let counted = [
        (FILE, size),
        (MEMORY, memory(programs)),
        (CALLS, own),
        (CHILD, child),
        (PATH, path_to_start(programs, "")),
        (ALARMED, path_to_start(programs, "alarm_exec : /bin/true\n")),
        (INSTRUCTIONS, instructions(programs)),
    ];
    let mut kept = true;
    for (Limit { what, most, reason }, value) in counted {
        let word = if value <= most { "of" } else { "MORE THAN" };
        println!("{what}: {value:.1} {word} {most} ({reason})");
        kept &= value <= most;
    }
    kept
}

fn memory(programs: &Programs) -> f64 {
    let folder = programs.folder();
    let places = copies(programs, Who::Supervise, &folder, 20);
    restart_all(&places);
    let mut own: Vec<f64> = places.iter().map(|place| kib(place.pid(), &OWN)).collect();
    own.sort_by(f64::total_cmp);
    own[own.len() / 2]
}

/// What one restart adds to a count, of which `tool` writes a whole life into a file.
fn a_restart<const N: usize>(
    programs: &Programs,
    tool: impl Fn(&Path) -> Command,
    read: impl Fn(&str) -> [f64; N],
) -> [f64; N] {
    const RESTARTS: usize = 10;
    let few = read(&life(programs, "", 2, &tool));
    let many = read(&life(programs, "", 2 + RESTARTS, &tool));
    std::array::from_fn(|number| (many[number] - few[number]) / RESTARTS as f64)
}

/// Runs supervise under a tool, with so many restarts, and gives back what the tool wrote. `conf`: its further lines.
fn life(programs: &Programs, conf: &str, restarts: usize, tool: impl Fn(&Path) -> Command) -> String {
    let folder = programs.folder();
    let at = |name: &str| folder.join(name);
    let conf = format!("[global]\nalarm_interval : 3600\npacing : 0.1\n{conf}");
    fs::write(at("supervise.conf"), conf).expect("a file can be written");
    let mut command = tool(&at("counted"));
    command.arg(&programs.supervise).args(["--foreground", "-F", "supervise.conf", "-u", "status/app"]);
    command.arg(&programs.stamp).arg(at("stamps")).current_dir(&folder);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let child = child.as_mut().expect("the tool is installed");
    for number in 1..=restarts + 1 {
        let pid = nth_start(&at("stamps"), number);
        sleep(Duration::from_millis(300)); // everything is written, and the pacing is over
        if number <= restarts {
            kill(Pid::from_raw(pid), Signal::SIGKILL).expect("the service runs");
        }
    }
    fs::write(at("status/app/svcontrol"), "dx").expect("supervise reads its fifo");
    child.wait().expect("it is our child");
    fs::read_to_string(at("counted")).expect("the tool has written its file")
}

fn nth_start(stamps: &PathBuf, number: usize) -> i32 {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let text = fs::read_to_string(stamps).unwrap_or_default();
        let pids = text.lines().filter_map(|line| line.strip_prefix("S ")?.split(' ').nth(1)?.parse().ok());
        if let Some(pid) = pids.clone().nth(number - 1) {
            return pid;
        }
        assert!(Instant::now() < until, "the service is started again within 30 s");
        sleep(Duration::from_millis(5));
    }
}

fn strace(out: &Path) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-e", "signal=none", "-o"]).arg(out);
    command
}

/// The system calls of supervise between the wait that the first exit ended and the child that followed.
fn path_to_start(programs: &Programs, conf: &str) -> f64 {
    let text = life(programs, conf, 1, strace);
    let supervise = text.split_whitespace().next().unwrap_or_default();
    let mut calls = text.lines().filter(|line| line.starts_with(supervise) && !line.contains("+++"));
    let is_start = |line: &&str| line.contains(" clone(") || line.contains(" clone3(");
    calls.by_ref().find(is_start).expect("it starts the service");
    let before: Vec<&str> = calls.take_while(|line| !is_start(line)).collect();
    let since_wait = before.iter().rev().take_while(|line| !line.contains("ppoll"));
    since_wait.filter(|line| !line.contains("resumed>")).count() as f64
}

/// Of supervise, and of its child until the exec.
fn system_calls(programs: &Programs) -> (f64, f64) {
    let [own, child] = a_restart(programs, strace, |text| {
        let mut executed = std::collections::HashSet::new();
        let first = text.split_whitespace().next().unwrap_or_default().to_owned();
        let (mut own, mut child) = (0.0, 0.0);
        for line in text.lines().filter(|line| !line.contains("resumed>") && !line.contains("+++")) {
            let pid = line.split_whitespace().next().unwrap_or_default();
            if pid == first {
                own += 1.0;
            } else if !executed.contains(pid) {
                child += 1.0;
                if line.contains(" execve(") {
                    executed.insert(pid);
                }
            }
        }
        [own, child]
    });
    (own, child)
}

fn instructions(programs: &Programs) -> f64 {
    // valgrind can't run a child that shares the memory. On a kernel that says it is an old one the child has a copy, and
    // supervise itself does the same.
    let valgrind = |out: &Path| {
        let mut command = Command::new("setarch");
        command.args(["--uname-2.6", "valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]);
        command.arg(format!("--log-file={}", out.display()));
        command
    };
    let [count] = a_restart(programs, valgrind, |text| {
        let count = text.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
        [count.expect("callgrind says how many it has collected")]
    });
    count
}
