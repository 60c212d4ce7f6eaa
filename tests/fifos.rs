//! The fifos of a status directory: who reads them, what stays of them, and what is done about files in their place.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;

use crate::common::{Sandbox, alive, eventually, signal};

#[track_caller]
fn make_fifo(sandbox: &Sandbox, name: &str) -> u64 {
    fs::create_dir_all(sandbox.status_path()).expect("the sandbox is writable");
    nix::unistd::mkfifo(&sandbox.file(name), Mode::from_bits_truncate(0o600)).expect("a fifo");
    inode(sandbox, name)
}

#[track_caller]
fn inode(sandbox: &Sandbox, name: &str) -> u64 {
    let meta = fs::symlink_metadata(sandbox.file(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert!(meta.file_type().is_fifo(), "{name} is a fifo");
    meta.ino()
}

#[test]
fn ok_can_be_opened_only_while_supervise_lives_and_goes_with_it() {
    let sandbox = Sandbox::new();
    sandbox.start("ready", &[]);
    sandbox.until_ready();
    assert!(sandbox.ok_is_held());
    sandbox.write_control(b"dx");
    sandbox.until_ended();
    assert!(!sandbox.file("ok").exists(), "removed at the end");
    assert!(sandbox.file("svcontrol").exists() && sandbox.file("control").exists(), "these stay");
}

#[test]
fn ok_is_held_while_the_service_is_down() {
    let sandbox = Sandbox::new();
    sandbox.start("ready", &[]);
    sandbox.until_ready();
    sandbox.write_control(b"d");
    sandbox.until_state("down");
    assert!(sandbox.ok_is_held());
}

#[test]
fn ok_of_a_killed_supervise_is_not_held_and_the_next_one_takes_it() {
    let sandbox = Sandbox::new();
    sandbox.start("ready", &[]);
    sandbox.until_ready();
    let supervise = sandbox.supervise_pid();
    signal(supervise, Signal::SIGKILL);
    sandbox.until_dead(supervise);
    assert!(sandbox.file("ok").exists() && !sandbox.ok_is_held());
    sandbox.start("ready", &[]);
    assert!(sandbox.ok_is_held());
}

#[test]
fn ok_is_removed_by_a_give_up() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\nalarm_interval : 60\nmax_tries : 1\npacing : 0.1\n");
    sandbox.start("exit 3", &[]);
    sandbox.until_state("gave-up");
    sandbox.until_ended();
    assert!(!sandbox.file("ok").exists());
    assert_eq!(sandbox.record().pid, None);
    assert!(sandbox.file("svcontrol").exists() && sandbox.file("control").exists());
}

#[test]
fn ok_is_removed_when_supervise_gets_term() {
    let sandbox = Sandbox::new();
    sandbox.start("ready", &[]);
    sandbox.until_ready();
    signal(sandbox.supervise_pid(), Signal::SIGTERM);
    sandbox.until_ended();
    assert!(!sandbox.file("ok").exists());
}

#[test]
fn control_and_svcontrol_are_one_fifo() {
    let sandbox = Sandbox::new();
    sandbox.start("ready signals", &[]);
    sandbox.until_ready();
    assert_eq!(inode(&sandbox, "svcontrol"), inode(&sandbox, "control"));
    assert_eq!(fs::metadata(sandbox.file("control")).expect("it is there").nlink(), 2, "a hard link");
    sandbox.write_fifo("control", b"1").expect("control is read");
    sandbox.until_said("got USR1");
    sandbox.write_fifo("svcontrol", b"2").expect("svcontrol is read");
    sandbox.until_said("got USR2");
}

#[test]
fn a_fifo_that_is_there_is_kept_and_the_other_name_becomes_a_link_to_it() {
    for (there, other) in [("svcontrol", "control"), ("control", "svcontrol")] {
        let sandbox = Sandbox::new();
        let kept = make_fifo(&sandbox, there);
        sandbox.start("ready signals", &[]);
        sandbox.until_ready();
        assert_eq!((inode(&sandbox, there), inode(&sandbox, other)), (kept, kept), "{there} was there");
        assert_eq!(sandbox.warnings(), "");
    }
}

#[test]
fn two_different_fifos_are_both_kept_and_both_read() {
    let sandbox = Sandbox::new();
    let (svcontrol, control) = (make_fifo(&sandbox, "svcontrol"), make_fifo(&sandbox, "control"));
    sandbox.start("ready signals", &[]);
    sandbox.until_ready();
    assert_eq!((inode(&sandbox, "svcontrol"), inode(&sandbox, "control")), (svcontrol, control));
    sandbox.write_fifo("control", b"1").expect("control is read");
    sandbox.until_said("got USR1");
    sandbox.write_fifo("svcontrol", b"2").expect("svcontrol is read");
    sandbox.until_said("got USR2");
    sandbox.write_fifo("control", b"kx").expect("control is read");
    sandbox.until_ended();
}

#[test]
fn both_names_stay_after_the_end_and_a_waiting_echo_is_obeyed_by_the_next_supervise() {
    let sandbox = Sandbox::new();
    sandbox.start("ready", &[]);
    sandbox.until_ready();
    let fifo = inode(&sandbox, "svcontrol");
    sandbox.write_control(b"dx");
    sandbox.until_ended();
    let mut echo = sandbox.program("/bin/sh");
    echo.args(["-c", "echo dx > status/app/svcontrol"]);
    let mut echo = sandbox.spawn(echo);
    sandbox.start("ready", &[]);
    sandbox.until_ended();
    assert_eq!((inode(&sandbox, "svcontrol"), inode(&sandbox, "control")), (fifo, fifo));
    eventually(&sandbox, "the echo has been let go", || !echo.runs());
    assert_eq!(sandbox.value("wanted").as_deref(), Some("down"));
}

#[test]
fn a_regular_file_in_place_of_a_fifo_is_replaced_with_a_warning() {
    for name in ["svcontrol", "control"] {
        let sandbox = Sandbox::new();
        fs::create_dir_all(sandbox.status_path()).expect("the sandbox is writable");
        sandbox.write(format!("status/app/{name}"), "d\n");
        sandbox.start("ready", &[]);
        sandbox.until_ready();
        assert_eq!(inode(&sandbox, "svcontrol"), inode(&sandbox, "control"));
        sandbox.until_warned(name);
        assert!(sandbox.warnings().contains("[WARNING]"), "{}", sandbox.warnings());
        sandbox.write_control(b"dx");
        sandbox.until_ended();
    }
}

#[test]
fn a_regular_file_in_place_of_ok_does_not_keep_the_service_from_starting() {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.status_path()).expect("the sandbox is writable");
    sandbox.write("status/app/ok", "");
    sandbox.start("ready", &[]);
    sandbox.until_ready();
    inode(&sandbox, "ok");
    assert!(sandbox.ok_is_held());
}

