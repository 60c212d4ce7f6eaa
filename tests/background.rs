//! The background start: what holds when the caller's process has returned, and with which exit code it returns.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::SystemTime;

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::Signal;

use crate::common::{
    Foreground, Output, Pid, Sandbox, alive, eventually, process_stat, service_program, signal, supervise_program,
};

#[test]
fn when_the_caller_returns_everything_stands() {
    let sandbox = Sandbox::new();
    sandbox.start("ready", &[]);
    // Nothing is waited for here.
    assert!(!sandbox.lock_is_free(), "lock is held");
    assert!(sandbox.ok_is_held(), "ok is held");
    let service = sandbox.record().pid.expect("the record has the pid");
    assert!(alive(service));
    sandbox.write_control(b"dx");
    sandbox.until_ended();
}

#[test]
fn a_failed_exec_still_ends_with_0_and_says_why() {
    let sandbox = Sandbox::new();
    let output = sandbox.background(&["-p", "status/app", "-f", "./missing ready"]).expect_code(0);
    output.expect_stderr(&["supervise: app: unable to execute ./missing: No such file or directory"]);
    assert!(alive(sandbox.supervise_pid()), "supervise goes on trying");
    sandbox.until_warned("[FATAL]");
    sandbox.until_warned("No such file or directory");
    fs::rename(sandbox.path("service"), sandbox.path("missing")).expect("a rename");
    sandbox.until_value("state", "up");
}

/// What can be seen of a folder from outside: name, inode, size and time of change of each file.
fn seen(sandbox: &Sandbox) -> Vec<(String, u64, u64, SystemTime)> {
    let entries = fs::read_dir(sandbox.status_path()).expect("a status directory").flatten();
    let mut files: Vec<_> = entries
        .map(|entry| {
            let meta = entry.metadata().expect("a file");
            let changed = meta.modified().expect("a time");
            (entry.file_name().to_string_lossy().into_owned(), meta.ino(), meta.len(), changed)
        })
        .collect();
    files.sort();
    files
}

#[test]
fn a_second_supervise_is_told_who_holds_the_lock_and_disturbs_nothing() {
    let sandbox = Sandbox::new();
    sandbox.start("ready", &[]);
    let service = sandbox.until_ready();
    sandbox.until_state("up");
    let (supervise, before) = (sandbox.supervise_pid(), seen(&sandbox));
    let output = sandbox.background(&["-p", "status/app", "-f", "./service out other ready"]).expect_code(111);
    assert_eq!(output.stderr.lines().count(), 1, "{output:#?}");
    assert!(output.stderr.contains(&supervise.to_string()), "the holder's pid {supervise} in {output:#?}");
    assert_eq!(seen(&sandbox), before);
    assert_eq!((sandbox.supervise_pid(), sandbox.service_pid()), (supervise, Some(service)));
}

#[test]
fn a_second_supervise_in_the_foreground_is_refused_too() {
    let sandbox = Sandbox::new();
    sandbox.start("ready", &[]);
    let service = sandbox.until_ready();
    let second = sandbox.foreground(&["status/app", "./service", "ready"]);
    let output = second.wait().expect_code(111);
    assert!(output.stderr.contains(&sandbox.supervise_pid().to_string()), "{output:#?}");
    assert_eq!(sandbox.service_pid(), Some(service));
}

#[test]
fn a_lock_that_is_let_go_within_a_second_is_waited_for() {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.status_path()).expect("the sandbox is writable");
    let attempt = || {
        let file = File::create(sandbox.file("lock")).expect("the sandbox is writable");
        let held = Flock::lock(file, FlockArg::LockExclusiveNonblock).expect("nobody else has it");
        let mut supervise = sandbox.foreground(&["-p", "status/app", "-f", "./service ready"]);
        eventually(&sandbox, "it tries for the lock", || !sandbox.lock_holders().is_empty() || !supervise.runs());
        drop(held);
        supervise.wait()
    };
    // On a busy machine it may not run again before its second is over.
    let output = (0..4).map(|_| attempt()).find(|output| output.code != Some(111));
    output.unwrap_or_else(attempt).expect_code(0);
    sandbox.until_ready();
}

