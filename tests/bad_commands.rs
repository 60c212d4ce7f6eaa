//! Commands that cannot be run: what is wrong with which file is said, counted as an exit, and tried again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;

use crate::common::{Sandbox, alive, eventually, service_program};

/// Starts a command line that cannot be run, and looks at all the places where that must be said.
#[track_caller]
fn cannot_run(sandbox: &Sandbox, args: &[&str], texts: &[&str]) {
    let output = sandbox.background(&[&["-p", "status/app"], args].concat()).expect_code(0);
    let output = output.expect_stderr(texts);
    assert!(output.stderr.len() < 8192, "a message does not repeat a long command: {} bytes", output.stderr.len());
    let complete = |line: &str| line.starts_with("[FATAL] ") && texts.iter().all(|text| line.contains(text));
    eventually(sandbox, "a FATAL line says it", || sandbox.warnings().lines().any(complete));
    eventually(sandbox, "it counts as an exit", || sandbox.count("exits") >= 1);
    assert_eq!(sandbox.value("last_exit_expected").as_deref(), Some("no"));
    assert!(alive(sandbox.supervise_pid()));
    // And the policy retries.
    eventually(sandbox, "it is tried again", || sandbox.count("exits") >= 2);
    sandbox.write_control(b"dx");
    sandbox.until_ended();
    assert_eq!(sandbox.record().pid, None);
}

#[test]
fn a_command_that_is_missing() {
    cannot_run(&Sandbox::new(), &["-f", "./missing"], &["./missing", "No such file or directory"]);
}

#[test]
fn a_command_that_is_not_found_through_the_path() {
    cannot_run(&Sandbox::new(), &["-f", "no-such-command-anywhere"], &["no-such-command-anywhere"]);
}

#[test]
fn a_command_that_is_not_executable() {
    let sandbox = Sandbox::new();
    sandbox.write("plain", "#!/bin/sh\nexit 0\n");
    cannot_run(&sandbox, &["-f", "./plain"], &["./plain", "Permission denied"]);
}

#[track_caller]
fn write_executable(sandbox: &Sandbox, name: &str, text: &str) {
    sandbox.write(name, text);
    fs::set_permissions(sandbox.path(name), fs::Permissions::from_mode(0o755)).expect("one's own file");
}

#[test]
fn a_script_without_an_interpreter_is_not_given_to_a_shell() {
    let sandbox = Sandbox::new();
    write_executable(&sandbox, "script", "echo run > run-by-a-shell\n");
    cannot_run(&sandbox, &["-f", "./script"], &["./script", "Exec format error"]);
    assert!(!sandbox.path("run-by-a-shell").exists());
}

#[test]
fn a_script_whose_interpreter_is_missing() {
    let sandbox = Sandbox::new();
    write_executable(&sandbox, "script", "#!/missing/interpreter\n");
    cannot_run(&sandbox, &["-f", "./script"], &["./script", "No such file or directory"]);
}

#[test]
fn an_empty_file_as_a_command() {
    let sandbox = Sandbox::new();
    write_executable(&sandbox, "empty", "");
    cannot_run(&sandbox, &["-f", "./empty"], &["./empty", "Exec format error"]);
}

#[test]
fn a_folder_as_a_command() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("folder")).expect("the sandbox is writable");
    cannot_run(&sandbox, &["-f", "./folder"], &["./folder", "Permission denied"]);
}

#[test]
fn a_word_that_is_longer_than_the_kernel_takes() {
    let sandbox = Sandbox::new();
    // One word may have 128 KiB (execve(2), MAX_ARG_STRLEN), and a conf may bring more.
    sandbox.write_conf(&format!("[app]\ncommand : ./service out {}\n", "w".repeat(200_000)));
    cannot_run(&sandbox, &["-F", "supervise.conf"], &["./service", "Argument list too long"]);
}

#[test]
fn more_words_than_the_kernel_takes() {
    let sandbox = Sandbox::new();
    sandbox.write_conf(&format!("[app]\ncommand : ./service wait {}\n", "w ".repeat(400_000)));
    cannot_run(&sandbox, &["-F", "supervise.conf"], &["./service", "Argument list too long"]);
}

