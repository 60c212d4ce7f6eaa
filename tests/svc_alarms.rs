//! `svc alarms` and `svc alarm`: what is still to be delivered, and whether it arrives.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::common::{Output, Pid, Sandbox, eventually, eventually_some, is_root, signal, skip};
use crate::svc_view::{start_service, svc, svc_command, svc_program};

/// Nobody listens there.
const REFUSED: &str = "mail_transport : smtp://127.0.0.1:1";

fn alarms(sandbox: &Sandbox, args: &[&str]) -> Output {
    svc(sandbox, &[&["alarms"], args].concat())
}

/// A program that takes alarms, and keeps the subjects in `got`; while `broken` is there, it takes none.
fn write_taker(sandbox: &Sandbox) {
    sandbox.write("take", "#!/bin/sh\n[ -e broken ] && { echo out of order >&2; exit 1; }\nhead -n1 >> got\n");
    fs::set_permissions(sandbox.path("take"), fs::Permissions::from_mode(0o755)).unwrap();
}

/// One alarm in the spool, after a give-up, with an svalarm that waits for its next attempt.
fn given_up() -> Sandbox {
    let sandbox = Sandbox::new();
    write_taker(&sandbox);
    sandbox.write("broken", "");
    sandbox.write_conf("[app]\nalarm_interval : 60\nmax_tries : 1\npacing : 0.1\nalarm_exec : ./take\n");
    sandbox.start("exit 3", &[]);
    sandbox.until_ended();
    eventually(&sandbox, "both alarms were tried", || {
        let list = alarms(&sandbox, &[]).stdout;
        list.lines().skip(1).count() == 2 && !list.contains(" now ")
    });
    sandbox
}

fn ids(sandbox: &Sandbox) -> Vec<String> {
    sandbox.alarms().iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
}

