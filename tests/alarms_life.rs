//! When svalarm lives and when not, and what survives whose death.

use std::collections::HashMap;
use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::common::{Pid, Sandbox, StatusDir, eventually, is_root, service_program, signal, skip, supervise_program};
use crate::smtp::{Answer, Smtp, Tls};
use crate::{alarmed, crashed, relayed, store, svalarm_program, until_delivered};

/// The svalarms of a sandbox that serve a spool, without those that deliver one copy.
pub(crate) fn svalarms(sandbox: &Sandbox) -> Vec<Pid> {
    let is_one = |pid: &Pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        words[0].ends_with(b"svalarm") && !words.contains(&&b"--copy"[..])
    };
    sandbox.processes().into_iter().filter(is_one).collect()
}

#[test]
fn a_missing_svalarm_is_said() {
    let sandbox = Sandbox::new();
    sandbox.bring(&supervise_program(), "supervise");
    sandbox.write_conf(&relayed(1, ""));
    let mut command = sandbox.program(sandbox.path("supervise"));
    command.args(["-p", "status/app", "-f", "./service from 1 runs line runs exit 3"]);
    sandbox.run(command).expect_code(0).expect_stderr(&["no svalarm"]);
    sandbox.until_warned("no svalarm");
    eventually(&sandbox, "the alarm is kept", || sandbox.alarms().len() == 1);
    sandbox.until_value("undelivered", "1");
}

/// svalarm is found beside supervise's own file, wherever the two were copied.
#[test]
fn a_copied_pair_of_programs_works() {
    let relay = Smtp::start();
    let sandbox = Sandbox::new();
    for (program, name) in [(supervise_program(), "supervise"), (svalarm_program(), "svalarm")] {
        sandbox.bring(&program, name);
    }
    sandbox.write_conf(&relayed(relay.port, ""));
    let mut command = sandbox.program(sandbox.path("supervise"));
    command.args(["-p", "status/app", "-f", "./service from 1 runs line runs exit 3"]);
    sandbox.run(command).expect_code(0);
    until_delivered(&sandbox);
    assert_eq!(relay.mails().len(), 1);
}

#[test]
fn between_two_attempts_there_is_no_svalarm() {
    let sandbox = crashed(&relayed(1, ""), "exit 3");
    sandbox.until_warned("next attempt in 1");
    eventually(&sandbox, "svalarm has ended", || sandbox.processes().len() == 2);
    sandbox.until_value("undelivered", "1");
    assert!(sandbox.file("alarms/.delivery/next").exists());
}

#[test]
fn a_give_up_is_delivered_when_nobody_lives_any_more() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let sandbox = Sandbox::new();
    sandbox.write_conf(&relayed(port, "max_tries : 1"));
    sandbox.start("exit 3", &[]);
    sandbox.until_ended();
    sandbox.until_warned("was not delivered");
    assert_eq!(sandbox.alarms().len(), 2);
    eventually(&sandbox, "one svalarm stays", || svalarms(&sandbox).len() == 1);
    let relay = Smtp::on(TcpListener::bind(("127.0.0.1", port)).unwrap(), Tls::None, |_| None);
    eventually(&sandbox, "both are delivered", || relay.mails().len() == 2);
    let mut subjects: Vec<String> = relay.mails().iter().map(|mail| mail.subject()).collect();
    subjects.sort_by_key(String::len);
    assert!(subjects[0].ends_with("exited!") && subjects[1].ends_with("gave up after 1 tries!"), "{subjects:?}");
    eventually(&sandbox, "svalarm has ended", || sandbox.processes().is_empty());
    assert_eq!(sandbox.alarms().len(), 0);
}

#[test]
fn when_supervise_ends_between_two_attempts_an_svalarm_stays() {
    let sandbox = crashed(&relayed(1, ""), "exit 3");
    sandbox.until_warned("next attempt in 1");
    eventually(&sandbox, "svalarm has ended", || sandbox.processes().len() == 2);
    sandbox.write_control(b"dx");
    sandbox.until_ended();
    eventually(&sandbox, "another one stays", || svalarms(&sandbox).len() == 1 && sandbox.processes().len() == 1);
    assert_eq!(sandbox.alarms().len(), 1);
}

