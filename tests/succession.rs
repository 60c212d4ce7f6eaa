//! Starts after a death, a leave, a give-up, a reboot: what a supervise takes over where no service lives any more.

use std::fs;

use nix::sys::signal::Signal;

use crate::adoption::ALARMED;
use crate::common::{Pid, Sandbox, alive, eventually, process_stat, signal};

/// Ends supervise, then the service, so that nobody saw the service's end.
#[track_caller]
fn kill_both(sandbox: &Sandbox, service: Pid) {
    sandbox.kill_supervise();
    signal(service, Signal::SIGKILL);
    sandbox.until_dead(service);
    // Until it is reaped too.
    eventually(sandbox, "the service is gone", || process_stat(service).is_none());
}

#[test]
fn a_service_found_dead_is_one_unexpected_exit_and_restarted_at_once() {
    let sandbox = Sandbox::new();
    sandbox.write_conf(&ALARMED.replace("0.1", "3600"));
    sandbox.start("line starts ready", &[]);
    let service = sandbox.until_ready();
    kill_both(&sandbox, service);
    sandbox.start("line starts ready", &[]);
    let second = sandbox.record().pid.expect("a start by the operator waits for no pacing");
    assert_ne!(second, service);
    let state = sandbox.state();
    assert_eq!((state["exits"].as_str(), state["window_exits"].as_str()), ("1", "1"));
    assert_eq!((state["last_exit"].as_str(), state["last_exit_expected"].as_str()), ("unknown", "no"));
    assert_eq!((state["starts"].as_str(), state["adopted"].as_str()), ("2", "no"));
    eventually(&sandbox, "it is alarmed", || sandbox.subjects().len() == 1);
    assert!(sandbox.subjects()[0].ends_with("Service app exited!"), "{:?}", sandbox.subjects());
    sandbox.until_logged("service exited!");
}

#[test]
fn a_start_never_gives_up_but_the_next_unexpected_exit_does() {
    let sandbox = Sandbox::new();
    sandbox.write_conf(&format!("{ALARMED}max_tries : 1\n"));
    sandbox.start("line starts ready", &[]);
    let mut service = sandbox.until_ready();
    signal(service, Signal::SIGKILL);
    service = sandbox.until_ready_after(service);
    sandbox.until_value("window_exits", "1");
    // This exit passes the limit, and the one after it too.
    for exits in ["2", "3"] {
        kill_both(&sandbox, service);
        sandbox.start("line starts ready", &[]);
        service = sandbox.until_ready_after(service);
        sandbox.until_value("window_exits", exits);
        assert_eq!(sandbox.value("state").as_deref(), Some("up"));
    }
    assert_eq!(sandbox.alarms().len(), 1, "{:?}", sandbox.subjects());
    signal(service, Signal::SIGKILL);
    sandbox.until_ended();
    assert_eq!((sandbox.value("state").as_deref(), sandbox.alarms().len()), (Some("gave-up"), 2));
    assert_eq!(sandbox.read("starts").lines().count(), 4);
}

#[test]
fn a_service_found_dead_after_d_is_not_counted_and_stays_down() {
    let sandbox = Sandbox::new();
    sandbox.write_conf(ALARMED);
    sandbox.start("line starts ready signals", &[]);
    let service = sandbox.until_ready();
    sandbox.write_control(b"d");
    sandbox.until_state("stopping");
    kill_both(&sandbox, service);
    let output = sandbox.start("line starts ready signals", &[]);
    assert!(output.stderr.contains("down"), "{output:#?}");
    assert_eq!((sandbox.record().pid, sandbox.record().wanted), (None, b'd'));
    assert_eq!((sandbox.count("window_exits"), sandbox.alarms().len()), (0, 0));
    assert_eq!(sandbox.value("last_exit_expected").as_deref(), Some("yes"));
    assert_eq!(sandbox.read("starts").lines().count(), 1);
}

#[test]
fn a_service_found_dead_within_10_s_of_t_i_q_is_expected() {
    for byte in ["t", "i", "q"] {
        let sandbox = Sandbox::new();
        sandbox.write_conf(ALARMED);
        sandbox.start("ready signals", &[]);
        let service = sandbox.until_ready();
        sandbox.write_control(byte.as_bytes());
        eventually(&sandbox, "the signal came", || sandbox.stdout().contains("got "));
        // The claim follows the signal; once the next byte's effect is published, it is written.
        sandbox.write_control(b"n");
        sandbox.write_control(b"s");
        sandbox.until_value("alarms", "no");
        sandbox.write_control(b"n");
        sandbox.until_value("alarms", "yes");
        kill_both(&sandbox, service);
        sandbox.start("ready signals", &[]);
        sandbox.until_ready_after(service);
        sandbox.until_exits(1);
        let state = sandbox.state();
        assert_eq!((state["last_exit"].as_str(), state["last_exit_expected"].as_str()), ("unknown", "yes"), "{byte}");
        assert_eq!((sandbox.count("window_exits"), sandbox.alarms().len()), (0, 0), "{byte}");
    }
}

