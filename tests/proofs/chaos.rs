//! Everybody dies at random, commands fall like rain, and at every pause for breath the invariants hold.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::common::{Pid, Random, signal, supervise_program};
use crate::invariants::{self, Published, descriptors_of};
use crate::scenarios::{Begin, Scenario, scenario};
use crate::world::World;

/// So many rounds lie between two pauses for breath.
const BETWEEN_CHECKS: u64 = 20;

/// Resident memory may differ by so much from pause to pause, in KiB: a page here and there, but nothing that grows.
const SLACK_KIB: u64 = 128;

/// A second alarm about the same pid within this many seconds is about the same exit: numbers are not reused so soon.
const SAME_EXIT: f64 = 30.0;

/// What one worker has done.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) rounds: u64,
    pub(crate) supervises_killed: u64,
    pub(crate) services_killed: u64,
    pub(crate) svalarms_killed: u64,
    pub(crate) commands: u64,
    pub(crate) upgrades_asked: u64,
    pub(crate) upgraded: u64,
    pub(crate) looks: u64,
    pub(crate) windows: u64,
    pub(crate) gave_up: u64,
    pub(crate) alarms: u64,
    pub(crate) repeats: u64,
}

impl Figures {
    pub(crate) fn add(&mut self, other: &Self) {
        self.rounds += other.rounds;
        self.supervises_killed += other.supervises_killed;
        self.services_killed += other.services_killed;
        self.svalarms_killed += other.svalarms_killed;
        self.commands += other.commands;
        self.upgrades_asked += other.upgrades_asked;
        self.upgraded += other.upgraded;
        self.looks += other.looks;
        self.windows += other.windows;
        self.gave_up += other.gave_up;
        self.alarms += other.alarms;
        self.repeats += other.repeats;
    }

    /// What happened too seldom, so that the rounds prove nothing about it.
    pub(crate) fn too_few(&self) -> Vec<String> {
        // By less than half of what is usual, and of what is rare only where there are many rounds.
        let of_rounds = |share: u64| self.rounds / share;
        let figures = [
            ("rounds", self.rounds, 1),
            ("supervises killed", self.supervises_killed, of_rounds(20)),
            ("services killed", self.services_killed, of_rounds(10)),
            ("svalarms killed", self.svalarms_killed, of_rounds(400)),
            ("commands", self.commands, of_rounds(4)),
            ("upgrades", self.upgraded, of_rounds(100)),
            ("looks", self.looks, of_rounds(1)),
            ("windows", self.windows, of_rounds(100)),
            ("alarms", self.alarms, of_rounds(100)),
            ("give-ups", self.gave_up, of_rounds(1000)),
        ];
        let few = figures.into_iter().filter(|(_, number, least)| number < least);
        few.map(|(what, number, least)| format!("chaos: only {number} {what} of at least {least}")).collect()
    }
}

const CONF: &str = "[global]\nalarm_interval : 600\nalarm_exec : ./service sleep 20 delivered sink\npacing : 0.1\n";

/// The worlds in which it happens. The first keeps its supervise all the time, so that what it needs can be measured.
fn worlds() -> Vec<Scenario> {
    let world = |name: &str, service: &'static str, conf: &str, options: &[&'static str]| Scenario {
        service,
        conf: format!("{CONF}{conf}"),
        options: options.to_vec(),
        begin: Begin::Start,
        ..scenario(name)
    };
    vec![
        world("a supervise that lives", "ready", "stop_timeout : 0.2\n", &[]),
        world("a give-up now and then", "ready", "max_tries : 3\n", &[]),
        world("a group", "child ready", "kill_mode : group\nmax_tries : 10\n", &[]),
        world("a hook", "ready", "hook_timeout : 1\n", &["-r", "./service note hooks"]),
        world("a service that crashes by itself", "ready sleep 150 exit 3", "max_tries : 20\n", &[]),
    ]
}

