//! The files of a status directory: their modes, the lock, the service's output, and links in their places.

use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::common::{Pid, Sandbox, alive, eventually, is_root, signal, skip};

/// A conf with somebody to alarm, by a way that reaches nobody.
const ALARMED: &str = "[app]\nalarm_interval : 60\nalarm_mail : nobody@example.invalid\n\
                       mail_transport : smtp://127.0.0.1:1\npacing : 0.1\n";

#[test]
fn every_file_has_its_mode_whatever_the_umask() {
    // With the last one only root can open its output a second time.
    for umask in [0o000, 0o022, 0o077].into_iter().chain(is_root().then_some(0o277)) {
        let sandbox = Sandbox::new();
        sandbox.write_conf(ALARMED);
        let service = "./service from 1 count line count exit 3";
        let mut command = sandbox.command(&["-p", "status/app", "-f", service, "-F", "supervise.conf"]);
        let set_umask = move || {
            // SAFETY: umask takes a number and cannot fail.
            unsafe { libc::umask(umask) };
            Ok(())
        };
        // SAFETY: the closure calls nothing but umask.
        unsafe { command.pre_exec(set_umask) };
        sandbox.run(command).expect_code(0);
        sandbox.until_ready();
        sandbox.write_control(b"?");
        sandbox.until_warned("[WARNING]");
        eventually(&sandbox, "the alarm is written", || !sandbox.alarms().is_empty());
        let output = 0o666 & !umask;
        for (name, mode) in [
            (".", 0o700),
            ("lock", 0o600),
            ("svcontrol", 0o600),
            ("control", 0o600),
            ("ok", 0o600),
            ("status", 0o644),
            ("state", 0o644),
            ("claim", 0o600),
            ("__stdout", output),
            ("__stderr", output),
            ("supervise.log", 0o600),
            ("supervise.log.wf", 0o600),
            ("alarms", 0o700),
        ] {
            assert_eq!(sandbox.mode(name), mode, "{name} under umask {umask:03o}: {:03o}", sandbox.mode(name));
        }
    }
}

#[test]
fn missing_folders_are_made_and_the_last_one_is_private() {
    let sandbox = Sandbox::new();
    sandbox.background(&["-p", "a/b/status/c/app", "-f", "./service ready"]).expect_code(0);
    assert_eq!(sandbox.status_dir("a/b/status/c/app").mode("."), 0o700);
    fs::create_dir(sandbox.path("other")).expect("the sandbox is writable");
    for above in ["a", "a/b", "a/b/status", "a/b/status/c"] {
        assert_eq!(sandbox.status_dir(above).mode("."), sandbox.status_dir("other").mode("."), "as any other: {above}");
    }
}

#[test]
fn lock_is_a_flock_that_supervise_holds_as_long_as_it_lives() {
    let sandbox = Sandbox::new();
    sandbox.start("ready", &[]);
    let service = sandbox.until_ready();
    assert!(!sandbox.lock_is_free());
    let inode = fs::metadata(sandbox.file("lock")).expect("lock is there").ino();
    let locks = fs::read_to_string("/proc/locks").expect("/proc is mounted");
    let ours = |line: &&str| line.split_whitespace().any(|field| field.ends_with(&format!(":{inode}")));
    let found = locks.lines().find(ours).unwrap_or_else(|| panic!("no lock on inode {inode} in\n{locks}"));
    assert!(found.contains("FLOCK") && found.contains("WRITE"), "{found}");
    let supervise = sandbox.supervise_pid();
    assert_eq!(sandbox.lock_holders(), [supervise], "the service does not hold it");
    signal(supervise, Signal::SIGKILL);
    sandbox.until_dead(supervise);
    assert!(sandbox.lock_is_free(), "it is free at once");
    assert!(alive(service), "and the service runs on");
}

#[test]
fn fuser_prints_the_pid_of_supervise() {
    let sandbox = Sandbox::new();
    sandbox.start("ready", &[]);
    sandbox.until_ready();
    let mut command = Command::new("fuser");
    command.arg(sandbox.file("lock"));
    let Ok(output) = command.output() else { return skip("fuser is not installed") };
    assert!(output.status.success());
    let supervise = sandbox.supervise_pid();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), supervise.to_string());
    sandbox.write_control(b"dx");
    sandbox.until_ended();
    let output = command.output().expect("fuser is installed");
    assert!(!output.status.success());
}

#[test]
fn output_is_appended_and_a_renamed_file_is_left_at_the_next_start() {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.status_path()).expect("the sandbox is writable");
    sandbox.write("status/app/__stdout", "from before\n");
    sandbox.start("ready until USR1 out later err later signals", &[]);
    let first = sandbox.until_ready();
    assert!(sandbox.stdout().starts_with("from before\n"), "{}", sandbox.stdout());
    for name in ["__stdout", "__stderr"] {
        fs::rename(sandbox.file(name), sandbox.file(&format!("{name}.1"))).expect("a rename");
    }
    signal(first, Signal::SIGUSR1);
    eventually(&sandbox, "the old files get what the old service says", || {
        sandbox.text("__stdout.1").contains("later") && sandbox.text("__stderr.1").contains("later")
    });
    assert!(!sandbox.file("__stdout").exists());
    sandbox.write_control(b"k");
    sandbox.until_ready_after(first);
    assert!(!sandbox.stdout().contains("later") && sandbox.file("__stderr").exists());
}

