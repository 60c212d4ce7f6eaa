//! `svc`, `svstat` and `svok` with nobody there, with files that are not what they should be, and without permission.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::bad_days::fill;
use crate::common::{
    Sandbox, alive, client_program, eventually, is_root, process_stat, signal, skip, with_status_on_a_small_disk,
};

/// A user that owns nothing.
const NOBODY: u32 = 65_534;

#[test]
fn nothing_is_written_where_no_supervise_lives() {
    let sandbox = Sandbox::new();
    sandbox.start("ready", &[]);
    sandbox.until_ready();
    sandbox.kill_supervise();
    // The service lives, both fifos are there, and nobody reads them.
    let service = sandbox.service_pid().expect("it lives");
    let goes_on = format!(
        "app: no supervise there: it was killed while the service was up; the service goes on, pid {service}; \
         the same supervise command as before adopts it (supervise -p status/app ... ./service ready)\n"
    );
    for verb in ["start", "stop", "restart", "exit", "reload"] {
        assert_eq!(sandbox.svc(&[verb, "app"]).expect_code(102).stderr, goes_on);
    }
    assert_eq!(sandbox.svc(&["wait", "up", "app"]).expect_code(102).stderr, goes_on);
    assert_eq!(sandbox.svc(&["signal", "TERM", "app"]).expect_code(102).stderr, goes_on);
    assert_eq!(sandbox.svc(&["stop", "--no-wait", "app"]).expect_code(102).stderr, goes_on);
    // Somebody else reads svcontrol, but `ok` is nobody's: the byte would wait there for a later supervise.
    let reader = fs::OpenOptions::new().read(true).write(true).open(sandbox.file("svcontrol")).expect("it is a fifo");
    sandbox.svc(&["stop", "app"]).expect_code(102);
    drop(reader);
    sandbox.start("ready", &[]);
    assert_eq!(sandbox.value("wanted").as_deref(), Some("up"));
    assert!(!sandbox.log().contains("commands"), "{}", sandbox.log());
}

#[test]
fn what_is_no_status_directory_is_told_in_a_line() {
    let sandbox = Sandbox::new();
    let make = |name: &str| {
        let dir = sandbox.path(format!("status/{name}"));
        fs::create_dir_all(&dir).expect("the sandbox is writable");
        dir
    };
    make("empty");
    let plain = make("plain"); // files where fifos should be
    for name in ["ok", "svcontrol", "status", "state", "lock"] {
        fs::write(plain.join(name), "x").expect("the sandbox is writable");
    }
    let fifos = make("fifos"); // fifos where files should be
    for name in ["status", "state", "svcontrol", "lock"] {
        mkfifo(&fifos.join(name), Mode::S_IRWXU).expect("the sandbox is writable");
    }
    let linked = make("linked");
    symlink("nowhere", linked.join("svcontrol")).expect("the sandbox is writable");
    symlink("/dev/zero", linked.join("status")).expect("the sandbox is writable");
    fs::write(sandbox.path("status/file"), "").expect("the sandbox is writable");
    for name in ["empty", "plain", "fifos", "linked", "file", "none"] {
        let ended = sandbox.svc(&["stop", name]);
        assert!(matches!(ended.code, Some(102 | 111)), "{ended:?}");
        assert_eq!((ended.stdout.as_str(), ended.stderr.lines().count()), ("", 1), "{ended:?}");
        sandbox.svc(&["wait", "up", "--timeout", "0.1", name]);
        let stat = sandbox.run(sandbox.client("svstat", &[&format!("status/{name}")])).expect_code(0);
        assert_eq!(stat.stdout.lines().count(), 1, "{stat:?}");
        sandbox.run(sandbox.client("svok", &[&format!("status/{name}")])).expect_code(100);
        sandbox.svc(&["-d", name]).expect_code(102);
    }
}