#[test]
fn a_restart_that_was_pending_is_made_at_once() {
    let sandbox = Sandbox::new();
    sandbox.write_conf(&ALARMED.replace("0.1", "3600"));
    sandbox.start("line starts ready", &[]);
    let service = sandbox.until_ready();
    signal(service, Signal::SIGKILL);
    sandbox.until_state("pacing");
    sandbox.kill_supervise();
    sandbox.start("line starts ready", &[]);
    sandbox.until_ready_after(service);
    let state = sandbox.state();
    assert_eq!((state["exits"].as_str(), state["window_exits"].as_str()), ("1", "1"), "it is not counted twice");
    assert_eq!((sandbox.read("starts").lines().count(), sandbox.alarms().len()), (2, 1));
}

/// Leaves counts, a window and alarms off behind, by a supervise that took leave.
#[track_caller]
fn starts_fresh(sandbox: &Sandbox) {
    let output = sandbox.start("line starts ready", &[]);
    sandbox.until_ready();
    let (state, record) = (sandbox.state(), sandbox.record());
    assert_eq!((state["starts"].as_str(), state["exits"].as_str()), ("1", "0"), "{output:#?}");
    assert_eq!((state["window_exits"].as_str(), state["wanted"].as_str()), ("0", "up"));
    assert_eq!((record.wanted, record.alarms, state["adopted"].as_str()), (b'u', b'o', "no"));
    assert_eq!((state.get("window_opened"), state.get("last_exit")), (None, None));
}

#[test]
fn after_a_clean_exit_a_start_is_up_with_fresh_counts() {
    for term in [false, true] {
        let sandbox = Sandbox::new();
        sandbox.write_conf(ALARMED);
        sandbox.start("line starts ready", &[]);
        let service = sandbox.until_ready();
        signal(service, Signal::SIGKILL);
        sandbox.until_ready_after(service);
        sandbox.write_control(b"s");
        sandbox.until_value("alarms", "no");
        if term {
            signal(sandbox.supervise_pid(), Signal::SIGTERM);
        } else {
            sandbox.write_control(b"dx");
        }
        sandbox.until_ended();
        starts_fresh(&sandbox);
    }
}

#[test]
fn after_a_give_up_a_start_is_up_with_fresh_counts() {
    let sandbox = Sandbox::new();
    sandbox.write_conf(&format!("{ALARMED}max_tries : 1\n"));
    sandbox.start("line starts exit 3", &[]);
    sandbox.until_ended();
    starts_fresh(&sandbox);
    assert_eq!(sandbox.alarms().len(), 2, "the messages stay");
}

/// A claim that says: wanted down, alarms off, one exit in the window. Nobody lives who wrote it.
#[track_caller]
fn left_down() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write_conf(ALARMED);
    sandbox.start("line starts ready", &[]);
    let service = sandbox.until_ready();
    signal(service, Signal::SIGKILL);
    sandbox.until_ready_after(service);
    sandbox.until_value("window_exits", "1");
    sandbox.write_control(b"sd");
    sandbox.until_state("down");
    let supervise = sandbox.supervise_pid();
    // One that still delivers would stay for good where no supervise lives.
    eventually(&sandbox, "svalarm has ended", || sandbox.processes() == [supervise]);
    sandbox.kill_supervise();
    // An svalarm may have stayed; between its fork and its exec it holds the lock too.
    eventually(&sandbox, "the lock is free", || sandbox.lock_is_free());
    sandbox
}

/// The claim with its sum made right again: FNV-1a over what stands behind the sum's line, up to the last line.
pub(crate) fn with_right_sum(text: &str) -> String {
    const END: &str = "\nend\n";
    let summed = text.match_indices('\n').nth(1).expect("two lines at least").0 + 1;
    let end = text.find(END).expect("a last line") + END.len();
    let sum = text.as_bytes()[summed..end]
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    let title = text.lines().next().expect("a first line");
    format!("{title}\nsum {sum:020}\n{}", &text[summed..])
}

#[test]
fn a_claim_of_this_boot_is_taken_over() {
    // The counterpart of the tests below: rewritten as they do it, the claim still counts.
    let sandbox = left_down();
    let text = sandbox.text("claim");
    assert_eq!(with_right_sum(&text), text);
    fs::write(sandbox.file("claim"), with_right_sum(&text)).expect("a claim can be written");
    sandbox.start("line starts ready", &[]);
    assert_eq!((sandbox.record().wanted, sandbox.record().alarms), (b'd', b'x'));
    assert_eq!((sandbox.count("window_exits"), sandbox.read("starts").lines().count()), (1, 2));
}

#[test]
fn a_claim_of_another_boot_starts_fresh() {
    let sandbox = left_down();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("the kernel has one");
    let text = sandbox.text("claim");
    assert!(text.contains(boot.trim()));
    let other = text.replace(boot.trim(), "01234567-89ab-cdef-0123-456789abcdef");
    fs::write(sandbox.file("claim"), with_right_sum(&other)).expect("a claim can be written");
    starts_fresh(&sandbox);
}

