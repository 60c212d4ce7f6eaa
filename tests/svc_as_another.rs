//! `svc` by a user who may read a status directory, but open none of its fifos: what is said then is known, or it is
//! said who keeps it from being known (docs/operation.md, 23.8 and 25.4).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;

use crate::common::{
    Foreground, Output, Refused, Sandbox, alive, can_refuse, client_program, eventually, is_root, refusing, signal,
    skip,
};

/// A user that owns nothing.
const NOBODY: u32 = 65_534;

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("root may");
}

/// A sandbox that others may look into, and a supervise in it. `None`: we can't be somebody else.
fn looked_into() -> Option<Sandbox> {
    if !is_root() {
        skip("only root can be somebody else");
        return None;
    }
    let sandbox = Sandbox::new();
    sandbox.bring(&client_program("svc"), "svc"); // where the programs were built nobody else may enter
    for folder in sandbox.path("").ancestors().take(2) {
        set_mode(folder, 0o755);
    }
    sandbox.start("ready", &[]);
    sandbox.until_ready();
    set_mode(&sandbox.path("status"), 0o755);
    set_mode(sandbox.status_path(), 0o755);
    Some(sandbox)
}

fn command(sandbox: &Sandbox, args: &[&str]) -> Command {
    let mut command = sandbox.program(sandbox.path("svc"));
    command.args(args).env_remove("SUPERVISE_ROOT").uid(NOBODY).gid(NOBODY);
    command
}

fn svc(sandbox: &Sandbox, args: &[&str]) -> Output {
    sandbox.run(command(sandbox, args))
}

fn in_background(sandbox: &Sandbox, args: &[&str]) -> Foreground {
    sandbox.spawn(command(sandbox, args))
}

#[test]
fn the_end_of_supervise_is_seen_without_its_fifo() {
    let Some(sandbox) = looked_into() else { return };
    let service = sandbox.service_pid().expect("it is up");
    assert_eq!(svc(&sandbox, &["wait", "up", "app"]).expect_code(0).stdout, format!("app: up (pid {service})\n"));
    svc(&sandbox, &["wait", "exited", "--timeout", "0.1", "app"]).expect_code(99);
    svc(&sandbox, &["status", "app"]).expect_code(0);
    let exited = || command(&sandbox, &["wait", "exited", "app"]);
    let mut exits = vec![sandbox.spawn(exited())];
    if can_refuse(&sandbox) {
        // Older kernels say so of a pid that is the number of a session still, and no process's.
        let old = Refused { call: libc::SYS_pidfd_open, argument: None, errno: libc::EINVAL };
        exits.push(sandbox.spawn(refusing(exited(), &[old])));
    }
    let down = in_background(&sandbox, &["wait", "down", "app"]);
    for wait in exits.iter().chain([&down]) {
        let opened = |fd: i32| fs::read_link(format!("/proc/{}/fd/{fd}", wait.pid())).unwrap_or_default();
        eventually(&sandbox, "it has the status directory open", || {
            (3..9).any(|fd| opened(fd) == sandbox.status_path())
        });
    }
    sandbox.kill_supervise();
    for exited in exits {
        assert_eq!(exited.wait().expect_code(0).stdout, "app: exited\n");
    }
    down.wait().expect_code(1).expect_stderr(&[&format!("the service goes on, pid {service}\n")]);
    svc(&sandbox, &["wait", "exited", "app"]).expect_code(0);
    svc(&sandbox, &["wait", "up", "app"]).expect_code(102).expect_stderr(&["app: no supervise there"]);
    svc(&sandbox, &["status", "app"]).expect_code(4);
    assert!(alive(service));
}