/// How a process has opened a descriptor (proc_pid_fdinfo(5)).
#[track_caller]
fn open_flags(pid: Pid, descriptor: u32) -> i32 {
    let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{descriptor}")).expect("it is open");
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).expect("flags");
    i32::from_str_radix(flags.trim(), 8).expect("octal digits")
}

#[test]
fn output_is_opened_to_append_and_to_wait() {
    let sandbox = Sandbox::new();
    sandbox.start("out before ready until USR1 out behind signals", &[]);
    let service = sandbox.until_ready();
    for descriptor in [1, 2] {
        let flags = open_flags(service, descriptor);
        let wanted = libc::O_WRONLY | libc::O_APPEND;
        assert_eq!(flags & (libc::O_ACCMODE | libc::O_APPEND | libc::O_NONBLOCK), wanted, "{descriptor}: {flags:o}");
    }
    // What a tool that copies and truncates relies on.
    File::options().write(true).truncate(true).open(sandbox.file("__stdout")).expect("it is there");
    signal(service, Signal::SIGUSR1);
    sandbox.until_said("behind");
    assert_eq!(sandbox.stdout(), "got USR1\nbehind\n");
}

#[test]
fn output_may_be_a_link_of_root_s() {
    if !is_root() {
        return skip("only root can make a link of root's for another user");
    }
    const USER: u32 = 64_125;
    let sandbox = Sandbox::new();
    sandbox.give_to(USER);
    fs::create_dir_all(sandbox.status_path()).expect("the sandbox is writable");
    for folder in [sandbox.path("status"), sandbox.status_path().to_owned()] {
        std::os::unix::fs::chown(folder, Some(USER), Some(USER)).expect("root may give files away");
    }
    symlink("/dev/null", sandbox.file("__stderr")).expect("a link");
    let args = ["-p", "status/app", "-f", "./service report given ready"];
    sandbox.run(sandbox.command_as(USER, &args)).expect_code(0);
    assert!(sandbox.until_report("given").values("fd").contains(&"2 /dev/null"));
    sandbox.until_down_by_command();
    assert_eq!(sandbox.warnings(), "");
}

impl Sandbox {
    /// Ends service and supervise in order, since root may not look for another user's processes everywhere.
    #[track_caller]
    fn until_down_by_command(&self) {
        self.write_control(b"dx");
        eventually(self, "supervise has ended", || self.lock_is_free());
    }
}

#[test]
fn output_may_be_a_link_of_one_s_own() {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.status_path()).expect("the sandbox is writable");
    symlink("/dev/null", sandbox.file("__stderr")).expect("a link");
    symlink(sandbox.path("elsewhere"), sandbox.file("__stdout")).expect("a link");
    sandbox.start("report given ready", &[]);
    sandbox.until_ready();
    assert!(sandbox.read("elsewhere").contains("ready"));
    assert!(sandbox.until_report("given").values("fd").contains(&"2 /dev/null"));
    assert!(!sandbox.warnings().contains("__std"), "{}", sandbox.warnings());
}

#[test]
fn output_that_cannot_be_opened_is_dev_null_with_a_warning() {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.file("__stdout")).expect("the sandbox is writable");
    symlink("/missing/folder/file", sandbox.file("__stderr")).expect("a link");
    sandbox.start("report given wait", &[]);
    let report = sandbox.until_report("given");
    let open = report.values("fd");
    assert!(open.contains(&"1 /dev/null") && open.contains(&"2 /dev/null"), "{open:?}");
    for name in ["__stdout", "__stderr"] {
        sandbox.until_warned(name);
    }
    assert!(sandbox.warnings().contains("[WARNING]"));
}

#[test]
fn output_that_is_a_fifo_without_a_reader_blocks_nobody() {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.status_path()).expect("the sandbox is writable");
    nix::unistd::mkfifo(&sandbox.file("__stdout"), nix::sys::stat::Mode::from_bits_truncate(0o600)).expect("a fifo");
    sandbox.start("report given wait", &[]);
    sandbox.until_report("given");
    sandbox.write_control(b"dx");
    sandbox.until_ended();
}

#[test]
fn output_through_another_user_s_link_is_refused() {
    if !is_root() {
        return skip("only root can give a link to another user");
    }
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.status_path()).expect("the sandbox is writable");
    sandbox.write("victim", "unchanged");
    for name in ["__stdout", "__stderr"] {
        symlink(sandbox.path("victim"), sandbox.file(name)).expect("a link");
        std::os::unix::fs::lchown(sandbox.file(name), Some(65534), Some(65534)).expect("root may give files away");
    }
    sandbox.start("report given out lost err lost wait", &[]);
    let report = sandbox.until_report("given");
    let open = report.values("fd");
    assert!(open.contains(&"1 /dev/null") && open.contains(&"2 /dev/null"), "{open:?}");
    sandbox.until_warned("__stdout");
    sandbox.until_warned("__stderr");
    assert_eq!(sandbox.read("victim"), "unchanged");
}

