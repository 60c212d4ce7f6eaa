//! svalarm by itself: what goes first, what counts as an attempt, and what is left when it ends.

use std::net::TcpListener;
use std::time::Duration;

use nix::sys::signal::Signal;
use supervise::sys::now;

use crate::alarms_life::{boot, svalarms};
use crate::common::{Sandbox, after_a_delay, eventually, is_root, log_texts, signal, skip};
use crate::smtp::{Answer, Smtp, Tls};
use crate::{note, noted, store, svalarm, svalarm_program, to};

/// A relay that takes connections and says nothing.
fn black_hole() -> Smtp {
    Smtp::with(Tls::None, |line| (line == "banner").then_some(Answer::Stall))
}

#[test]
fn more_messages_than_descriptors() {
    const MESSAGES: usize = 60;
    let relay = Smtp::start();
    let sandbox = Sandbox::new();
    for number in 0..MESSAGES {
        store(&sandbox, number, &to("ops@example.org", relay.port));
    }
    let mut limited = sandbox.program("sh");
    limited.args(["-c", "ulimit -n 40; exec \"$0\" --once status/app"]).arg(svalarm_program());
    sandbox.run(limited).expect_code(0);
    assert_eq!((relay.mails().len(), sandbox.alarms().len()), (MESSAGES, 0));
}

#[test]
fn nothing_is_made_where_there_is_no_spool() {
    let sandbox = Sandbox::new();
    for (name, code) in [("status/app", 0), ("wrong", 111)] {
        std::fs::create_dir_all(sandbox.path(name)).expect("the sandbox is writable");
        if code == 0 {
            sandbox.write("status/app/status", "a record");
        }
        let before = std::fs::read_dir(sandbox.path(name)).expect("a folder").count();
        let mut command = sandbox.program(svalarm_program());
        command.arg(name);
        let output = sandbox.run(command).expect_code(code);
        assert_eq!(output.stderr.contains("svalarm: wrong: it is no status directory"), code != 0, "{output:#?}");
        assert_eq!(std::fs::read_dir(sandbox.path(name)).expect("a folder").count(), before, "{name}");
    }
}

/// Without /proc svalarm does not find its own program.
#[test]
fn a_copy_that_can_not_be_started_is_no_attempt() {
    if !is_root() {
        return skip("only root can mount");
    }
    let relay = Smtp::start();
    let sandbox = Sandbox::new();
    let id = store(&sandbox, 1, &to("ops@example.org", relay.port));
    let mut blind = sandbox.program("unshare");
    blind.args(["-m", "sh", "-c", "mount -t tmpfs none /proc && exec \"$0\" --once status/app"]).arg(svalarm_program());
    let output = sandbox.run(blind);
    if output.stderr.contains("unshare") || output.stderr.contains("mount") {
        return skip(&output.stderr);
    }
    output.expect_code(111);
    assert!(sandbox.warnings().contains(&format!("unable to start the delivery of alarms/{id}")));
    assert_eq!(noted(&sandbox, &id, "attempts"), None);
    sandbox.run(svalarm(&sandbox, &["--once"])).expect_code(0);
    assert_eq!((relay.mails().len(), sandbox.alarms().len()), (1, 0));
}

#[test]
fn a_black_hole_costs_one_deadline_a_round() {
    const MESSAGES: usize = 12;
    let hole = black_hole();
    let sandbox = Sandbox::new();
    let ids: Vec<String> =
        (0..MESSAGES).map(|number| store(&sandbox, number, &to("ops@example.org", hole.port))).collect();
    let mut once = svalarm(&sandbox, &["--once"]);
    once.env("SVALARM_TEST_DEADLINE_MS", "1500");
    sandbox.run(once).expect_code(0);
    assert!((1..=3).contains(&hole.connections()), "{}", hole.connections());
    for id in &ids {
        assert_eq!(noted(&sandbox, id, "attempts").as_deref(), Some("1"), "{id}");
    }
    assert_eq!(sandbox.warnings().lines().filter(|line| line.contains("no answer in time")).count(), MESSAGES);
}

/// What is refused about one mail says nothing about the next one.
#[test]
fn an_answer_about_one_mail_defers_no_other() {
    let relay = Smtp::with(Tls::None, |line| line.starts_with("RCPT").then_some(Answer::Say("451 later")));
    let sandbox = Sandbox::new();
    for number in 0..12 {
        store(&sandbox, number, &to("ops@example.org", relay.port));
    }
    sandbox.run(svalarm(&sandbox, &["--once"])).expect_code(0);
    assert_eq!((relay.connections(), sandbox.alarms().len()), (12, 12));
}