fn ids_of_failed(sandbox: &Sandbox) -> Vec<PathBuf> {
    let entries = fs::read_dir(sandbox.file("alarms/failed")).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// The svalarms of the sandbox.
fn svalarms(sandbox: &Sandbox) -> Vec<Pid> {
    let is_svalarm = |pid: &Pid| fs::read(format!("/proc/{pid}/comm")).is_ok_and(|name| name == b"svalarm\n");
    sandbox.processes().into_iter().filter(is_svalarm).collect()
}

#[test]
fn listed_shown_and_dropped() {
    let sandbox = given_up();
    let ids = ids(&sandbox);
    let list = alarms(&sandbox, &["list", "app"]).expect_code(0).stdout;
    let line = list.lines().find(|line| line.contains(&ids[0])).unwrap();
    assert!(line.contains(" app ") && line.contains("Service app exited!") && line.ends_with("./take"), "{line}");
    let shown = alarms(&sandbox, &["show", &ids[0]]).expect_code(0).stdout;
    assert_eq!(shown, String::from_utf8(fs::read(&sandbox.alarms()[0]).unwrap()).unwrap());
    alarms(&sandbox, &["show", "0"]).expect_code(1).expect_stderr(&["no alarm has the id 0"]);
    alarms(&sandbox, &["show", "1"]).expect_code(100).expect_stderr(&["2 alarms have ids that begin with 1"]);
    let dropped = alarms(&sandbox, &["drop", &ids[0]]).expect_code(0).stdout;
    assert!(
        dropped.starts_with(&format!("app: dropped {} (", ids[0])) && dropped.contains("1 had not got it"),
        "{dropped}"
    );
    assert!(!sandbox.file("alarms").join(&ids[0]).exists());
    assert!(!sandbox.file("alarms/.delivery").join(&ids[0]).exists());
    assert!(sandbox.file("alarms").join(&ids[1]).exists());
    fs::remove_file(sandbox.path("broken")).unwrap();
    alarms(&sandbox, &["retry"]).expect_code(0);
    assert_eq!(sandbox.read("got").lines().count(), 1, "what was dropped is not delivered");
    alarms(&sandbox, &[]).expect_code(0).expect_stderr(&["no alarm is waiting, and none has failed"]);
}

#[test]
fn a_retry_does_not_wait_for_the_one_that_waits() {
    let sandbox = given_up();
    let waiting = eventually_some(&sandbox, "an svalarm stays", || svalarms(&sandbox).first().copied());
    let failed = alarms(&sandbox, &["retry"]).expect_code(1).stderr;
    assert!(failed.contains("Exec: ./take: ./take ended with exit code 1: out of order"), "{failed}");
    eventually(&sandbox, "another svalarm stays", || svalarms(&sandbox).iter().any(|pid| *pid != waiting));
    fs::remove_file(sandbox.path("broken")).unwrap();
    let done = alarms(&sandbox, &["retry", "app"]).expect_code(0).stdout;
    assert_eq!(done, "app: 2 delivered\n");
    assert_eq!((sandbox.read("got").lines().count(), sandbox.alarms().len()), (2, 0));
    eventually(&sandbox, "no svalarm stays for nothing", || svalarms(&sandbox).is_empty());
}

#[test]
fn each_recipient_has_its_own_reason() {
    let sandbox = Sandbox::new();
    write_taker(&sandbox);
    sandbox.write("broken", "");
    let recipients = "alarm_mail : a@example.invalid\nalarm_exec : ./take\nalarm_webhook : http://127.0.0.1:2/x\n";
    sandbox.write_conf(&format!("[app]\nalarm_interval : 60\npacing : 0.1\n{recipients}{REFUSED}\n"));
    sandbox.start("ready wait", &[]);
    signal(sandbox.until_ready(), Signal::SIGKILL);
    sandbox.until_warned("was not delivered to 3 of 3 at attempt 1");
    let warnings = sandbox.warnings();
    let line = warnings.lines().find(|line| line.contains("at attempt 1")).unwrap();
    for reason in ["127.0.0.1:1: ", "out of order", "127.0.0.1:2"] {
        assert!(line.contains(reason), "{reason} in {line}");
    }
    // The third attempt leaves no WARNING, and is the last one nevertheless.
    for attempt in 2..=3 {
        let say = format!("#!/bin/sh\necho attempt {attempt} >&2; exit 1\n");
        sandbox.write("take", say);
        let left = alarms(&sandbox, &["retry"]).expect_code(1).stderr;
        let own = format!("ended with exit code 1: attempt {attempt}");
        for (recipient, reason) in [("To: ", "127.0.0.1:1: "), ("Exec: ", own.as_str()), ("Webhook: ", "127.0.0.1:2")] {
            let line = left.lines().find(|line| line.contains(recipient));
            assert!(line.is_some_and(|line| line.contains(reason)), "{recipient}{reason} in {left}");
        }
    }
}

#[test]
fn without_a_supervise_the_spool_is_counted() {
    let sandbox = given_up();
    assert_eq!(sandbox.value("undelivered").as_deref(), Some("2"));
    let expect = |count: u64| {
        let json = svc(&sandbox, &["status", "--json"]).stdout;
        assert!(json.contains(&format!("\"undelivered\":{count}}}")), "{count} in {json}");
        let table = svc(&sandbox, &["status"]).stdout;
        assert_eq!(table.contains(&format!("{count} undelivered")), count > 0, "{table}");
    };
    expect(2);
    alarms(&sandbox, &["drop", &ids(&sandbox)[0]]).expect_code(0);
    expect(1);
    fs::remove_file(sandbox.path("broken")).unwrap();
    alarms(&sandbox, &["retry"]).expect_code(0);
    expect(0);
}

#[test]
fn an_alarm_that_is_owed_is_said() {
    let sandbox = Sandbox::new();
    write_taker(&sandbox);
    sandbox.write_conf("[app]\nalarm_interval : 60\npacing : 0.1\nalarm_exec : ./take\n");
    sandbox.start("ready wait", &[]);
    let service = sandbox.until_ready();
    let mode = |mode: u32| fs::set_permissions(sandbox.file("alarms"), fs::Permissions::from_mode(mode)).unwrap();
    mode(0o777);
    signal(service, Signal::SIGKILL);
    sandbox.until_warned("unable to write an alarm");
    let owed = "app: 1 alarm is not in the spool yet: see supervise.log.wf";
    let expect = || {
        let list = alarms(&sandbox, &[]).expect_code(0);
        assert!(list.stderr.contains(owed) && !list.stderr.contains("no alarm is waiting"), "{list:#?}");
        alarms(&sandbox, &["retry"]).expect_code(1).expect_stderr(&[owed]);
    };
    expect();
    sandbox.kill_supervise();
    expect();
    let json = svc(&sandbox, &["status", "--json"]).stdout;
    assert!(json.contains("\"undelivered\":1}"), "{json}");
    mode(0o700);
    sandbox.start("ready wait", &[]);
    eventually(&sandbox, "it is delivered", || sandbox.path("got").exists() && sandbox.alarms().is_empty());
    alarms(&sandbox, &[]).expect_code(0).expect_stderr(&["no alarm is waiting, and none has failed"]);
}

#[test]
fn a_spool_that_others_may_write_to_is_said_with_its_mode() {
    let sandbox = Sandbox::new();
    write_taker(&sandbox);
    sandbox.write_conf("[app]\nalarm_interval : 60\npacing : 0.1\nalarm_exec : ./take\n");
    sandbox.start("ready wait", &[]);
    let service = sandbox.until_ready();
    fs::set_permissions(sandbox.file("alarms"), fs::Permissions::from_mode(0o777)).unwrap();
    let wrong = "others than its owner may write to it (mode 0777; chmod 700 mends that)";
    svc(&sandbox, &["alarm", "test", "app"])
        .expect_code(111)
        .expect_stderr(&[&format!("app: status/app/alarms: {wrong}")]);
    assert!(sandbox.alarms().is_empty());
    signal(service, Signal::SIGKILL);
    sandbox.until_warned(&format!("unable to write an alarm to status/app/alarms: {wrong}; it is kept"));
}

#[test]
fn what_was_refused_for_good_can_be_tried_again() {
    let sandbox = Sandbox::new();
    write_taker(&sandbox);
    sandbox.start("ready wait", &[]);
    let head = "Message-ID: <1.2.3@h>\nSubject: S] told\nTo: has@example.invalid\nExec: ./take\nFact: module app\n";
    let folder = format!("Folder: {}\n", sandbox.path("").display());
    fs::create_dir_all(sandbox.file("alarms/failed")).unwrap();
    let text = format!("Failed: Exec: ./take\nReason: ended with exit code 75\n{head}{folder}\nbody\n");
    fs::write(sandbox.file("alarms/failed/1.2.3"), text).unwrap();
    let list = alarms(&sandbox, &[]).expect_code(0).stdout;
    assert!(list.contains("failed") && !list.contains("has@example"), "{list}");
    assert_eq!(alarms(&sandbox, &["retry"]).expect_code(0).stdout, "app: 1 delivered\n");
    assert_eq!(sandbox.read("got"), "S] told\n");
    assert!(!sandbox.file("alarms/failed/1.2.3").exists() && sandbox.alarms().is_empty());
}

#[test]
fn a_test_says_who_has_got_it() {
    let sandbox = Sandbox::new();
    write_taker(&sandbox);
    sandbox.write_conf(&format!(
        "[app]\nalarm_interval : 60\nalarm_exec : ./take\n[mail]\nalarm_interval : 60\nalarm_mail : a@example.invalid\n{REFUSED}\n\
         [silent]\nalarm_interval : 0\nalarm_mail : a@example.invalid\n"
    ));
    for name in ["app", "mail", "nobody", "silent"] {
        start_service(&sandbox, name, "ready wait");
    }
    let told = svc(&sandbox, &["alarm", "test", "app"]).expect_code(0).stdout;
    assert_eq!(told, "app: Exec: ./take: delivered\n");
    let subject = sandbox.read("got");
    assert!(subject.trim_end().ends_with("] Test for service app, nothing happened"), "{subject}");
    let late = svc(&sandbox, &["alarm", "test", "--timeout", "0.5", "mail"]).expect_code(99).stderr;
    assert!(late.contains("To: a@example.invalid: not delivered in time, and withdrawn: 127.0.0.1:1"), "{late}");
    eventually(&sandbox, "it is withdrawn", || sandbox.status_dir("status/mail").alarms().is_empty());
    svc(&sandbox, &["alarm", "test", "nobody"]).expect_code(1).expect_stderr(&["names nobody who gets its alarms"]);
    svc(&sandbox, &["alarm", "test", "silent"]).expect_code(1).expect_stderr(&["alarm_interval is not set or 0"]);
    sandbox.kill_supervise();
    svc(&sandbox, &["alarm", "test", "app"]).expect_code(102).expect_stderr(&["app: no supervise lives there"]);
}

/// Three services whose alarms this program takes.
fn three_with(taker: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("take", taker);
    fs::set_permissions(sandbox.path("take"), fs::Permissions::from_mode(0o755)).unwrap();
    let names = ["app", "db", "web"];
    let section = |name: &str| format!("[{name}]\nalarm_interval : 60\nalarm_exec : ./take\n");
    sandbox.write_conf(&names.map(section).concat());
    for name in names {
        start_service(&sandbox, name, "ready wait");
    }
    sandbox
}

#[test]
fn many_are_tested_at_once() {
    // Each waits for the others.
    let sandbox =
        three_with("#!/bin/sh\n: > at.$$; while [ $(ls at.* | wc -l) -lt 3 ]; do sleep 0.02; done; head -n1 >> got\n");
    let told = svc(&sandbox, &["alarm", "test", "--all", "nope"]);
    assert_eq!(told.code, Some(100), "names, or all: {told:#?}");
    let told = svc(&sandbox, &["alarm", "test", "--timeout", "14", "--all"]).expect_code(0);
    let mut lines: Vec<&str> = told.stdout.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["app", "db", "web"].map(|name| format!("{name}: Exec: ./take: delivered")));
    let few = format!("rm at.*; ulimit -Sn 9; exec {} alarm test --timeout 14 --all", svc_program().display());
    let mut command = sandbox.program("sh");
    command.args(["-c", &few]);
    sandbox.run(command).expect_code(0);
    sandbox.write("take", "#!/bin/sh\ncat > /dev/null\n[ \"$SUPERVISE_MODULE\" = app ]\n");
    let told = svc(&sandbox, &["alarm", "test", "-q", "--timeout", "1.5", "app", "db", "nope"]);
    assert!(told.code != Some(0) && told.stdout.is_empty(), "{told:#?}");
    for text in ["db: Exec: ./take: not delivered in time, and withdrawn: ", "svc: 2 of 3 failed: nope, db\n"] {
        assert!(told.stderr.contains(text), "{text} in {told:#?}");
    }
}