/// What a reader that never pauses has seen.
#[derive(Debug, Default)]
struct Witness {
    windows: BTreeSet<String>,
    gave_up: BTreeSet<String>,
    upgraded: BTreeSet<String>,
    trouble: Option<String>,
}

/// Runs so many rounds in all.
pub(crate) fn run(rounds: u64, seed: u64) -> (Figures, Vec<String>) {
    let scenarios = worlds();
    let share = rounds.div_ceil(scenarios.len() as u64);
    let total = Mutex::new((Figures::default(), Vec::new()));
    std::thread::scope(|scope| {
        for (number, scenario) in scenarios.iter().enumerate() {
            let total = &total;
            scope.spawn(move || {
                let work = || chaos(scenario, share, seed + number as u64, number == 0);
                let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
                let mut total = total.lock().expect("nobody panics with it");
                match result {
                    Ok(figures) => total.0.add(&figures),
                    Err(_) => total.1.push(format!("{}, seed {seed}", scenario.name)),
                }
            });
        }
    });
    total.into_inner().expect("nobody panics with it")
}

fn chaos(scenario: &Scenario, rounds: u64, seed: u64, lives: bool) -> Figures {
    let world = World::new(scenario);
    let mut figures = Figures::default();
    let mut random = Random::new(seed);
    let mut usual = None;
    let over = AtomicBool::new(false);
    let (witness, looks) = (Mutex::new(Witness::default()), AtomicU64::new(0));
    world.supervise();
    world.until_up();
    std::thread::scope(|scope| {
        scope.spawn(|| watch(&world, &over, &looks, &witness));
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for round in 0..rounds {
                let killed = one_round(&world, &mut random, lives, &mut figures);
                if !world.is_supervised() {
                    world.supervise();
                }
                if round % BETWEEN_CHECKS == BETWEEN_CHECKS - 1 {
                    // What it had published is no answer to what is asked now.
                    killed.into_iter().for_each(|pid| world.sandbox.until_dead(pid));
                    breathe(&world, lives, &mut usual);
                    assert_eq!(witness.lock().expect("nobody panics with it").trouble, None);
                }
                figures.rounds += 1;
            }
        }));
        over.store(true, Ordering::Relaxed);
        if let Err(panic) = done {
            std::panic::resume_unwind(panic);
        }
    });
    figures.looks = looks.load(Ordering::Relaxed);
    let witness = witness.into_inner().expect("nobody panics with it");
    assert_eq!(witness.trouble, None, "seen by a reader");
    world.leave();
    account(&world, &witness, &mut figures);
    figures
}

/// Something happens. The answer: the supervise that was killed.
fn one_round(world: &World<'_>, random: &mut Random, lives: bool, figures: &mut Figures) -> Option<Pid> {
    let mut killed = None;
    let supervise: Option<Pid> = world.sandbox.value("supervise").and_then(|pid| pid.parse().ok());
    match random.below(10) {
        0..3 if !lives => {
            killed = supervise.filter(|pid| world.holds_lock(*pid));
            killed.into_iter().for_each(|pid| signal(pid, Signal::SIGKILL));
            figures.supervises_killed += 1;
            if random.below(3) == 0 {
                random.pass_some_time(Duration::from_millis(5)); // the service is alone for a while
            }
        }
        3 => {
            // One that is just at work, if this brings an alarm.
            world.sandbox.service_pid().into_iter().for_each(|pid| signal(pid, Signal::SIGKILL));
            random.pass_some_time(Duration::from_millis(40));
            for pid in world.svalarms() {
                signal(pid, Signal::SIGKILL);
                figures.svalarms_killed += 1;
            }
        }
        4..7 => {
            let all =
                [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGSEGV, Signal::SIGINT, Signal::SIGSTOP, Signal::SIGCONT];
            let which = all[random.below(all.len() as u64) as usize];
            if let Some(pid) = world.sandbox.service_pid() {
                signal(pid, which);
                figures.services_killed += 1;
            }
        }
        _ => {
            let all: &[u8] = if lives { b"uuddokktihaq12pcsnrUU" } else { b"uuddokktihaq12pcsnrUUx" };
            let bytes: Vec<u8> = (0..=random.below(4)).map(|_| all[random.below(all.len() as u64) as usize]).collect();
            world.command(&bytes);
            figures.commands += bytes.len() as u64;
            figures.upgrades_asked += bytes.iter().filter(|&&byte| byte == b'U').count() as u64;
        }
    }
    let pause = if random.below(8) == 0 { 120 } else { 4 };
    random.pass_some_time(Duration::from_millis(pause));
    killed
}

