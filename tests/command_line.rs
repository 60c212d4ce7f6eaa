//! The forms of the command line, and what each word of it means.

use crate::common::{Pid, Sandbox, alive, eventually, process_stat};

#[test]
fn the_classic_form_starts_the_service_in_the_background() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[global]\nalarm_interval : 60\n");
    let output = sandbox.background(&["-p", "status/app", "-f", "./service ready", "-F", "supervise.conf"]);
    let output = output.expect_code(0);
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""), "all is well, so nothing is said");
    let service = sandbox.until_ready();
    assert!(alive(sandbox.supervise_pid()) && alive(service));
}

#[test]
fn the_words_after_the_options_are_the_command() {
    let sandbox = Sandbox::new();
    sandbox.background(&["-p", "status/app", "./service", "out", "two  words", "ready"]).expect_code(0);
    sandbox.until_ready();
    sandbox.until_said("two  words");
}

#[test]
fn the_u_form_leaves_all_words_after_the_status_directory_to_the_command() {
    let sandbox = Sandbox::new();
    sandbox.background(&["-u", "status/app", "./service", "report", "given", "wait", "-f", "-p", "--"]).expect_code(0);
    let report = sandbox.until_report("given");
    assert_eq!(report.arguments(), ["./service", "report", "given", "wait", "-f", "-p", "--"]);
}

#[test]
fn options_stand_before_the_u_form() {
    let sandbox = Sandbox::new();
    sandbox.write("other.conf", "[app]\npacing : 7\n");
    sandbox.background(&["-F", "other.conf", "-u", "status/app", "./service", "ready"]).expect_code(0);
    sandbox.until_ready();
    eventually(&sandbox, "the long record names the conf", || {
        sandbox.value("conf").is_some_and(|conf| conf.ends_with("other.conf"))
    });
}

#[test]
fn the_older_form_stays_in_the_foreground_and_lets_the_service_inherit_the_output() {
    let sandbox = Sandbox::new();
    let mut supervise =
        sandbox.foreground(&["status/app", "./service", "out", "hello out", "err", "hello err", "wait"]);
    eventually(&sandbox, "the service has spoken", || supervise.stderr().contains("hello err"));
    assert!(supervise.stdout().contains("hello out"));
    assert_eq!(sandbox.stdout(), "", "nothing goes to __stdout");
    assert!(supervise.runs());
    assert_eq!(sandbox.supervise_pid(), supervise.pid());
    sandbox.write_control(b"dx");
    supervise.wait().expect_code(0);
}

#[test]
fn log_files_gives_the_older_form_its_files() {
    let sandbox = Sandbox::new();
    let mut supervise = sandbox.foreground(&["--log", "files", "status/app", "./service", "out", "hello", "ready"]);
    sandbox.until_ready();
    sandbox.until_said("hello");
    assert!(supervise.runs() && !supervise.stdout().contains("hello"));
}

#[test]
fn log_inherit_lets_any_form_inherit_the_output() {
    let sandbox = Sandbox::new();
    let args = ["--foreground", "--log", "inherit", "-p", "status/app", "./service", "out", "hello", "wait"];
    let supervise = sandbox.foreground(&args);
    eventually(&sandbox, "the service has spoken", || supervise.stdout().contains("hello"));
    assert_eq!(sandbox.stdout(), "");
}

#[test]
fn foreground_keeps_the_classic_form_in_the_foreground() {
    let sandbox = Sandbox::new();
    let mut supervise = sandbox.foreground(&["--foreground", "-p", "status/app", "-f", "./service ready"]);
    sandbox.until_ready();
    assert!(supervise.runs());
    assert_eq!(sandbox.supervise_pid(), supervise.pid());
    let session = |pid: Pid| process_stat(pid).expect("it runs").session;
    let own = Pid::try_from(std::process::id()).expect("a pid fits");
    assert_eq!(session(supervise.pid()), session(own), "it stays in its caller's session");
    sandbox.write_control(b"dx");
    supervise.wait().expect_code(0);
}