#[test]
fn a_pid_that_is_a_stranger_s_by_now_is_no_supervise() {
    let Some(sandbox) = looked_into() else { return };
    sandbox.kill_supervise();
    // As if the kernel had given its pid to the process of this test, which is younger than the record.
    let state = fs::read_to_string(sandbox.file("state")).expect("it was written");
    let line = format!("supervise : {}", std::process::id());
    let lines: Vec<&str> = state.lines().map(|l| if l.starts_with("supervise : ") { &line } else { l }).collect();
    fs::write(sandbox.file("state"), lines.join("\n") + "\n").expect("root may");
    let long_ago = SystemTime::now() - Duration::from_secs(86_400);
    fs::File::options()
        .write(true)
        .open(sandbox.file("state"))
        .and_then(|file| file.set_modified(long_ago))
        .expect("root may");
    svc(&sandbox, &["wait", "up", "app"]).expect_code(102).expect_stderr(&["app: no supervise there"]);
    let status = svc(&sandbox, &["status", "app"]).expect_code(4).stdout;
    assert!(status.contains("up, no supervise"), "{status}");
}

#[test]
fn what_can_not_be_known_is_said_with_the_file_and_its_owner() {
    let Some(sandbox) = looked_into() else { return };
    let supervise = sandbox.supervise_pid();
    // As the classic program leaves it: the kernel's list of locks is all that tells of it.
    fs::remove_file(sandbox.file("state")).expect("root may");
    svc(&sandbox, &["wait", "up", "app"]).expect_code(0);
    signal(supervise, Signal::SIGKILL);
    sandbox.until_dead(supervise);
    let said = svc(&sandbox, &["wait", "up", "app"]).expect_code(111).stderr;
    let expected = "app: unable to open ok: Permission denied: status/app/ok (owner root, mode 0600)\n";
    assert_eq!(said, expected);
    let status = svc(&sandbox, &["status", "app"]).expect_code(4).stdout;
    assert!(status.contains("supervise unknown"), "{status}");
}

/// Every verb that takes names.
const WITH_NAMES: [&[&str]; 9] = [
    &["start"],
    &["signal", "HUP"],
    &["wait", "up"],
    &["tail"],
    &["alarm", "off"],
    &["alarm", "test"],
    &["alarms"],
    &["alarms", "retry"],
    &["alarms", "drop", "1"],
];

#[test]
fn a_closed_root_is_a_refusal_and_no_unknown_name() {
    let Some(sandbox) = looked_into() else { return };
    set_mode(&sandbox.path("status"), 0o700);
    fs::create_dir_all(sandbox.path("elsewhere/app")).expect("root may");
    set_mode(&sandbox.path("elsewhere"), 0o711);
    set_mode(&sandbox.path("elsewhere/app"), 0o755);
    for verb in WITH_NAMES {
        for (name, closed) in [
            ("app", "status"),
            ("a*", "status"),
            ("elsewhere/app", "status"), // it may be a module, which would come first
            (sandbox.path("elsewhere/*").to_str().expect("a plain path"), "elsewhere"),
            (sandbox.path("status/app").to_str().expect("a plain path"), "status"),
        ] {
            if name.starts_with('/') && closed == "elsewhere" {
                set_mode(&sandbox.path("status"), 0o755);
            }
            let said = svc(&sandbox, &[verb, &[name]].concat()).expect_code(111).stderr;
            set_mode(&sandbox.path("status"), 0o700);
            let mode = if closed == "status" { "0700" } else { "0711" };
            assert!(said.contains(&format!("{closed} (owner root, mode {mode})")), "{verb:?} {name}: {said}");
        }
    }
    let said = svc(&sandbox, &["start", "--all"]).expect_code(111).stderr;
    assert!(
        said.contains("unable to read the status root: Permission denied: status (owner root, mode 0700)"),
        "{said}"
    );
    let said = svc(&sandbox, &["status", "app"]).expect_code(4).stdout;
    assert!(said.contains("unable to look for it: Permission denied: status (owner root, mode 0700)"), "{said}");
}

#[test]
fn an_unknown_name_is_the_same_to_every_verb() {
    let sandbox = Sandbox::new();
    sandbox.start("ready", &[]);
    for verb in WITH_NAMES {
        for name in ["none", "no*", "status/none", "app/status"] {
            let said = sandbox.svc(&[verb, &[name]].concat()).expect_code(102).stderr;
            assert!(said.contains(name) && said.contains("no such service"), "{verb:?} {name}: {said}");
        }
    }
}
