//! Mail: what arrives, whom one refusal concerns, and what no server can do to us.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::common::{Sandbox, after_a_delay, eventually, log_texts};
use crate::smtp::{Answer, Smtp, TestCa, Tls};
use crate::{alarmed, crash, crashed, relayed, until_delivered};

#[test]
fn an_alarm_arrives_once_and_says_what_happened() {
    let relay = Smtp::start();
    let sandbox = crashed(&relayed(relay.port, "mail_from : me@example.org"), "err oops err . err ..x exit 3");
    until_delivered(&sandbox);
    let mails = relay.mails();
    assert_eq!(mails.len(), 1);
    let mail = &mails[0];
    assert_eq!((mail.from.as_str(), mail.to.as_slice()), ("me@example.org", &["ops@example.org".to_owned()][..]));
    assert!(mail.subject().ends_with("] Service app exited!"), "{}", mail.subject());
    assert_eq!(mail.header("To"), "ops@example.org");
    assert_eq!(mail.header("Auto-Submitted"), "auto-generated");
    assert!(mail.header("Content-Type").starts_with("text/plain; charset=utf-8"));
    let text = mail.text();
    for part in ["module:      app\n", "by itself, exit code 3\n", "\n\noops\n.\n..x\n"] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    assert!(sandbox.log().contains("an alarm was delivered: "));
    assert_eq!(sandbox.warnings(), "");
}

#[test]
fn one_bad_recipient_holds_up_none_of_the_others() {
    let relay = Smtp::with(Tls::None, |line| {
        line.starts_with("RCPT TO:<r3@").then_some(Answer::Say("550 5.1.1 nobody of that name"))
    });
    let all: Vec<String> = (0..10).map(|number| format!("r{number}@example.org")).collect();
    let conf = alarmed(&format!("alarm_mail : {}\nmail_transport : smtp://127.0.0.1:{}", all.join(","), relay.port));
    let sandbox = crashed(&conf, "exit 3");
    until_delivered(&sandbox);
    let mut got: Vec<String> = relay.mails().into_iter().flat_map(|mail| mail.to).collect();
    got.sort();
    let mut expected = all.clone();
    expected.remove(3);
    assert_eq!(got, expected);
    let ids: Vec<String> = relay.mails().iter().map(|mail| mail.header("Message-ID")).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let failed: Vec<_> = fs::read_dir(sandbox.file("alarms/failed")).unwrap().flatten().collect();
    assert_eq!(failed.len(), 1);
    let kept = fs::read_to_string(failed[0].path()).unwrap();
    assert!(kept.starts_with("Failed: To: r3@example.org\nReason: "), "{kept}");
    assert!(kept.contains("nobody of that name") && kept.contains("Message-ID: <"), "{kept}");
    let fatal = log_texts(&sandbox.warnings(), "FATAL");
    assert_eq!(fatal.len(), 1, "{fatal:?}");
    assert!(fatal[0].contains("To: r3@example.org") && fatal[0].contains("nobody of that name"), "{fatal:?}");
}

#[test]
fn what_is_for_now_is_tried_again_with_the_same_message_id() {
    let refusals = AtomicUsize::new(0);
    let relay = Smtp::with(Tls::None, move |line| {
        (line == "." && refusals.fetch_add(1, Ordering::SeqCst) == 0).then_some(Answer::Say("451 4.3.0 later"))
    });
    let begun = Instant::now();
    let sandbox = crashed(&relayed(relay.port, ""), "exit 3");
    sandbox.until_warned("451");
    sandbox.until_value("undelivered", "1");
    after_a_delay(&sandbox, "it is delivered after all", || sandbox.alarms().is_empty());
    assert!(begun.elapsed() > Duration::from_secs(9), "{:?}", begun.elapsed());
    sandbox.until_value("undelivered", "0");
    assert_eq!((relay.mails().len(), relay.connections()), (1, 2));
    assert_eq!(log_texts(&sandbox.warnings(), "FATAL"), Vec::<String>::new());
}