#[test]
fn foreground_keeps_the_u_form_in_the_foreground() {
    let sandbox = Sandbox::new();
    let mut supervise = sandbox.foreground(&["--foreground", "-u", "status/app", "./service", "ready"]);
    sandbox.until_ready();
    assert!(supervise.runs());
}

#[test]
fn the_command_may_come_from_the_conf() {
    for options in [&["-F", "supervise.conf"][..], &[]] {
        let sandbox = Sandbox::new();
        sandbox.write_conf("[app]\ncommand : ./service out 'from the conf' ready\n");
        sandbox.background(&[&["-p", "status/app"], options].concat()).expect_code(0);
        sandbox.until_ready();
        sandbox.until_said("from the conf");
    }
}

#[test]
fn a_command_line_command_goes_before_the_one_in_the_conf() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\ncommand : ./service out conf ready\n");
    sandbox.start("out line ready", &[]);
    sandbox.until_ready();
    assert!(sandbox.stdout().contains("line") && !sandbox.stdout().contains("conf"));
}

#[test]
fn every_option_has_a_long_name() {
    let sandbox = Sandbox::new();
    sandbox.write("some.conf", "[app]\npacing : 0.1\n");
    sandbox
        .background(&[
            "--status-dir",
            "status/app",
            "--command",
            "./service ready",
            "--conf",
            "some.conf",
            "--hook",
            "./service line hooked exit",
            "--hook-reset",
            "30",
        ])
        .expect_code(0);
    let first = sandbox.until_ready();
    sandbox.write_control(b"k");
    sandbox.until_ready_after(first);
    sandbox.until_lines("hooked", 1);
}

#[test]
fn a_wrong_command_line_is_told_and_ends_with_100() {
    let cases: [&[&str]; 12] = [
        &[],
        &["-p"],
        &["-p", "status/app"],
        &["-p", "status/app", "-f", ""],
        &["-p", "status/app", "-f", " \t "],
        &["-f", "./service ready"],
        &["-u", "status/app"],
        &["status/app"],
        &["--no-such-option", "-p", "status/app", "-f", "./service ready"],
        &["-p", "status/app", "-f", "./service ready", "-r", "./service exit 0", "-t", "soon"],
        &["-p", "status/app", "-f", "./service ready", "-t", "soon"],
        &["--log", "nowhere", "status/app", "./service", "ready"],
    ];
    for args in cases {
        let sandbox = Sandbox::new();
        let output = sandbox.background(args);
        assert_eq!(output.code, Some(100), "{args:?}: {output:#?}");
        assert!(
            output.stderr.starts_with("supervise: ") || output.stderr.starts_with("usage"),
            "{args:?}: {output:#?}"
        );
        assert!(!sandbox.path("status").exists(), "{args:?} made something");
    }
}

#[test]
fn version_and_help_go_to_stdout() {
    let sandbox = Sandbox::new();
    for option in ["-v", "--version"] {
        let output = sandbox.background(&[option]).expect_code(0);
        assert!(output.stdout.contains(env!("CARGO_PKG_VERSION")), "{output:#?}");
    }
    for option in ["-h", "--help"] {
        let output = sandbox.background(&[option]).expect_code(0);
        for name in ["-p", "-f", "-F", "-r", "-t", "-u", "--check", "--foreground", "--log", "--status-dir"] {
            assert!(output.stdout.contains(name), "{name} in the help: {output:#?}");
        }
    }
}