#[test]
fn no_other_file_is_followed_through_a_link() {
    let names = ["lock", "svcontrol", "control", "ok", "status", "state", "claim", "supervise.log", "supervise.log.wf"];
    for name in names {
        let sandbox = Sandbox::new();
        fs::create_dir_all(sandbox.status_path()).expect("the sandbox is writable");
        let mut victim = File::options();
        victim.write(true).create(true).mode(0o640);
        victim.open(sandbox.path("victim")).expect("the sandbox is writable");
        sandbox.write("victim", "unchanged");
        symlink(sandbox.path("victim"), sandbox.file(name)).expect("a link");
        let output = sandbox.background(&["-p", "status/app", "-f", "./service ready"]);
        if output.code == Some(0) {
            // The link was replaced, or that file is done without. Either way the service lives and can be stopped.
            sandbox.until_ready();
            let fifo = if name == "svcontrol" { "control" } else { "svcontrol" };
            sandbox.write_fifo(fifo, b"?").expect("a command can be given");
            sandbox.write_fifo(fifo, b"dx").expect("a command can be given");
            sandbox.until_ended();
        } else {
            assert_eq!(output.code, Some(111), "{name}: {output:#?}");
            assert!(output.stderr.contains(name), "the message names {name}: {output:#?}");
        }
        assert_eq!(sandbox.read("victim"), "unchanged", "the file that {name} points to");
        let meta = fs::metadata(sandbox.path("victim")).expect("the victim is there");
        assert_eq!(meta.permissions().mode() & 0o777, 0o640, "the file that {name} points to");
        assert!(!meta.file_type().is_fifo());
    }
}

#[test]
fn a_link_in_place_of_the_spool_leads_no_message_elsewhere() {
    let sandbox = Sandbox::new();
    sandbox.write_conf(ALARMED);
    fs::create_dir_all(sandbox.status_path()).expect("the sandbox is writable");
    fs::create_dir(sandbox.path("elsewhere")).expect("the sandbox is writable");
    symlink(sandbox.path("elsewhere"), sandbox.file("alarms")).expect("a link");
    sandbox.background(&["-p", "status/app", "-f", "./service from 1 count line count exit 3"]);
    eventually(&sandbox, "the exit is dealt with, or nothing was started", || {
        sandbox.count("exits") >= 1 || sandbox.processes().is_empty()
    });
    sandbox.until_ready();
    assert_eq!(fs::read_dir(sandbox.path("elsewhere")).expect("a folder").count(), 0);
}

#[test]
fn what_an_earlier_supervise_left_is_used_again() {
    let sandbox = Sandbox::new();
    for life in 1..=3 {
        sandbox.start("ready", &[]);
        sandbox.until_ready();
        sandbox.write_control(b"dx");
        sandbox.until_ended();
        assert_eq!(sandbox.stdout().lines().count(), life, "each start appends");
        assert!(!sandbox.warnings().contains("[WARNING]"), "{}", sandbox.warnings());
    }
}

#[test]
fn a_folder_in_place_of_a_record_starts_nothing() {
    for name in ["status", "state"] {
        let sandbox = Sandbox::new();
        fs::create_dir_all(sandbox.file(name).join("app")).expect("the sandbox is writable");
        let output = sandbox.background(&["-p", "status/app", "-f", "./service line started ready"]).expect_code(111);
        output.expect_stderr(&[&format!("status/app/{name}: Is a directory")]);
        assert_eq!((sandbox.processes(), sandbox.read("started")), (Vec::<Pid>::new(), String::new()));
        assert!(sandbox.file(name).join("app").is_dir(), "it may be another module's");
    }
}

#[test]
fn the_status_directory_may_be_renamed_while_supervise_runs() {
    let sandbox = Sandbox::new();
    sandbox.write_conf(ALARMED);
    sandbox.start("line starts wait", &[]);
    let first = sandbox.until_marks("starts", 1)[0].pid;
    fs::rename(sandbox.status_path(), sandbox.path("status/elsewhere")).expect("a rename");
    let elsewhere = sandbox.status_dir("status/elsewhere");
    signal(first, Signal::SIGKILL);
    let second = sandbox.until_marks("starts", 2)[1].pid;
    let everything = || {
        elsewhere.service_pid() == Some(second)
            && elsewhere.count("starts") == 2
            && elsewhere.text("claim").contains(&format!("pid {second:020}\n"))
            && elsewhere.log().contains("service exited!")
            && elsewhere.alarms().len() == 1
    };
    eventually(&sandbox, "all of it is on record", everything);
    elsewhere.write_control(b"dx");
    eventually(&sandbox, "supervise has ended", || elsewhere.lock_is_free());
    assert!(!elsewhere.file("ok").exists() && !sandbox.status_path().exists());
}