#[test]
fn of_many_starts_at_once_one_wins() {
    let sandbox = Sandbox::new();
    let args = ["-p", "status/app", "-f", "./service line started ready"];
    let callers: Vec<Foreground> = (0..8).map(|_| sandbox.foreground(&args)).collect();
    let mut outputs: Vec<Output> = callers.into_iter().map(Foreground::wait).collect();
    let winners = outputs.extract_if(.., |output| output.code == Some(0)).count();
    assert_eq!(winners, 1, "the others: {outputs:#?}");
    let supervise = sandbox.supervise_pid().to_string();
    for output in outputs {
        assert!(output.code == Some(111) && output.stderr.contains(&supervise), "held by {supervise}: {output:#?}");
    }
    sandbox.until_ready();
    assert_eq!(sandbox.until_lines("started", 1).len(), 1);
}

/// Ends the call by hand where `Sandbox::run` cannot be used because the test has its own plans for the output.
fn returned(sandbox: &Sandbox, mut command: Command) -> Option<i32> {
    let mut child = command.spawn().expect("supervise can be started");
    drop(command);
    let mut code = None;
    eventually(sandbox, "the caller returns", || {
        code = child.try_wait().expect("a child can be waited for");
        code.is_some()
    });
    code.and_then(|status| status.code())
}

#[test]
fn no_inherited_pipe_is_kept_open() {
    let sandbox = Sandbox::new();
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    // The shell gives it two more descriptors of the same pipe, which nobody told supervise of.
    let mut command = sandbox.program("/bin/sh");
    command.args(["-c", "exec \"$@\" 5>&1 9>&1", "sh"]).arg(supervise_program());
    command.args(["-p", "status/app", "-f", "./service report given ready"]).stdin(Stdio::null());
    command.stdout(writer.try_clone().expect("a descriptor")).stderr(writer);
    assert_eq!(returned(&sandbox, command), Some(0));
    // SAFETY: the descriptor is open; fcntl takes numbers here.
    unsafe { libc::fcntl(reader.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
    let mut buffer = [0; 512];
    eventually(&sandbox, "the reader of the pipe sees its end", || match reader.read(&mut buffer) {
        Ok(count) => count == 0,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            false
        }
    });
    let service = sandbox.until_ready();
    assert!(alive(service) && alive(sandbox.supervise_pid()), "and supervise runs on");
    assert_eq!(sandbox.until_report("given").values("fd").len(), 3, "nor does the service inherit any of it");
}

fn descriptors(pid: Pid) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).expect("a living process").flatten();
    let mut targets: Vec<String> = entries
        .filter_map(|entry| {
            let number = entry.file_name().to_string_lossy().into_owned();
            Some(format!("{number} {}", fs::read_link(entry.path()).ok()?.display()))
        })
        .collect();
    targets.sort();
    targets
}

#[test]
fn the_caller_s_terminal_is_let_go() {
    let sandbox = Sandbox::new();
    let (mut master, mut slave) = (0, 0);
    let none = std::ptr::null_mut();
    // SAFETY: two places for descriptors; the name, the settings and the size are not asked for.
    let result = unsafe { libc::openpty(&mut master, &mut slave, none, none.cast(), none.cast()) };
    assert_eq!(result, 0, "no terminal to test with");
    // SAFETY: openpty has made both descriptors for us.
    let (_master, slave) = unsafe { (OwnedFd::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) };
    let mut command = sandbox.command(&["-p", "status/app", "-f", "./service ready"]);
    let duplicate = || slave.try_clone().expect("a descriptor");
    command.stdin(duplicate()).stdout(duplicate()).stderr(duplicate());
    assert_eq!(returned(&sandbox, command), Some(0));
    let service = sandbox.until_ready();
    for pid in [sandbox.supervise_pid(), service] {
        let open = descriptors(pid);
        assert!(!open.iter().any(|target| target.contains("/dev/pts")), "{open:?}");
    }
}

