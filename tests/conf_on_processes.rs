//! supervise.conf at work: read again by `r`, layered from its sections, and less than the command line.

use std::fs;

use nix::sys::signal::Signal;

use crate::common::{Sandbox, eventually, log_texts, signal};

#[test]
fn a_new_pacing_moves_a_pending_start() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\npacing : 3600\n");
    sandbox.start("ready", &[]);
    let service = sandbox.until_ready();
    signal(service, Signal::SIGKILL);
    sandbox.until_state("pacing");
    let due = || sandbox.value("next_start").and_then(|at| at.parse::<f64>().ok());
    let before = due().expect("it is pacing");
    sandbox.write_conf("[app]\npacing : 7200\n");
    sandbox.write_control(b"r");
    eventually(&sandbox, "it is due an hour later", || due().is_some_and(|now| (now - before - 3600.0).abs() < 1.0));
    assert_eq!(sandbox.value("state").as_deref(), Some("pacing"));
    sandbox.write_conf("[app]\npacing : 0.1\n");
    sandbox.write_control(b"r");
    sandbox.until_ready_after(service);
}

#[test]
fn a_new_command_in_the_conf_counts_from_the_next_start() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\npacing : 0.1\ncommand : ./service out first ready\n");
    sandbox.background(&["-p", "status/app"]).expect_code(0);
    let service = sandbox.until_ready();
    sandbox.write_conf("[app]\npacing : 0.1\ncommand : ./service out second ready\n");
    let before = sandbox.value("conf_read");
    sandbox.write_control(b"r");
    eventually(&sandbox, "the conf is read again", || sandbox.value("conf_read") != before);
    assert_eq!(sandbox.service_pid(), Some(service));
    assert_eq!(sandbox.value("command").as_deref(), Some("./service out first ready"), "that is what runs");
    assert!(!sandbox.stdout().contains("second"));
    sandbox.write_control(b"k");
    sandbox.until_ready_after(service);
    assert!(sandbox.stdout().contains("second"));
    sandbox.until_value("command", "./service out second ready");
}

#[test]
fn the_command_line_wins_over_command_after_r_too() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\npacing : 0.1\ncommand : ./service out conf ready\n");
    sandbox.start("out line ready", &[]);
    let service = sandbox.until_ready();
    let before = sandbox.value("conf_read");
    sandbox.write_control(b"r");
    eventually(&sandbox, "the conf is read again", || sandbox.value("conf_read") != before);
    sandbox.write_control(b"k");
    sandbox.until_ready_after(service);
    assert_eq!((sandbox.stdout().contains("conf"), sandbox.stdout().matches("line").count()), (false, 2));
}

/// After `r` on a conf that was spoilt, the old policy still holds, and `text` says in the log why.
#[track_caller]
fn keeps_the_old_policy(options: &[&str], spoil: impl FnOnce(&Sandbox), text: &str) {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\nalarm_interval : 60\nmax_tries : 2\npacing : 0.1\n");
    sandbox.start("ready", options);
    let mut service = sandbox.until_ready();
    spoil(&sandbox);
    sandbox.write_control(b"r");
    eventually(&sandbox, "the problem is told", || sandbox.warnings().contains(text));
    eventually(&sandbox, "state has it too", || sandbox.value("conf_problem").is_some());
    for _ in 0..2 {
        signal(service, Signal::SIGKILL);
        service = sandbox.until_ready_after(service);
    }
    signal(service, Signal::SIGKILL);
    sandbox.until_ended();
    assert_eq!(sandbox.value("state").as_deref(), Some("gave-up"));
}

fn remove_conf(sandbox: &Sandbox) {
    fs::remove_file(sandbox.path("supervise.conf")).expect("it is there");
}

#[test]
fn r_with_a_missing_conf_keeps_the_old_policy() {
    keeps_the_old_policy(&["-F", "supervise.conf"], remove_conf, "supervise.conf");
}

#[test]
fn r_with_a_missing_conf_that_was_not_named_keeps_the_old_policy_too() {
    keeps_the_old_policy(&[], remove_conf, "supervise.conf");
}

#[test]
fn r_with_a_folder_in_place_of_the_conf_keeps_the_old_policy() {
    let replace = |sandbox: &Sandbox| {
        remove_conf(sandbox);
        fs::create_dir(sandbox.path("supervise.conf")).expect("the sandbox is writable");
    };
    keeps_the_old_policy(&[], replace, "supervise.conf");
}

