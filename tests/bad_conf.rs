//! A supervise.conf that is not what it should be: the service runs, or the start is refused, and it is said why.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;

use crate::common::{Output, Pid, Sandbox, alive, eventually, is_root};

/// Starts with supervise.conf as it is, which must not keep the service from running.
#[track_caller]
fn runs_all_the_same(sandbox: &Sandbox) -> Output {
    let output = sandbox.start("ready", &["-F", "supervise.conf"]);
    assert!(alive(sandbox.until_ready()));
    output
}

/// The same, and the conf counts as one that can't be opened: a WARNING names it.
#[track_caller]
fn is_warned_of(sandbox: &Sandbox, reason: &str) {
    let output = runs_all_the_same(sandbox);
    output.expect_stderr(&["supervise.conf", reason]);
    sandbox.until_warned("supervise.conf");
    assert!(sandbox.warnings().contains("[WARNING]"), "{}", sandbox.warnings());
    // The check of the same file is plain: it can't be used.
    sandbox.background(&["--check", "-F", "supervise.conf"]).expect_code(100).expect_stderr(&["supervise.conf"]);
}

#[test]
fn a_folder_in_place_of_the_conf() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("supervise.conf")).expect("the sandbox is writable");
    is_warned_of(&sandbox, "a directory, not a regular file");
}

#[test]
fn a_fifo_in_place_of_the_conf_blocks_nobody() {
    let sandbox = Sandbox::new();
    let mode = nix::sys::stat::Mode::from_bits_truncate(0o600);
    nix::unistd::mkfifo(&sandbox.path("supervise.conf"), mode).expect("a fifo");
    is_warned_of(&sandbox, "not a regular file");
}

#[test]
fn an_endless_device_in_place_of_the_conf() {
    let sandbox = Sandbox::new();
    let output = sandbox.start("ready", &["-F", "/dev/zero"]);
    output.expect_stderr(&["/dev/zero", "not a regular file"]);
    sandbox.until_ready();
    sandbox.until_warned("/dev/zero");
}

#[test]
fn a_conf_that_may_not_be_read() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[global]\npacing : 5\n");
    fs::set_permissions(sandbox.path("supervise.conf"), fs::Permissions::from_mode(0o000)).expect("one's own file");
    if !is_root() {
        return is_warned_of(&sandbox, "Permission denied");
    }
    // Root may read every file, so it is somebody else who supervises.
    sandbox.give_to(64_125);
    let args = ["-p", "status/app", "-f", "./service line started wait", "-F", "supervise.conf"];
    let output = sandbox.run(sandbox.command_as(64_125, &args)).expect_code(0);
    output.expect_stderr(&["supervise.conf", "Permission denied"]);
    sandbox.until_lines("started", 1);
    sandbox.until_warned("Permission denied");
    sandbox.write_control(b"dx");
    sandbox.until_ended();
}

#[test]
fn a_conf_of_100_megabytes() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[global]\nalarm_interval : 60\n");
    let file = File::options().write(true).open(sandbox.path("supervise.conf")).expect("the conf");
    file.set_len(100 << 20).expect("a sparse file");
    is_warned_of(&sandbox, "larger than 1 MiB");
}

#[test]
fn a_link_that_leads_nowhere_in_place_of_the_conf() {
    let sandbox = Sandbox::new();
    std::os::unix::fs::symlink("/missing/conf", sandbox.path("supervise.conf")).expect("a link");
    is_warned_of(&sandbox, "No such file or directory");
}

#[test]
fn a_conf_in_the_current_folder_that_cannot_be_used_is_a_warning_too() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("supervise.conf")).expect("the sandbox is writable");
    sandbox.start("ready", &[]);
    sandbox.until_ready();
    sandbox.until_warned("supervise.conf");
}

#[test]
fn an_empty_conf_is_no_policy_and_no_problem() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("");
    let output = runs_all_the_same(&sandbox);
    assert_eq!(output.stderr, "");
    sandbox.background(&["--check", "-F", "supervise.conf"]).expect_code(0);
}

#[test]
fn nul_bytes_bad_utf_8_and_a_half_written_last_line_are_warnings() {
    let sandbox = Sandbox::new();
    let conf = b"[global]\nalarm_interval : 60\nalarm_mail : a\0b@example.invalid\nmax_tries : 2\n\xff\xfe : 3\n\
                 [app]\npacing : 0.1\nmail_transport : smtp://127.0.0.1:1\nmax_tri";
    sandbox.write("supervise.conf", conf);
    runs_all_the_same(&sandbox);
    let output = sandbox.background(&["--check", "-F", "supervise.conf"]).expect_code(100);
    let said = output.stdout + &output.stderr;
    for line in ["supervise.conf:3:", "supervise.conf:5:", "supervise.conf:9:"] {
        assert!(said.contains(line), "{line} in {said}");
        sandbox.until_warned(line);
    }
    assert!(!said.contains('\0'), "{said:?}");
    // What stands around them counts: two restarts, not more.
    sandbox.write_control(b"dx");
    sandbox.until_ended();
    let supervise = sandbox.foreground(&["--foreground", "-p", "status/app", "./service", "exit", "3"]);
    supervise.wait().expect_code(1);
    assert_eq!(sandbox.count("starts"), 3);
}

#[test]
fn a_last_line_without_its_end_counts() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\nhup : default");
    sandbox.start("report given ready", &[]);
    assert_eq!(sandbox.until_report("given").signals("SigIgn") & 1, 0);
}