#[test]
fn a_test_that_is_interrupted_is_taken_back() {
    let sandbox = Sandbox::new();
    sandbox.write_conf(&format!("[app]\nalarm_interval : 60\nalarm_mail : a@example.invalid\n{REFUSED}\n"));
    sandbox.start("ready wait", &[]);
    let interrupted = |command: Command, signals: &[Signal], code: i32| {
        let client = sandbox.spawn(command);
        eventually(&sandbox, "the test is in the spool", || !sandbox.alarms().is_empty());
        signals.iter().for_each(|&number| signal(client.pid(), number));
        client.wait().expect_code(code).expect_stderr(&["app: To: a@example.invalid: interrupted, and withdrawn"]);
        assert!(sandbox.alarms().is_empty() && ids_of_failed(&sandbox).is_empty());
    };
    for (number, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143), (Signal::SIGHUP, 129)] {
        interrupted(svc_command(&sandbox, &["alarm", "test", "app"]), &[number], code);
    }
    let mut command = sandbox.program("sh");
    command.args(["-c", "trap '' HUP; exec \"$0\" alarm test app"]).arg(svc_program());
    interrupted(command, &[Signal::SIGHUP, Signal::SIGTERM], 143); // nohup(1)
}

#[test]
fn a_retry_is_not_waited_for_longer_than_asked() {
    let sandbox = three_with("#!/bin/sh\nwhile [ -e slow ]; do sleep 0.02; done; head -n1 >> got\n");
    sandbox.write("slow", "");
    let text = "Message-ID: <1.2.3@h>\nSubject: S] told\nExec: ./take\nFact: module app\n";
    let text = format!("{text}Folder: {}\n\nbody\n", sandbox.path("").display());
    for name in ["app", "db"] {
        let dir = sandbox.path(format!("status/{name}/alarms"));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("1.2.3"), &text).unwrap();
    }
    svc(&sandbox, &["exit", "db"]).expect_code(0);
    let late = alarms(&sandbox, &["retry", "--timeout", "0.3"]).expect_code(99);
    assert_eq!(late.stdout, "", "{late:#?}");
    for name in ["app", "db"] {
        assert!(late.stderr.contains(&format!("{name}: not over in time, and goes on")), "{late:#?}");
    }
    let stays = |name: &str| {
        let line = |pid: &Pid| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let own = format!("svalarm\0--\0./status/{name}\0");
        svalarms(&sandbox).iter().any(|pid| line(pid).ends_with(own.as_bytes()))
    };
    eventually(&sandbox, "one stays where no supervise starts the next", || stays("db"));
    assert!(!stays("app"), "whose supervise does");
    fs::remove_file(sandbox.path("slow")).unwrap();
    eventually(&sandbox, "what was begun is ended", || {
        sandbox.path("got").exists() && sandbox.read("got").lines().count() == 2
    });
    alarms(&sandbox, &["retry", "--timeout", "-1"]).expect_code(100);
}