/// What an answer means depends on what was asked: only one about this mail is for good.
#[test]
fn a_refusal_counts_for_what_it_is_about() {
    for (command, answer, for_good) in [
        ("banner", Answer::Say("554 go away"), false),
        ("EHLO", Answer::Say("550 go away"), false),
        ("MAIL", Answer::Say("530 log in first"), false),
        ("MAIL", Answer::Say("451 later"), false),
        ("MAIL", Answer::Say("550 not from you"), true),
        ("RCPT", Answer::Say("450 later"), false),
        ("RCPT", Answer::Say("553 what a name"), true),
        ("DATA", Answer::Say("554 no"), true),
        (".", Answer::Say("554 spam"), true),
        (".", Answer::Say("452 full"), false),
        (".", Answer::Drop, false),
        ("RCPT", Answer::Drop, false),
        ("banner", Answer::Drop, false),
    ] {
        let what = format!("{command} {answer:?}");
        let relay = Smtp::with(Tls::None, move |line| line.starts_with(command).then(|| answer.clone()));
        let sandbox = crashed(&relayed(relay.port, ""), "exit 3");
        let level = if for_good { "FATAL" } else { "WARNING" };
        eventually(&sandbox, &format!("{what}: a {level} line"), || {
            log_texts(&sandbox.warnings(), level).iter().any(|line| line.contains("not delivered"))
        });
        eventually(&sandbox, &what, || sandbox.alarms().is_empty() == for_good);
        assert_eq!(sandbox.file("alarms/failed").exists(), for_good, "{what}");
    }
}

#[test]
fn a_black_hole_and_a_drip_are_bounded() {
    for (answer, at, reason) in [
        (Answer::Stall, "banner", "no answer in time"), // it has been waited for long enough
        (Answer::Drip, "banner", "no end within 0.7 s"),
        (Answer::Drip, "EHLO", "no end within 0.7 s"),
        (Answer::Stall, ".", "no answer in time"),
        (Answer::Drip, ".", "no end within 7.7 s"),
    ] {
        let what = format!("{answer:?} {at}");
        let relay = Smtp::with(Tls::None, move |line| line.starts_with(at).then(|| answer.clone()));
        let sandbox = Sandbox::new();
        sandbox.write_conf(&relayed(relay.port, "alarm_exec : ./service note told x"));
        crash(&sandbox, "exit 3", &[("SVALARM_TEST_DEADLINE_MS", "700")]);
        sandbox.until_warned(reason);
        eventually(&sandbox, &format!("{what}: svalarm has ended"), || sandbox.processes().len() == 2);
        sandbox.until_value("undelivered", "1");
        assert!(sandbox.path("told").exists(), "{what}: another way is held up by nothing");
    }
}

#[test]
fn encrypted_relays_with_a_private_authority() {
    let ca = TestCa::new();
    for (scheme, tls) in [("smtp+starttls", Tls::Later(ca.server.clone())), ("smtps", Tls::Implicit(ca.server.clone()))]
    {
        let relay = Smtp::with(tls, |_| None);
        let sandbox = Sandbox::new();
        sandbox.write("ca.pem", &ca.pem);
        sandbox.write("password", "gehe!m\n");
        fs::set_permissions(sandbox.path("password"), fs::Permissions::from_mode(0o600)).unwrap();
        sandbox.write_conf(&alarmed(&format!(
            "alarm_mail : ops@example.org\nmail_transport : {scheme}://joe@127.0.0.1:{}\nmail_password_file : password",
            relay.port
        )));
        let authority = sandbox.path("ca.pem");
        crash(&sandbox, "exit 3", &[("SSL_CERT_FILE", authority.to_str().unwrap())]);
        until_delivered(&sandbox);
        let mails = relay.mails();
        assert_eq!(mails.len(), 1, "{scheme}");
        assert!(mails[0].encrypted);
        // base64 of NUL joe NUL gehe!m
        assert_eq!(mails[0].auth.as_deref(), Some("AUTH PLAIN AGpvZQBnZWhlIW0="), "{scheme}");
    }
}