#[test]
fn bad_values_of_the_further_keys_are_refused_and_all_named_at_once() {
    let cases = [
        ("pacing", "0"),
        ("pacing", "-1"),
        ("pacing", "0.01"),
        ("pacing", "fast"),
        ("pacing", "nan"),
        ("pacing", "inf"),
        ("pacing", "1e400"),
        ("pacing", "99999999999999999999999"),
        ("stop_timeout", "-5"),
        ("stop_timeout", "soon"),
        ("kill_mode", "all"),
        ("hup", "maybe"),
        ("hook_timeout", "-1"),
        ("log_max_size", "many"),
        ("log_max_size", "99999999999999999999g"),
        ("log_backups", "-1"),
        ("mail_transport", "pigeon"),
        ("alarm_webhook", "ftp://example.org"),
        ("alarm_recovered", "perhaps"),
    ];
    for section in ["global", "app"] {
        let sandbox = Sandbox::new();
        // Each case has a section's line of its own: the last of a key counts, so none may hide another.
        for (key, value) in cases {
            sandbox.write_conf(&format!("[{section}]\n{key} : {value}\n"));
            let args = ["-p", "status/app", "-f", "./service line started ready", "-F", "supervise.conf"];
            let output = sandbox.background(&args);
            assert_eq!(output.code, Some(100), "{key} : {value}: {output:#?}");
            let place = format!("supervise.conf:2: {key}: ");
            assert!(output.stderr.contains(&place), "{place:?} for {value}: {output:#?}");
            assert_eq!((sandbox.processes(), sandbox.read("started")), (Vec::<Pid>::new(), String::new()));
        }
    }
}

#[test]
fn a_bad_value_in_another_module_s_section_refuses_nothing() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[global]\npacing : 2\n[other]\npacing : fast\n");
    runs_all_the_same(&sandbox);
    let output = sandbox.background(&["--check", "-F", "supervise.conf"]).expect_code(100);
    let said = output.stdout + &output.stderr;
    assert!(said.contains("supervise.conf:4: pacing: "), "{said}");
}

#[test]
fn classic_numbers_that_are_none_are_warnings() {
    for value in ["many", "-3", "99999999999999999999999", "5 times", "0x10", ""] {
        let sandbox = Sandbox::new();
        sandbox.write_conf(&format!("[app]\nalarm_interval : 60\nmax_tries : {value}\n"));
        runs_all_the_same(&sandbox);
        if !value.is_empty() {
            sandbox.until_warned("supervise.conf:3: max_tries: ");
        }
    }
}

#[test]
fn an_unknown_key_is_a_warning_that_names_the_nearest_one() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\nstop_timout : 5\n");
    runs_all_the_same(&sandbox);
    sandbox.until_warned("supervise.conf:2: stop_timout: ");
    assert!(sandbox.warnings().contains("stop_timeout"), "{}", sandbox.warnings());
}

#[test]
fn r_with_a_conf_that_has_gone_bad_keeps_the_old_policy_and_logs_the_problem() {
    for (bad, reason) in
        [(None, "No such file or directory"), (Some("[app]\nhup : maybe\n"), "supervise.conf:2: hup: ")]
    {
        let sandbox = Sandbox::new();
        sandbox.write_conf("[app]\nhup : default\n");
        sandbox.start("report given ready", &["-F", "supervise.conf"]);
        let first = sandbox.until_ready();
        match bad {
            Some(text) => sandbox.write_conf(text),
            None => fs::remove_file(sandbox.path("supervise.conf")).expect("it is there"),
        }
        sandbox.write_control(b"r");
        sandbox.until_warned(reason);
        eventually(&sandbox, "the long record has the problem", || {
            sandbox.value("conf_problem").is_some_and(|problem| !problem.is_empty())
        });
        fs::remove_file(sandbox.path("given")).expect("the first service wrote it");
        sandbox.write_control(b"k");
        sandbox.until_ready_after(first);
        assert_eq!(sandbox.until_report("given").signals("SigIgn") & 1, 0, "hup is as it was");
    }
}

#[test]
fn a_conf_with_thousands_of_wrong_lines_drowns_nobody() {
    let sandbox = Sandbox::new();
    let mut file = File::create(sandbox.path("supervise.conf")).expect("the sandbox is writable");
    file.write_all("[app]\n".as_bytes()).expect("room");
    file.write_all("rubbish\n".repeat(100_000).as_bytes()).expect("room");
    runs_all_the_same(&sandbox);
    sandbox.write_control(b"dx");
    sandbox.until_ended();
}

#[test]
fn a_conf_with_an_unprintable_name_can_be_read() {
    let sandbox = Sandbox::new();
    let name = std::ffi::OsStr::from_bytes(b"conf \xff\n.conf");
    sandbox.write(name, "[app]\ncommand : ./service ready\n");
    let mut command = sandbox.command(&["-p", "status/app", "-F"]);
    command.arg(name);
    sandbox.run(command).expect_code(0);
    sandbox.until_ready();
    sandbox.until_state("up");
}

#[test]
fn what_refuses_a_start_is_said_among_many_warnings() {
    let sandbox = Sandbox::new();
    sandbox.write_conf(&format!("[app]\n{}pacing : soon\n", "rubbish\n".repeat(60)));
    let said = sandbox.background(&["-p", "status/app", "-f", "./service ready"]).expect_code(100).stderr;
    assert!(said.contains("supervise.conf:62: pacing: ") && said.contains("and 10 more problems"), "{said}");
}
