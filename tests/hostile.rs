//! Neighbours who may write to the status directory: they steer the service, and get no further than that.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, lchown, symlink};
use std::path::Path;

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;

use crate::adoption::ALARMED;
use crate::common::{Pid, Sandbox, eventually, is_root, signal, skip};

/// Nobody has this uid.
const NEIGHBOUR: u32 = 64_127;
/// What a file of somebody else's says.
const SECRET: &str = "the secret of somebody else\n";
/// Every name in a status directory, those of files that are being written included.
const NAMES: [&str; 16] = [
    "lock",
    "svcontrol",
    "control",
    "ok",
    "status",
    "status.new",
    "state",
    "state.new",
    "claim",
    "__stdout",
    "__stderr",
    "supervise.log",
    "supervise.log.1",
    "supervise.log.wf",
    "supervise.log.wf.1",
    "alarms",
];

/// What a neighbour puts in the place of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Obstacle {
    /// A symbolic link of the neighbour's, to a file or folder of somebody else's.
    Link,
    /// A fifo that the neighbour holds open for reading and writing.
    Fifo,
    Folder,
}

const OBSTACLES: [Obstacle; 3] = [Obstacle::Link, Obstacle::Fifo, Obstacle::Folder];

/// Files of somebody else's, outside of the status directory.
struct Victims {
    modes: Vec<u32>,
}

const VICTIMS: [&str; 2] = ["victim", "victims"];

impl Victims {
    fn make(sandbox: &Sandbox) -> Self {
        sandbox.write("victim", SECRET);
        fs::set_permissions(sandbox.path("victim"), fs::Permissions::from_mode(0o640)).expect("one's own file");
        fs::create_dir(sandbox.path("victims")).expect("the sandbox is writable");
        Victims { modes: Self::modes(sandbox) }
    }

    fn modes(sandbox: &Sandbox) -> Vec<u32> {
        VICTIMS.map(|name| fs::metadata(sandbox.path(name)).expect("it is there").permissions().mode()).to_vec()
    }

    #[track_caller]
    fn are_untouched(&self, sandbox: &Sandbox) {
        assert_eq!(sandbox.read("victim"), SECRET);
        assert_eq!(fs::read_dir(sandbox.path("victims")).expect("a folder").count(), 0);
        assert_eq!(Self::modes(sandbox), self.modes);
    }
}

impl Obstacle {
    /// Puts it in the place of what is there. What is answered keeps it as it is.
    fn put(self, sandbox: &Sandbox, name: &str) -> Option<File> {
        let place = sandbox.file(name);
        // What is there goes away, and nothing of it is lost: a process may have it open.
        let aside = sandbox.path("aside");
        let _ = fs::create_dir(&aside);
        let _ = fs::rename(&place, aside.join(name));
        match self {
            Obstacle::Link => {
                let victim = sandbox.path(if name == "alarms" { "victims" } else { "victim" });
                if symlink(victim, &place).is_ok() && is_root() {
                    let _ = lchown(&place, Some(NEIGHBOUR), Some(NEIGHBOUR)); // supervise may have been faster
                }
                None
            }
            Obstacle::Fifo => {
                let _ = nix::unistd::mkfifo(&place, Mode::from_bits_truncate(0o666));
                File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(place).ok()
            }
            Obstacle::Folder => {
                let _ = fs::create_dir_all(place.join("content"));
                None
            }
        }
    }

    /// In the place of all files. A link of one's own would be followed for the service's output, as it should be.
    fn put_everywhere(self, sandbox: &Sandbox) -> Vec<File> {
        let names = NAMES.iter().filter(|name| is_root() || self != Obstacle::Link || !name.starts_with("__"));
        names.filter_map(|name| self.put(sandbox, name)).collect()
    }
}