#[test]
fn a_claim_of_another_boot_adopts_nobody() {
    let sandbox = Sandbox::new();
    sandbox.write_conf(ALARMED);
    sandbox.start("line starts ready", &[]);
    let stranger = sandbox.until_ready();
    sandbox.kill_supervise();
    // What has that pid now, and was started so long after the boot, is another process.
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("the kernel has one");
    let other = sandbox.text("claim").replace(boot.trim(), "01234567-89ab-cdef-0123-456789abcdef");
    fs::write(sandbox.file("claim"), with_right_sum(&other)).expect("a claim can be written");
    starts_fresh(&sandbox);
    sandbox.until_ready_after(stranger);
    sandbox.write_control(b"dx");
    sandbox.until_ended();
    assert!(alive(stranger), "it was not touched");
}

#[test]
fn a_damaged_claim_starts_fresh() {
    let damages: [fn(&mut Vec<u8>); 6] = [
        Vec::clear,
        |bytes| bytes.truncate(60),
        |bytes| bytes[100] ^= 1,
        |bytes| bytes[25] ^= 1,
        |bytes| bytes.fill(0),
        |bytes| bytes.iter_mut().for_each(|byte| *byte ^= 0xa5),
    ];
    for damage in damages {
        let sandbox = left_down();
        let mut bytes = fs::read(sandbox.file("claim")).expect("a claim can be read");
        damage(&mut bytes);
        let what = if bytes.is_empty() { "claim was not written or is lost" } else { "claim is damaged" };
        fs::write(sandbox.file("claim"), bytes).expect("a claim can be written");
        starts_fresh(&sandbox);
        assert!(sandbox.warnings().contains(what), "{}", sandbox.warnings());
        // And the next one is whole again.
        let service = sandbox.until_ready();
        sandbox.kill_supervise();
        sandbox.start("line starts ready", &[]);
        assert_eq!(sandbox.record().pid, Some(service));
    }
}

#[test]
fn a_claim_whose_pid_is_a_stranger_s_by_now_adopts_nobody() {
    let sandbox = Sandbox::new();
    sandbox.write_conf(ALARMED);
    sandbox.start("line starts ready", &[]);
    let service = sandbox.until_ready();
    kill_both(&sandbox, service);
    // Another process under that pid: one of ours, whose pid is written into the claim.
    let mut command = sandbox.program("./service");
    command.args(["wait"]);
    let stranger = sandbox.spawn(command);
    let text = sandbox.text("claim");
    let renamed = text.replace(&format!("pid {service:020}\n"), &format!("pid {:020}\n", stranger.pid()));
    assert_ne!(renamed, text);
    fs::write(sandbox.file("claim"), with_right_sum(&renamed)).expect("a claim can be written");
    sandbox.start("line starts ready", &[]);
    let second = sandbox.until_ready_after(service);
    assert_ne!(second, stranger.pid());
    assert_eq!((sandbox.value("adopted").as_deref(), sandbox.count("window_exits")), (Some("no"), 1));
    sandbox.write_control(b"dx");
    sandbox.until_ended();
    assert!(alive(stranger.pid()), "it was not touched");
}

#[test]
fn a_claim_whose_pid_is_a_thread_s_by_now_adopts_nobody() {
    let sandbox = Sandbox::new();
    sandbox.write_conf(ALARMED);
    sandbox.start("line starts ready", &[]);
    let service = sandbox.until_ready();
    kill_both(&sandbox, service);
    // A test is a thread that is not the first of its process.
    let thread = nix::unistd::gettid();
    assert_ne!(thread, nix::unistd::getpid());
    let renamed = sandbox.text("claim").replace(&format!("pid {service:020}\n"), &format!("pid {thread:020}\n"));
    fs::write(sandbox.file("claim"), with_right_sum(&renamed)).expect("a claim can be written");
    sandbox.start("line starts ready", &[]);
    sandbox.until_ready_after(service);
    assert_eq!((sandbox.value("adopted").as_deref(), sandbox.count("window_exits")), (Some("no"), 1));
}

#[test]
fn an_echo_x_to_the_dead_is_obeyed_by_the_successor() {
    let sandbox = Sandbox::new();
    sandbox.start("line starts ready", &[]);
    let service = sandbox.until_ready();
    sandbox.kill_supervise();
    let mut shell = sandbox.program("/bin/sh");
    shell.args(["-c", "echo x > status/app/svcontrol"]);
    let echo = sandbox.spawn(shell);
    sandbox.start("line starts ready", &[]);
    echo.wait().expect_code(0);
    assert!(alive(service));
    signal(service, Signal::SIGKILL);
    sandbox.until_ended();
    assert_eq!(sandbox.read("starts").lines().count(), 1);
}