#[test]
fn without_any_record_the_processes_tell() {
    let sandbox = Sandbox::new();
    with_status_on_a_small_disk(&sandbox, 256, || {
        let filler = fill(&sandbox.path("status"));
        sandbox.background(&["-p", "status/app", "-f", "./service ready"]).expect_code(0);
        assert!(!sandbox.file("status").exists() && !sandbox.file("state").exists());
        let said = |args: &[&str]| sandbox.svc(args).expect_code(0).stdout;
        let pid_in = |said: &str| {
            let digits: String =
                said.split("(pid ").nth(1).unwrap_or_default().chars().take_while(char::is_ascii_digit).collect();
            digits.parse::<i32>().unwrap_or_else(|_| panic!("{said:?} has no pid"))
        };
        let first = pid_in(&said(&["wait", "up", "app"]));
        assert!(alive(first));
        let status = sandbox.svc(&["status", "app"]).expect_code(4).stdout;
        assert!(status.contains(&format!("unreadable  up (pid {first}), but: No such file")), "{status}");
        assert_eq!(said(&["start", "app"]), format!("app: up already (pid {first})\n"));
        let second = pid_in(&said(&["restart", "app"]));
        assert!(second != first && alive(second) && !alive(first));
        assert_eq!(said(&["pause", "app"]), "app: paused\n");
        assert_eq!(process_stat(second).expect("it lives").state, 'T');
        assert_eq!(said(&["continue", "app"]), "app: continued\n");
        assert_eq!(said(&["stop", "app"]), "app: stopped\n");
        assert!(!alive(second));
        assert_eq!(said(&["wait", "down", "app"]), "app: down\n");
        let third = pid_in(&said(&["start", "app"]));
        assert!(alive(third));
        sandbox.svc(&["upgrade", "app"]).expect_code(1).expect_stderr(&["no long record shows if it did"]);
        fs::remove_file(filler).expect("it is there");
        // From the next record on that one counts.
        assert_eq!(said(&["kill", "app"]), "app: killed\n");
        sandbox.until_state("up");
        assert_eq!(said(&["exit", "app"]), "app: exited\n");
    });
}

#[test]
fn the_long_record_alone_is_enough_to_steer_by() {
    let sandbox = Sandbox::new();
    sandbox.start("ready", &[]);
    let service = sandbox.until_ready();
    fs::remove_file(sandbox.file("status")).expect("it is there");
    let classic = sandbox.svc(&["status/app", "status"]).expect_code(0).stdout;
    assert!(classic.starts_with(&format!("pid: {service}\nstart time: 20")), "{classic}");
    let status = sandbox.svc(&["status", "app"]).expect_code(4).stdout;
    assert!(status.contains(&format!("unreadable  up (pid {service}), but: No such file")), "{status}");
    assert_eq!(sandbox.svc(&["start", "app"]).expect_code(0).stdout, format!("app: up already (pid {service})\n"));
    assert_eq!(sandbox.svc(&["stop", "app"]).expect_code(0).stdout, "app: stopped\n");
}

#[test]
fn a_supervise_that_is_stopped_is_told() {
    let sandbox = Sandbox::new();
    sandbox.start("ready", &[]);
    sandbox.until_ready();
    let supervise = sandbox.supervise_pid();
    signal(supervise, Signal::SIGSTOP);
    eventually(&sandbox, "it is stopped", || process_stat(supervise).is_some_and(|stat| stat.state == 'T'));
    let why =
        format!("supervise (pid {supervise}) is stopped and obeys nothing; `kill -CONT {supervise}` lets it go on");
    let status = sandbox.svc(&["status"]).expect_code(0).stdout;
    assert!(status.contains("up, supervise stopped") && status.contains(&why), "{status}");
    assert!(sandbox.svc(&["status", "--failed"]).expect_code(0).stdout.contains("app "), "it needs attention");
    assert!(sandbox.svc(&["status", "--json"]).expect_code(0).stdout.contains("\"supervise_stopped\":true"));
    let stop = sandbox.svc(&["stop", "--timeout", "0.1", "app"]).expect_code(99).stderr;
    assert_eq!(stop, format!("app: not down within 0.1 s: {why}\n"));
    let told = sandbox.svc(&["signal", "HUP", "app"]).expect_code(0).stdout;
    assert_eq!(told, format!("app: told, but {why}\n"));
    signal(supervise, Signal::SIGCONT);
    sandbox.svc(&["wait", "down", "app"]).expect_code(0);
    let status = sandbox.svc(&["status"]).expect_code(3).stdout;
    assert!(!status.contains("stopped"), "{status}");
}

