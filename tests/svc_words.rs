//! Command lines that mean nothing: `svc` and supervise name the word that is wrong, and what would be right.

use std::fs;

use crate::common::Sandbox;

/// What svc says of a command line that is wrong.
#[track_caller]
fn refused(sandbox: &Sandbox, words: &[&str]) -> String {
    let ended = sandbox.svc(words).expect_code(100);
    assert_eq!(ended.stdout, "", "{ended:?}");
    ended.stderr
}

#[test]
fn behind_a_directory_the_wrong_word_is_named() {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.path("status/app")).expect("the sandbox is writable");
    for dir in ["app", "status/app", "./status/app/"] {
        for (words, expected) in [
            (&["stpo"][..], format!("svc: {dir}: unknown word stpo; did you mean stop? After DIR comes restart, ")),
            (&["alarm"], format!("svc: {dir} alarm: on or off comes behind it\n")),
            (&["alarm", "xx"], format!("svc: {dir} alarm xx: alarm on or alarm off is meant\n")),
            (&["kill"], format!("svc: {dir} kill: the verb comes first: `svc kill {dir}`\n")),
            (&[], format!("svc: {dir}: what about it? After DIR comes restart, stop")),
        ] {
            let said = refused(&sandbox, &[&[dir], words].concat());
            assert!(said.starts_with(&expected) && said.lines().count() == 1, "{said}");
        }
    }
    // Where there is no such folder, it is the verb that is wrong.
    assert!(refused(&sandbox, &["stpo", "app"]).contains("similar subcommand exists: 'stop'"));
}

#[test]
fn the_wrong_value_is_named_with_what_is_right() {
    let sandbox = Sandbox::new();
    let number = "a number of seconds is meant, 0 or more";
    for (words, option, right) in [
        (&["stop", "--timeout", "-1", "app"][..], "'-1' for '--timeout <SECONDS>'", number),
        (&["stop", "--timeout", "x", "app"], "'x' for '--timeout <SECONDS>'", number),
        (&["start", "--settle", "-0.5", "app"], "'-0.5' for '--settle <SECONDS>'", number),
        (&["tail", "-n", "x", "app"], "'x' for '--lines <LINES>'", "a number of lines is meant, 0 or more"),
        (&["tail", "-n", "-3", "app"], "'-3' for '--lines <LINES>'", "a number of lines is meant, 0 or more"),
        (&["wait", "upp"], "'upp' for '<STATE>'", "[possible values: up, down, gave-up, exited]"),
    ] {
        let said = refused(&sandbox, words);
        assert!(said.contains(&format!("invalid value {option}")) && said.contains(right), "{said}");
    }
}

#[test]
fn the_usage_tells_of_all() {
    let sandbox = Sandbox::new();
    for verb in ["start", "stop", "exit", "tail"] {
        for said in [refused(&sandbox, &[verb]), sandbox.svc(&[verb, "--help"]).expect_code(0).stdout] {
            assert!(said.contains("<NAME|--all>") || said.contains("<NAME>...|--all"), "{said}");
        }
    }
    let help = sandbox.svc(&["--help"]).expect_code(0).stdout;
    assert!(help.contains("Waits until it is up, down, gave-up or exited"), "{help}");
}

#[test]
fn an_empty_name_of_a_conf_is_told_as_such() {
    let sandbox = Sandbox::new();
    let check = sandbox.run(sandbox.command(&["--check", "-F", ""])).expect_code(100);
    assert_eq!(check.stderr, "supervise: unable to read '' (-F is empty): No such file or directory\n");
    let start = sandbox.background(&["-p", "status/app", "-F", "", "-f", "./service ready"]).expect_code(0);
    let said = "supervise: app: unable to read '' (-F is empty): No such file or directory; no alarm policy\n";
    assert_eq!(start.stderr, said);
}