#[test]
fn r_with_a_bad_conf_keeps_the_old_policy() {
    let spoil = |sandbox: &Sandbox| sandbox.write_conf("[app]\npacing : 3600\nkill_mode : sometimes\n");
    keeps_the_old_policy(&[], spoil, "supervise.conf:3: kill_mode");
}

#[test]
fn a_conf_that_is_good_again_ends_the_problem() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\n");
    sandbox.start("ready", &[]);
    sandbox.until_ready();
    sandbox.write_conf("[app]\npacing : soon\n");
    sandbox.write_control(b"r");
    eventually(&sandbox, "state has the problem", || sandbox.value("conf_problem").is_some());
    sandbox.write_conf("[app]\npacing : 2\n");
    sandbox.write_control(b"r");
    eventually(&sandbox, "the problem is gone", || sandbox.value("conf_problem").is_none());
}

#[test]
fn new_limits_hold_at_once() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\nalarm_interval : 60\nmax_tries : 99\npacing : 0.1\n");
    sandbox.start("ready", &[]);
    let mut service = sandbox.until_ready();
    for _ in 0..3 {
        signal(service, Signal::SIGKILL);
        service = sandbox.until_ready_after(service);
    }
    sandbox.until_value("window_exits", "3");
    let before = sandbox.value("conf_read");
    sandbox.write_conf("[app]\nalarm_interval : 60\nmax_tries : 2\npacing : 0.1\n");
    sandbox.write_control(b"r");
    eventually(&sandbox, "the conf is read again", || sandbox.value("conf_read") != before);
    assert_eq!(sandbox.service_pid(), Some(service), "nothing happens until the next exit");
    signal(service, Signal::SIGKILL);
    sandbox.until_ended();
    assert_eq!(sandbox.value("state").as_deref(), Some("gave-up"));
}

#[test]
fn without_an_interval_an_open_window_ends_at_once() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\nalarm_interval : 60\npacing : 0.1\n");
    sandbox.start("ready", &[]);
    let service = sandbox.until_ready();
    signal(service, Signal::SIGKILL);
    sandbox.until_ready_after(service);
    sandbox.until_value("window_exits", "1");
    sandbox.write_conf("[app]\npacing : 0.1\n");
    sandbox.write_control(b"r");
    sandbox.until_value("window_exits", "0");
    assert_eq!(sandbox.value("window_opened"), None);
}

#[test]
fn hup_in_the_conf_counts_from_the_next_start() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\npacing : 0.1\n");
    sandbox.start("report given ready", &[]);
    let service = sandbox.until_ready();
    assert_eq!(sandbox.until_report("given").signals("SigIgn") & 1, 1);
    sandbox.write_conf("[app]\npacing : 0.1\nhup : default\n");
    sandbox.write_control(b"rk");
    sandbox.until_ready_after(service);
    assert_eq!(sandbox.until_report("given").signals("SigIgn") & 1, 0);
}

/// The recipients and the limit that a module has with this conf, as its alarms show them.
#[track_caller]
fn policy_of(conf: &str) -> (Vec<String>, Vec<String>, u64) {
    let sandbox = Sandbox::new();
    sandbox.write_conf(conf);
    sandbox.start("line starts exit 3", &[]);
    sandbox.until_ended();
    assert_eq!(sandbox.value("state").as_deref(), Some("gave-up"));
    let once = |name: &str| {
        let mut values = sandbox.headers(name);
        values.dedup();
        values
    };
    let recipients = once("To").iter().flat_map(|to| to.split(',')).map(|to| to.trim().to_owned()).collect();
    (recipients, once("Gsm"), sandbox.count("exits") - 1)
}

const GLOBAL: &str = "[global]\nalarm_interval : 60\nalarm_mail : all@example.invalid\nalarm_gsm : 100\nmax_tries : 1\n\
                      pacing : 0.1\nmail_transport : smtp://127.0.0.1:1\n";

