//! The hook: when it runs, with which count, and that it never gets in the way of commands.

use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;

use crate::common::{Pid, Sandbox, alive, eventually, eventually_some, log_texts, signal};

/// A hook that notes its count.
const QUICK: &str = "./service note hooks";
/// A hook that says that it runs, waits for USR1, and then notes its count.
const SLOW: &str = "./service line hooking until USR1 note hooks";

/// Starts the service with a hook and this much of a conf.
#[track_caller]
fn start(conf: &str, actions: &str, options: &[&str]) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write_conf(&format!("[app]\n{conf}\n"));
    sandbox.start(actions, &[&["-F", "supervise.conf"], options].concat());
    sandbox
}

/// The counts that the hooks so far were given.
fn counts(sandbox: &Sandbox) -> Vec<String> {
    let count = |line: &str| line.split_once(' ').map(|(_, count)| count.to_owned());
    sandbox.read("hooks").lines().filter_map(count).collect()
}

/// A service that has exited once, with its slow hook running; returns the hook's pid.
#[track_caller]
fn in_hook(conf: &str) -> (Sandbox, Pid) {
    let sandbox = start(conf, "line starts ready", &["-r", SLOW]);
    signal(sandbox.until_ready(), Signal::SIGKILL);
    let hook = sandbox.until_marks("hooking", 1)[0].pid;
    sandbox.until_state("hook");
    (sandbox, hook)
}

#[test]
fn the_hook_runs_before_every_restart_whatever_ended_the_service() {
    let sandbox = start("pacing : 0.1", "line starts ready", &["-r", QUICK]);
    let mut service = sandbox.until_ready();
    assert_eq!(sandbox.read("hooks"), "", "not before the first start");
    for (round, byte) in ["k", "t", "du", "q", "", "sk"].iter().enumerate() {
        if byte.is_empty() {
            signal(service, Signal::SIGSEGV);
        } else {
            sandbox.write_control(byte.as_bytes());
        }
        service = sandbox.until_ready_after(service);
        assert_eq!(counts(&sandbox).len(), round + 1, "once, and before the start that follows {byte:?}");
    }
}

#[test]
fn without_t_and_with_0_the_count_is_always_1() {
    for options in [&["-r", QUICK][..], &["-r", QUICK, "-t", "0"]] {
        let sandbox = start("pacing : 0.1", "line starts from 5 starts exit 3", options);
        sandbox.until_ready();
        assert_eq!(counts(&sandbox), ["1", "1", "1", "1"]);
    }
}

#[test]
fn with_t_the_count_goes_up_and_is_reset_after_so_much_time() {
    let sandbox = start("pacing : 0.1", "line starts from 4 starts exit 3", &["-r", QUICK, "-t", "2"]);
    let service = sandbox.until_ready();
    assert_eq!(counts(&sandbox), ["1", "2", "3"]);
    let since_exit = || {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock that is set");
        let exit = sandbox.value("last_exit_at").and_then(|at| at.parse().ok()).map_or(now, Duration::from_secs_f64);
        now.saturating_sub(exit)
    };
    eventually(&sandbox, "the last exit is more than 2 s ago", || since_exit() > Duration::from_millis(2100));
    signal(service, Signal::SIGKILL);
    sandbox.until_ready_after(service);
    assert_eq!(counts(&sandbox), ["1", "2", "3", "1"]);
}

#[test]
fn the_count_is_the_last_of_the_hook_s_words() {
    let hook = "./service report hook-given note hooks";
    let sandbox = start("pacing : 0.1", "line starts from 2 starts exit 3", &["-r", hook]);
    sandbox.until_ready();
    let given = sandbox.until_report("hook-given");
    assert_eq!(given.arguments(), ["./service", "report", "hook-given", "note", "hooks", "1"]);
    assert_eq!(given.values("fd").len(), 3, "no descriptor above 2");
}

#[test]
fn a_hook_is_split_like_a_command() {
    let hook = "./service out 'two words' note \"the hooks\"";
    let sandbox = start("pacing : 0.1", "line starts from 2 starts exit 3", &["-r", hook]);
    sandbox.until_ready();
    assert!(sandbox.read("the hooks").ends_with(" 1\n"), "{}", sandbox.read("the hooks"));
}

