//! `U`: another version goes on in the same process, and the service notices nothing (rules 21.1 to 21.6).

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use nix::sys::signal::Signal;

use crate::adoption::{ALARMED, kernel_tells_exit_statuses};
use crate::common::{
    Foreground, Pid, Sandbox, alive, copy_program, eventually, is_root, process_stat, signal, skip, supervise_program,
};

/// Version of the next program, as long as that of the built one.
pub(crate) const NEXT: &str = "9.8.7";

impl Sandbox {
    /// Where the programs are that this test upgrades.
    pub(crate) fn installed(&self) -> PathBuf {
        self.path("bin/supervise")
    }

    /// Puts the built supervise there, under this version, as a package would: aside, and renamed.
    #[track_caller]
    pub(crate) fn install(&self, version: &str) {
        static VERSIONS: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
        let mut versions = VERSIONS.lock().unwrap_or_else(PoisonError::into_inner);
        let program = versions.entry(version.to_owned()).or_insert_with(|| built_as(version)).clone();
        drop(versions);
        self.install_program(&program);
    }

    /// Puts any program there.
    #[track_caller]
    pub(crate) fn install_program(&self, program: &Path) {
        let new = self.path("bin/supervise.new");
        let _ = fs::create_dir(self.path("bin"));
        let _ = symlink(supervise_program().with_file_name("svalarm"), self.path("bin/svalarm"));
        copy_program(program, &new);
        fs::rename(new, self.installed()).expect("the sandbox is writable");
    }

    /// A command line for the installed supervise.
    pub(crate) fn installed_command(&self, args: &[&str]) -> Command {
        let mut command = self.program(self.installed());
        command.args(args);
        command
    }

    /// Installs the built version, and starts it with a service.
    #[track_caller]
    pub(crate) fn start_installed(&self, actions: &str, options: &[&str]) -> Pid {
        self.install(env!("CARGO_PKG_VERSION"));
        let service = format!("./service {actions}");
        let args: Vec<&str> = ["-p", "status/app", "-f", &service].iter().chain(options).copied().collect();
        self.run(self.installed_command(&args)).expect_code(0);
        self.supervise_pid()
    }

    /// Installs the next version, gives `U` and waits until it is there.
    #[track_caller]
    pub(crate) fn upgrade(&self) {
        self.install(NEXT);
        self.write_control(b"U");
        self.until_value("version", NEXT);
    }
}

/// The built supervise with another version in it.
#[track_caller]
fn built_as(version: &str) -> PathBuf {
    let built = env!("CARGO_PKG_VERSION").as_bytes();
    assert_eq!(built.len(), version.len());
    let mut program = fs::read(supervise_program()).expect("it was built");
    let places: Vec<usize> = (0..program.len() - built.len()).filter(|&at| program[at..].starts_with(built)).collect();
    for place in places {
        program[place..place + built.len()].copy_from_slice(version.as_bytes());
    }
    let data = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("supervise-{version}.{}", std::process::id()));
    let path = data.with_file_name(format!("supervise-{version}"));
    fs::write(&data, program).expect("there is room");
    fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).expect("it is ours");
    fs::rename(data, &path).expect("it is ours");
    path
}