fn texts(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

#[test]
fn a_module_without_a_section_gets_global() {
    let policy = policy_of(&format!("{GLOBAL}[other]\nmax_tries : 7\nalarm_mail : other@example.invalid\n"));
    assert_eq!(policy, (texts(&["all@example.invalid"]), texts(&["100"]), 1));
}

#[test]
fn a_section_behind_global_inherits_it_and_adds_its_recipients() {
    let own = "[app]\nmax_tries : 2\nalarm_mail : own@example.invalid\nalarm_gsm : 200\n";
    let (mail, gsm, tries) = policy_of(&format!("{GLOBAL}{own}"));
    assert_eq!(mail, texts(&["all@example.invalid", "own@example.invalid"]));
    assert_eq!((gsm, tries), (texts(&["100", "200"]), 2));
}

#[test]
fn empty_values_and_zeros_behind_global_change_nothing() {
    let own = "[app]\nmax_tries : 0\nalarm_mail :\nalarm_interval : 0\nalarm_gsm : \n";
    let policy = policy_of(&format!("{GLOBAL}{own}"));
    assert_eq!(policy, (texts(&["all@example.invalid"]), texts(&["100"]), 1));
}

#[test]
fn a_section_before_global_has_only_itself() {
    let own = "[app]\nalarm_interval : 60\nmax_tries : 2\nalarm_mail : own@example.invalid\npacing : 0.1\n\
               mail_transport : smtp://127.0.0.1:1\n";
    let policy = policy_of(&format!("{own}{GLOBAL}"));
    assert_eq!(policy, (texts(&["own@example.invalid"]), Vec::new(), 2));
}

#[test]
fn without_global_and_section_there_is_no_policy() {
    let sandbox = Sandbox::new();
    sandbox.write_conf(
        "[other]\nalarm_interval : 60\nmax_tries : 1\nalarm_mail : other@example.invalid\n\
         mail_transport : smtp://127.0.0.1:1\n",
    );
    sandbox.start("ready", &[]);
    let mut service = sandbox.until_ready();
    for _ in 0..3 {
        sandbox.write_control(b"1u");
        service = sandbox.until_ready_after(service);
    }
    sandbox.until_exits(3);
    assert_eq!((sandbox.count("window_exits"), sandbox.alarms().len()), (0, 0));
}

#[test]
fn check_shows_each_module_what_it_gets_and_starts_nothing() {
    let sandbox = Sandbox::new();
    sandbox.write("my.conf", "[global]\npacing : 3\n[app]\nstop_timeout : 17\n[other]\nstop_timeout : 23\n");
    let output = sandbox.background(&["--check", "-F", "my.conf", "-p", "status/app"]).expect_code(0);
    assert!(output.stdout.contains("17") && output.stdout.contains('3'), "{output:#?}");
    assert!(!sandbox.path("status").exists());
    sandbox.write("my.conf", "[global]\npacing : 3\n[app]\nstop_timeout : never\n[other]\nkill_mode : nobody\n");
    let output = sandbox.background(&["--check", "-F", "my.conf", "-p", "status/app"]).expect_code(100);
    let said = format!("{}{}", output.stdout, output.stderr);
    for problem in ["my.conf:4: stop_timeout", "my.conf:6: kill_mode"] {
        assert!(said.contains(problem), "{problem} in {output:#?}");
    }
}

#[test]
fn a_missing_conf_at_the_start_is_read_when_it_has_come() {
    let sandbox = Sandbox::new();
    sandbox.start("ready", &["-F", "late.conf"]).expect_stderr(&["late.conf"]);
    let service = sandbox.until_ready();
    sandbox.write("late.conf", "[app]\nalarm_interval : 60\npacing : 0.1\n");
    sandbox.write_control(b"r");
    sandbox.until_logged("Finished loading configurations!");
    signal(service, Signal::SIGKILL);
    sandbox.until_ready_after(service);
    sandbox.until_value("window_exits", "1");
    assert!(log_texts(&sandbox.warnings(), "WARNING").iter().any(|text| text.contains("late.conf")));
}

#[test]
fn an_alarm_names_the_command_that_ran() {
    let sandbox = Sandbox::new();
    let conf = |word: &str| format!("{}command : ./service out {word} ready\n", crate::adoption::ALARMED);
    sandbox.write_conf(&conf("first"));
    sandbox.background(&["-p", "status/app"]).expect_code(0);
    let service = sandbox.until_ready();
    let before = sandbox.value("conf_read");
    sandbox.write_conf(&conf("second"));
    sandbox.write_control(b"r");
    eventually(&sandbox, "the conf is read again", || sandbox.value("conf_read") != before);
    signal(service, Signal::SIGKILL);
    sandbox.until_ready_after(service);
    sandbox.until_value("command", "./service out second ready");
    eventually(&sandbox, "it is alarmed", || sandbox.alarms().len() == 1);
    let text = fs::read_to_string(&sandbox.alarms()[0]).expect("a message");
    assert!(text.contains("./service out first ready") && !text.contains("second"), "{text}");
}