#[test]
fn a_directory_that_is_reached_twice_has_each_alarm_once() {
    let sandbox = given_up();
    std::os::unix::fs::symlink("app", sandbox.path("status/link")).unwrap();
    let ids = ids(&sandbox);
    assert_eq!(alarms(&sandbox, &[]).expect_code(0).stdout.lines().count(), 3, "headings, and two alarms");
    alarms(&sandbox, &["show", &format!("{}…", ids[0])]).expect_code(0);
    alarms(&sandbox, &["drop", &ids[0], "link"]).expect_code(0);
    assert_eq!(sandbox.alarms().len(), 1);
}

#[test]
fn a_test_from_another_folder_finds_the_conf() {
    let sandbox = Sandbox::new();
    write_taker(&sandbox);
    sandbox.write_conf("[app]\nalarm_interval : 60\nalarm_exec : ./take\n");
    sandbox.start("ready wait", &[]);
    let root = sandbox.path("status");
    let mut command = svc_command(&sandbox, &["--root", root.to_str().unwrap(), "alarm", "test", "app"]);
    command.current_dir("/");
    assert_eq!(sandbox.run(command).expect_code(0).stdout, "app: Exec: ./take: delivered\n");
}

#[test]
fn on_and_off_wait_for_the_flag() {
    let sandbox = Sandbox::new();
    sandbox.start("ready wait", &[]);
    svc(&sandbox, &["alarm", "off", "app"]).expect_code(0);
    assert_eq!(sandbox.record().alarms, b'x');
    svc(&sandbox, &["alarm", "on", "app"]).expect_code(0);
    assert_eq!(sandbox.record().alarms, b'o');
    svc(&sandbox, &["alarm", "on", "--timeout", "-1", "app"]).expect_code(100);
    let quiet = svc(&sandbox, &["alarm", "off", "--all", "-q"]).expect_code(0);
    assert_eq!((quiet.stdout.as_str(), sandbox.record().alarms), ("", b'x'));
    svc(&sandbox, &["alarm", "on"]).expect_code(100);
}

