//! What a relay may take its time for, and what not; and who may log in.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use crate::common::{Mount, Sandbox, eventually, eventually_some, is_root, skip, with_mounts};
use crate::smtp::{Answer, Smtp, TestCa, Tls};
use crate::{alarmed, crash, relayed, store, svalarm, to, until_delivered};

/// RFC 5321, 4.5.3.2.6: the answer to the whole mail may take ten minutes. Who asks again before sends it twice.
#[test]
fn a_relay_may_think_about_a_mail_that_it_has() {
    let relay = Smtp::with(Tls::None, |line| (line == ".").then_some(Answer::After(Duration::from_secs(2))));
    let sandbox = Sandbox::new();
    sandbox.write_conf(&relayed(relay.port, ""));
    crash(&sandbox, "exit 3", &[("SVALARM_TEST_DEADLINE_MS", "600")]);
    until_delivered(&sandbox);
    assert_eq!((relay.mails().len(), relay.connections()), (1, 1));
    assert_eq!(sandbox.warnings(), "");
}

/// Whatever a server sends, a copy gets no more memory than this.
#[test]
fn a_copy_has_a_bound_on_its_memory() {
    let hole = Smtp::with(Tls::None, |line| (line == "banner").then_some(Answer::Stall));
    let sandbox = Sandbox::new();
    store(&sandbox, 1, &to("ops@example.org", hole.port));
    let queue = sandbox.spawn(svalarm(&sandbox, &[]));
    eventually(&sandbox, "a copy is on its way", || hole.connections() == 1);
    let copy = sandbox.processes().into_iter().find(|pid| *pid != queue.pid()).expect("a process of its own");
    let limits = fs::read_to_string(format!("/proc/{copy}/limits")).expect("it is there");
    let memory = limits.lines().find_map(|line| line.strip_prefix("Max address space")).expect("it has a limit");
    assert_eq!(memory.split_whitespace().next(), Some("268435456"), "{limits}");
}

/// A relay that says nothing is given up before the deadline, with a reason.
#[test]
fn to_connect_has_less_time_than_the_whole() {
    let hole = Smtp::with(Tls::None, |line| (line == "banner").then_some(Answer::Stall));
    let sandbox = Sandbox::new();
    store(&sandbox, 1, &to("ops@example.org", hole.port));
    let mut once = svalarm(&sandbox, &["--once"]);
    once.env("SVALARM_TEST_DEADLINE_MS", "4000");
    sandbox.run(once).expect_code(0);
    let warnings = sandbox.warnings();
    assert!(warnings.contains("at attempt 1") && !warnings.contains("no end within"), "{warnings}");
}

/// The name of a relay has two addresses, and behind one of them nobody says a word.
#[test]
fn every_address_of_a_relay_is_tried() {
    if !is_root() {
        return skip("only root can mount");
    }
    // Which one comes first is for the resolver to say.
    for (good, deaf) in [("127.0.0.9", "127.0.0.1"), ("127.0.0.1", "127.0.0.9")] {
        let sandbox = Sandbox::new();
        let Ok(_there) = TcpListener::bind((good, 0)) else { return skip("there is no 127.0.0.9") };
        // Somebody else may have the port of the one at the other.
        let (listener, _deaf) = eventually_some(&sandbox, "a port that is free at both", || {
            let listener = TcpListener::bind((good, 0)).ok()?;
            let port = listener.local_addr().ok()?.port();
            Some((listener, TcpListener::bind((deaf, port)).ok()?))
        });
        let relay = Smtp::on(listener, Tls::None, |_| None);
        sandbox.write("hosts", format!("{good} relay.test\n{deaf} relay.test\n"));
        let hosts = sandbox.path("hosts");
        store(&sandbox, 1, &format!("To: ops@example.org\nMail-Transport: smtp://relay.test:{}", relay.port));
        with_mounts(&sandbox, &[Mount::Bind(&hosts, "/etc/hosts".as_ref())], || {
            let mut once = svalarm(&sandbox, &["--once"]);
            once.env("SVALARM_TEST_DEADLINE_MS", "4000");
            sandbox.run(once).expect_code(0);
            assert_eq!((relay.mails().len(), sandbox.alarms().len()), (1, 0), "{good}");
        });
    }
}

#[test]
fn a_password_of_somebody_else_or_from_a_fifo_is_not_used() {
    let relay = Smtp::with(Tls::Implicit(TestCa::new().server), |_| None);
    let conf = format!(
        "alarm_mail : a@example.org\nmail_transport : smtps://joe@127.0.0.1:{}\nmail_password_file : password",
        relay.port
    );
    let fifo = Sandbox::new();
    nix::unistd::mkfifo(&fifo.path("password"), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    fifo.write_conf(&alarmed(&conf));
    crash(&fifo, "exit 3", &[]);
    fifo.until_warned("is no regular file");
    if !is_root() {
        return skip("only root can give files away");
    }
    let sandbox = Sandbox::new();
    sandbox.write("password", "secret\n");
    fs::set_permissions(sandbox.path("password"), Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::chown(sandbox.path("password"), Some(1), None).unwrap();
    sandbox.write_conf(&alarmed(&conf));
    crash(&sandbox, "exit 3", &[]);
    sandbox.until_warned("belongs to another user (1)");
    assert_eq!(relay.connections(), 0);
}

/// Relative paths are meant from supervise's folder, wherever somebody stands who runs svalarm.
#[test]
fn relative_paths_start_where_supervise_runs() {
    let sandbox = Sandbox::new();
    let script = "#!/bin/sh\n[ -e mended ] || exit 7\n: > told.new && mv told.new told\n";
    sandbox.write("tell", script);
    fs::set_permissions(sandbox.path("tell"), Permissions::from_mode(0o755)).unwrap();
    sandbox.write_conf(&alarmed("alarm_gsm : 100\ngsm_command : ./tell"));
    crash(&sandbox, "exit 3", &[]);
    sandbox.until_warned("ended with exit code 7");
    eventually(&sandbox, "svalarm has ended", || sandbox.processes().len() == 2);
    sandbox.write("mended", "");
    let mut elsewhere = sandbox.program(crate::svalarm_program());
    elsewhere.args(["--once", "--now"]).arg(sandbox.status_path()).current_dir("/");
    sandbox.run(elsewhere).expect_code(0);
    assert!(sandbox.path("told").exists());
    assert_eq!(sandbox.alarms().len(), 0);
}