#[test]
fn a_fifo_removed_while_running_leaves_the_other_name() {
    let sandbox = Sandbox::new();
    sandbox.start("ready", &[]);
    sandbox.until_ready();
    fs::remove_file(sandbox.file("svcontrol")).expect("it is there");
    sandbox.write_fifo("control", b"d").expect("control is read");
    sandbox.until_state("down");
    sandbox.write_fifo("control", b"x").expect("control is read");
    sandbox.until_ended();
}

#[test]
fn a_file_that_replaces_a_fifo_while_running_leaves_the_other_name_and_is_replaced_at_the_next_start() {
    let sandbox = Sandbox::new();
    sandbox.start("ready", &[]);
    let service = sandbox.until_ready();
    fs::remove_file(sandbox.file("svcontrol")).expect("it is there");
    sandbox.write("status/app/svcontrol", "d\n");
    sandbox.write_fifo("control", b"dx").expect("control is read");
    sandbox.until_ended();
    assert!(!alive(service));
    sandbox.start("ready", &[]);
    sandbox.until_ready();
    assert_eq!(inode(&sandbox, "svcontrol"), inode(&sandbox, "control"));
    sandbox.until_warned("svcontrol");
}

#[test]
fn with_both_fifos_gone_signals_are_obeyed_and_the_next_start_makes_them_anew() {
    let sandbox = Sandbox::new();
    sandbox.start("ready", &[]);
    sandbox.until_ready();
    for name in ["svcontrol", "control", "ok"] {
        fs::remove_file(sandbox.file(name)).expect("it is there");
    }
    signal(sandbox.supervise_pid(), Signal::SIGTERM);
    sandbox.until_ended();
    assert_eq!(sandbox.record().pid, None);
    sandbox.start("ready", &[]);
    sandbox.until_ready();
    assert_eq!(inode(&sandbox, "svcontrol"), inode(&sandbox, "control"));
    assert!(sandbox.ok_is_held());
}

#[test]
fn a_name_that_is_removed_or_replaced_while_running_is_made_anew_at_once() {
    let sandbox = Sandbox::new();
    sandbox.start("ready signals", &[]);
    sandbox.until_ready();
    for (round, name) in ["svcontrol", "control", "svcontrol"].into_iter().enumerate() {
        let old = inode(&sandbox, name);
        fs::remove_file(sandbox.file(name)).expect("it is there");
        if round == 2 {
            sandbox.write("status/app/svcontrol", "d\n");
        }
        let is_fifo = || fs::symlink_metadata(sandbox.file(name)).is_ok_and(|meta| meta.file_type().is_fifo());
        eventually(&sandbox, "the name is a fifo's again", is_fifo);
        assert_eq!(inode(&sandbox, name), old, "the one that has the other name");
        let warned = || sandbox.warnings().matches(&format!("/{name} was removed or replaced")).count();
        eventually(&sandbox, "it is warned of", || warned() == if round == 2 { 2 } else { 1 });
    }
    sandbox.write_fifo("svcontrol", b"1").expect("it is read");
    sandbox.until_said("got USR1");
}