#[test]
fn the_same_process_goes_on_as_another_version_with_the_same_service() {
    let sandbox = Sandbox::new();
    let supervise = sandbox.start_installed("line starts ready", &[]);
    let service = sandbox.until_ready();
    let before = (sandbox.record(), fs::metadata(format!("/proc/{supervise}/exe")).expect("it lives").ino());
    let words = fs::read(format!("/proc/{supervise}/cmdline")).expect("it lives");
    let since = sandbox.value("since");
    assert_eq!((sandbox.value("upgraded"), sandbox.value("upgrade_problem")), (None, None));
    sandbox.upgrade();
    let state = sandbox.state();
    assert_eq!((sandbox.supervise_pid(), sandbox.record()), (supervise, before.0));
    assert_ne!(fs::metadata(format!("/proc/{supervise}/exe")).expect("it lives").ino(), before.1);
    assert_eq!(process_stat(service).expect("it lives").parent, supervise);
    assert_eq!((state["state"].as_str(), state["adopted"].as_str(), state.get("since")), ("up", "no", since.as_ref()));
    assert_eq!((state["starts"].as_str(), state["exits"].as_str()), ("1", "0"));
    assert_eq!(state["command"], "./service line starts ready");
    let upgraded: f64 = state["upgraded"].parse().expect("a time");
    assert!(upgraded > state["since"].parse().expect("a time"));
    sandbox.until_logged(&format!("upgraded from version {} to version {NEXT}", env!("CARGO_PKG_VERSION")));
    assert_eq!(sandbox.warnings(), "");
    // For ps, pgrep and killall it is what it was.
    assert_eq!(fs::read(format!("/proc/{supervise}/cmdline")).expect("it lives"), words);
    assert_eq!(fs::read_to_string(format!("/proc/{supervise}/comm")).expect("it lives"), "supervise\n");
    // And it works as before.
    signal(service, Signal::SIGKILL);
    let second = sandbox.until_ready_after(service);
    assert_eq!(process_stat(second).expect("it lives").parent, supervise);
    sandbox.until_value("last_exit", "signal KILL");
    sandbox.write_control(b"dx");
    sandbox.until_ended();
    assert!(!alive(second));
    sandbox.until_dead(supervise); // it lets go of the lock a moment before
}

#[test]
fn a_service_started_after_an_upgrade_sees_nothing_of_it() {
    let sandbox = Sandbox::new();
    sandbox.start_installed("report first ready", &[]);
    let service = sandbox.until_ready();
    let first = sandbox.until_report("first");
    sandbox.upgrade();
    fs::remove_file(sandbox.path("first")).expect("it is there");
    sandbox.write_control(b"k");
    sandbox.until_ready_after(service);
    let second = sandbox.until_report("first");
    for key in ["fd", "env", "sid", "umask", "SigBlk", "SigIgn", "SigCgt", "cwd", "limit", "arg", "ppid"] {
        assert_eq!(first.values(key), second.values(key), "{key}");
    }
}

#[test]
fn many_upgrades_leak_nothing_and_never_let_the_lock_go() {
    let sandbox = Sandbox::new();
    let supervise = sandbox.start_installed("line starts ready", &[]);
    let service = sandbox.until_ready();
    let descriptors = || fs::read_dir(format!("/proc/{supervise}/fd")).map_or(0, Iterator::count);
    sandbox.write_control(b"U");
    eventually(&sandbox, "it is upgraded", || sandbox.value("upgraded").is_some());
    sandbox.until_waiting(supervise); // until then it may have one more, of the file in which it said so
    let before = descriptors();
    let mut last = sandbox.value("upgraded");
    for round in 0..50 {
        sandbox.write_control(b"U");
        eventually(&sandbox, "it is upgraded again", || {
            assert!(!sandbox.lock_is_free(), "round {round}");
            sandbox.value("upgraded").is_some_and(|at| Some(at) != last)
        });
        last = sandbox.value("upgraded");
    }
    eventually(&sandbox, "as many descriptors as before", || descriptors() == before);
    assert_eq!((sandbox.record().pid, sandbox.supervise_pid()), (Some(service), supervise));
    let mut all = [service, supervise];
    all.sort_unstable();
    assert_eq!(sandbox.processes(), all);
    assert_eq!((sandbox.read("starts").lines().count(), sandbox.warnings().as_str()), (1, ""));
}