#[test]
fn a_supervise_that_dies_in_between_is_told() {
    let sandbox = Sandbox::new();
    sandbox.start("ignore TERM ready", &[]);
    let service = sandbox.until_ready();
    let stop = sandbox.svc_in_background(&["stop", "app"]);
    sandbox.until_state("stopping");
    sandbox.kill_supervise();
    let said = stop.wait().expect_code(1).stderr;
    let expected =
        format!("app: supervise was killed while the service was stopping; the service goes on, pid {service}\n");
    assert_eq!(said, expected);
    signal(service, Signal::SIGKILL);
    sandbox.until_dead(service);
    let said = sandbox.svc(&["start", "app"]).expect_code(102).stderr;
    let expected = "app: no supervise there: it was killed while the service was stopping; the service has ended too; \
                    the same supervise command as before starts it again \
                    (supervise -p status/app ... ./service ignore TERM ready)\n";
    assert_eq!(said, expected);
    assert_eq!(sandbox.svc(&["wait", "down", "app"]).expect_code(0).stdout, "app: down\n");
}

#[test]
fn what_is_so_already_needs_no_supervise() {
    let sandbox = Sandbox::new();
    sandbox.start_module("a", "ready");
    let b = sandbox.start_module("b", "ready");
    sandbox.svc(&["exit", "--all"]).expect_code(0);
    for (verb, words) in [("exit", "exited already"), ("stop", "down already"), ("kill", "not running")] {
        let said = format!("a: {words}\nb: {words}\n");
        assert_eq!(sandbox.svc(&[verb, "--all"]).expect_code(0).stdout, said);
        assert_eq!(sandbox.svc(&[verb, "--no-wait", "--all"]).expect_code(0).stdout, said);
    }
    let started = sandbox.svc(&["start", "a"]).expect_code(102).stderr;
    let again = "the same supervise command as before starts it again (supervise -p status/a ... ./service ready)";
    assert_eq!(started, format!("a: no supervise there; {again}\n"));
    sandbox.svc(&["restart", "a"]).expect_code(102);
    // daemontools says so, whatever was wanted.
    sandbox.svc(&["-d", "a"]).expect_code(102);
    sandbox.svc(&["exit", "a", "none"]).expect_code(102);
    let lock = fs::File::open(b.file("lock")).expect("it is there");
    let _held = nix::fcntl::Flock::lock(lock, nix::fcntl::FlockArg::LockExclusive).expect("nobody has it");
    sandbox.svc(&["exit", "b"]).expect_code(102);
}

#[test]
fn one_directory_is_steered_once_and_shown_once() {
    let sandbox = Sandbox::new();
    sandbox.start("ready", &[]);
    let before = sandbox.until_ready();
    symlink("app", sandbox.path("status/alias")).expect("the sandbox is writable");
    let said = sandbox.svc(&["restart", "alias", "app", "status/app", "./status/app/", "a*"]).expect_code(0).stdout;
    assert!(said.starts_with("alias: restarted (pid ") && said.lines().count() == 1, "{said}");
    assert_ne!(sandbox.service_pid(), Some(before));
    let said = sandbox.svc(&["stop", "--all"]).expect_code(0).stdout;
    assert_eq!(said, "app: stopped\n");
    for args in [&["status"][..], &["status", "app", "status/app/"]] {
        assert_eq!(sandbox.svc(args).expect_code(3).stdout.lines().count(), 2, "a heading and a service");
    }
}

