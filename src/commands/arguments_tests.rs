//! Every form of the command line.

use super::*;

fn run(words: &[&str]) -> Result<(Options, bool), String> {
    match read(words.iter().map(OsString::from)) {
        Ok(Asked::Run { options, foreground }) => Ok((options, foreground)),
        Ok(other) => Err(format!("{other:?}")),
        Err(error) => Err(error.to_string()),
    }
}

fn words(options: &Options) -> Vec<&str> {
    options.command.iter().flatten().filter_map(|word| word.to_str()).collect()
}

#[test]
fn the_classic_form() {
    let (options, foreground) = run(&["-p", "./status/app", "-f", "sleep 5", "-F", "a.conf"]).unwrap();
    assert_eq!(options.module.name(), b"app");
    assert_eq!(words(&options), ["sleep", "5"]);
    assert_eq!(options.conf, ConfSource::Named("a.conf".into()));
    assert!(!foreground && !options.inherit_output && options.hook.is_none());
}

#[test]
fn the_words_after_the_options_are_the_command() {
    let (options, foreground) = run(&["-p", "status/app", "-F", "c", "ls", "-F", "--", "a b"]).unwrap();
    assert_eq!(words(&options), ["ls", "-F", "--", "a b"]);
    assert!(!foreground);
}

#[test]
fn u_ends_the_options() {
    let (options, foreground) =
        run(&["-F", "c", "-r", "hook", "-t", "9", "-u", "status/app", "-p", "-x", "--"]).unwrap();
    assert_eq!(options.module.name(), b"app");
    assert_eq!(words(&options), ["-p", "-x", "--"]);
    assert_eq!(options.hook.map(|hook| hook.reset), Some(Some(Duration::from_secs(9))));
    assert!(!foreground);
}

#[test]
fn the_form_of_daemontools_is_in_the_foreground() {
    let (options, foreground) = run(&["status/app", "sleep", "-p", "5"]).unwrap();
    assert_eq!(words(&options), ["sleep", "-p", "5"]);
    assert!(foreground && options.inherit_output);
    let (options, _) = run(&["--log", "files", "status/app", "sleep"]).unwrap();
    assert!(!options.inherit_output);
}

#[test]
fn long_names_and_repeated_options() {
    let line = ["--status-dir=status/a", "--command=x y", "--conf=c", "--hook=h 1", "--hook-reset=0", "--foreground"];
    let (options, foreground) = run(&line).unwrap();
    let reset = options.hook.as_ref().map(|hook| hook.reset);
    assert_eq!((words(&options), reset, foreground), (vec!["x", "y"], Some(None), true));
    let (options, _) = run(&["-p", "status/a", "-p", "status/b", "-f", "x"]).unwrap();
    assert_eq!(options.module.name(), b"b", "the last one counts");
}

#[test]
fn where_the_conf_comes_from() {
    assert_eq!(run(&["-p", "status/a", "-f", "x"]).unwrap().0.conf, ConfSource::Usual);
    assert_eq!(run(&["-p", "status/a", "-f", "x", "-r", "h"]).unwrap().0.conf, ConfSource::NotRead);
    assert_eq!(run(&["-p", "status/a"]).unwrap().0.command, None);
}

#[test]
fn what_is_refused() {
    for (line, expected) in [
        (&["-f", "x"][..], "no status directory"),
        (&["-p", "app", "-f", "x"], "bad status directory `app`"),
        (&["-p", "status/a\nb", "-f", "x"], "bad status directory `status/a\\x0ab`"),
        (&["-p"], "missing argument"),
        (&["-p", "status/a", "-f", " "], "COMMAND is empty"),
        (&["-p", "status/a", "-f", "x", "y"], "COMMAND is given twice"),
        (&["-p", "status/a", "-f", "x", "-r", ""], "HOOK is empty"),
        (&["-p", "status/a", "-f", "x", "-r", "h", "-t", "-1"], "-t -1"),
        (&["-p", "status/a", "-f", "x", "-r", "h", "-t", "soon"], "-t soon"),
        (&["-p", "status/a", "-f", "x", "-t", "soon"], "-t soon"),
        (&["-p", "status/a", "-f", "x", "--log", "syslog"], "--log syslog"),
        (&["-p", "status/a", "-f", "x", "-z"], "invalid option '-z'"),
        (&["-u", "status/a", "--conf"][..0], "no status directory"),
        (&["status/a"], "no COMMAND after"),
        (&["--check", "-f", "x"], "--check starts nothing"),
    ] {
        let error = run(line).unwrap_err();
        assert!(error.contains(expected), "{line:?}: {error}");
    }
}