#[test]
fn what_follows_u_in_the_same_write_is_obeyed() {
    for (bytes, fact) in
        [("Ud", "wanted : down"), ("Us", "alarms : no"), ("pU", "paused : yes"), ("Uo", "wanted : once")]
    {
        let sandbox = Sandbox::new();
        let supervise = sandbox.start_installed("ready", &[]);
        sandbox.until_ready();
        sandbox.install(NEXT);
        sandbox.write_control(bytes.as_bytes());
        sandbox.until_value("version", NEXT);
        let (key, value) = fact.split_once(" : ").expect("a key and its value");
        sandbox.until_value(key, value);
        assert_eq!(sandbox.supervise_pid(), supervise, "{bytes}");
    }
    let sandbox = Sandbox::new();
    sandbox.start_installed("ready", &[]);
    sandbox.until_ready();
    sandbox.write_control(b"Udx");
    sandbox.until_ended();
    assert_eq!(sandbox.record().pid, None);
}

#[test]
fn an_exit_that_was_asked_for_is_not_forgotten() {
    let sandbox = Sandbox::new();
    sandbox.start_installed("ready", &[]);
    let service = sandbox.until_ready();
    sandbox.write_control(b"x");
    sandbox.upgrade();
    assert!(alive(service));
    signal(service, Signal::SIGKILL);
    sandbox.until_ended();
    assert_eq!(sandbox.value("state").as_deref(), Some("down"));
}

#[test]
fn counts_window_alarms_off_and_pause_go_on() {
    let sandbox = Sandbox::new();
    sandbox.write_conf(&format!("{ALARMED}max_tries : 3\n"));
    let supervise = sandbox.start_installed("from 2 starts line starts exit 3", &[]);
    let mut service = sandbox.until_ready();
    sandbox.until_value("window_exits", "2");
    sandbox.until_state("up");
    sandbox.write_control(b"sp");
    sandbox.until_value("paused", "yes");
    let before = sandbox.state();
    sandbox.upgrade();
    let after = sandbox.state();
    for key in ["starts", "exits", "window_opened", "window_exits", "last_exit", "last_exit_at", "last_ran", "since"] {
        assert_eq!(before[key], after[key], "{key}");
    }
    assert_eq!((after["alarms"].as_str(), after["paused"].as_str()), ("no", "yes"));
    assert!(process_stat(service).is_some_and(|stat| stat.state == 'T'), "it is still stopped");
    sandbox.write_control(b"nc");
    sandbox.until_value("alarms", "yes");
    signal(service, Signal::SIGKILL);
    service = sandbox.until_ready_after(service);
    signal(service, Signal::SIGKILL);
    sandbox.until_ended();
    assert_eq!((sandbox.value("state").as_deref(), sandbox.alarms().len()), (Some("gave-up"), 2));
    sandbox.until_dead(supervise);
}

#[test]
fn a_start_that_is_paced_stays_paced() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\npacing : 3600\n");
    sandbox.start_installed("line starts ready", &[]);
    let service = sandbox.until_ready();
    signal(service, Signal::SIGKILL);
    sandbox.until_state("pacing");
    let start: f64 = sandbox.value("next_start").expect("it is due").parse().expect("a time");
    sandbox.upgrade();
    assert_eq!((sandbox.value("state").as_deref(), sandbox.record().pid), (Some("pacing"), None));
    let now: f64 = sandbox.value("next_start").expect("it is due").parse().expect("a time");
    assert!((start - now).abs() < 0.5, "{start} and {now}");
    sandbox.write_control(b"u");
    sandbox.until_ready_after(service);
}

#[test]
fn a_service_that_is_stopping_is_killed_when_its_time_is_over() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\nstop_timeout : 3\n");
    sandbox.start_installed("ready signals", &[]);
    sandbox.until_ready();
    sandbox.install(NEXT);
    sandbox.write_control(b"d");
    sandbox.until_state("stopping");
    sandbox.write_control(b"U");
    sandbox.until_value("version", NEXT);
    sandbox.until_state("down");
    assert_eq!(sandbox.value("last_exit_expected").as_deref(), Some("yes"));
    sandbox.until_warned("gets KILL");
}