#[test]
fn what_is_new_and_what_goes_another_way_does_not_wait_for_a_black_hole() {
    let (hole, relay) = (black_hole(), Smtp::start());
    let sandbox = Sandbox::new();
    for number in 0..8 {
        let id = store(&sandbox, number, &to("ops@example.org", hole.port));
        note(&sandbox, &id, "attempts 3\nwaited 0");
    }
    let _queue = sandbox.spawn(svalarm(&sandbox, &[]));
    eventually(&sandbox, "the black hole has two", || hole.connections() >= 2);
    store(&sandbox, 100, &to("new@example.org", relay.port));
    eventually(&sandbox, "a new one arrives", || relay.mails().len() == 1);
    note(&sandbox, "0050.1.1", "attempts 9\nwaited 0");
    store(&sandbox, 50, "Exec: ./service note told x");
    eventually(&sandbox, "the program was run", || sandbox.path("told").exists());
    assert_eq!(hole.connections(), 2, "one place is for what is new");
}

/// `--now` over and over, as somebody does who mends a relay, does not use up the days that an alarm is tried.
#[test]
fn what_was_not_waited_does_not_count() {
    let sandbox = Sandbox::new();
    let id = store(&sandbox, 1, &to("ops@example.org", 1));
    for _ in 0..6 {
        sandbox.run(svalarm(&sandbox, &["--once", "--now"])).expect_code(0);
    }
    assert_eq!(noted(&sandbox, &id, "attempts").as_deref(), Some("6"));
    let waited: u64 = noted(&sandbox, &id, "waited").unwrap().parse().unwrap();
    assert!(waited < 10_000, "{waited} ms");
}

#[test]
fn a_time_that_can_not_be_is_not_waited_for() {
    let relay = Smtp::start();
    let sandbox = Sandbox::new();
    let lines = [
        format!("attempts 1\nwaited 0\ndue 9000000000000000000\nboot {}", boot()),
        format!("attempts 1\nwaited 0\npause 9000000000000000000 10000 {}", boot()),
        format!("attempts 1\nwaited 0\npause 0 9000000000000000 {}", boot()),
    ];
    for (number, lines) in lines.iter().enumerate() {
        let id = store(&sandbox, number, &to("ops@example.org", relay.port));
        note(&sandbox, &id, lines);
    }
    sandbox.run(svalarm(&sandbox, &["--once"])).expect_code(0);
    assert_eq!((relay.mails().len(), sandbox.alarms().len()), (3, 0));
}

#[test]
fn after_a_reboot_what_is_left_is_tried_at_once_and_what_was_accepted_stays_so() {
    let relay = Smtp::start();
    let sandbox = Sandbox::new();
    let id = store(&sandbox, 1, &format!("To: first@example.org\n{}", to("second@example.org", relay.port)));
    note(&sandbox, &id, "attempts 4\nwaited 70000\npause 5 80000 another-boot\naccepted To: first@example.org");
    sandbox.run(svalarm(&sandbox, &["--once"])).expect_code(0);
    let mails = relay.mails();
    assert_eq!((mails.len(), &mails[0].to[..]), (1, &["second@example.org".to_owned()][..]));
    assert_eq!(sandbox.alarms().len(), 0);
}

/// Told to end, svalarm still notes what had come to its end.
#[test]
fn term_forgets_nobody_who_has_it_already() {
    let relay = Smtp::with(Tls::None, |line| match line {
        "." => Some(Answer::After(Duration::from_millis(500))),
        _ => line.starts_with("RCPT TO:<late@").then_some(Answer::Stall),
    });
    let sandbox = Sandbox::new();
    let id = store(&sandbox, 1, &format!("To: ops@example.org\n{}", to("late@example.org", relay.port)));
    let queue = sandbox.spawn(svalarm(&sandbox, &[]));
    eventually(&sandbox, "both are on their way", || relay.connections() == 2);
    signal(queue.pid(), Signal::SIGSTOP); // so that it notices nothing
    eventually(&sandbox, "one copy has ended", || relay.mails().len() == 1 && sandbox.processes().len() == 2);
    signal(queue.pid(), Signal::SIGTERM);
    signal(queue.pid(), Signal::SIGCONT);
    queue.wait().code.expect("it ends by itself");
    assert_eq!(noted(&sandbox, &id, "accepted").as_deref(), Some("To: ops@example.org"));
    eventually(&sandbox, "no copy is left", || sandbox.processes().is_empty());
}

/// Somebody runs `svalarm --once` while supervise gives up: what is left then is not left alone.
#[test]
fn an_svalarm_by_hand_is_followed_by_the_one_that_stays() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let sandbox = Sandbox::new();
    sandbox.write_conf(&crate::relayed(port, "max_tries : 1"));
    store(&sandbox, 1, &to("ops@example.org", port));
    // Nobody answers yet: the one by hand is at work until the relay takes its connection.
    let by_hand = sandbox.spawn(svalarm(&sandbox, &["--once"]));
    eventually(&sandbox, "its copy is on its way", || sandbox.processes().len() == 2);
    assert!(matches!(sandbox.background(&["-p", "status/app", "-f", "./service exit 3"]).code, Some(0 | 1)));
    sandbox.until_ended();
    eventually(&sandbox, "another svalarm waits", || svalarms(&sandbox).len() == 2);
    let relay = Smtp::on(listener, Tls::None, |line| line.starts_with("RCPT").then_some(Answer::Say("451 later")));
    by_hand.wait().code.expect("it ends by itself");
    eventually(&sandbox, "all were tried", || relay.connections() >= 3);
    eventually(&sandbox, "one svalarm stays", || svalarms(&sandbox).len() == 1 && sandbox.processes().len() == 1);
    assert!(!sandbox.alarms().is_empty());
}