#[test]
fn root_leaves_the_spool_to_its_owner() {
    if !is_root() {
        return skip("only root can act for somebody else");
    }
    const OWNER: u32 = 65_533;
    let sandbox = Sandbox::new();
    sandbox.give_to(OWNER);
    write_taker(&sandbox);
    sandbox.write("broken", "");
    sandbox.write_conf("[app]\nalarm_interval : 60\nalarm_exec : ./take\n");
    for (program, name) in [(svc_program(), "svc"), (svc_program().with_file_name("svalarm"), "svalarm")] {
        sandbox.bring(&program, name);
    }
    let mut open: PathBuf = sandbox.path("");
    while open.starts_with(std::env::temp_dir()) && open != std::env::temp_dir() {
        fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
        open.pop();
    }
    let mut start = sandbox.command_as(OWNER, &["-p", "status/app", "-f", "./service from 1 runs line runs exit 3"]);
    start.uid(OWNER).gid(OWNER);
    sandbox.run(start).expect_code(0);
    eventually(&sandbox, "an alarm was tried", || {
        sandbox.file("alarms/.delivery").exists() && sandbox.alarms().len() == 1
    });
    let as_root = |args: &[&str]| {
        let mut command = sandbox.program(sandbox.path("svc"));
        command.args(args);
        sandbox.run(command)
    };
    as_root(&["alarm", "test", "--timeout", "1", "app"]).expect_code(99);
    as_root(&["alarms", "retry"]).expect_code(1);
    for folder in ["alarms", "alarms/.delivery"] {
        for entry in fs::read_dir(sandbox.file(folder)).unwrap().flatten() {
            assert_eq!(entry.metadata().unwrap().uid(), OWNER, "{}", entry.path().display());
        }
    }
}