#[test]
fn a_service_that_is_down_stays_down() {
    let sandbox = Sandbox::new();
    sandbox.start_installed("line starts ready", &[]);
    sandbox.until_ready();
    sandbox.write_control(b"d");
    sandbox.until_state("down");
    sandbox.upgrade();
    assert_eq!((sandbox.record().pid, sandbox.value("wanted").as_deref()), (None, Some("down")));
    sandbox.write_control(b"u");
    sandbox.until_lines("starts", 2);
}

#[test]
fn an_adopted_service_stays_adopted_and_its_exit_is_noticed() {
    let sandbox = Sandbox::new();
    sandbox.start_installed("line starts ready", &[]);
    let service = sandbox.until_ready();
    sandbox.kill_supervise();
    sandbox.start_installed("line starts ready", &[]);
    sandbox.upgrade();
    assert_eq!((sandbox.record().pid, sandbox.value("adopted").as_deref()), (Some(service), Some("yes")));
    sandbox.write_control(b"p");
    eventually(&sandbox, "it is stopped", || process_stat(service).is_some_and(|stat| stat.state == 'T'));
    sandbox.write_control(b"k");
    sandbox.until_ready_after(service);
    sandbox.until_exits(1);
    sandbox.until_value("adopted", "no");
    assert_eq!(sandbox.value("last_exit_expected").as_deref(), Some("yes"));
}

#[test]
fn the_late_status_of_an_adopted_service_is_waited_for() {
    if !is_root() || !kernel_tells_exit_statuses() {
        return skip("only another user's supervise, on Linux 6.15 and later, has to wait for a status");
    }
    const USER: u32 = 65534;
    let sandbox = Sandbox::new();
    sandbox.give_to(USER);
    // A program that its user may execute but not read: of such a process the kernel tells nothing before it is reaped.
    std::os::unix::fs::chown(sandbox.path("service"), Some(0), Some(0)).expect("root may");
    fs::set_permissions(sandbox.path("service"), fs::Permissions::from_mode(0o711)).expect("root may");
    let args = ["-p", "status/app", "-f", "./service line starts ready"];
    sandbox.run(sandbox.command_as(USER, &args)).expect_code(0);
    let service = sandbox.until_ready();
    sandbox.kill_supervise();
    sandbox.run(sandbox.command_as(USER, &args)).expect_code(0);
    let supervise = sandbox.supervise_pid();
    signal(service, Signal::SIGKILL);
    sandbox.until_ready_after(service);
    sandbox.write_control(b"U");
    eventually(&sandbox, "it is upgraded", || sandbox.value("upgraded").is_some());
    assert_eq!((sandbox.value("last_exit").as_deref(), sandbox.supervise_pid()), (Some("signal KILL"), supervise));
    sandbox.until_logged("upgraded from"); // it is published before
    assert!(sandbox.log().find("signal KILL") < sandbox.log().find("upgraded from"));
}

#[test]
fn a_successor_adopts_from_an_upgraded_one() {
    let sandbox = Sandbox::new();
    sandbox.start_installed("line starts ready", &[]);
    let service = sandbox.until_ready();
    sandbox.write_control(b"s");
    sandbox.upgrade();
    sandbox.kill_supervise();
    sandbox.start_installed("line starts ready", &[]);
    assert_eq!((sandbox.record().pid, sandbox.value("alarms").as_deref()), (Some(service), Some("no")));
    assert_eq!(sandbox.read("starts").lines().count(), 1);
}