/// The status directories that are taken, each with the module that is meant.
#[test]
fn the_module_name_is_what_follows_the_first_status() {
    let sandbox = Sandbox::new();
    let absolute = sandbox.path("status/absolute");
    for (given, module, made) in [
        ("status/plain", "plain", "status/plain"),
        ("./status/dotted", "dotted", "status/dotted"),
        ("status/slashed//", "slashed", "status/slashed"),
        ("status/blanks/  ", "blanks", "status/blanks"),
        ("status/blanks after \t", "blanks after", "status/blanks after"),
        ("mystatus/longer", "longer", "mystatus/longer"),
        ("status/with/slashes", "with/slashes", "status/with/slashes"),
        ("deep/er/status/one/status/two", "one/status/two", "deep/er/status/one/status/two"),
        ("status/a..b", "a..b", "status/a..b"),
        (absolute.to_str().expect("temporary folders have plain names"), "absolute", "status/absolute"),
    ] {
        sandbox.background(&["-p", given, "-f", "./service ready"]).expect_code(0);
        let status = sandbox.status_dir(made);
        let named = || status.value("module").as_deref() == Some(module);
        eventually(&sandbox, &format!("{given:?} is the module {module:?}"), named);
        assert_eq!(status.mode("."), 0o700, "{given:?}");
    }
}

#[test]
fn other_status_directories_are_refused() {
    let sandbox = Sandbox::new();
    for given in [
        "",
        " ",
        "status",
        "status/",
        "status//",
        "status/ ",
        "app",
        "statuses/app",
        "status/..",
        "status/../app",
        "status/.",
        "status/./app",
        "status/a/../b",
        "status/a\nb",
        "status/a\u{1}b",
        "status/a\u{7f}b",
    ] {
        let output = sandbox.background(&["-p", given, "-f", "./service ready"]);
        assert_eq!(output.code, Some(100), "{given:?}: {output:#?}");
        let plain = |line: &str| line.starts_with("supervise: ") && !line.chars().any(char::is_control);
        assert!(output.stderr.lines().all(plain), "{given:?}: {output:#?}");
    }
    assert!(!sandbox.path("status").exists() && !sandbox.path("app").exists());
}

/// Starts `./service report given wait WORDS` by -f; returns what came of WORDS.
fn split(sandbox: &Sandbox, words: &str) -> Vec<String> {
    sandbox.start(&format!("report given wait {words}"), &[]);
    let report = sandbox.until_report("given");
    report.arguments().into_iter().skip(4).map(str::to_owned).collect()
}

#[test]
fn a_command_without_quotes_is_split_on_blanks_and_tabs_and_nothing_else() {
    let sandbox = Sandbox::new();
    let words = split(&sandbox, "a\\ b\tc  d\\n $HOME * ; touch made | cat > made & `id` #x  ");
    let expected =
        ["a\\", "b", "c", "d\\n", "$HOME", "*", ";", "touch", "made", "|", "cat", ">", "made", "&", "`id`", "#x"];
    assert_eq!(words, expected);
    assert!(!sandbox.path("made").exists());
    assert_eq!(sandbox.warnings(), "");
}

#[test]
fn a_newline_separates_no_words() {
    let sandbox = Sandbox::new();
    sandbox.start("out two\nlines ready", &[]);
    sandbox.until_ready();
    assert!(sandbox.stdout().starts_with("two\nlines\n"), "{}", sandbox.stdout());
}