/// It is told to look: its next attempt is not before an hour from now.
#[test]
fn one_that_stays_makes_way_for_a_new_supervise() {
    let sandbox = Sandbox::new();
    sandbox.write_conf(&relayed(1, ""));
    crate::note(
        &sandbox,
        "0001.1.1",
        &format!("attempts 9\nwaited 0\npause {} 3600000 {}", supervise::sys::now().moment.0, boot()),
    );
    crate::store(&sandbox, 1, &crate::to("ops@example.org", 1));
    let mut old = sandbox.spawn(crate::svalarm(&sandbox, &[]));
    eventually(&sandbox, "it has looked", || sandbox.file("alarms/.delivery/next").exists());
    assert!(old.runs());
    sandbox.start("ready", &[]);
    old.wait().expect_code(0);
    sandbox.until_value("undelivered", "1");
    assert_eq!(
        crate::noted(&sandbox, "0001.1.1", "attempts").as_deref(),
        Some("9"),
        "nobody was asked before the time"
    );
}

pub(crate) fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("there is a /proc").trim().to_owned()
}

#[test]
fn a_spool_has_one_svalarm() {
    let relay = Smtp::with(Tls::None, |line| (line == "banner").then_some(Answer::Stall));
    let sandbox = crashed(&relayed(relay.port, ""), "exit 3");
    eventually(&sandbox, "an attempt is under way", || relay.connections() == 1);
    let mut second = sandbox.program(svalarm_program());
    second.arg("status/app");
    sandbox.run(second).expect_code(3);
    assert_eq!(relay.connections(), 1);
}

#[test]
fn an_alarm_of_a_black_hole_is_nobody_elses_delay() {
    let hole = Smtp::with(Tls::None, |line| (line == "banner").then_some(Answer::Stall));
    let sandbox = crashed(&relayed(hole.port, ""), "exit 3");
    eventually(&sandbox, "an attempt is under way", || hole.connections() == 1);
    let service = sandbox.until_ready();
    let begun = Instant::now();
    signal(service, Signal::SIGKILL);
    sandbox.until_ready_after(service);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    sandbox.write_control(b"dx");
    sandbox.until_ended();
}