#[test]
fn supervise_leads_a_session_and_keeps_the_folder_and_reads_dev_null() {
    let sandbox = Sandbox::new();
    sandbox.start("ready", &[]);
    let service = sandbox.until_ready();
    let supervise = sandbox.supervise_pid();
    let stat = process_stat(supervise).expect("it lives");
    assert_eq!((stat.session, stat.group), (supervise, supervise));
    assert_eq!(process_stat(service).expect("it lives").session, supervise);
    let folder = |name: &str| fs::read_link(format!("/proc/{supervise}/{name}")).expect("it lives");
    assert_eq!(folder("cwd"), fs::canonicalize(sandbox.path("")).expect("the folder is there"));
    assert_eq!(folder("fd/0").to_str(), Some("/dev/null"));
}

#[test]
fn a_caller_without_standard_descriptors_gets_its_service() {
    for form in ["-p status/app", "--foreground -p status/app"] {
        let sandbox = Sandbox::new();
        let mut command = sandbox.program("/bin/sh");
        command.args(["-c", &format!("exec \"$@\" {form} ./service report given ready <&- >&- 2>&-"), "sh"]);
        command.arg(supervise_program());
        let _supervise = sandbox.spawn(command);
        let report = sandbox.until_report("given");
        let fds: Vec<&str> = report.values("fd").iter().map(|fd| &fd[..2]).collect();
        assert_eq!(fds, ["0 ", "1 ", "2 "], "{:?}", report.values("fd"));
        sandbox.until_ready();
        assert!(!sandbox.lock_is_free() && sandbox.ok_is_held());
        sandbox.write_control(b"dx");
        sandbox.until_ended();
    }
}

#[test]
fn a_caller_whose_pipe_nobody_reads_gets_its_supervise() {
    let sandbox = Sandbox::new();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = sandbox.command(&["-p", "status/app", "-f", "./missing"]);
    command.stdin(Stdio::null()).stdout(writer.try_clone().expect("a descriptor")).stderr(writer);
    assert_eq!(returned(&sandbox, command), Some(0));
    sandbox.until_warned("./missing");
    assert!(alive(sandbox.supervise_pid()));
}

#[test]
fn a_caller_that_ignores_or_blocks_every_signal_changes_nothing() {
    for action in [libc::SIG_IGN, libc::SIG_DFL] {
        let sandbox = Sandbox::new();
        let mut command = sandbox.command(&["-p", "status/app", "-f", "./service from 1 count line count exit 3"]);
        let set_signals = move || {
            // SAFETY: signal and sigprocmask are safe between fork and exec, and sigfillset initialises the set.
            unsafe {
                for number in (1..32).filter(|number| ![libc::SIGKILL, libc::SIGSTOP].contains(number)) {
                    libc::signal(number, action);
                }
                let mut set = std::mem::zeroed();
                libc::sigfillset(&mut set);
                libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
            }
            Ok(())
        };
        // SAFETY: the closure calls nothing but signal, sigfillset and sigprocmask.
        unsafe { command.pre_exec(set_signals) };
        sandbox.run(command).expect_code(0);
        // A caller that ignores SIGCHLD would have the kernel reap the service unseen.
        let service = sandbox.until_ready();
        sandbox.until_value("last_exit", "code 3");
        signal(sandbox.supervise_pid(), Signal::SIGTERM);
        sandbox.until_ended();
        assert!(!alive(service), "TERM is obeyed, and ends the service");
    }
}

#[test]
fn the_caller_s_folder_environment_umask_and_limits_pass_to_the_service() {
    for form in [&["-p", "status/app"][..], &["--foreground", "-p", "status/app"]] {
        let sandbox = Sandbox::new();
        let mut command = sandbox.command(form);
        command.args(["./service", "report", "given", "ready"]).env("SOME_THING", "  of its own ");
        let limits = || {
            let nofile = libc::rlimit { rlim_cur: 77, rlim_max: 99 };
            // SAFETY: both calls are safe between fork and exec, and `nofile` is initialised.
            unsafe {
                libc::umask(0o026);
                libc::setrlimit(libc::RLIMIT_NOFILE, &nofile);
            }
            Ok(())
        };
        // SAFETY: the closure calls nothing but umask and setrlimit.
        unsafe { command.pre_exec(limits) };
        let _supervise = sandbox.spawn(command);
        let report = sandbox.until_report("given");
        assert_eq!(report.value("umask"), "026");
        assert!(report.values("limit").contains(&"nofile 77 99"), "{:?}", report.values("limit"));
        assert!(report.values("env").contains(&"SOME_THING=  of its own "), "{:?}", report.values("env"));
        let folder = fs::canonicalize(sandbox.path("")).expect("the folder is there");
        assert_eq!(report.value("cwd"), folder.to_str().expect("a plain name"));
    }
}