#[test]
fn a_command_with_quotes_is_split_by_the_shell_s_word_rules_without_expansion() {
    let sandbox = Sandbox::new();
    let words = split(&sandbox, r#"'a  b' "c \"d\" \\ \n" e\ f "" x'y'"z" "$HOME" '*' 'a\b'"#);
    assert_eq!(words, ["a  b", r#"c "d" \ \n"#, "e f", "", "xyz", "$HOME", "*", r"a\b"]);
}

#[test]
fn a_quote_without_its_partner_is_taken_as_it_stands_with_a_warning() {
    let sandbox = Sandbox::new();
    assert_eq!(split(&sandbox, r#"it's "here"#), ["it's", "\"here"]);
    sandbox.until_warned("[WARNING]");
}

#[test]
fn a_command_may_have_thousands_of_words() {
    let sandbox = Sandbox::new();
    let words = split(&sandbox, &"w ".repeat(20_000));
    assert_eq!(words.len(), 20_000);
}

#[test]
fn check_prints_what_each_module_gets_and_starts_nothing() {
    let sandbox = Sandbox::new();
    sandbox.write_conf(
        "[early]\nalarm_interval : 70\nmax_tries : 4\n[global]\nalarm_interval : 90\nalarm_mail : root@example.org\n\
         [web]\nalarm_mail : web@example.org\nstop_timeout : 17\ncommand : ./service ready\n",
    );
    let output = sandbox.background(&["--check", "-F", "supervise.conf"]).expect_code(0);
    for text in ["early", "web", "90", "root@example.org", "web@example.org", "17", "./service ready"] {
        assert!(output.stdout.contains(text), "{text:?} in {output:#?}");
    }
    let others = output.stdout.split("# every other module\n").nth(1).unwrap_or_default();
    assert!(others.contains("alarm_interval : 90\n") && others.contains("pacing : 1\n"), "{output:#?}");
    assert_eq!(output.stdout.matches("\nhook_timeout : 60\n").count(), 3, "every key each time: {output:#?}");
    assert!(!sandbox.path("status").exists());
}

#[test]
fn check_without_f_reads_the_conf_in_the_current_folder() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[web]\nstop_timeout : 17\n");
    let output = sandbox.background(&["--check"]).expect_code(0);
    assert!(output.stdout.contains("stop_timeout : 17"), "{output:#?}");
}

#[test]
fn check_names_every_problem_by_its_line_and_ends_with_100() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[global]\npacing : fast\nalarm_intervall : 60\n[web]\nkill_mode : all\n");
    let output = sandbox.background(&["--check", "-F", "supervise.conf"]).expect_code(100);
    let said = output.stdout + &output.stderr;
    for text in ["supervise.conf:2: pacing: ", "supervise.conf:3: alarm_intervall: ", "supervise.conf:5: kill_mode: "] {
        assert!(said.contains(text), "{text:?} in {said}");
    }
    assert!(said.contains("alarm_interval"), "the nearest known name: {said}");
}

#[test]
fn check_of_a_conf_that_cannot_be_opened_ends_with_100() {
    let sandbox = Sandbox::new();
    let output = sandbox.background(&["--check", "-F", "missing.conf"]).expect_code(100);
    output.expect_stderr(&["missing.conf", "No such file or directory"]);
}

#[test]
fn check_takes_a_status_directory_and_makes_none() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[global]\ncommand : ./service ready\n");
    let output = sandbox.background(&["--check", "-F", "supervise.conf", "-p", "status/app"]).expect_code(0);
    assert!(!sandbox.path("status").exists());
    assert!(output.stdout.contains("app"), "{output:#?}");
}

#[test]
fn check_names_the_programs_that_no_alarm_could_reach() {
    let sandbox = Sandbox::new();
    sandbox.write("text", "no program\n");
    sandbox.write_conf(
        "[global]\nalarm_exec : ./missing 'a b'\n[web]\ngsm_command : no-such-gsm -q\nalarm_exec : ./text\n[app]\n\
         alarm_exec : ./service note it\ngsm_command : sh -c true\n",
    );
    let output = sandbox.background(&["--check", "-F", "supervise.conf"]).expect_code(100);
    let lines: Vec<&str> = output.stderr.lines().collect();
    assert_eq!(
        lines,
        [
            "supervise.conf:2: alarm_exec: ./missing: No such file or directory, so nobody gets an alarm by it (warning)",
            "supervise.conf:4: gsm_command: no-such-gsm: there is no such program in PATH, so nobody gets an alarm by it \
             (warning)",
            "supervise.conf:5: alarm_exec: ./text: Permission denied, so nobody gets an alarm by it (warning)",
            "supervise: supervise.conf: 3 problems, 0 of them would refuse a start",
        ]
    );
}