/// What a trace shows of opening files otherwise than it may be done: through a link, or for writing elsewhere. Only of
/// supervise and of its children before their exec.
fn wrongly_opened(trace: &str) -> Vec<String> {
    let mut executed: Vec<&str> = Vec::new();
    let mut wrong = Vec::new();
    for line in trace.lines() {
        let Some((pid, call)) = line.split_once(' ') else { continue };
        let call = call.trim_start();
        if call.starts_with("execve(") {
            executed.push(pid);
        } else if (call.starts_with("openat(") || call.starts_with("open(")) && !executed.contains(&pid) {
            let in_a_folder = call.starts_with("openat(") && !call.starts_with("openat(AT_FDCWD");
            let writes = ["O_WRONLY", "O_RDWR", "O_CREAT"].iter().any(|flag| call.contains(flag));
            let is_elsewhere = !in_a_folder && writes && !call.contains("\"/dev/null\"");
            if is_elsewhere || (in_a_folder && (!call.contains("O_NOFOLLOW") || call.contains("../"))) {
                wrong.push(line.to_owned());
            }
        }
    }
    wrong
}

fn last_pid(lines: &[String]) -> Pid {
    lines.last().and_then(|line| line.split(' ').next()?.parse().ok()).expect("a pid")
}

#[test]
fn files_that_are_swapped_while_supervise_runs_lead_it_nowhere() {
    for obstacle in OBSTACLES {
        let sandbox = Sandbox::new();
        let victims = Victims::make(&sandbox);
        sandbox.write_conf(ALARMED);
        sandbox.start("line started until USR1 exit 3", &[]);
        let first = last_pid(&sandbox.until_lines("started", 1));
        let supervise = sandbox.supervise_pid();
        let traced = crate::traced::strace(&sandbox, supervise, &["-f", "-s", "200", "-e", "trace=%file"]);
        let held = obstacle.put_everywhere(&sandbox);
        signal(first, Signal::SIGUSR1);
        let second = last_pid(&sandbox.until_lines("started", 2));
        let held_again = obstacle.put_everywhere(&sandbox);
        // It writes to both logs, and its records.
        signal(supervise, Signal::SIGHUP);
        signal(second, Signal::SIGUSR1);
        let third = last_pid(&sandbox.until_lines("started", 3));
        signal(supervise, Signal::SIGTERM);
        signal(third, Signal::SIGKILL);
        sandbox.until_dead(supervise);
        if let Some(traced) = traced {
            signal(traced.pid(), Signal::SIGINT);
            traced.wait();
            assert_eq!(wrongly_opened(&sandbox.read("trace")), Vec::<String>::new(), "{obstacle:?}");
        }
        victims.are_untouched(&sandbox);
        drop((held, held_again));
    }
}

#[test]
fn links_for_the_output_are_judged_and_followed_as_one() {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.status_path()).expect("the sandbox is writable");
    symlink("../../elsewhere", sandbox.file("__stdout")).expect("a link");
    sandbox.start("line started out kept until USR1 exit 3", &[]);
    let first = last_pid(&sandbox.until_lines("started", 1));
    let supervise = sandbox.supervise_pid();
    let Some(traced) = crate::traced::strace(&sandbox, supervise, &["-f", "-e", "trace=%file"]) else { return };
    signal(first, Signal::SIGUSR1);
    sandbox.until_lines("started", 2);
    eventually(&sandbox, "the output went where the link leads", || {
        sandbox.read("elsewhere").matches("kept\n").count() == 2
    });
    signal(traced.pid(), Signal::SIGINT);
    traced.wait();
    // Were the name opened once more, it could be another link by then.
    let again = |line: &&str| line.contains("\"__stdout\"") && line.contains("openat(") && !line.contains("O_NOFOLLOW");
    assert_eq!(sandbox.read("trace").lines().filter(again).collect::<Vec<_>>(), Vec::<&str>::new());
}