#[test]
fn no_mail_goes_to_whom_nobody_vouches_for_and_none_in_the_clear() {
    let ca = TestCa::new();
    for (scheme, tls) in [
        ("smtps", Tls::Implicit(ca.server.clone())),
        ("smtp+starttls", Tls::Later(ca.server.clone())),
        ("smtp+starttls", Tls::None),
    ] {
        let relay = Smtp::with(tls, |_| None);
        let conf = format!("alarm_mail : ops@example.org\nmail_transport : {scheme}://127.0.0.1:{}", relay.port);
        let sandbox = crashed(&alarmed(&conf), "exit 3");
        sandbox.until_warned("was not delivered to 1 of 1");
        assert_eq!((relay.mails().len(), sandbox.alarms().len()), (0, 1), "{scheme}");
    }
}

#[test]
fn a_password_that_others_can_read_is_not_used() {
    let relay = Smtp::with(Tls::Implicit(TestCa::new().server), |_| None);
    for mode in [0o644, 0o640, 0o602] {
        let sandbox = Sandbox::new();
        sandbox.write("password", "secret\n");
        fs::set_permissions(sandbox.path("password"), fs::Permissions::from_mode(mode)).unwrap();
        sandbox.write_conf(&alarmed(&format!(
            "alarm_mail : a@example.org\nmail_transport : smtps://joe@127.0.0.1:{}\nmail_password_file : password",
            relay.port
        )));
        crash(&sandbox, "exit 3", &[]);
        sandbox.until_warned("chmod 600");
        assert!(!sandbox.warnings().contains("secret"));
    }
    assert_eq!(relay.connections(), 0);
}

#[test]
fn the_relay_of_now_counts_and_not_that_of_the_alarm() {
    let relay = Smtp::start();
    let sandbox = crashed(&relayed(1, ""), "exit 3");
    sandbox.until_warned("was not delivered");
    sandbox.write_conf(&relayed(relay.port, ""));
    let mut now = sandbox.program(crate::svalarm_program());
    now.args(["--once", "--now", "status/app"]);
    eventually(&sandbox, "no other svalarm runs", || {
        let mut again = sandbox.program(crate::svalarm_program());
        again.args(["--once", "status/app"]);
        sandbox.run(again).code == Some(0)
    });
    sandbox.run(now).expect_code(0);
    assert_eq!((relay.mails().len(), sandbox.alarms().len()), (1, 0));
}

#[test]
fn hostile_text_stays_text() {
    let relay = Smtp::start();
    let sandbox = Sandbox::new();
    let name = "-x `id` $(id) Bcc: evil@example.org";
    let dir = format!("status/{name}");
    sandbox.write_conf(&format!(
        "[{name}]\nalarm_interval : 60\npacing : 0.1\nalarm_mail : ops@example.org\n\
         mail_transport : smtp://127.0.0.1:{}\nalarm_exec : ./service note told\n",
        relay.port
    ));
    let script = "#!/bin/sh\n[ -e runs ] && exec sleep 1000\n: > runs\n\
                  printf 'Bcc: evil@example.org\\r\\n.\\r\\nQUIT\\r\\n\\0\\033[2J `id` $(id)\\n-oQ/tmp\\n.\\n' >&2\n\
                  head -c 1000000 /dev/zero | tr '\\0' x >&2; exit 3\n";
    sandbox.write("hostile", script);
    fs::set_permissions(sandbox.path("hostile"), fs::Permissions::from_mode(0o755)).unwrap();
    sandbox.background(&["-p", &dir, "-f", "./hostile $(id) `id` \u{1b}[2J"]).expect_code(0);
    eventually(&sandbox, "a mail arrives", || relay.mails().len() == 1);
    let mail = &relay.mails()[0];
    let mut keys: Vec<String> = mail.headers().into_iter().map(|(key, _)| key).collect();
    keys.sort();
    assert_eq!(
        keys,
        [
            "Auto-Submitted",
            "Content-Transfer-Encoding",
            "Content-Type",
            "Date",
            "From",
            "MIME-Version",
            "Message-ID",
            "Subject",
            "To"
        ]
    );
    assert_eq!(mail.to, ["ops@example.org"]);
    assert!(mail.subject().ends_with(&format!("Service {name} exited!")), "{}", mail.subject());
    let text = mail.text();
    assert!(!text.contains('\u{1b}') && !text.contains('\0'), "{text}");
    assert!(text.contains("command:     ./hostile $(id) `id` \\x1b[2J\n"), "{text}");
    assert!(text.contains("xxxxxxxx ...") && text.lines().all(|line| line.len() < 4100));
}