#[test]
fn the_successor_of_a_supervise_is_waited_for() {
    let sandbox = Sandbox::new();
    sandbox.start("ignore TERM ready", &[]);
    let service = sandbox.until_ready();
    let stop = sandbox.svc_in_background(&["stop", "app"]);
    sandbox.until_state("stopping");
    // As long as somebody has the old `ok` open for reading, the end of supervise is not to be seen.
    let reader = fs::OpenOptions::new().read(true).write(true).open(sandbox.file("ok")).expect("it is a fifo");
    sandbox.kill_supervise();
    sandbox.start("ignore TERM ready", &[]);
    sandbox.until_value("adopted", "yes");
    drop(reader);
    sandbox.svc(&["kill", "app"]).expect_code(0);
    assert_eq!(stop.wait().expect_code(0).stdout, "app: stopped\n");
    assert!(!alive(service));
}

#[test]
fn an_exit_that_another_supervise_follows_is_told() {
    let sandbox = Sandbox::new();
    sandbox.start("ignore TERM ready", &[]);
    sandbox.until_ready();
    let exit = sandbox.svc_in_background(&["exit", "app"]);
    sandbox.until_state("stopping");
    let reader = fs::OpenOptions::new().read(true).write(true).open(sandbox.file("ok")).expect("it is a fifo");
    sandbox.kill_supervise();
    sandbox.start("ignore TERM ready", &[]);
    sandbox.until_value("adopted", "yes");
    drop(reader);
    let said = exit.wait().expect_code(1).stderr;
    assert_eq!(said, "app: supervise has ended, and another one has taken its place\n");
}

#[test]
fn a_directory_that_vanishes_in_between_is_told() {
    let sandbox = Sandbox::new();
    sandbox.start("ignore TERM ready", &[]);
    sandbox.until_ready();
    let supervise = sandbox.supervise_pid();
    let stop = sandbox.svc_in_background(&["stop", "app"]);
    sandbox.until_state("stopping");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(supervise), nix::sys::signal::Signal::SIGSTOP).expect("it lives");
    fs::remove_dir_all(sandbox.status_path()).expect("nobody makes anything anew");
    stop.wait().expect_code(1).expect_stderr(&["app: its status directory was removed\n"]);
}

#[test]
fn without_permission_the_file_and_its_owner_are_named() {
    if !is_root() {
        return skip("only root can be refused as somebody else");
    }
    let sandbox = Sandbox::new();
    sandbox.start("ready", &[]);
    sandbox.until_ready();
    // Where the programs were built nobody else may enter.
    for name in ["svc", "svstat", "svok"] {
        sandbox.bring(&client_program(name), name);
    }
    let open = |path: &std::path::Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("root may");
    };
    for folder in sandbox.path("").ancestors().take(2) {
        open(folder, 0o755);
    }
    open(&sandbox.path("status"), 0o755);
    let run = |name: &str, args: &[&str]| {
        let mut command = sandbox.program(sandbox.path(name));
        command.args(args).uid(NOBODY).gid(NOBODY);
        sandbox.run(command)
    };
    let closed = run("svc", &["stop", "app"]).expect_code(111).stderr;
    assert_eq!(closed, "app: unable to enter it: Permission denied: status/app (owner root, mode 0700)\n");
    let tail = run("svc", &["tail", "app"]).expect_code(111).stderr;
    assert_eq!(tail, "svc: Permission denied: status/app (owner root, mode 0700)\n", "once for both files");
    let retry = run("svc", &["alarms", "retry"]).expect_code(111).stderr;
    assert_eq!(retry, tail, "and not that there is no alarm");
    open(&sandbox.path("status"), 0o700);
    let closed = run("svc", &["-d", "status/app"]).expect_code(111).stderr;
    assert!(closed.ends_with(": Permission denied: status (owner root, mode 0700)\n"), "the folder above: {closed}");
    open(&sandbox.path("status"), 0o755);
    let classic = run("svc", &["status/app", "status"]).expect_code(111).stderr;
    assert_eq!(classic, "status/app: unable to enter it: Permission denied: status/app (owner root, mode 0700)\n");
    open(sandbox.status_path(), 0o755);
    open(&sandbox.file("status"), 0o600);
    let classic = run("svc", &["status/app", "status"]).expect_code(111).stderr;
    assert_eq!(
        classic,
        "status/app: unable to read status: Permission denied: status/app/status (owner root, mode 0600)\n"
    );
    open(&sandbox.file("status"), 0o644);
    open(&sandbox.path("status"), 0o700);
    for words in [&["status/app", "status"], &["status/app", "stop"]] {
        let above = run("svc", words).expect_code(111).stderr;
        assert!(above.ends_with(": Permission denied: status (owner root, mode 0700)\n"), "the folder above: {above}");
    }
    open(&sandbox.path("status"), 0o755);
    let closed = run("svc", &["stop", "app"]).expect_code(111).stderr;
    assert_eq!(
        closed,
        "app: unable to write svcontrol: Permission denied: status/app/svcontrol (owner root, mode 0600)\n"
    );
    let stat = run("svstat", &["status/app"]).expect_code(0).stdout;
    assert_eq!(stat, "status/app: unable to open ok: access denied\n");
    run("svok", &["status/app"]).expect_code(111).expect_stderr(&["unable to open status/app/ok: access denied"]);
    // Who may write commands may steer, also without `ok`.
    open(&sandbox.file("svcontrol"), 0o666);
    assert_eq!(run("svc", &["stop", "app"]).expect_code(0).stdout, "app: stopped\n");
    assert_eq!(run("svc", &["exit", "app"]).expect_code(0).stdout, "app: exited\n");
}

