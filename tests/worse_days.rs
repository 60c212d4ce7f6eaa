//! Days that are worse: no inodes, floods on svcontrol, services that harm themselves or the machine, pids that come
//! back as somebody else's, restarts without end.
//!
//! Two of the tests do as much as their environment says; `.ci/bad-days` runs them at length.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::adoption::ALARMED;
use crate::common::{
    Mount, Pid, Sandbox, after_a_delay, eventually, is_root, process_stat, signal, skip, supervise_program, with_mounts,
};

/// How much a test is to do, where somebody wants more than is usual.
fn amount(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

#[test]
fn without_inodes_services_are_restarted_and_records_are_right() {
    let sandbox = Sandbox::new();
    sandbox.write_conf(ALARMED);
    let folder = sandbox.path("status");
    fs::create_dir(&folder).expect("the sandbox is writable");
    with_mounts(&sandbox, &[Mount::FewInodes(&folder, 40)], || {
        sandbox.start("line started until USR1 exit 3", &[]);
        sandbox.until_lines("started", 1);
        sandbox.until_state("up");
        let mut taken = Vec::new();
        while let Ok(()) = File::create(folder.join(taken.len().to_string())).map(drop) {
            taken.push(folder.join(taken.len().to_string()));
        }
        assert!(!taken.is_empty());
        sandbox.write_control(b"1");
        let second = sandbox.until_marks("started", 2)[1].pid;
        // There is no place for a new record, but the old one has room.
        eventually(&sandbox, "the record names the second", || sandbox.service_pid() == Some(second));
        sandbox.until_value("starts", "2");
        sandbox.write_control(b"p");
        eventually(&sandbox, "it is paused", || process_stat(second).is_some_and(|stat| stat.state == 'T'));
        sandbox.write_control(b"c");
        assert_eq!(sandbox.alarms().len(), 0);
        taken.iter().for_each(|file| fs::remove_file(file).expect("it is there"));
        eventually(&sandbox, "the alarm that was owed is there", || sandbox.alarms().len() == 1);
        sandbox.write_control(b"dkx");
        sandbox.until_ended();
        assert_eq!(sandbox.record().pid, None);
    });
}

/// Writers that never stop, with junk and commands. `SUPERVISE_TEST_FLOOD_MIB`: so much at least.
#[test]
fn a_command_is_obeyed_in_a_flood() {
    let least = amount("SUPERVISE_TEST_FLOOD_MIB", 2) << 20;
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\nlog_max_size : 1m\n");
    sandbox.start("ready signals", &[]);
    sandbox.until_ready();
    let (written, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let open = || File::options().write(true).open(sandbox.file("svcontrol")).expect("it is read");
    let delay = std::thread::scope(|scope| {
        for bytes in [&[b'z'; 4096], &[0xff; 4096], &[b'n'; 4096], &[b's'; 4096], &[b'u'; 4096]] {
            let (written, stop, mut fifo) = (&written, &stop, open());
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    fifo.write_all(bytes).expect("there is a reader");
                    written.fetch_add(4096, Ordering::Relaxed);
                }
            });
        }
        let mut fifo = open();
        let half = || written.load(Ordering::Relaxed) >= least / 2;
        while !half() && sandbox.ok_is_held() {
            std::thread::sleep(Duration::from_millis(1));
        }
        fifo.write_all(b"1").expect("there is a reader");
        let stands = Instant::now();
        sandbox.until_said("got USR1");
        let delay = stands.elapsed();
        while written.load(Ordering::Relaxed) < least && sandbox.ok_is_held() {
            std::thread::sleep(Duration::from_millis(1));
        }
        stop.store(true, Ordering::Relaxed);
        delay
    });
    println!("{} MiB written; the command was seen obeyed after {delay:?}", written.load(Ordering::Relaxed) >> 20);
    open().write_all(b"2").expect("there is a reader");
    sandbox.until_said("got USR2");
    let log: u64 = ["supervise.log", "supervise.log.1", "supervise.log.wf", "supervise.log.wf.1"]
        .map(|name| fs::metadata(sandbox.file(name)).map_or(0, |meta| meta.len()))
        .iter()
        .sum();
    assert!(log <= 4 << 20, "the logs have {log} bytes");
}