#[test]
fn a_name_that_is_longer_than_the_kernel_takes() {
    let name = format!("./{}", "n".repeat(5000));
    cannot_run(&Sandbox::new(), &["-f", &name], &["File name too long"]);
}

#[test]
fn an_empty_word_as_a_command() {
    let output = Sandbox::new().background(&["-p", "status/app", "-f", "''"]);
    assert!(matches!(output.code, Some(0 | 100)), "{output:#?}");
    assert!(output.stderr.starts_with("supervise: "), "{output:#?}");
}

#[test]
fn without_a_path_in_the_environment_a_command_with_a_slash_runs() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(&["-p", "status/app", "-f", "./service ready"]);
    command.env_remove("PATH");
    sandbox.run(command).expect_code(0);
    sandbox.until_ready();
}

#[test]
fn a_command_that_comes_into_being_is_started() {
    let sandbox = Sandbox::new();
    sandbox.background(&["-p", "status/app", "-f", "./later ready"]).expect_code(0);
    sandbox.until_warned("./later");
    std::os::unix::fs::symlink(service_program(), sandbox.path("later")).expect("a link");
    sandbox.until_ready();
}

#[test]
fn a_failed_exec_counts_for_the_limit_of_the_window() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\nalarm_interval : 60\nmax_tries : 2\npacing : 0.1\n");
    let supervise = sandbox.foreground(&["--foreground", "-p", "status/app", "-f", "./missing"]);
    let output = supervise.wait().expect_code(1);
    assert!(output.stderr.contains("./missing"), "{output:#?}");
    assert_eq!(sandbox.value("state").as_deref(), Some("gave-up"));
    assert_eq!(sandbox.count("exits"), 3);
}

#[test]
fn a_current_folder_that_was_deleted_is_told_where_it_is_needed() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("deleted")).expect("the sandbox is writable");
    let remove_the_current_folder = || {
        // SAFETY: both calls take C strings and are safe between fork and exec.
        let failed = unsafe { libc::chdir(c"deleted".as_ptr()) != 0 || libc::rmdir(c"../deleted".as_ptr()) != 0 };
        if failed { Err(std::io::Error::last_os_error()) } else { Ok(()) }
    };
    let mut command = sandbox.command(&["-p", "status/app", "-f", "/bin/sleep 1000"]);
    // SAFETY: the closure calls nothing but chdir and rmdir.
    unsafe { command.pre_exec(remove_the_current_folder) };
    let output = sandbox.run(command).expect_code(110);
    output.expect_stderr(&["status", "No such file or directory"]);
    // With absolute paths nothing is needed of it.
    fs::create_dir(sandbox.path("deleted")).expect("the sandbox is writable");
    let absolute = sandbox.status_path().to_str().expect("a plain name").to_owned();
    let mut command = sandbox.command(&["-p", &absolute, "-f"]);
    command.arg(format!("{} ready", service_program().display()));
    // SAFETY: as above.
    unsafe { command.pre_exec(remove_the_current_folder) };
    sandbox.run(command).expect_code(0);
    sandbox.until_ready();
    sandbox.write_control(b"dx");
    sandbox.until_ended();
}

#[test]
fn a_current_folder_deleted_while_running_stops_no_restart() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("deleted")).expect("the sandbox is writable");
    let absolute = sandbox.status_path().to_str().expect("a plain name").to_owned();
    let mut command = sandbox.command(&["-p", &absolute, "-f"]);
    command.arg(format!("{} ready", service_program().display())).current_dir(sandbox.path("deleted"));
    sandbox.run(command).expect_code(0);
    let first = sandbox.until_ready();
    fs::remove_dir(sandbox.path("deleted")).expect("it is empty");
    sandbox.write_control(b"k");
    sandbox.until_ready_after(first);
    sandbox.write_control(b"dx");
    sandbox.until_ended();
    assert_eq!(sandbox.record().pid, None);
}
