//! What a service is given when it is started, and when it is started again.

use std::fs;
use std::os::unix::process::CommandExt;
use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};

use crate::common::{
    Mark, Report, Sandbox, eventually, eventually_some, log_texts, process_stat, signal, supervise_program,
};

const HUP: u64 = 1;

/// The two ways to start supervise, with a service that reports what it was given.
#[track_caller]
fn reports(conf: &str, shell: &str) -> Vec<(Sandbox, Report)> {
    let ways: [&[&str]; 2] = [&["-p", "status/app", "-F", "supervise.conf"], &["-F", "supervise.conf", "status/app"]];
    let start = |words: &[&str]| {
        let sandbox = Sandbox::new();
        sandbox.write_conf(conf);
        fs::create_dir(sandbox.path("elsewhere")).expect("the sandbox is writable");
        let mut command = sandbox.program("/bin/sh");
        command.args(["-c", &format!("{shell} exec \"$@\""), "sh"]).arg(supervise_program()).args(words);
        let given = sandbox.path("given");
        command.arg(sandbox.path("service")).args(["report".as_ref(), given.as_os_str()]).args(["ready", "wait"]);
        // What it is not told of: a blocked signal.
        let mut blocked = SigSet::empty();
        blocked.add(Signal::SIGTERM);
        blocked.add(Signal::SIGALRM);
        // SAFETY: sigprocmask is safe to call between fork and exec.
        unsafe { command.pre_exec(move || Ok(sigprocmask(SigmaskHow::SIG_BLOCK, Some(&blocked), None)?)) };
        let supervise = sandbox.spawn(command);
        let report = sandbox.until_report("given");
        (supervise, sandbox, report)
    };
    ways.iter()
        .map(|words| {
            let (supervise, sandbox, report) = start(words);
            let folder = if shell.contains("elsewhere") { "elsewhere/status/app" } else { "status/app" };
            let status = sandbox.status_dir(folder);
            let pid = Some(report.number("pid"));
            eventually(&sandbox, "the record has the service's own pid", || status.service_pid() == pid);
            let named = || status.value("supervise").and_then(|pid| pid.parse().ok());
            let parent = eventually_some(&sandbox, "the long record names supervise", named);
            let stat = process_stat(parent).expect("supervise lives");
            assert_eq!(report.number("ppid"), parent);
            assert_eq!(report.number("sid"), stat.session, "in supervise's session");
            assert_eq!(report.number("pgid"), report.number("pid"), "in a group of its own");
            assert_ne!(report.number("pgid"), stat.group);
            drop(supervise);
            (sandbox, report)
        })
        .collect()
}

#[test]
fn the_service_has_a_group_in_the_session_of_supervise_and_its_own_pid_in_the_record() {
    reports("[app]\n", "");
}

#[test]
fn the_signals_of_the_service_are_at_their_defaults_but_hup() {
    for (_sandbox, report) in reports("[app]\n", "trap '' INT QUIT TERM PIPE USR1 CHLD TSTP TTIN TTOU;") {
        assert_eq!((report.signals("SigBlk"), report.signals("SigCgt")), (0, 0));
        assert_eq!(report.signals("SigIgn"), HUP);
    }
}

#[test]
fn hup_default_in_the_conf_gives_the_service_hup_at_its_default() {
    for shell in ["", "trap '' HUP PIPE;"] {
        for (_sandbox, report) in reports("[app]\nhup : default\n", shell) {
            assert_eq!((report.signals("SigBlk"), report.signals("SigIgn")), (0, 0));
        }
    }
}

#[test]
fn the_service_has_dev_null_as_stdin_and_no_descriptor_above_2() {
    for (_sandbox, report) in reports("[app]\n", "exec 0</etc/passwd 4</etc/passwd 9>/dev/null;") {
        let descriptors = report.values("fd");
        let numbers: Vec<&str> = descriptors.iter().map(|fd| fd.split(' ').next().unwrap_or_default()).collect();
        assert_eq!(numbers, ["0", "1", "2"], "{descriptors:?}");
        assert_eq!(descriptors[0], "0 /dev/null");
    }
}

#[test]
fn a_caller_without_any_descriptor_gives_the_service_its_three_all_the_same() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.program("/bin/sh");
    command.args(["-c", "exec \"$@\" <&- >&- 2>&-", "sh"]).arg(supervise_program());
    command.args(["-p", "status/app", "-f", "./service report given out one err two ready"]);
    sandbox.run(command).expect_code(0);
    let report = sandbox.until_report("given");
    let (out, err) = (sandbox.file("__stdout"), sandbox.file("__stderr"));
    let files = ["0 /dev/null".to_owned(), format!("1 {}", out.display()), format!("2 {}", err.display())];
    assert_eq!(report.values("fd"), files);
    sandbox.until_ready();
    assert_eq!(sandbox.stderr(), "two\n");
}