/// `SUPERVISE_TEST_RESTARTS`: so many in a row.
#[test]
fn restarts_in_a_row_leave_memory_and_descriptors_as_they_were() {
    let count = amount("SUPERVISE_TEST_RESTARTS", 300);
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\npacing : 0.1\nlog_max_size : 64k\n");
    sandbox.background(&["-p", "status/app", "-F", "supervise.conf", "-f", "/bin/true"]).expect_code(0);
    let supervise = sandbox.supervise_pid();
    let (stop, starts) = (AtomicBool::new(false), || sandbox.count("starts"));
    let descriptors = || fs::read_dir(format!("/proc/{supervise}/fd")).expect("it lives").count();
    // `u` cuts the pacing, so they come as fast as they can.
    let until_started = |wanted: u64| {
        stop.store(false, Ordering::Relaxed);
        let mut fifo = File::options().write(true).open(sandbox.file("svcontrol")).expect("it is read");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    fifo.write_all(b"u").expect("there is a reader");
                    std::thread::sleep(Duration::from_micros(200));
                }
            });
            while starts() < wanted && sandbox.ok_is_held() {
                std::thread::sleep(Duration::from_millis(5));
            }
            stop.store(true, Ordering::Relaxed);
        });
        sandbox.write_control(b"d");
        sandbox.until_state("down");
        let status = fs::read_to_string(format!("/proc/{supervise}/status")).expect("it lives");
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
        let rss: u64 = rss.trim().trim_end_matches(" kB").parse().expect("digits");
        (rss, descriptors())
    };
    let before = until_started(count / 3);
    let after = until_started(count);
    println!("{} starts; KiB and descriptors {before:?}, then {after:?}", starts());
    assert!(starts() >= count);
    // The file in which `down` stands has its name shortly before it is closed.
    eventually(&sandbox, "no descriptor more than before", || descriptors() <= before.1);
    assert!(after.0 <= before.0 + 128, "KiB: {before:?}, then {after:?}");
}

#[test]
fn a_service_may_close_truncate_and_delete_its_own_output() {
    let sandbox = Sandbox::new();
    sandbox.write_conf(ALARMED);
    let harm = ": > status/app/__stdout; rm -f status/app/__stderr; exec 1>&- 2>&-; exec ./service line started until USR1 exit 3";
    let command = format!("sh -c \"echo words; echo more >&2; {harm}\"");
    sandbox.background(&["-p", "status/app", "-f", &command]).expect_code(0);
    for life in 1..=3 {
        sandbox.until_lines("started", life);
        eventually(&sandbox, "what it had said is gone", || {
            sandbox.stdout().is_empty() && !sandbox.file("__stderr").exists()
        });
        sandbox.write_control(b"1");
    }
    sandbox.until_lines("started", 4);
    eventually(&sandbox, "the alarm is there", || sandbox.subjects().len() == 1);
    sandbox.until_value("exits", "3");
    assert!(!sandbox.warnings().contains("__std"), "{}", sandbox.warnings());
    sandbox.write_control(b"dkx");
    sandbox.until_ended();
}