#[test]
fn chinese_arrives_readable() {
    let relay = Smtp::start();
    let sandbox = Sandbox::new();
    sandbox.write_conf(&relayed(relay.port, "").replace("[app]", "[订单服务]"));
    sandbox
        .background(&["-p", "status/订单服务", "-f", "./service from 1 runs line runs err 磁盘已满 exit 3"])
        .expect_code(0);
    eventually(&sandbox, "a mail arrives", || relay.mails().len() == 1);
    let mail = &relay.mails()[0];
    assert!(mail.subject().ends_with("Service 订单服务 exited!"), "{}", mail.subject());
    let text = mail.text();
    assert!(text.contains("module:      订单服务\n") && text.contains("磁盘已满"), "{text}");
}

#[test]
fn the_sendmail_program() {
    let sandbox = Sandbox::new();
    let script = "#!/bin/sh\nprintf '%s\\n' \"$@\" > args\ncat > stdin.new\nmv stdin.new stdin\n";
    sandbox.write("sendmail", script);
    fs::set_permissions(sandbox.path("sendmail"), fs::Permissions::from_mode(0o755)).unwrap();
    let program = sandbox.path("sendmail");
    sandbox.write_conf(&alarmed(&format!("alarm_mail : root\nmail_transport : sendmail:{}", program.display())));
    crash(&sandbox, "exit 3", &[]);
    until_delivered(&sandbox);
    let args = sandbox.read("args");
    let args: Vec<&str> = args.lines().collect();
    assert_eq!((&args[..2], &args[3..]), (&["-i", "-f"][..], &["--", "root"][..]), "{args:?}");
    let mail = sandbox.read("stdin");
    assert!(mail.contains("\nSubject: ") || mail.starts_with("Subject: "), "{mail}");
    assert!(mail.contains("Service app exited!") && !mail.contains('\r'), "{mail}");
}

#[test]
fn without_mail_transport_it_is_the_sendmail_of_the_path() {
    let sandbox = Sandbox::new();
    sandbox.write("sendmail", "#!/bin/sh\necho \"$@\" >> calls\nexec cat > mail\n");
    fs::set_permissions(sandbox.path("sendmail"), fs::Permissions::from_mode(0o755)).unwrap();
    sandbox.write_conf(&alarmed("alarm_mail : ops@example.invalid"));
    let path = format!("{}:/usr/bin:/bin", sandbox.path("").display());
    crash(&sandbox, "exit 3", &[("PATH", &path)]);
    until_delivered(&sandbox);
    assert_eq!(sandbox.read("calls").lines().count(), 1);
    assert!(sandbox.read("calls").ends_with(" -- ops@example.invalid\n"), "{}", sandbox.read("calls"));
    assert!(sandbox.read("mail").contains("Service app exited!"), "{}", sandbox.read("mail"));
}

#[test]
fn mail_from_is_the_sender_and_without_it_supervise_at_this_host() {
    for (line, user) in [("mail_from : Ops.1@example.org", "Ops.1@example.org"), ("", "supervise@")] {
        let relay = Smtp::start();
        let sandbox = crashed(&relayed(relay.port, line), "exit 3");
        until_delivered(&sandbox);
        let mail = &relay.mails()[0];
        assert!(mail.from.starts_with(user), "{}", mail.from);
        assert!(mail.header("From").contains(&mail.from), "{}", mail.header("From"));
    }
}

#[test]
fn a_relay_without_a_name_in_the_dns_is_tried_again() {
    let conf = "alarm_mail : ops@example.org\nmail_transport : smtp://no-such-host.invalid";
    let sandbox = crashed(&alarmed(conf), "exit 3");
    sandbox.until_warned("was not delivered to 1 of 1");
    sandbox.until_value("undelivered", "1");
    assert_eq!((sandbox.alarms().len(), sandbox.file("alarms/failed").exists()), (1, false));
}