#[test]
fn folder_environment_umask_and_limits_are_the_caller_s() {
    let shell = "cd elsewhere; umask 0037; ulimit -S -n 77; ulimit -c 0; A_WORD='two words'; export A_WORD;";
    // supervise.conf is given by name, and found from the folder that the caller is in.
    for (sandbox, report) in reports("[app]\n", &format!("cp supervise.conf elsewhere; {shell}")) {
        assert_eq!(report.value("cwd"), sandbox.path("elsewhere").to_string_lossy());
        assert_eq!(report.value("umask"), "037");
        let limits = report.values("limit");
        assert!(limits.iter().any(|limit| limit.starts_with("nofile 77 ")), "{limits:?}");
        assert!(limits.contains(&"core 0 0"), "{limits:?}");
        assert!(report.values("env").contains(&"A_WORD=two words"));
    }
}

#[test]
fn every_start_is_given_the_same() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\npacing : 0.1\n");
    sandbox.start("report given ready", &[]);
    let first = sandbox.until_ready();
    let given = || {
        let text = sandbox.read("given");
        let differ = ["pid ", "pgid ", "SigQ "];
        let same = |line: &&str| !differ.iter().any(|key| line.starts_with(key));
        text.lines().filter(same).map(str::to_owned).collect::<Vec<_>>()
    };
    let before = given();
    for byte in ["k", "p", "du"] {
        let service = sandbox.service_pid().unwrap_or(first);
        sandbox.write_control(byte.as_bytes());
        if byte == "p" {
            sandbox.until_value("paused", "yes");
            signal(service, Signal::SIGKILL);
        }
        sandbox.until_ready_after(service);
        assert_eq!(given(), before, "after {byte}");
    }
}

/// The times between the starts that `./service line starts` has noted.
fn gaps(marks: &[Mark]) -> Vec<Duration> {
    marks.windows(2).map(|pair| pair[1].at.saturating_sub(pair[0].at)).collect()
}

/// The service notes its start a little after supervise started it: that much a gap may seem too short.
const LATE: Duration = Duration::from_millis(250);

#[test]
fn from_one_start_to_the_next_it_is_a_second_at_least() {
    let sandbox = Sandbox::new();
    sandbox.start("line starts exit 3", &[]);
    let marks = sandbox.until_marks("starts", 4);
    assert!(gaps(&marks).iter().all(|gap| *gap + LATE >= Duration::from_secs(1)), "{:?}", gaps(&marks));
    let all = marks[3].at - marks[0].at;
    assert!(all + LATE >= Duration::from_secs(3), "{all:?}");
}

#[test]
fn pacing_in_the_conf_is_the_time_from_start_to_start() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\npacing : 0.4\n");
    sandbox.start("line starts sleep 100 exit 3", &[]);
    let marks = sandbox.until_marks("starts", 7);
    let all = marks[6].at - marks[0].at;
    assert!(all + LATE >= Duration::from_millis(6 * 400), "{all:?}");
    // From start to start, not from exit to start: else each gap was half a second. The machine may be slow at times.
    let shortest = gaps(&marks).into_iter().min().expect("there are gaps");
    assert!(shortest < Duration::from_millis(500), "{:?}", gaps(&marks));
}

#[test]
fn a_service_that_ran_longer_than_the_pacing_is_restarted_at_once() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\npacing : 0.5\n");
    sandbox.start("line starts sleep 600 line ends exit 3", &[]);
    let starts = sandbox.until_marks("starts", 5);
    let ends = sandbox.until_marks("ends", 4);
    let shortest = starts[1..].iter().zip(&ends).map(|(start, end)| start.at.saturating_sub(end.at)).min();
    assert!(shortest.expect("there are gaps") < Duration::from_millis(200), "{shortest:?}");
    assert!(log_texts(&sandbox.log(), "NOTICE").iter().any(|text| text.contains("restart")));
}

#[test]
fn u_cuts_the_pacing() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\npacing : 3600\n");
    sandbox.start("line starts exit 3", &[]);
    for round in 2..5 {
        sandbox.until_exits(round - 1);
        sandbox.until_state("pacing");
        sandbox.write_control(b"u");
        sandbox.until_marks("starts", usize::try_from(round).expect("a small number"));
    }
}

