//! Alarms where nothing can be noted: a full disk, one that can only be read, a folder that can't be made.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::alarms_life::svalarms;
use crate::common::{
    Mount, Sandbox, after_a_delay, eventually, is_root, skip, supervise_program, with_mounts,
    with_status_on_a_small_disk,
};
use crate::smtp::{Answer, Smtp, Tls};
use crate::{alarmed, crash, store, svalarm, to};

/// Fills the small disk that the status directory is on; what is written is removed again by its path.
fn fill(sandbox: &Sandbox) -> std::path::PathBuf {
    let filler = sandbox.file("filler");
    let mut file = fs::File::create(&filler).expect("there is an inode left");
    while std::io::Write::write(&mut file, &[b'x'; 4096]).is_ok_and(|length| length > 0) {}
    filler
}

/// A relay that says its first word only while nobody holds the gate, and puts off one of two.
fn gated_relay() -> (Smtp, Arc<Mutex<()>>) {
    let failures = AtomicUsize::new(0);
    let gate = Arc::new(Mutex::new(()));
    let opened = Arc::clone(&gate);
    let relay = Smtp::with(Tls::None, move |line| {
        if line == "banner" {
            drop(opened.lock());
        }
        let bad = line.starts_with("RCPT TO:<late@") && failures.fetch_add(1, Ordering::SeqCst) == 0;
        bad.then_some(Answer::Say("451 later"))
    });
    (relay, gate)
}

fn to_two(relay: &Smtp) -> String {
    let lines = "alarm_mail : ops@example.org late@example.org\nmail_transport : smtp://127.0.0.1";
    alarmed(&format!("{lines}:{}", relay.port))
}

/// What svalarm can't note it keeps in mind, and nobody gets a second copy.
#[test]
fn on_a_full_disk_everybody_gets_one_copy() {
    let (relay, gate) = gated_relay();
    let sandbox = Sandbox::new();
    sandbox.write_conf(&to_two(&relay));
    with_status_on_a_small_disk(&sandbox, 256, || {
        let held = gate.lock();
        crash(&sandbox, "exit 3", &[]);
        eventually(&sandbox, "an attempt is under way", || relay.connections() > 0);
        let filler = fill(&sandbox);
        drop(held);
        eventually(&sandbox, "one copy arrives", || relay.mails().len() == 1);
        eventually(&sandbox, "no copy is on its way", || sandbox.processes().len() == 3);
        // It does not end with what only it knows: it is the same one that asks again.
        let stays = svalarms(&sandbox)[0];
        let held = gate.lock();
        after_a_delay(&sandbox, "the other one is asked again", || relay.connections() == 3);
        assert_eq!(svalarms(&sandbox), [stays]);
        drop(held);
        eventually(&sandbox, "the other one has it", || relay.mails().len() == 2);
        fs::remove_file(filler).expect("it is there");
        eventually(&sandbox, "the spool is empty", || sandbox.alarms().is_empty());
        let mut got: Vec<String> = relay.mails().into_iter().flat_map(|mail| mail.to).collect();
        got.sort();
        assert_eq!(got, ["late@example.org", "ops@example.org"]);
    });
}

/// As PID 1 supervise starts the same svalarm between attempts as ever: it stays with what only it knows.
#[test]
fn as_pid_1_on_a_full_disk_everybody_gets_one_copy() {
    if !is_root() {
        return skip("only root can make a PID namespace");
    }
    let (relay, gate) = gated_relay();
    let sandbox = Sandbox::new();
    sandbox.write_conf(&to_two(&relay));
    with_status_on_a_small_disk(&sandbox, 256, || {
        let held = gate.lock();
        let mut command = sandbox.program("unshare");
        command.args(["-pf", "--mount-proc"]).arg(supervise_program());
        command.args(["--foreground", "-p", "status/app", "-f", "./service from 1 runs line runs exit 3"]);
        let mut supervise = sandbox.spawn(command);
        eventually(&sandbox, "an attempt is under way", || relay.connections() > 0 || !supervise.runs());
        if supervise.stderr().contains("unshare") {
            return skip(&supervise.stderr());
        }
        let filler = fill(&sandbox);
        drop(held);
        after_a_delay(&sandbox, "both have it", || relay.mails().len() == 2);
        fs::remove_file(filler).expect("it is there");
        eventually(&sandbox, "the spool is empty", || sandbox.alarms().is_empty());
        let mut got: Vec<String> = relay.mails().into_iter().flat_map(|mail| mail.to).collect();
        got.sort();
        assert_eq!(got, ["late@example.org", "ops@example.org"]);
    });
}

/// One that is to end says that it forgets something.
#[test]
fn what_once_can_not_note_it_says() {
    let (relay, gate) = gated_relay();
    let sandbox = Sandbox::new();
    with_status_on_a_small_disk(&sandbox, 256, || {
        let lines = format!("To: ops@example.org\n{}", to("late@example.org", relay.port));
        let id = store(&sandbox, 1, &lines);
        let held = gate.lock();
        let once = sandbox.spawn(svalarm(&sandbox, &["--once"]));
        eventually(&sandbox, "an attempt is under way", || relay.connections() > 0);
        let filler = fill(&sandbox);
        drop(held);
        once.wait().expect_code(111).expect_stderr(&["what became of 1 alarm could not be noted"]);
        fs::remove_file(filler).expect("it is there");
        // One that finds room again while it tries has nothing to say.
        let _ = fs::remove_file(sandbox.file(&format!("alarms/.delivery/{id}")));
        sandbox.run(svalarm(&sandbox, &["--once", "--now"])).expect_code(0);
        assert_eq!(sandbox.alarms().len(), 0);
    });
}

/// Without a folder for notes an alarm is delivered all the same.
#[test]
fn what_can_not_be_noted_is_delivered() {
    let relay = Smtp::start();
    let sandbox = Sandbox::new();
    let id = store(&sandbox, 1, &to("ops@example.org", relay.port));
    sandbox.write("status/app/alarms/.delivery", "no folder");
    sandbox.run(svalarm(&sandbox, &["--once"])).expect_code(0);
    assert_eq!((relay.mails().len(), sandbox.file("alarms").join(id).exists()), (1, false));
}

/// A file that is only read can be delivered, once, and nobody forgets that.
#[test]
fn on_a_disk_that_can_only_be_read() {
    let relay = Smtp::start();
    let sandbox = Sandbox::new();
    store(&sandbox, 1, &to("ops@example.org", relay.port));
    let status = sandbox.path("status");
    with_mounts(&sandbox, &[Mount::Bind(&status, &status), Mount::ReadOnly(&status)], || {
        let mut queue = sandbox.spawn(svalarm(&sandbox, &[]));
        eventually(&sandbox, "it is delivered", || relay.mails().len() == 1);
        eventually(&sandbox, "the copy has ended", || sandbox.processes().len() == 1);
        assert!(queue.runs(), "it does not end with what only it knows");
        assert_eq!((relay.mails().len(), sandbox.alarms().len()), (1, 1));
        sandbox.run(svalarm(&sandbox, &["--once"])).expect_code(3);
        Mount::Writable(&status).mount().expect("what is bound can be mounted again");
        after_a_delay(&sandbox, "it is removed", || sandbox.alarms().is_empty());
        queue.wait().expect_code(0);
        assert_eq!(relay.mails().len(), 1);
    });
}