#[test]
fn no_hook_after_a_give_up() {
    let sandbox = start("alarm_interval : 60\nmax_tries : 2\npacing : 0.1", "line starts exit 3", &["-r", QUICK]);
    sandbox.until_ended();
    assert_eq!(sandbox.value("state").as_deref(), Some("gave-up"));
    assert_eq!((sandbox.read("starts").lines().count(), counts(&sandbox).len()), (3, 2));
}

#[test]
fn no_hook_after_d_and_after_x() {
    for bytes in ["dx", "xk", "d"] {
        let sandbox = start("", "line starts ready", &["-r", QUICK]);
        sandbox.until_ready();
        sandbox.write_control(bytes.as_bytes());
        sandbox.until_down();
        if bytes == "d" {
            sandbox.until_state("down");
            sandbox.write_control(b"x");
        }
        sandbox.until_ended();
        assert_eq!((sandbox.read("starts").lines().count(), sandbox.read("hooks").as_str()), (1, ""), "{bytes}");
    }
}

#[test]
fn the_start_waits_for_the_hook_s_end() {
    let (sandbox, hook) = in_hook("pacing : 0.1");
    let ended = sandbox.value("last_exit_at").expect("there was an exit");
    let long_ago = || {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock that is set");
        now.as_secs_f64() - ended.parse::<f64>().expect("seconds") > 0.5
    };
    eventually(&sandbox, "the pacing is long over", long_ago);
    assert_eq!((sandbox.value("state").as_deref(), sandbox.service_pid()), (Some("hook"), None));
    assert_eq!(sandbox.read("starts").lines().count(), 1);
    signal(hook, Signal::SIGUSR1);
    sandbox.until_marks("starts", 2);
    assert_eq!(counts(&sandbox), ["1"]);
}

#[test]
fn the_start_waits_for_the_pacing_behind_the_hook() {
    let (sandbox, hook) = in_hook("pacing : 3600");
    signal(hook, Signal::SIGUSR1);
    sandbox.until_state("pacing");
    assert_eq!(sandbox.read("starts").lines().count(), 1);
    sandbox.write_control(b"u");
    sandbox.until_marks("starts", 2);
    assert_eq!(counts(&sandbox), ["1"], "the hook does not run again");
}

#[test]
fn commands_are_obeyed_while_the_hook_runs() {
    let (sandbox, hook) = in_hook("pacing : 0.1");
    sandbox.write_control(b"s");
    sandbox.until_value("alarms", "no");
    sandbox.write_control(b"ktihaq12pcrn");
    sandbox.until_value("alarms", "yes");
    assert_eq!((alive(hook), sandbox.record().paused, sandbox.warnings().as_str()), (true, 0, ""));
    signal(hook, Signal::SIGUSR1);
    sandbox.until_marks("starts", 2);
}

#[test]
fn d_kills_the_hook() {
    let (sandbox, hook) = in_hook("pacing : 0.1");
    sandbox.write_control(b"d");
    sandbox.until_state("down");
    sandbox.until_dead(hook);
    assert_eq!((sandbox.read("starts").lines().count(), sandbox.read("hooks").as_str()), (1, ""));
    sandbox.write_control(b"u");
    sandbox.until_marks("starts", 2);
}

#[test]
fn x_and_term_to_supervise_kill_the_hook() {
    for term in [false, true] {
        let (sandbox, hook) = in_hook("pacing : 0.1");
        if term {
            signal(sandbox.supervise_pid(), Signal::SIGTERM);
        } else {
            sandbox.write_control(b"x");
        }
        sandbox.until_ended();
        sandbox.until_dead(hook);
        eventually(&sandbox, "nothing is left", || sandbox.processes().is_empty());
        assert_eq!(sandbox.read("starts").lines().count(), 1);
    }
}

