//! What alarms cost the service that dies, and how soon they are where they should be. All of it in one run, one variant
//! after the other in each round, so that the numbers can be compared: `cargo bench --bench alarms`.
//!
//! Needs nothing but loopback. `ROUNDS` in the environment: rounds of each part, 100 if unset.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use supervise::policy::Moment;
use supervise::sys::now;

/// All processes of a run carry it.
const MARK: &str = "SUPERVISE_BENCH";

fn main() {
    let words: Vec<String> = std::env::args().collect();
    if words.get(1).is_some_and(|word| word == "--service") {
        be_the_service(&words[2]);
    }
    let rounds = std::env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(100);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (hole, relay) = (black_hole(), relay());
    let mut bench = Bench { folder: folder.path().to_owned(), number: 0 };
    let mail = |port: u16| {
        format!("alarm_interval : 60\nalarm_mail : ops@example.org\nmail_transport : smtp://127.0.0.1:{port}\n")
    };
    let variants =
        [("without alarms", String::new()), ("with a black hole as relay", mail(hole.local_addr().unwrap().port()))];

    println!("from the death of the service to its next start, {rounds} rounds:");
    let mut latencies = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        // Either is first in every other round: what the one leaves behind, the other may find.
        for turn in 0..variants.len() {
            let which = (turn + round) % variants.len();
            latencies[which].push(bench.round(&variants[which].1, |_| ()).0);
        }
    }
    for ((name, _), latencies) in variants.iter().zip(latencies) {
        report(name, latencies);
    }

    println!("from the death of the service, {rounds} rounds:");
    let (mut durable, mut accepted, mut private) = (Vec::new(), Vec::new(), [Vec::new(), Vec::new()]);
    for _ in 0..rounds {
        let (_, (death, connected, taken, memory)) = bench.round(&mail(relay.0), |running| {
            let (connected, taken) = relay.1.recv_timeout(Duration::from_secs(20)).expect("the mail arrives");
            (running.death, connected, taken, private_kib(running.supervise))
        });
        durable.push(connected.since(death));
        accepted.push(taken.since(death));
        private[1].push(memory);
        private[0].push(bench.round("", |running| private_kib(running.supervise)).1);
    }
    report("until the message is durable and the relay is connected", durable);
    report("until the relay has taken the mail", accepted);
    println!("memory that one of many supervises has to itself (private and dirty, median):");
    for (name, mut kib) in ["without alarms", "with alarms, after one"].into_iter().zip(private) {
        kib.sort_unstable();
        println!("  {name}: {} KiB", kib[kib.len() / 2]);
    }
}

/// Notes when it began, and waits.
fn be_the_service(file: &str) -> ! {
    let line = format!("{} {}\n", std::process::id(), now().moment.0);
    let noted =
        OpenOptions::new().append(true).create(true).open(file).and_then(|mut file| file.write_all(line.as_bytes()));
    noted.expect("the folder is writable");
    loop {
        std::thread::park();
    }
}

struct Bench {
    folder: PathBuf,
    number: u32,
}

struct Running {
    supervise: i32,
    death: Moment,
}

impl Bench {
    /// A supervise of its own, whose service is killed once it has run for longer than the pacing. The answer: how long
    /// it took until it was back, and what `and_then` found.
    fn round<T>(&mut self, conf: &str, and_then: impl FnOnce(&Running) -> T) -> (Duration, T) {
        self.number += 1;
        let (name, folder) = (format!("s{}", self.number), &self.folder);
        fs::write(folder.join("supervise.conf"), format!("[global]\npacing : 0.1\n{conf}")).expect("a writable folder");
        let starts = folder.join(format!("starts-{name}"));
        let service = std::env::current_exe().expect("this program has a path");
        let mut command = Command::new(env!("CARGO_BIN_EXE_supervise"));
        command.current_dir(folder).env(MARK, folder).stdin(Stdio::null());
        command.args(["-p", &format!("status/{name}"), "--"]).arg(service).arg("--service").arg(&starts);
        assert!(command.status().expect("supervise can be started").success());
        let (first, _) = start(&starts, 0);
        std::thread::sleep(Duration::from_millis(120)); // the pacing is not what is measured
        let death = now().moment;
        kill(Pid::from_raw(first), Signal::SIGKILL).expect("it runs");
        let (_, back) = start(&starts, 1);
        let state = fs::read_to_string(folder.join(format!("status/{name}/state"))).expect("a long record");
        let supervise = state.lines().find_map(|line| line.strip_prefix("supervise : ")?.parse().ok()).expect("a pid");
        let found = and_then(&Running { supervise, death });
        end_marked(folder);
        (back.since(death), found)
    }
}

/// The pid of a start, and when it was.
fn start(file: &Path, number: usize) -> (i32, Moment) {
    for _ in 0..100_000 {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().nth(number).filter(|_| text.ends_with('\n'));
        if let Some((pid, at)) = line.and_then(|line| line.split_once(' ')) {
            return (pid.parse().expect("a pid"), Moment(at.parse().expect("a time")));
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    panic!("{} has no line {number}", file.display());
}

/// Ends all processes of this run, by pid.
fn end_marked(folder: &Path) {
    let mark = [MARK.as_bytes(), b"=", folder.as_os_str().as_encoded_bytes()].concat();
    loop {
        let entries = fs::read_dir("/proc").expect("there is a /proc").flatten();
        let ours = entries.filter_map(|entry| {
            let environment = fs::read(entry.path().join("environ")).ok()?;
            let is_ours = environment.split(|byte| *byte == 0).any(|item| item == mark);
            entry.file_name().to_str()?.parse().ok().filter(|_| is_ours)
        });
        let ours: Vec<i32> = ours.collect();
        if ours.is_empty() {
            return;
        }
        for pid in ours {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL); // it may have ended
        }
    }
}

/// It takes connections, and says nothing.
fn black_hole() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("loopback has a free port")
}

/// A relay that tells when it was connected and when it had taken a mail.
fn relay() -> (u16, Receiver<(Moment, Moment)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let (tell, hear) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connected = now().moment;
            let _ = converse(stream, connected, &tell); // who hangs up is no matter of ours
        }
    });
    (port, hear)
}

fn converse(mut stream: TcpStream, connected: Moment, tell: &Sender<(Moment, Moment)>) -> std::io::Result<()> {
    let lines = BufReader::new(stream.try_clone()?).lines();
    stream.write_all(b"220 bench\r\n")?;
    let mut in_data = false;
    for line in lines {
        let line = line?;
        if in_data && line != "." {
            continue;
        }
        in_data = line == "DATA";
        if line == "." {
            let _ = tell.send((connected, now().moment));
        }
        stream.write_all(if in_data { b"354 go on\r\n" } else { b"250 ok\r\n" })?;
    }
    Ok(())
}

/// What a process shares with nobody, also where others run the same program.
fn private_kib(pid: i32) -> u64 {
    let Ok(file) = File::open(format!("/proc/{pid}/smaps_rollup")) else { return 0 };
    let lines = BufReader::new(file).lines().map_while(Result::ok);
    let mut private = lines.filter(|line| line.starts_with("Private_Dirty:"));
    private.find_map(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}

fn report(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |part: usize| times[(times.len() - 1) * part / 100].as_secs_f64() * 1000.0;
    println!("  {name}: median {:.2} ms, 90 % within {:.2} ms, longest {:.2} ms", at(50), at(90), at(100));
}