#[test]
fn a_lock_that_a_stranger_holds_is_told_and_given_back() {
    let sandbox = Sandbox::new();
    sandbox.start("line started wait", &[]);
    sandbox.until_lines("started", 1);
    let supervise = sandbox.supervise_pid();
    // The one that supervise holds can't be had; so there comes another in its place.
    fs::remove_file(sandbox.file("lock")).expect("it is there");
    let file = File::create(sandbox.file("lock")).expect("the status directory is writable");
    let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).expect("nobody has it");
    sandbox.write_control(b"k");
    sandbox.until_lines("started", 2);
    let args = ["-p", "status/app", "-f", "./service line started wait"];
    let own = std::process::id().to_string();
    sandbox.background(&args).expect_code(111).expect_stderr(&["another supervise holds it", &own]);
    signal(supervise, Signal::SIGKILL);
    sandbox.until_dead(supervise);
    sandbox.background(&args).expect_code(111).expect_stderr(&["another supervise holds it", &own]);
    drop(lock);
    sandbox.background(&args).expect_code(0);
    sandbox.until_value("adopted", "yes");
    assert_eq!(sandbox.read("started").lines().count(), 2);
}

#[test]
fn a_fifo_as_the_long_record_makes_nobody_wait_for_who_holds_the_lock() {
    if !is_root() {
        return skip("only root can make a PID namespace");
    }
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.status_path()).expect("the sandbox is writable");
    let _held = Obstacle::Fifo.put(&sandbox, "state");
    let file = File::create(sandbox.file("lock")).expect("the status directory is writable");
    let _lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).expect("nobody has it");
    // Seen from there its holder has no pid, so that the long record is asked.
    let mut command = sandbox.program("unshare");
    command.args(["-pf", "--mount-proc"]).arg(crate::common::supervise_program());
    command.args(["--foreground", "-p", "status/app", "-f", "./service line started wait"]);
    let output = sandbox.run(command);
    if output.stderr.contains("unshare") {
        return skip(&output.stderr);
    }
    output.expect_code(111).expect_stderr(&["another supervise holds it"]);
}

#[test]
fn clients_are_led_nowhere_and_wait_for_nobody() {
    const CALLS: [(&str, &[&str]); 14] = [
        ("svc", &["status"]),
        ("svc", &["status", "--json"]),
        ("svc", &["tail", "-n", "5", "app"]),
        ("svc", &["tail", "--log", "app"]),
        ("svc", &["start", "--timeout", "1", "app"]),
        ("svc", &["signal", "USR1", "app"]),
        ("svc", &["wait", "--timeout", "1", "up", "app"]),
        ("svc", &["alarms", "list", "app"]),
        ("svc", &["alarms", "retry", "app"]),
        ("svc", &["alarm", "test", "app"]),
        ("svc", &["-u", "status/app"]),
        ("svc", &["status/app", "status"]),
        ("svstat", &["status/app"]),
        ("svok", &["status/app"]),
    ];
    for obstacle in OBSTACLES {
        let sandbox = Sandbox::new();
        let victims = Victims::make(&sandbox);
        fs::create_dir_all(sandbox.status_path()).expect("the sandbox is writable");
        let mut held = obstacle.put_everywhere(&sandbox);
        for (program, args) in CALLS {
            let output = sandbox.run(sandbox.client(program, args));
            let said = output.stdout + &output.stderr;
            assert!(!said.contains(SECRET.trim_end()), "{obstacle:?} {program} {args:?}: {said}");
        }
        victims.are_untouched(&sandbox);
        // A fifo as svcontrol is what it should be, and takes commands; nobody writes to another one.
        let mut bytes = Vec::new();
        for fifo in &mut held {
            let _ = fifo.read_to_end(&mut bytes);
        }
        assert!(bytes.iter().all(|byte| matches!(byte, b'u' | b'1')), "{bytes:?}");
    }
}

/// A fifo with a reader that no writer has come to yet; a writer that has been there is seen for ever after.
fn was_opened_to_write(fifo: &File) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let mut descriptors = [PollFd::new(fifo.as_fd(), PollFlags::POLLIN)];
    poll(&mut descriptors, PollTimeout::ZERO).is_ok_and(|count| count > 0)
}

fn fifo_of_somebody_else(path: &Path) -> File {
    nix::unistd::mkfifo(path, Mode::from_bits_truncate(0o600)).expect("a fifo");
    File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path).expect("it is there")
}