#[test]
fn a_hook_that_runs_is_known_to_the_new_one() {
    let sandbox = Sandbox::new();
    sandbox.start_installed("line starts ready", &["-r", "./service line hooks until USR1 exit 0 -", "-t", "60"]);
    let service = sandbox.until_ready();
    signal(service, Signal::SIGKILL);
    let hook = sandbox.until_marks("hooks", 1)[0].pid;
    sandbox.until_state("hook");
    sandbox.upgrade();
    assert_eq!((sandbox.value("state").as_deref(), sandbox.record().pid), (Some("hook"), None));
    assert!(alive(hook));
    signal(hook, Signal::SIGUSR1);
    let second = sandbox.until_ready_after(service);
    sandbox.until_value("starts", "2");
    // Its count goes on too, and `d` kills one that an older version has started.
    signal(second, Signal::SIGKILL);
    let hook = sandbox.until_marks("hooks", 2)[1].pid;
    let words = fs::read(format!("/proc/{hook}/cmdline")).expect("it lives");
    assert!(words.ends_with(b"\x002\0"), "{}", String::from_utf8_lossy(&words));
    sandbox.install(env!("CARGO_PKG_VERSION"));
    sandbox.write_control(b"U");
    sandbox.until_value("version", env!("CARGO_PKG_VERSION"));
    sandbox.write_control(b"d");
    sandbox.until_state("down");
    sandbox.until_dead(hook);
    eventually(&sandbox, "it was reaped", || process_stat(hook).is_none());
}

#[test]
fn the_time_of_a_hook_goes_on() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\nhook_timeout : 3\n");
    let options = ["-r", "./service line hooks wait", "-F", "supervise.conf"];
    sandbox.start_installed("line starts ready", &options);
    let service = sandbox.until_ready();
    sandbox.install(NEXT);
    signal(service, Signal::SIGKILL);
    let hook = sandbox.until_marks("hooks", 1)[0].pid;
    sandbox.write_control(b"U");
    sandbox.until_value("version", NEXT);
    sandbox.until_ready_after(service);
    sandbox.until_dead(hook);
    sandbox.until_warned("the hook ran too long");
}

#[test]
fn an_svalarm_that_runs_is_known_to_the_new_one() {
    let sandbox = Sandbox::new();
    // A server that takes the connection and says nothing.
    let server = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = server.local_addr().expect("it is bound").port();
    sandbox.write_conf(&ALARMED.replace("127.0.0.1:1", &format!("127.0.0.1:{port}")));
    let supervise = sandbox.start_installed("line starts ready", &[]);
    let service = sandbox.until_ready();
    signal(service, Signal::SIGKILL);
    let service = sandbox.until_ready_after(service);
    let (connection, _) = server.accept().expect("svalarm delivers");
    let children = || {
        let all = sandbox.processes();
        all.into_iter()
            .filter(|&pid| process_stat(pid).is_some_and(|stat| stat.parent == supervise))
            .collect::<Vec<_>>()
    };
    let svalarm: Vec<Pid> = children().into_iter().filter(|&pid| pid != service).collect();
    assert_eq!(svalarm.len(), 1, "{svalarm:?}");
    sandbox.upgrade();
    assert_eq!(sandbox.value("undelivered").as_deref(), Some("1"));
    eventually(&sandbox, "the same one runs", || children().len() == 2 && children().contains(&svalarm[0]));
    signal(svalarm[0], Signal::SIGKILL);
    drop((connection, server)); // not before: it would have ended by itself
    // What became of it is told by the new one: it knows its child.
    sandbox.until_warned("svalarm ended with signal KILL");
    assert!(process_stat(svalarm[0]).is_none_or(|stat| stat.state != 'Z'));
}

#[test]
fn the_conf_is_read_anew_and_holds() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\npacing : 3600\n");
    sandbox.start_installed("line starts ready", &[]);
    let service = sandbox.until_ready();
    signal(service, Signal::SIGKILL);
    sandbox.until_state("pacing");
    sandbox.write_conf("[app]\npacing : 0.1\n");
    sandbox.write_control(b"U");
    sandbox.until_ready_after(service);
    eventually(&sandbox, "it says so", || sandbox.value("upgraded").is_some()); // the service starts before that
}

