//! `svc status`: what it says of services, healthy and broken (docs/operation.md, section 22).

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::Value;

use crate::common::{Sandbox, eventually, eventually_some, is_root, skip};
use crate::svc_view::{start_service, svc, svc_command, svc_program, table_row};

fn json(sandbox: &Sandbox, args: &[&str]) -> (Value, Option<i32>) {
    let output = svc(sandbox, &[&["status", "--json"], args].concat());
    let value = serde_json::from_str(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:#?}"));
    (value, output.code)
}

#[test]
fn the_exit_code_tells_the_worst() {
    let sandbox = Sandbox::new();
    sandbox.start("ready wait", &[]);
    let pid = sandbox.until_ready();
    let up = svc(&sandbox, &["status"]).expect_code(0);
    let row = table_row(&up, "app");
    assert_eq!((row[1].as_str(), row[2].as_str()), ("up", pid.to_string().as_str()), "{up:#?}");
    sandbox.write_control(b"p");
    sandbox.until_value("paused", "yes");
    assert_eq!(table_row(&svc(&sandbox, &["status", "app"]).expect_code(0), "app")[1], "paused");
    start_service(&sandbox, "db", "ready wait");
    sandbox.status_dir("status/db").write_control(b"d");
    eventually(&sandbox, "db is down", || sandbox.status_dir("status/db").service_pid().is_none());
    assert_eq!(table_row(&svc(&sandbox, &["status"]).expect_code(3), "db")[1], "down");
    svc(&sandbox, &["status", "app"]).expect_code(0);
    svc(&sandbox, &["status", "app", "nix"]).expect_code(4);
    let supervise = sandbox.kill_supervise();
    sandbox.until_dead(supervise);
    let row = table_row(&svc(&sandbox, &["status"]).expect_code(4), "app").join(" ");
    // The kernel continued it when its supervise died; the record cannot know.
    assert!(row.contains(&format!("no supervise {pid}")), "{row}");
}

#[test]
fn without_services_nothing_is_wrong() {
    let sandbox = Sandbox::new();
    svc(&sandbox, &["status"]).expect_code(111).expect_stderr(&[
        "unable to read the status root: No such file or directory: status; --root or SUPERVISE_ROOT names another",
    ]);
    fs::create_dir(sandbox.path("status")).unwrap();
    svc(&sandbox, &["status"]).expect_code(0).expect_stderr(&["there are no services below ./status"]);
    assert_eq!(json(&sandbox, &[]).0["services"], Value::Array(Vec::new()));
}

#[test]
fn what_is_named_appears_whatever_is_wrong_with_it() {
    let sandbox = Sandbox::new();
    sandbox.start("ready wait", &[]);
    sandbox.until_ready();
    fs::create_dir(sandbox.path("status/empty")).unwrap();
    let (value, code) = json(&sandbox, &["nix", "app", "empty", "a*", "x*"]);
    assert_eq!(code, Some(4));
    let services = value["services"].as_array().unwrap();
    let names: Vec<&str> = services.iter().map(|service| service["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["app", "empty", "nix", "x*"]);
    assert_eq!(value["version"], 1);
    assert_eq!(services[0]["problem"], Value::Null);
    assert!(services[0]["since"].as_f64().unwrap() > 1.0e9);
    assert_eq!(services[0]["pid"].as_i64(), sandbox.service_pid().map(i64::from));
    assert_eq!(services[0]["supervise_pid"].as_i64(), Some(i64::from(sandbox.supervise_pid())));
    assert_eq!(services[1]["problem"], "No such file or directory: status/empty/status");
    assert_eq!(services[2]["problem"], "no such service: No such file or directory: status/nix");
    assert_eq!(services[3]["problem"], "no such service");
}

#[test]
fn failed_shows_what_needs_attention_the_worst_first() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[boom]\nalarm_interval : 60\nmax_tries : 1\npacing : 0.1\n");
    sandbox.start("ready wait", &[]);
    for (name, actions) in [("killed", "ready wait"), ("boom", "exit 3"), ("ended", "ready wait"), ("loops", "exit 1")]
    {
        start_service(&sandbox, name, actions);
    }
    let dir = |name: &str| sandbox.status_dir(format!("status/{name}"));
    dir("ended").write_control(b"dx");
    let killed: i32 = dir("killed").value("supervise").unwrap().parse().unwrap();
    crate::common::signal(killed, nix::sys::signal::Signal::SIGKILL);
    sandbox.until_dead(killed);
    fs::create_dir(sandbox.path("status/hurt")).unwrap();
    fs::write(sandbox.path("status/hurt/status"), "short").unwrap();
    eventually(&sandbox, "boom gave up", || dir("boom").value("state").as_deref() == Some("gave-up"));
    eventually(&sandbox, "ended has ended", || !dir("ended").file("ok").exists() && !dir("boom").file("ok").exists());
    eventually(&sandbox, "loops waits for its pacing", || {
        let failed = svc(&sandbox, &["status", "--failed"]).expect_code(4);
        let names: Vec<&str> = failed.stdout.lines().skip(1).filter_map(|line| line.split(' ').next()).collect();
        names == ["boom", "hurt", "killed", "loops"] // and neither app nor what was told to end
    });
    let (value, _) = json(&sandbox, &["--failed", "app"]);
    assert_eq!(value["services"], Value::Array(Vec::new()));
}

#[test]
fn what_is_wrong_with_the_conf_is_shown() {
    let sandbox = Sandbox::new();
    sandbox.start("ready wait", &[]);
    let failed = || svc(&sandbox, &["status", "--failed"]).expect_code(0).stdout;
    assert_eq!(failed(), "");
    sandbox.write_conf("[app]\nkill_mode : sometimes\n");
    sandbox.write_control(b"r");
    let problem = eventually_some(&sandbox, "the conf has a problem", || sandbox.value("conf_problem"));
    let table = failed();
    assert!(table.lines().next().unwrap().ends_with("  NOTE"), "{table}");
    assert!(table.contains(" up, conf problem ") && table.ends_with(&format!("  conf: {problem}\n")), "{table}");
    let (value, code) = json(&sandbox, &[]);
    let app = &value["services"][0];
    assert_eq!((app["failed"].as_bool(), app["conf_problem"].as_str(), code), (Some(true), Some(&*problem), Some(0)));
    let mut script = sandbox.program("script");
    let command = format!("{} status", svc_program().display());
    script.args(["-qec", &command, "typescript"]).env("TERM", "dumb");
    sandbox.run(script).expect_code(0);
    let text = sandbox.read("typescript");
    assert!(text.contains(&format!("\napp: conf: {problem}\r\n")) && !text.contains("NOTE"), "{text}");
    sandbox.write_conf("[app]\nkill_mode : group\n");
    svc(&sandbox, &["reload", "app"]).expect_code(0);
    assert_eq!(failed(), "");
    assert!(!svc(&sandbox, &["status"]).expect_code(0).stdout.contains("NOTE"));
}

#[test]
fn nothing_from_outside_reaches_the_terminal() {
    let sandbox = Sandbox::new();
    let evil = "a\x1b]0;x\x07b\u{9b}31m";
    let dir = sandbox.path("status").join(evil);
    fs::create_dir_all(&dir).unwrap();
    fs::copy(service_record(&sandbox), dir.join("status")).unwrap();
    fs::write(dir.join("state"), "module : \x1b[2J\npid : 0\nstate : \x1b[31mup\nlast_exit : \x1b]52;c;x\x07\n")
        .unwrap();
    for args in [&["status"][..], &["status", "--json"], &["status", "no\x1b[7m"], &["tail", "no\x1b[7m"]] {
        let output = svc(&sandbox, args);
        let all = output.stdout.clone() + &output.stderr;
        assert!(!all.contains(['\x1b', '\x07', '\u{9b}']), "{args:?}: {all:?}");
        assert!(all.contains("\\x1b"), "{args:?}: {all:?}");
    }
}

/// A record of a service that is down.
fn service_record(sandbox: &Sandbox) -> std::path::PathBuf {
    sandbox.start("ready wait", &[]);
    sandbox.until_ready();
    sandbox.write_control(b"d");
    sandbox.until_down();
    sandbox.file("status")
}

#[test]
fn colours_are_for_terminals() {
    let sandbox = Sandbox::new();
    sandbox.start("ready wait", &[]);
    sandbox.until_ready();
    let painted = |name: &str, value: &str, forced: bool| {
        let mut command = svc_command(&sandbox, &["status"]);
        command.env(name, value);
        if forced {
            command.env("CLICOLOR_FORCE", "1");
        }
        sandbox.run(command).expect_code(0).stdout.contains("\x1b[32mup\x1b[0m")
    };
    assert!(!painted("TERM", "xterm", false), "not into a file");
    assert!(painted("TERM", "xterm", true));
    assert!(!painted("NO_COLOR", "1", true));
    assert!(painted("NO_COLOR", "", true), "an empty NO_COLOR says nothing");
}

#[test]
fn others_see_what_the_modes_allow_and_whom_to_ask() {
    if !is_root() {
        return skip("only root can be somebody else");
    }
    const NOBODY: u32 = 65_534;
    let sandbox = Sandbox::new();
    for name in ["open", "closed"] {
        start_service(&sandbox, name, "ready wait");
    }
    fs::set_permissions(sandbox.path("status/open"), fs::Permissions::from_mode(0o755)).unwrap();
    let root = sandbox.path("").parent().unwrap().to_owned();
    fs::set_permissions(root, fs::Permissions::from_mode(0o755)).unwrap();
    sandbox.bring(&svc_program(), "svc");
    let mut command = sandbox.program(sandbox.path("svc"));
    command.args(["status"]).uid(NOBODY).gid(NOBODY);
    let output = sandbox.run(command).expect_code(4);
    assert_eq!(table_row(&output, "open")[1], "up", "{output:#?}");
    assert!(output.stdout.contains("Permission denied: status/closed (owner root, mode 0700)"), "{output:#?}");
}

type Break = fn(&Path);

/// Every way in which a status directory can be broken, with the state that is then told.
const BREAKS: [(&str, Break, &str); 22] = [
    ("whole", |_| {}, "down"),
    ("short-record", |dir| fs::write(dir.join("status"), [0; 7]).unwrap(), "unreadable"),
    ("long-record", |dir| fs::write(dir.join("status"), [0; 21]).unwrap(), "unreadable"),
    ("empty-record", |dir| fs::write(dir.join("status"), "").unwrap(), "unreadable"),
    ("no-record", |dir| fs::remove_file(dir.join("status")).unwrap(), "unreadable"),
    ("record-of-zeros", |dir| fs::write(dir.join("status"), [0; 20]).unwrap(), "unreadable"),
    ("record-is-fifo", |dir| instead(dir, "status", |path| mkfifo(path, Mode::S_IRWXU).unwrap()), "unreadable"),
    ("record-is-loop", |dir| instead(dir, "status", |path| symlink("status", path).unwrap()), "unreadable"),
    ("record-is-huge", |dir| grow(&dir.join("status")), "unreadable"),
    ("no-fifo", |dir| fs::remove_file(dir.join("svcontrol")).unwrap(), "down"),
    ("fifo-is-file", |dir| instead(dir, "svcontrol", |path| fs::write(path, "x").unwrap()), "down"),
    ("ok-is-file", |dir| fs::write(dir.join("ok"), "").unwrap(), "down"),
    ("ok-is-stale", |dir| mkfifo(&dir.join("ok"), Mode::S_IRWXU).unwrap(), "down"),
    ("no-state", |dir| fs::remove_file(dir.join("state")).unwrap(), "down"),
    ("state-is-folder", |dir| instead(dir, "state", |path| fs::create_dir(path).unwrap()), "down"),
    ("state-is-fifo", |dir| instead(dir, "state", |path| mkfifo(path, Mode::S_IRWXU).unwrap()), "down"),
    ("state-is-huge", |dir| grow(&dir.join("state")), "down"),
    ("state-is-noise", |dir| fs::write(dir.join("state"), [0xff; 300]).unwrap(), "down"),
    ("state-of-tomorrow", |dir| fs::write(dir.join("state"), TOMORROW).unwrap(), "down"),
    ("foreign", |dir| fs::write(dir.join("core"), "x").unwrap(), "down"),
    ("alarms-is-file", |dir| fs::write(dir.join("alarms"), "x").unwrap(), "down"),
    ("links-in-circles", |dir| symlink("..", dir.join("up")).unwrap(), "down"),
];

const TOMORROW: &str = "module : x\nversion : 99.0.0\nmood : fine\npid : 0\nstate : dreaming\nwanted : perhaps\nsince : \
                        later\nstarts : many\npaused : maybe\nlast_exit : evaporated at dawn\n";

fn instead(dir: &Path, name: &str, make: fn(&Path)) {
    fs::remove_file(dir.join(name)).unwrap();
    make(&dir.join(name));
}

/// A gigabyte that takes no room.
fn grow(path: &Path) {
    File::options().write(true).open(path).unwrap().set_len(1 << 30).unwrap();
}

/// So many status directories, broken in turn, made from those of a service that is down.
fn make_broken(sandbox: &Sandbox, count: usize) {
    let record = fs::read(service_record(sandbox)).unwrap();
    let state = fs::read_to_string(sandbox.file("state")).unwrap();
    for number in 0..count {
        let (name, break_it, _) = BREAKS[number % BREAKS.len()];
        let dir = sandbox.path(format!("status/{number:04}-{name}"));
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("status"), &record).unwrap();
        fs::write(dir.join("state"), &state).unwrap();
        mkfifo(&dir.join("svcontrol"), Mode::S_IRWXU).unwrap();
        break_it(&dir);
    }
}

#[test]
fn a_thousand_services_broken_in_every_way() {
    const COUNT: usize = 1000;
    let sandbox = Sandbox::new();
    make_broken(&sandbox, COUNT);
    for name in ["real1", "real2"] {
        start_service(&sandbox, name, "ready wait");
    }
    let table = svc(&sandbox, &["status"]).expect_code(4);
    assert_eq!(table.stdout.lines().count(), 1 + COUNT + 3, "headings, and a line each");
    let (value, code) = json(&sandbox, &[]);
    assert_eq!(code, Some(4));
    let mut states: HashMap<&str, Vec<&str>> = HashMap::new();
    let services = value["services"].as_array().unwrap();
    for service in services {
        let name = service["name"].as_str().unwrap();
        let kind = name.split_once('-').map_or(name, |(_, kind)| kind);
        states.entry(kind).or_default().push(service["state"].as_str().unwrap());
    }
    for (kind, _, state) in BREAKS {
        let all = &states[kind];
        assert!(all.len() >= COUNT / BREAKS.len() && all.iter().all(|seen| *seen == state), "{kind}: {all:?}");
    }
    assert_eq!((&states["real1"], services.len()), (&vec!["up"], COUNT + 3));
    let failed = svc(&sandbox, &["status", "--failed"]).expect_code(4);
    let unreadable = failed.stdout.lines().filter(|line| line.contains(" unreadable ")).count();
    let expected = states.values().flatten().filter(|state| **state == "unreadable").count();
    assert_eq!(unreadable, expected);
    assert_eq!(failed.stdout.lines().count(), 1 + expected, "the others are down as was asked for");
}

#[test]
fn directories_that_vanish_midway_are_told_or_not_there() {
    let sandbox = Sandbox::new();
    make_broken(&sandbox, 200);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for number in (0..200).step_by(3) {
                    let (name, _, _) = BREAKS[number % BREAKS.len()];
                    let dir = sandbox.path(format!("status/{number:04}-{name}"));
                    let away = sandbox.path(format!("away-{number}"));
                    fs::rename(&dir, &away).unwrap();
                    fs::rename(&away, &dir).unwrap();
                }
            }
        });
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..20 {
                let (value, code) = json(&sandbox, &[]);
                assert_eq!(code, Some(4));
                let count = value["services"].as_array().unwrap().len();
                assert!((134..=201).contains(&count), "{count}");
            }
        }));
        done.store(true, Ordering::Relaxed);
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    });
}

#[test]
fn a_fifo_in_place_of_a_file_holds_nobody_up() {
    let sandbox = Sandbox::new();
    make_broken(&sandbox, BREAKS.len());
    // A writer that never writes: a reader that waits would wait for ever.
    let fifo = sandbox.path("status/0006-record-is-fifo/status");
    let _held = File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(fifo).unwrap();
    let output = svc(&sandbox, &["status", "0006-record-is-fifo"]).expect_code(4);
    assert_eq!(table_row(&output, "0006-record-is-fifo")[1], "unreadable");
}