#[test]
fn a_fork_bomb_within_its_limit_is_stopped() {
    if !is_root() {
        return skip("only root can give a test's processes a user of their own");
    }
    // The limit counts the processes of a user, also those of another run of the tests.
    let user = 100_000 + std::process::id();
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\nkill_mode : group\npacing : 0.1\n");
    sandbox.give_to(user);
    let mut command = sandbox.command_as(user, &["-p", "status/app", "-f", "./service line started bomb"]);
    let limit = || {
        let limit = libc::rlimit { rlim_cur: 25, rlim_max: 25 };
        // SAFETY: a system call that reads a value of ours; nothing else happens between fork and exec.
        match unsafe { libc::setrlimit(libc::RLIMIT_NPROC, &limit) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: the closure makes one system call.
    unsafe { command.pre_exec(limit) };
    sandbox.run(command).expect_code(0);
    let supervise = sandbox.supervise_pid();
    // supervise may fork no more than the others: whoever has a place has it until the group is killed.
    for life in 1..=2 {
        sandbox.until_lines("started", life);
        eventually(&sandbox, "no process is left to it", || sandbox.processes().len() >= 24);
        sandbox.write_control(b"k");
    }
    sandbox.until_lines("started", 3);
    sandbox.write_control(b"d");
    sandbox.until_state("down");
    eventually(&sandbox, "supervise is left", || sandbox.processes() == [supervise]);
    sandbox.write_control(b"x");
    eventually(&sandbox, "nobody is left", || sandbox.processes().is_empty());
}

/// In a pid namespace of its own: `$1` is supervise. Each life ends with a stranger that has got the service's pid.
const STRANGERS: &str = r#"
set -u
pid() { od -An -j16 -N4 -tu4 status/app/status 2>/dev/null | tr -d ' '; }
is() { grep -q "^$1 : $2\$" status/app/state 2>/dev/null; }
fail() { echo "$1" >> said; exit 1; }
until_so() { n=0; until "$@"; do n=$((n + 1)); [ $n -lt 400 ] || fail "never: $*"; sleep 0.03; done; }
up() { p=$(pid); [ -n "$p" ] && [ "$p" != 0 ] && [ "$p" != "$old" ]; }
down() { [ "$(pid)" = 0 ]; }
gone() { ! kill -0 "$1" 2>/dev/null; }
start() { "$supervise" -p status/app -f './service wait' || fail "no start"; }
# Somebody else gets the pid of the dead.
reborn() {
    echo $((old - 1)) > /proc/sys/kernel/ns_last_pid || fail "no ns_last_pid"
    sleep 1000 &
    stranger=$!
    [ "$stranger" = "$old" ] && return 0
    kill -9 "$stranger"; wait "$stranger" 2>/dev/null
    return 1
}
lives() { [ -e "/proc/$stranger/stat" ] && ! grep -q ') Z' "/proc/$stranger/stat"; }
check() { lives || fail "$1: the stranger was killed"; kill -9 "$stranger"; wait "$stranger" 2>/dev/null; echo "$1" >> said; }
supervise=$1 old=0
start; until_so up; old=$(pid)

echo d > status/app/svcontrol; until_so down; until_so gone "$old"; until_so reborn
printf 'tkhiqpcd' > status/app/svcontrol; echo u > status/app/svcontrol; until_so up
check "down"

old=$(pid); boss=$(sed -n 's/^supervise : //p' status/app/state)
kill -9 "$boss"; until_so gone "$boss"; kill -9 "$old"; until_so gone "$old"; until_so reborn
start; until_so up; is adopted no || fail "adopted"
last=$(pid); echo k > status/app/svcontrol; until_so gone "$last"
check "found dead"

old=$last; until_so up; old=$(pid); boss=$(sed -n 's/^supervise : //p' status/app/state)
kill -9 "$boss"; until_so gone "$boss"; start; until_so is adopted yes
echo d > status/app/svcontrol; until_so down; until_so gone "$old"; until_so reborn
printf 'tkhiqpcd' > status/app/svcontrol; echo u > status/app/svcontrol; until_so up
check "adopted"
"#;

#[test]
fn a_stranger_with_the_pid_of_a_dead_service_is_left_alone() {
    if !is_root() {
        return skip("only root can make a PID namespace");
    }
    let sandbox = Sandbox::new();
    let mut command = sandbox.program("unshare");
    command.args(["-pf", "--mount-proc", "sh", "-c", STRANGERS, "sh"]).arg(supervise_program());
    let mut call = sandbox.spawn(command);
    eventually(&sandbox, "it is over", || !call.runs() || sandbox.read("said").lines().count() == 3);
    let output = call.wait();
    if output.stderr.contains("unshare") || sandbox.read("said").contains("ns_last_pid") {
        return skip(&format!("no pid namespace: {}", output.stderr));
    }
    assert_eq!(sandbox.read("said"), "down\nfound dead\nadopted\n", "{output:?}");
}

/// In a pid namespace of its own with 300 pids that come again and again: a crash loop under commands among strangers, and
/// supervise and its service killed with a stranger in the service's place. No stranger may ever get a signal.
const FEW_PIDS: &str = r#"
set -u
pid() { od -An -j16 -N4 -tu4 status/app/status 2>/dev/null | tr -d ' '; }
value() { sed -n "s/^$1 : //p" status/app/state 2>/dev/null; }
fail() { echo "$1" >> said; exit 1; }
until_so() { n=0; until "$@"; do n=$((n + 1)); [ $n -lt 400 ] || fail "never: $*"; sleep 0.03; done; }
up() { p=$(pid); [ -n "$p" ] && [ "$p" != 0 ]; }
more() { [ "$(value starts)" -gt "$1" ]; }
gone() { ! kill -0 "$1" 2>/dev/null; }
live() { "$supervise" -p status/app -f "$1" -F supervise.conf || fail "no start"; }
supervise=$1
# Before Linux 6.14 all pid namespaces have one limit, and that is not a test's to set.
IFS=.- read -r major minor rest < /proc/sys/kernel/osrelease
[ "$major" -gt 6 ] || { [ "$major" -eq 6 ] && [ "$minor" -ge 14 ]; } || { echo "skip: no pid_max of its own" >> said; exit 1; }
echo 600 > /proc/sys/kernel/pid_max || { echo "skip: no pid_max" >> said; exit 1; }
echo 590 > /proc/sys/kernel/ns_last_pid || { echo "skip: no ns_last_pid" >> said; exit 1; }

live './service exit 3'
loops=0
while [ $loops -lt 40 ]; do
    all=
    for byte in t k h i q 1 2 u; do
        sleep 0.05 & all="$all $!"
        printf %s $byte > status/app/svcontrol
    done
    for one in $all; do wait "$one" || fail "a stranger ended with $?"; done
    loops=$((loops + 1))
done
until_so more 100
echo dx > status/app/svcontrol; boss=$(value supervise); until_so gone "$boss"
echo "crash loop" >> said

round=0
while [ $round -lt 3 ]; do
    live './service wait'; until_so up; old=$(pid); boss=$(value supervise)
    kill -9 "$boss"; until_so gone "$boss"; kill -9 "$old"; until_so gone "$old"
    # Pids are taken in turn until that of the dead comes again.
    tries=0 stranger=0
    while [ $stranger != "$old" ]; do
        [ $tries -lt 900 ] || fail "pid $old did not come again"
        [ $stranger = 0 ] || { kill -9 $stranger; wait $stranger 2>/dev/null; }
        sleep 1000 & stranger=$!
        tries=$((tries + 1))
    done
    live './service wait'; until_so up
    [ "$(value adopted)" = no ] || fail "adopted a stranger"
    [ "$(pid)" != "$old" ] || fail "the stranger is in the record"
    printf 'tkhiqpcd' > status/app/svcontrol; echo dx > status/app/svcontrol
    boss=$(value supervise); until_so gone "$boss"
    kill -0 $stranger || fail "the stranger was killed"
    case $(cat /proc/$stranger/stat) in *") S "*) ;; *) fail "the stranger was stopped" ;; esac
    kill -9 $stranger; wait $stranger 2>/dev/null
    round=$((round + 1))