#[test]
fn what_went_wrong_is_in_the_log() {
    let sandbox = Sandbox::new();
    std::fs::create_dir_all(sandbox.status_path()).unwrap();
    sandbox.write("status/app/alarms", "no folder");
    sandbox.run(svalarm(&sandbox, &[])).expect_code(111);
    assert!(sandbox.warnings().contains("svalarm: unable to open alarms: "), "{}", sandbox.warnings());
}

/// In a user namespace of its own svalarm gets no inotify instance: the limit there is nobody else's.
#[test]
fn without_inotify_the_spool_is_looked_at_now_and_then() {
    let relay = Smtp::start();
    let sandbox = Sandbox::new();
    // What is left keeps it waiting: its next attempt is not before an hour from now.
    note(&sandbox, "0001.1.1", &format!("attempts 9\nwaited 0\npause {} 3600000 {}", now().moment.0, boot()));
    store(&sandbox, 1, &to("never@example.org", relay.port));
    let mut blind = sandbox.program("unshare");
    let script = "echo 0 > /proc/sys/user/max_inotify_instances && exec \"$0\" status/app";
    blind.args(["-Ur", "sh", "-c", script]).arg(svalarm_program());
    let mut queue = sandbox.spawn(blind);
    let waits = || sandbox.file("alarms/.delivery/next").exists();
    eventually(&sandbox, "it waits", || waits() || !queue.runs());
    if !queue.runs() {
        return skip(&queue.stderr());
    }
    store(&sandbox, 2, &to("ops@example.org", relay.port));
    after_a_delay(&sandbox, "the second arrives", || relay.mails().len() == 1);
    eventually(&sandbox, "it is removed", || sandbox.alarms().len() == 1);
}

/// Once a message is durable a reboot takes it from nobody; so it is before anybody is asked to take it.
#[test]
fn a_message_is_on_the_disk_before_its_first_attempt() {
    let sandbox = Sandbox::new();
    let id = store(&sandbox, 1, &to("ops@example.org", 1));
    let mut probe = sandbox.program("sh");
    probe.args(["-c", "strace -o /dev/null true"]);
    if sandbox.run(probe).code != Some(0) {
        return skip("strace is not installed, or may not be used");
    }
    let mut traced = sandbox.program("strace");
    traced.args(["-y", "-o", "trace", "-e", "trace=fsync,fork,vfork,clone,clone3"]).arg(svalarm_program());
    traced.args(["--once", "status/app"]);
    sandbox.run(traced).expect_code(0);
    let trace = sandbox.read("trace");
    let line =
        |what: &str| trace.lines().position(|line| line.contains(what)).unwrap_or_else(|| panic!("{what}: {trace}"));
    let first = ["fork(", "clone(", "clone3("].iter().filter_map(|call| trace.lines().position(|l| l.contains(call)));
    let first = first.min().expect("a copy was started");
    for path in [format!("/alarms/{id}>"), "/alarms>".to_owned(), "/status/app>".to_owned()] {
        assert!(line(&path) < first, "{path} in {trace}");
    }
    assert!(line(&format!("/alarms/{id}>")) < line("/alarms>"));
}

/// Five days' worth of delays were waited: one more attempt, and then it is kept, and somebody is told.
#[test]
fn after_five_days_there_is_a_last_attempt() {
    const FIVE_DAYS: u64 = 5 * 24 * 3600 * 1000;
    let relay = Smtp::with(Tls::None, |line| line.starts_with("RCPT TO:<never@").then_some(Answer::Say("451 later")));
    let sandbox = Sandbox::new();
    let lines = format!("To: ops@example.org\n{}", to("never@example.org", relay.port));
    let (late, last) = (store(&sandbox, 1, &lines), store(&sandbox, 2, &lines));
    note(&sandbox, &late, &format!("attempts 150\nwaited {}\naccepted To: ops@example.org", FIVE_DAYS - 1));
    note(&sandbox, &last, &format!("attempts 151\nwaited {FIVE_DAYS}"));
    sandbox.run(svalarm(&sandbox, &["--once"])).expect_code(0);
    assert_eq!(relay.mails().len(), 1, "at the last attempt too everybody is asked who has no copy yet");
    assert_eq!(noted(&sandbox, &late, "attempts").as_deref(), Some("151"));
    assert!(sandbox.file("alarms").join(&late).exists() && !sandbox.file("alarms").join(&last).exists());
    let kept = sandbox.text(&format!("alarms/failed/{last}"));
    assert!(kept.starts_with("Failed: To: never@example.org\nReason: tried for 5 days, last: "), "{kept}");
    let fatal = log_texts(&sandbox.warnings(), "FATAL");
    assert_eq!(fatal.len(), 1, "{fatal:?}");
    assert!(fatal[0].contains(&last) && fatal[0].contains("451"), "{fatal:?}");
}