#[test]
fn the_path_is_what_counts_however_it_was_started() {
    type Start = fn(&Sandbox) -> Command;
    let cases: [(&str, Start); 4] = [
        ("absolute", |sandbox| sandbox.program(sandbox.installed())),
        ("relative", |sandbox| {
            let mut command = sandbox.program("/bin/sh");
            command.args(["-c", "exec bin/supervise \"$@\"", "sh"]);
            command
        }),
        ("PATH", |sandbox| {
            let mut command = sandbox.program("/bin/sh");
            command.env("PATH", sandbox.path("bin")).args(["-c", "exec supervise \"$@\"", "sh"]);
            command
        }),
        ("link", |sandbox| {
            fs::rename(sandbox.path("bin"), sandbox.path("old")).expect("the sandbox is writable");
            symlink("old/supervise", sandbox.path("linked")).expect("the sandbox is writable");
            sandbox.program(sandbox.path("linked"))
        }),
    ];
    for (case, program) in cases {
        let sandbox = Sandbox::new();
        sandbox.install(env!("CARGO_PKG_VERSION"));
        let mut command = program(&sandbox);
        command.args(["-p", "status/app", "./service", "ready"]);
        sandbox.run(command).expect_code(0);
        let service = sandbox.until_ready();
        if case == "link" {
            // The link leads elsewhere now, as after the installation of another version beside this one.
            sandbox.install(NEXT);
            fs::remove_file(sandbox.path("linked")).expect("it is there");
            symlink("bin/supervise", sandbox.path("linked")).expect("the sandbox is writable");
            sandbox.write_control(b"U");
            sandbox.until_value("version", NEXT);
        } else {
            sandbox.upgrade();
        }
        // And once more: the file it runs from has no name of its own any more.
        sandbox.install(env!("CARGO_PKG_VERSION"));
        sandbox.write_control(b"U");
        sandbox.until_value("version", env!("CARGO_PKG_VERSION"));
        assert_eq!((sandbox.record().pid, sandbox.warnings().as_str()), (Some(service), ""), "{case}");
    }
}

#[test]
fn in_the_foreground_output_and_exit_code_stay() {
    let sandbox = Sandbox::new();
    sandbox.install(env!("CARGO_PKG_VERSION"));
    let command = sandbox.installed_command(&["status/app", "./service", "line", "starts", "ready"]);
    let mut supervise: Foreground = sandbox.spawn(command);
    sandbox.until_lines("starts", 1);
    sandbox.until_state("up");
    sandbox.upgrade();
    assert!(supervise.runs());
    sandbox.write_control(b"k");
    sandbox.until_lines("starts", 2);
    eventually(&sandbox, "both wrote to its stdout", || supervise.stdout().matches("ready").count() == 2);
    assert!(!sandbox.file("__stdout").exists());
    signal(supervise.pid(), Signal::SIGTERM);
    supervise.wait().expect_code(0);
}

#[test]
fn hup_stays_ignored_under_nohup() {
    let sandbox = Sandbox::new();
    sandbox.install(env!("CARGO_PKG_VERSION"));
    let mut command = sandbox.program("nohup");
    command.arg(sandbox.installed()).args(["-p", "status/app", "./service", "ready"]);
    sandbox.run(command).expect_code(0);
    let supervise = sandbox.supervise_pid();
    sandbox.upgrade();
    let status = fs::read_to_string(format!("/proc/{supervise}/status")).expect("it lives");
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).expect("it is there").trim();
    assert_eq!(u64::from_str_radix(ignored, 16).expect("hexadecimal") & 1, 1);
}

#[test]
fn a_variable_of_that_name_that_means_nothing_is_no_upgrade() {
    for value in ["x", "-1", "0", "7", ""] {
        let sandbox = Sandbox::new();
        sandbox.install(env!("CARGO_PKG_VERSION"));
        let mut command = sandbox.installed_command(&["-p", "status/app", "./service", "report", "given", "ready"]);
        command.env("SUPERVISE_HAND_OVER", value);
        sandbox.run(command).expect_code(0);
        sandbox.until_ready();
        let report = sandbox.until_report("given");
        assert!(!report.values("env").iter().any(|item| item.starts_with("SUPERVISE_HAND_OVER")), "{value}");
        assert_eq!(sandbox.value("upgraded"), None);
    }
}