/// A pause: commands are obeyed one by one, and everything that is said is true.
#[track_caller]
fn breathe(world: &World<'_>, lives: bool, usual: &mut Option<(usize, u64)>) {
    let sandbox = &world.sandbox;
    let is = |key: &str, value: &str| sandbox.value(key).as_deref() == Some(value);
    // Whatever had been asked for: alarms off, so that nothing here is a give-up, and up.
    world.until_obeyed(b"scu", "alarms are off, and the service is up", || {
        is("alarms", "no") && is("state", "up") && is("wanted", "up")
    });
    if !world.scenario.service.contains("exit") {
        world.until_obeyed(b"cp", "paused", || is("paused", "yes") && world.service_state() == Some('T'));
        world.until_obeyed(b"c", "continued", || is("paused", "no") && world.service_state() != Some('T'));
        let old = sandbox.service_pid();
        world.until_obeyed(b"k", "killed, and started again", || {
            is("state", "up") && sandbox.service_pid().is_some_and(|pid| Some(pid) != old)
        });
    }
    // An `x` of before may end it just then; the next one is told again.
    world.until_obeyed(b"d", "down, and all of it is true", || {
        is("state", "down") && is("wanted", "down") && invariants::untrue(sandbox).is_none()
    });
    world.until_ok("nobody is left over", || invariants::strangers(world));
    invariants::never_two(sandbox);
    if !lives {
        world.command(b"x"); // the next supervise has a window of its own, and so an alarm
        world.wait("supervise has ended", || !world.is_supervised());
        world.supervise();
    }
    world.until_obeyed(b"un", "up, alarms on", || is("alarms", "yes") && sandbox.service_pid().is_some());
    if lives {
        let pid = sandbox.supervise_pid();
        let now = (descriptors_of(pid).len(), resident_kib(pid));
        let (descriptors, kib) = usual.get_or_insert(now);
        // svalarm may be on its way, which has a pipe.
        assert!(now.0 <= *descriptors + 1, "{} descriptors, and {descriptors} at first", now.0);
        assert!(now.1 <= *kib + SLACK_KIB, "{} KiB, and {kib} at first", now.1);
    }
}

fn resident_kib(pid: Pid) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Reads the records over and over.
fn watch(world: &World<'_>, over: &AtomicBool, looks: &AtomicU64, witness: &Mutex<Witness>) {
    let published = Published::in_directory(world.sandbox.status_path());
    let (mut last, mut seen) = (String::new(), Witness::default());
    while !over.load(Ordering::Relaxed) {
        looks.fetch_add(1, Ordering::Relaxed);
        if let Some(trouble) = invariants::records_are_whole(world.sandbox.status_path(), &published) {
            witness.lock().expect("nobody panics with it").trouble.get_or_insert(trouble);
        }
        let text = world.sandbox.text("state");
        if text == last {
            std::thread::yield_now();
            continue;
        }
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" : "));
        seen.windows.extend(value("window_opened").map(str::to_owned));
        seen.upgraded.extend(value("upgraded").map(str::to_owned));
        if value("state") == Some("gave-up") {
            seen.gave_up.extend(value("last_exit_at").map(str::to_owned));
        }
        if let Some(problem) = value("upgrade_problem") {
            seen.trouble.get_or_insert_with(|| format!("no upgrade: {problem}"));
        }
        last = text;
    }
    let mut witness = witness.lock().expect("nobody panics with it");
    let trouble = witness.trouble.take().or(seen.trouble.take());
    *witness = Witness { trouble, ..seen };
}