done
echo "found dead" >> said
"#;

#[test]
fn pids_that_wrap_around_lead_no_signal_to_a_stranger() {
    if !is_root() {
        return skip("only root can make a PID namespace");
    }
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\npacing : 0.1\nalarm_interval : 60\n");
    let mut command = sandbox.program("unshare");
    command.args(["-pf", "--mount-proc", "sh", "-c", FEW_PIDS, "sh"]).arg(supervise_program());
    let mut call = sandbox.spawn(command);
    after_a_delay(&sandbox, "it is over", || !call.runs());
    let output = call.wait();
    let said = sandbox.read("said");
    if output.stderr.contains("unshare") || said.starts_with("skip") {
        return skip(&format!("no pid namespace with few pids: {said}{}", output.stderr));
    }
    assert_eq!(said, "crash loop\nfound dead\n", "{output:?}");
}

#[test]
fn a_service_that_ignores_term_is_there_until_it_is_killed() {
    let sandbox = Sandbox::new();
    sandbox.start("ignore TERM ready wait", &[]);
    let service: Pid = sandbox.until_ready();
    sandbox.write_control(b"dt");
    sandbox.until_state("stopping");
    // It answers all the same, and nothing but `k` ends it.
    sandbox.write_control(b"p");
    eventually(&sandbox, "it is stopped", || process_stat(service).is_some_and(|stat| stat.state == 'T'));
    sandbox.write_control(b"cx");
    assert_eq!(sandbox.service_pid(), Some(service));
    signal(sandbox.supervise_pid(), Signal::SIGTERM);
    sandbox.write_control(b"k");
    sandbox.until_ended();
    assert_eq!(sandbox.record().pid, None);
}