#[test]
fn what_kills_the_hook_kills_its_group() {
    for how in ["d", "x", "TERM", "hook_timeout"] {
        let conf = if how == "hook_timeout" { "pacing : 0.1\nhook_timeout : 0.5" } else { "pacing : 0.1" };
        let sandbox = start(conf, "line starts ready", &["-r", "./service child line hooking until USR1 wait"]);
        signal(sandbox.until_ready(), Signal::SIGKILL);
        sandbox.until_marks("hooking", 1);
        let pid = |line: &str| line.strip_prefix("child ")?.parse::<Pid>().ok();
        let child = eventually_some(&sandbox, "the hook's child is known", || sandbox.stdout().lines().find_map(pid));
        match how {
            "TERM" => signal(sandbox.supervise_pid(), Signal::SIGTERM),
            "hook_timeout" => {}
            command => sandbox.write_control(command.as_bytes()),
        }
        sandbox.until_dead(child);
    }
}

#[test]
fn a_kill_of_supervise_ends_the_hook() {
    let (sandbox, hook) = in_hook("pacing : 0.1");
    sandbox.kill_supervise();
    sandbox.until_dead(hook);
    // A start by the operator waits neither for the pacing nor for the hook.
    sandbox.start("line starts ready", &["-F", "supervise.conf", "-r", SLOW]);
    sandbox.until_marks("starts", 2);
    assert_eq!(sandbox.read("hooking").lines().count(), 1);
}

#[test]
fn u_cuts_the_pacing_and_not_the_hook() {
    for byte in ["u", "o"] {
        let (sandbox, hook) = in_hook("pacing : 3600");
        sandbox.write_control(byte.as_bytes());
        sandbox.write_control(b"s");
        sandbox.until_value("alarms", "no");
        assert_eq!((sandbox.value("state").as_deref(), alive(hook)), (Some("hook"), true));
        signal(hook, Signal::SIGUSR1);
        sandbox.until_marks("starts", 2);
        assert_eq!(counts(&sandbox), ["1"]);
    }
}

#[test]
fn u_and_o_while_the_service_is_stopping_cut_the_pacing_of_the_start_behind_the_hook() {
    for bytes in ["du", "do"] {
        let sandbox = start("pacing : 3600", "line starts ready", &["-r", QUICK]);
        sandbox.until_ready();
        sandbox.write_control(bytes.as_bytes());
        sandbox.until_marks("starts", 2);
        assert_eq!(counts(&sandbox), ["1"]);
    }
}

#[test]
fn hook_timeout_kills_the_hook_and_the_start_goes_on() {
    let (sandbox, hook) = in_hook("pacing : 0.1\nhook_timeout : 0.5");
    sandbox.until_marks("starts", 2);
    sandbox.until_dead(hook);
    assert_eq!(sandbox.read("hooks"), "");
    eventually(&sandbox, "it is warned of", || {
        log_texts(&sandbox.warnings(), "WARNING").iter().any(|text| text.contains("hook"))
    });
}

#[test]
fn a_hook_that_cannot_be_executed_is_a_warning_and_the_start_goes_on() {
    let sandbox = start("pacing : 0.1", "line starts from 2 starts exit 3", &["-r", "./no-such-hook word"]);
    sandbox.until_ready();
    eventually(&sandbox, "it is warned of", || {
        let warnings = log_texts(&sandbox.warnings(), "WARNING");
        warnings.iter().any(|text| text.contains("hook") && text.contains("No such file or directory"))
    });
}

#[test]
fn how_a_hook_ends_is_of_no_consequence() {
    for hook in ["./service exit", "./service kill SEGV out", "/bin/false"] {
        let conf = "alarm_interval : 60\npacing : 0.1";
        let sandbox = start(conf, "line starts from 3 starts exit 3", &["-r", hook]);
        sandbox.until_ready();
        sandbox.until_exits(2);
        assert_eq!((sandbox.count("exits"), sandbox.count("window_exits")), (2, 2));
    }
}

#[test]
fn with_a_hook_and_no_f_no_conf_is_read() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\npacing : nonsense\n");
    sandbox.start("ready", &["-r", QUICK]);
    sandbox.until_ready();
    assert_eq!((sandbox.value("conf"), sandbox.warnings().as_str()), (None, ""));
}
