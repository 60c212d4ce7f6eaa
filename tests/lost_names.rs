//! What a supervise finds that another one has lost or left, and what is said of it.

use std::fs::{self, File};

use nix::sys::signal::Signal;

use crate::common::{Sandbox, alive, is_root, signal, skip, supervise_program};
use crate::traced::can_trace;

/// The name is replaced in one step, so there is no moment in which it is free; or it is removed.
fn lose(sandbox: &Sandbox, name: &str, replaced: bool) {
    if replaced {
        File::create(sandbox.file("other")).expect("the status directory is writable");
        fs::rename(sandbox.file("other"), sandbox.file(name)).expect("a rename");
    } else {
        fs::remove_file(sandbox.file(name)).expect("it is there");
    }
}

#[test]
fn no_second_supervise_is_started_where_the_lock_of_one_that_lives_was_removed_or_replaced() {
    for replaced in [false, true] {
        let sandbox = Sandbox::new();
        sandbox.start("line starts ready signals", &[]);
        let service = sandbox.until_ready();
        let supervise = sandbox.supervise_pid();
        lose(&sandbox, "lock", replaced);
        sandbox.until_warned("status/app/lock was removed or replaced");
        let (state, claim) = (sandbox.text("state"), fs::read(sandbox.file("claim")).expect("it is there"));
        for more in [&[][..], &["--take-over"]] {
            let args = [more, &["-p", "status/app", "-f", "./service ready"]].concat();
            let output = sandbox.background(&args).expect_code(111);
            assert!(output.stderr.contains("lives here, though status/app/lock"), "{output:#?}");
            assert!(output.stderr.contains(&format!("pid {supervise}")), "{output:#?}");
        }
        assert_eq!((sandbox.text("state"), fs::read(sandbox.file("claim")).expect("it is there")), (state, claim));
        // It is obeyed as before, and its many new names tell nobody twice.
        sandbox.write_control(b"12");
        sandbox.until_said("got USR2");
        sandbox.write_control(b"s");
        sandbox.until_value("alarms", "no");
        assert_eq!(sandbox.warnings().matches("lock was removed").count(), 1, "{}", sandbox.warnings());
        signal(supervise, Signal::SIGKILL);
        sandbox.until_dead(supervise);
        sandbox.start("ready", &[]);
        assert_eq!((sandbox.service_pid(), sandbox.value("adopted").as_deref()), (Some(service), Some("yes")));
        assert!(alive(service) && sandbox.read("starts").lines().count() == 1);
    }
}

#[test]
fn a_start_that_can_not_tell_if_another_supervise_lives_says_so() {
    let sandbox = Sandbox::new();
    sandbox.start("ready", &[]);
    let service = sandbox.until_ready();
    sandbox.kill_supervise();
    if !can_trace(&sandbox) {
        return;
    }
    let mut command = sandbox.program("strace");
    command.args(["-o", "trace", "-P", "state", "-e", "inject=openat:error=EMFILE:when=1"]).arg(supervise_program());
    command.args(["--foreground", "-p", "status/app", "-f", "./service ready"]);
    let strace = sandbox.spawn(command);
    sandbox.until_warned(
        "unable to see if another supervise lives here, whose status/app/lock was removed: Too many open",
    );
    sandbox.until_value("adopted", "yes");
    assert_eq!(sandbox.service_pid(), Some(service));
    sandbox.write_control(b"dx");
    strace.wait();
}

#[test]
fn a_service_that_the_record_names_is_adopted_where_the_claim_is_lost() {
    for removed in [false, true] {
        let sandbox = Sandbox::new();
        sandbox.start("line starts ready", &[]);
        let service = sandbox.until_ready();
        sandbox.kill_supervise();
        if removed {
            fs::remove_file(sandbox.file("claim")).expect("it is there");
        } else {
            fs::write(sandbox.file("claim"), "").expect("it is writable");
        }
        sandbox.start("line starts ready", &[]).expect_stderr(&["status/app/claim was not written or is lost"]);
        assert_eq!((sandbox.service_pid(), sandbox.value("adopted").as_deref()), (Some(service), Some("yes")));
        assert_eq!(sandbox.read("starts").lines().count(), 1);
    }
}

#[test]
fn a_first_start_misses_no_claim() {
    let sandbox = Sandbox::new();
    sandbox.start("ready", &[]);
    sandbox.until_ready();
    assert_eq!(sandbox.warnings(), "");
}

#[test]
fn it_is_told_that_the_supervise_before_ran_as_another_user() {
    const USER: u32 = 64_128;
    if !is_root() {
        return skip("only root can be somebody else");
    }
    let sandbox = Sandbox::new();
    sandbox.give_to(USER);
    let args = ["-p", "status/app", "-f", "./service ready"];
    sandbox.run(sandbox.command_as(USER, &args)).expect_code(0);
    let service = sandbox.until_ready();
    for told in [true, false] {
        sandbox.kill_supervise();
        let output = sandbox.background(&args).expect_code(0);
        let expected = "ran as another user (uid 64128): from its next start the service runs as uid 0";
        assert_eq!(output.stderr.contains(expected), told, "it is no news the second time: {output:#?}");
        assert_eq!((sandbox.service_pid(), sandbox.value("adopted").as_deref()), (Some(service), Some("yes")));
    }
}

#[test]
fn the_ok_of_a_living_supervise_is_made_anew() {
    for replaced in [false, true] {
        let sandbox = Sandbox::new();
        sandbox.start("ready", &[]);
        sandbox.until_ready();
        lose(&sandbox, "ok", replaced);
        sandbox.until_warned("status/app/ok was removed or replaced, and is made anew");
        assert!(sandbox.ok_is_held());
        assert_eq!(sandbox.mode("ok"), 0o600);
        sandbox.write_control(b"dx");
        sandbox.until_ended();
        assert!(!sandbox.file("ok").exists());
    }
}