/// Where a test fails, the thread that traces this process must not wait for its end for ever.
#[cfg(target_arch = "x86_64")]
struct EndOnFailure<'a>(&'a std::sync::atomic::AtomicI32);

#[cfg(target_arch = "x86_64")]
impl Drop for EndOnFailure<'_> {
    fn drop(&mut self) {
        let pid = self.0.load(Ordering::SeqCst);
        if std::thread::panicking() && pid > 1 {
            signal(pid, Signal::SIGKILL);
        }
    }
}

/// The wall clock goes a year ahead, and a year back: stamps follow it, and nothing else.
#[cfg(target_arch = "x86_64")]
#[test]
fn a_clock_that_is_set_changes_stamps_and_nothing_else() {
    use std::sync::atomic::{AtomicI32, AtomicI64};
    const YEAR: i64 = 366 * 86_400;
    let sandbox = Sandbox::new();
    sandbox.write_conf("[app]\nalarm_interval : 600\npacing : 0.1\n");
    let args = ["--foreground", "-p", "status/app", "-f", "./service line started until USR1 exit 3"];
    let (ahead, pid, ended) = (AtomicI64::new(0), AtomicI32::new(0), AtomicBool::new(false));
    let command = sandbox.command(&args);
    std::thread::scope(|scope| {
        let _end = EndOnFailure(&pid);
        let traced = scope.spawn(|| {
            let result =
                crate::common::run_with_wall_clock(command, &ahead, |started| pid.store(started, Ordering::SeqCst));
            ended.store(true, Ordering::SeqCst);
            result
        });
        eventually(&sandbox, "it is up, or can't be traced", || {
            sandbox.service_pid().is_some() || ended.load(Ordering::SeqCst)
        });
        if ended.load(Ordering::SeqCst) {
            return skip(&format!("no process may be traced here: {:?}", traced.join()));
        }
        let now = i64::try_from(sandbox.record().seconds).expect("seconds fit");
        for (life, years) in [(2, 1), (3, 0), (4, -1), (5, 0)] {
            sandbox.until_lines("started", life - 1);
            ahead.store(years * YEAR, Ordering::SeqCst);
            sandbox.write_control(b"1");
            let marks = sandbox.until_marks("started", life);
            // Delays are short whatever the wall clock says, and the window is still the same.
            eventually(&sandbox, "the record names it", || sandbox.service_pid() == Some(marks[life - 1].pid));
            sandbox.until_value("window_exits", &(life - 1).to_string());
            let stamp = i64::try_from(sandbox.record().seconds).expect("seconds fit");
            assert!((stamp - now - years * YEAR).abs() < 3600, "{years}: {now}, then {stamp}");
        }
        sandbox.write_control(b"dkx");
        assert!(traced.join().expect("no panic").expect("it was seen to its end").success());
    });
}