#[test]
fn without_f_the_conf_in_the_current_folder_counts() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\nhup : default\n");
    sandbox.start("report given ready", &[]);
    let report = sandbox.until_report("given");
    assert_eq!(report.signals("SigIgn") & 1, 0, "HUP is at its default, as that conf says");
    eventually(&sandbox, "the long record names the conf", || {
        sandbox.value("conf").is_some_and(|conf| conf.ends_with("supervise.conf"))
    });
}

#[test]
fn without_any_conf_there_is_no_policy_and_no_warning() {
    let sandbox = Sandbox::new();
    let output = sandbox.start("exit 3", &[]);
    assert_eq!(output.stderr, "");
    sandbox.until_value("last_exit", "code 3");
    eventually(&sandbox, "it is restarted", || sandbox.count("starts") >= 2);
    assert_eq!(sandbox.alarms().len(), 0);
    assert!(!sandbox.warnings().contains("conf"), "{}", sandbox.warnings());
    assert!(!sandbox.log().contains("configurations"), "{}", sandbox.log());
}

#[test]
fn a_named_conf_that_cannot_be_opened_is_a_warning_and_the_service_starts() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\nhup : default\n");
    let output = sandbox.start("report given ready", &["-F", "missing.conf"]);
    output.expect_stderr(&["missing.conf", "No such file or directory"]);
    let report = sandbox.until_report("given");
    assert_eq!(report.signals("SigIgn") & 1, 1, "HUP is ignored: no other conf was read instead");
    sandbox.until_warned("missing.conf");
    assert!(sandbox.warnings().contains("[WARNING]"), "{}", sandbox.warnings());
}

#[test]
fn with_a_hook_and_no_f_no_conf_is_read() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\nhup : default\npacing : nonsense\n");
    sandbox.start("report given ready", &["-r", "./service exit 0"]);
    let report = sandbox.until_report("given");
    assert_eq!(report.signals("SigIgn") & 1, 1, "HUP is ignored: the conf was not read");
}

#[test]
fn a_conf_with_a_refused_value_starts_nothing_and_ends_with_100() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[global]\npacing : fast\n[app]\nstop_timeout : -1\nkill_mode : all\n");
    let args = ["-p", "status/app", "-f", "./service line started ready", "-F", "supervise.conf"];
    let output = sandbox.background(&args).expect_code(100);
    output.expect_stderr(&[
        "supervise.conf:2: pacing: ",
        "supervise.conf:4: stop_timeout: ",
        "supervise.conf:5: kill_mode: ",
    ]);
    assert_eq!(sandbox.processes(), Vec::<Pid>::new());
    assert_eq!(sandbox.read("started"), "");
}

#[test]
fn a_status_directory_that_cannot_be_made_ends_with_110() {
    let sandbox = Sandbox::new();
    sandbox.write("file", "");
    let output = sandbox.background(&["-p", "file/status/app", "-f", "./service ready"]).expect_code(110);
    output.expect_stderr(&["file/status", "Not a directory"]);
    assert_eq!(sandbox.processes(), Vec::<Pid>::new());
}

#[test]
fn a_give_up_ends_with_1() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\nalarm_interval : 60\nmax_tries : 1\npacing : 0.1\n");
    let supervise = sandbox.foreground(&["--foreground", "-p", "status/app", "-f", "./service exit 3"]);
    supervise.wait().expect_code(1);
    assert_eq!(sandbox.value("state").as_deref(), Some("gave-up"));
    assert_eq!(sandbox.count("starts"), 2);
}

#[test]
fn a_program_found_through_the_path_is_started() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(&["-p", "status/app", "-f", "service ready"]);
    command.env("PATH", service_program().parent().expect("a folder"));
    sandbox.run(command).expect_code(0);
    sandbox.until_ready();
}