fn rounds() -> u32 {
    std::env::var("ALARM_KILL_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(20)
}

/// Every alarm that was raised arrives, whoever is killed when.
#[test]
fn killed_at_random_points_every_alarm_arrives() {
    let relay = Smtp::start();
    let sandbox = Sandbox::new();
    // Each start raises an alarm of its own: a window ends with the supervise that takes leave.
    sandbox.write_conf(&relayed(relay.port, "max_tries : 1"));
    let mut random = u64::from(std::process::id());
    let mut raised = 0;
    for _ in 0..rounds() {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let pause = Duration::from_micros(random >> 48); // up to 65 ms
        let victim_is_supervise = random >> 40 & 1 == 0;
        // It may have given up before its start is answered: code 1.
        let code = sandbox.background(&["-p", "status/app", "-f", "./service exit 3"]).code;
        assert!(matches!(code, Some(0 | 1)), "{code:?}");
        std::thread::sleep(pause);
        let victims = if victim_is_supervise {
            sandbox.value("supervise").and_then(|pid| pid.parse().ok()).into_iter().collect()
        } else {
            svalarms(&sandbox)
        };
        for victim in victims {
            // The pid may be a number of the past: only what carries the sandbox's mark is ours.
            if sandbox.processes().contains(&victim) {
                signal(victim, Signal::SIGKILL);
            }
        }
        sandbox.until_ended();
        raised += 1;
    }
    // What the last victim left is the next one's business.
    sandbox.write_conf(&relayed(relay.port, ""));
    sandbox.start("ready", &[]);
    let mut left = usize::MAX;
    while left > 0 {
        eventually(&sandbox, &format!("fewer than {left} alarms are left"), || sandbox.alarms().len() < left);
        left = sandbox.alarms().len();
    }
    sandbox.until_value("undelivered", "0");
    let log = sandbox.log();
    let mut arrived: HashMap<String, usize> = HashMap::new();
    for mail in relay.mails() {
        *arrived.entry(mail.header("Message-ID")).or_default() += 1;
    }
    for line in log.lines().filter_map(|line| line.split_once("an alarm is raised: alarms/")) {
        assert!(arrived.keys().any(|id| id.starts_with(&format!("<{}@", line.1))), "{} never arrived", line.1);
    }
    assert!(arrived.len() >= raised / 2, "{} alarms in {raised} rounds", arrived.len());
    let repeats = arrived.values().sum::<usize>() - arrived.len();
    eprintln!("{raised} rounds, {} alarms, {repeats} arrived more than once", arrived.len());
    let failed = sandbox.file("alarms/failed");
    assert!(!failed.exists(), "{:?}", fs::read_dir(failed).map(|entries| entries.count()));
}

#[test]
fn as_pid_1_supervise_waits_for_the_first_attempt() {
    if !is_root() {
        return skip("only root can make a PID namespace");
    }
    let relay = Smtp::with(Tls::None, |line| (line == ".").then_some(Answer::After(Duration::from_millis(500))));
    let sandbox = Sandbox::new();
    sandbox.write_conf(&relayed(relay.port, "max_tries : 1"));
    let supervise = supervise_program();
    let mut command = sandbox.program("unshare");
    command.args(["-pf", "--mount-proc"]).arg(supervise);
    command.args(["--foreground", "-p", "status/app", "-f", "./service exit 3"]);
    let output = sandbox.run(command);
    if output.stderr.contains("unshare") {
        return skip(&output.stderr);
    }
    output.expect_code(1);
    assert_eq!((relay.mails().len(), sandbox.alarms().len()), (2, 0));
    assert!(service_program().exists());
}

#[test]
fn an_alarm_that_is_owed_is_not_stored_for_nobody() {
    let relay = Smtp::start();
    let conf = relayed(relay.port, "");
    let sandbox = Sandbox::new();
    sandbox.write_conf(&conf);
    std::fs::create_dir_all(sandbox.status_path()).unwrap();
    sandbox.write("status/app/alarms", "no folder");
    sandbox.start("from 1 runs line runs exit 3", &[]);
    sandbox.until_warned("it is kept and tried again");
    sandbox.until_ready();
    sandbox.kill_supervise();
    std::fs::remove_file(sandbox.file("alarms")).unwrap();
    sandbox.write_conf("");
    sandbox.start("from 1 runs line runs exit 3", &[]);
    sandbox.until_warned("the conf names nobody to receive it");
    sandbox.write_conf(&conf);
    sandbox.write_control(b"r");
    eventually(&sandbox, "it is delivered after all", || relay.mails().len() == 1);
}

/// Moves the status directory away, and puts another one in its place, with a message in it.
fn replace_directory(sandbox: &Sandbox) -> StatusDir {
    fs::rename(sandbox.status_path(), sandbox.path("status/moved")).expect("the sandbox is writable");
    store(sandbox, 1, "Exec: ./service note stranger");
    sandbox.status_dir("status/moved")
}

#[test]
fn a_directory_that_was_moved_has_its_own_alarms_delivered() {
    let sandbox = Sandbox::new();
    sandbox.write_conf(&alarmed("alarm_exec : ./service delivered sink"));
    sandbox.start("ready", &[]);
    let service = sandbox.until_ready();
    let moved = replace_directory(&sandbox);
    signal(service, Signal::SIGKILL);
    sandbox.until_lines("sink", 1);
    eventually(&sandbox, "the spool is empty", || moved.alarms().is_empty());
    assert_eq!((sandbox.alarms().len(), sandbox.read("stranger").as_str()), (1, ""), "nobody's business");
}

#[test]
fn an_svalarm_goes_on_in_a_directory_that_is_moved() {
    let sandbox = Sandbox::new();
    sandbox.write_conf(&alarmed(
        "alarm_exec : sh -c 'echo > waits; until [ -e go ]; do sleep 0.05; done; echo x >> sink'",
    ));
    sandbox.start("ready", &[]);
    signal(sandbox.until_ready(), Signal::SIGKILL);
    eventually(&sandbox, "a copy is on its way", || sandbox.path("waits").exists());
    let moved = replace_directory(&sandbox);
    sandbox.write("go", "");
    eventually(&sandbox, "it is delivered", || moved.log().contains("an alarm was delivered: "));
    eventually(&sandbox, "the spool is empty", || moved.alarms().is_empty());
    assert_eq!(sandbox.read("sink").lines().count(), 1);
    assert_eq!((sandbox.alarms().len(), sandbox.read("stranger").as_str()), (1, ""), "nobody's business");
    assert!(!sandbox.file("supervise.log").exists() && !sandbox.file("alarms/.delivery").exists());
}