#[test]
fn a_link_as_ok_opens_nothing() {
    let sandbox = Sandbox::new();
    let elsewhere = fifo_of_somebody_else(&sandbox.path("elsewhere"));
    fs::create_dir_all(sandbox.file("alarms")).expect("the sandbox is writable");
    symlink(sandbox.path("elsewhere"), sandbox.file("ok")).expect("a link");
    let head = "Message-ID: <1.1.1@test>\nSubject: s\nTo: nobody@example.invalid\nMail-Transport: smtp://127.0.0.1:1\n";
    sandbox.write("status/app/alarms/1.1.1", format!("{head}Fact: module app\n\nbody\n"));
    let svalarm = sandbox.spawn(sandbox.client("svalarm", &["status/app"]));
    sandbox.until_warned("was not delivered");
    sandbox.svc(&["status"]);
    sandbox.run(sandbox.client("svok", &["status/app"])).expect_code(100);
    signal(svalarm.pid(), Signal::SIGTERM);
    svalarm.wait();
    assert!(!was_opened_to_write(&elsewhere));
}

#[test]
fn a_spool_of_somebody_else_s_runs_nothing() {
    if !is_root() {
        return skip("only root can give folders away");
    }
    let message = |sandbox: &Sandbox| {
        let program = format!("Exec: /bin/touch {}\n", sandbox.path("ran").display());
        format!("Message-ID: <1.1.1@test>\nSubject: s\n{program}Fact: module app\n\nbody\n")
    };
    let deliver = |owner: u32, mode: u32| {
        let sandbox = Sandbox::new();
        fs::create_dir_all(sandbox.file("alarms")).expect("the sandbox is writable");
        sandbox.write("status/app/alarms/1.1.1", message(&sandbox));
        fs::set_permissions(sandbox.file("alarms"), fs::Permissions::from_mode(mode)).expect("one's own folder");
        lchown(sandbox.file("alarms"), Some(owner), Some(owner)).expect("root may give folders away");
        let output = sandbox.run(sandbox.client("svalarm", &["--once", "status/app"]));
        (sandbox.path("ran").exists(), output.code, sandbox.warnings())
    };
    assert!(deliver(0, 0o700).0, "it is run where nobody else may write");
    let theirs = format!("it belongs to uid {NEIGHBOUR}, not to uid 0 or root");
    let of_mode = |mode: &str| format!("others than its owner may write to it (mode {mode}; chmod 700 mends that)");
    for (owner, mode, wrong) in [(NEIGHBOUR, 0o700, theirs), (0, 0o770, of_mode("0770")), (0, 0o707, of_mode("0707"))] {
        let (ran, code, warnings) = deliver(owner, mode);
        assert!(!ran && code != Some(0), "{owner} {mode:o}: {warnings}");
        assert!(warnings.contains(&format!("alarms: {wrong}: nothing is delivered")), "{warnings}");
    }
}

#[test]
fn a_test_alarm_of_root_s_runs_nothing_that_others_may_have_named() {
    if !is_root() {
        return skip("another user's tests run as that user anyway");
    }
    for (mode, runs) in [(0o700, true), (0o770, false), (0o707, false)] {
        let sandbox = Sandbox::new();
        sandbox.write("theirs.conf", format!("[app]\nalarm_exec : /bin/touch {}\n", sandbox.path("ran").display()));
        sandbox.write_conf(ALARMED);
        sandbox.start("ready", &["-F", "supervise.conf"]);
        sandbox.until_state("up");
        fs::set_permissions(sandbox.status_path(), fs::Permissions::from_mode(mode)).expect("one's own folder");
        let state = sandbox.text("state").replace("conf : supervise.conf", "conf : theirs.conf");
        sandbox.write("status/app/state", state);
        let output = sandbox.svc(&["alarm", "test", "app"]);
        assert_eq!((sandbox.path("ran").exists(), output.code == Some(0)), (runs, runs), "{mode:o}: {output:#?}");
        assert!(runs || output.stderr.contains("others may write"), "{output:#?}");
    }
}