#[test]
fn what_cannot_be_executed_is_an_unexpected_exit_and_paced() {
    let sandbox = Sandbox::new();
    sandbox.write_conf(
        "[app]\nalarm_interval : 60\npacing : 3600\nmax_tries : 2\nalarm_mail : nobody@example.invalid\n\
         mail_transport : smtp://127.0.0.1:1\n",
    );
    sandbox.background(&["-p", "status/app", "-f", "./missing word"]).expect_code(0);
    sandbox.until_state("pacing");
    let state = sandbox.state();
    assert_eq!((state["exits"].as_str(), state["window_exits"].as_str()), ("1", "1"));
    assert_eq!(state["last_exit_expected"], "no");
    eventually(&sandbox, "it is alarmed", || sandbox.subjects().len() == 1);
    assert!(sandbox.subjects()[0].ends_with("Service app exited!"), "{:?}", sandbox.subjects());
    let fatal = log_texts(&sandbox.warnings(), "FATAL");
    assert!(fatal.len() == 1 && fatal[0].contains("./missing") && fatal[0].contains("No such file"), "{fatal:?}");
    assert_eq!(sandbox.service_pid(), None);
    sandbox.write_control(b"u");
    sandbox.until_exits(2);
    sandbox.write_control(b"u");
    sandbox.until_ended();
    assert_eq!((sandbox.value("state").as_deref(), sandbox.count("exits")), (Some("gave-up"), 3));
    assert!(sandbox.subjects().iter().any(|subject| subject.ends_with("gave up after 2 tries!")));
}

#[test]
fn commands_do_not_explain_a_failed_exec() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\nalarm_interval : 60\npacing : 0.1\n");
    sandbox.start("ready", &[]);
    sandbox.until_ready();
    fs::remove_file(sandbox.path("service")).expect("the link is there");
    sandbox.write_control(b"t");
    sandbox.until_exits(3);
    assert_eq!(sandbox.value("last_exit_expected").as_deref(), Some("no"));
    assert!(sandbox.count("window_exits") >= 2);
}

#[test]
fn a_name_without_a_slash_is_looked_for_in_the_caller_s_path() {
    let sandbox = Sandbox::new();
    for folder in ["first", "second", "third"] {
        fs::create_dir(sandbox.path(folder)).expect("the sandbox is writable");
    }
    // Not executable, so it is not the one.
    sandbox.write("first/the-service", "");
    fs::rename(sandbox.path("service"), sandbox.path("second/the-service")).expect("a rename");
    let path = format!("{0}/first:{0}/second:{0}/third", sandbox.path("").display());
    let mut command = sandbox.command(&["-p", "status/app", "-f", "the-service report given ready"]);
    command.env("PATH", path);
    sandbox.run(command).expect_code(0);
    sandbox.until_ready();
    assert_eq!(sandbox.until_report("given").arguments(), ["the-service", "report", "given", "ready"]);
    assert_eq!(sandbox.warnings(), "");
}

#[test]
fn a_name_with_a_slash_is_looked_for_nowhere_else() {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.path("path/bin")).expect("the sandbox is writable");
    fs::rename(sandbox.path("service"), sandbox.path("path/bin/service")).expect("a rename");
    let mut command = sandbox.command(&["-p", "status/app", "-f", "bin/service ready"]);
    command.env("PATH", sandbox.path("path"));
    sandbox.run(command).expect_code(0).expect_stderr(&["bin/service", "No such file or directory"]);
}

#[test]
fn every_signal_that_the_caller_ignored_is_at_its_default() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(&["-p", "status/app", "-f", "./service report given ready"]);
    let ignore_all = || {
        // The kernel's sigaction begins with the handler; all else may be zero. The C library would refuse two of them.
        let ignore: [usize; 4] = [libc::SIG_IGN, 0, 0, 0];
        for number in 1..=64 {
            let none = std::ptr::null_mut::<usize>();
            // SAFETY: the pointer is to a value of ours, as large as the kernel's structure; SIG_IGN has no code.
            unsafe { libc::syscall(libc::SYS_rt_sigaction, number, ignore.as_ptr(), none, 8) };
        }
        Ok(())
    };
    // SAFETY: the closure makes system calls only.
    unsafe { command.pre_exec(ignore_all) };
    sandbox.run(command).expect_code(0);
    let report = sandbox.until_report("given");
    assert_eq!((report.signals("SigBlk"), report.signals("SigIgn")), (0, HUP));
    sandbox.write_control(b"dx");
    sandbox.until_ended();
}