/// An alarm that arrived: its kind, its time and the pid that it is about.
type Arrived = (String, String, Pid);

/// Every alarm that was raised has arrived, and every exit under one id.
fn account(world: &World<'_>, witness: &Witness, figures: &mut Figures) {
    let sandbox = &world.sandbox;
    let svalarm: PathBuf = supervise_program().with_file_name("svalarm");
    world.wait("all alarms are delivered", || {
        let mut command = sandbox.program(&svalarm);
        command.args(["--once", "--now", "status/app"]);
        sandbox.run(command);
        world.spooled().is_empty()
    });
    let failed = fs::read_dir(sandbox.file("alarms/failed")).map_or(0, Iterator::count);
    assert_eq!(failed, 0, "no alarm is refused");
    let mut arrived = BTreeMap::<String, Vec<Arrived>>::new();
    for line in sandbox.read("sink").lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let [id, kind, time, pid] = fields[..] else { panic!("not a line of the sink: {line:?}") };
        let id = id.trim_start_matches('<').split('@').next().unwrap_or_default().to_owned();
        let alarm = (kind.to_owned(), time.to_owned(), pid.parse().unwrap_or(0));
        let copies = arrived.entry(id.clone()).or_default();
        // A successor that finds the exit again knows less of it, but it is the same run.
        figures.repeats += u64::from(!copies.is_empty());
        assert!(copies.iter().all(|copy| copy.2 == alarm.2), "{id} came twice: {copies:?}, {alarm:?}");
        copies.push(alarm);
    }
    figures.alarms += arrived.len() as u64;
    for raised in sandbox.log().lines().filter_map(|line| line.split_once("an alarm is raised: alarms/")) {
        assert!(arrived.contains_key(raised.1), "{} was raised and did not arrive", raised.1);
    }
    let has = |kinds: &[&str], time: &String| {
        arrived.values().flatten().any(|alarm| kinds.contains(&alarm.0.as_str()) && alarm.1 == *time)
    };
    let seconds = |time: &str| time.parse::<f64>().unwrap_or(0.0);
    // Found a second time by a successor, whose window it opened: the alarm says when it was found first.
    let log = sandbox.log();
    let was_there = log.lines().filter_map(|line| line.split_once("an alarm was there already: alarms/"));
    let was_there: Vec<&Arrived> = was_there.filter_map(|(_, id)| arrived.get(id)).flatten().collect();
    let found_before =
        |time: &String| was_there.iter().any(|alarm| (0.0..SAME_EXIT).contains(&(seconds(time) - seconds(&alarm.1))));
    for opened in &witness.windows {
        let came = has(&["exited", "coredump", "gave-up"], opened) || found_before(opened);
        assert!(came, "a window opened at {opened}, and no alarm came");
    }
    for time in &witness.gave_up {
        assert!(has(&["gave-up"], time), "a give-up at {time}, and no alarm came");
    }
    figures.windows += witness.windows.len() as u64;
    figures.gave_up += witness.gave_up.len() as u64;
    figures.upgraded += witness.upgraded.len() as u64;
    let all: Vec<(&String, &Arrived)> =
        arrived.iter().flat_map(|(id, copies)| copies.iter().map(move |copy| (id, copy))).collect();
    for (number, (id, (_, time, pid))) in all.iter().enumerate() {
        let twin = all[..number].iter().find(|(other_id, other)| {
            other_id != id && other.2 == *pid && (seconds(&other.1) - seconds(time)).abs() < SAME_EXIT
        });
        assert!(twin.is_none(), "the exit of {pid} was alarmed as {id} and as {twin:?}");
    }
}