#[test]
fn without_a_watch_it_looks() {
    let sandbox = Sandbox::new();
    sandbox.start("ready", &[]);
    sandbox.until_ready();
    for limit in ["instances", "watches"] {
        let mut unshare = sandbox.program("unshare");
        let svc = client_program("svc");
        let script = format!(
            "echo 0 > /proc/sys/user/max_inotify_{limit} || exit 77; {0} stop app && exec {0} start app",
            svc.display()
        );
        unshare.args(["-Ur", "sh", "-c", &script]);
        let ended = sandbox.run(unshare);
        if ended.code != Some(0) && (ended.code == Some(77) || ended.stderr.starts_with("unshare:")) {
            return skip("no user namespace can be made, or its limits cannot be set");
        }
        let said = ended.expect_code(0).stdout;
        assert!(said.starts_with("app: stopped\napp: started (pid "), "{said}");
    }
}

#[test]
fn closed_descriptors_are_taken_for_nothing_else() {
    let sandbox = Sandbox::new();
    sandbox.start("ready", &[]);
    sandbox.until_ready();
    let mut shell = sandbox.program("/bin/sh");
    shell.args(["-c", &format!("exec {} wait down app <&- >&- 2>&-", client_program("svc").display())]);
    let wait = sandbox.spawn(shell);
    let opened = |fd: i32| fs::read_link(format!("/proc/{}/fd/{fd}", wait.pid())).unwrap_or_default();
    eventually(&sandbox, "it has /dev/null in their place, and the status directory open", || {
        (0..3).all(|fd| opened(fd) == std::path::Path::new("/dev/null"))
            && (3..9).any(|fd| opened(fd) == sandbox.status_path())
    });
    sandbox.write_control(b"d");
    wait.wait().expect_code(0);
}

#[test]
fn a_pipe_that_nobody_reads_is_no_signal() {
    let sandbox = Sandbox::new();
    sandbox.start_module("a", "ready");
    let b = sandbox.start_module("b", "ready");
    let mut shell = sandbox.program("/bin/bash");
    let svc = client_program("svc");
    shell.args(["-c", &format!("{} stop a b | true; exit ${{PIPESTATUS[0]}}", svc.display())]);
    sandbox.run(shell).expect_code(0);
    assert_eq!(b.service_pid(), None, "the second was stopped all the same");
}
