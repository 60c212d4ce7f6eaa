//! What supervise is doing when it is killed, or when a call of it fails. A new scenario is one more entry here.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::common::{alive, eventually, process_stat, signal};
use crate::world::{After, World};
use crate::{commands, replacing};

/// How the traced part begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// A supervise that runs already is attached to.
    Attach,
    /// A start in the background is traced from its exec on, with the caller's process.
    Start,
}

type Step = Box<dyn Fn(&World<'_>) + Send + Sync>;
type Fact = Box<dyn Fn(&World<'_>) -> bool + Send + Sync>;
type Outcome = Box<dyn Fn(&World<'_>, &After) + Send + Sync>;

/// One of them.
pub(crate) struct Scenario {
    pub(crate) name: String,
    /// What the service does once it has seen that it is alone.
    pub(crate) service: &'static str,
    pub(crate) conf: String,
    /// Options for supervise.
    pub(crate) options: Vec<&'static str>,
    pub(crate) begin: Begin,
    /// Brings the world to where it begins, after a supervise with its service is up (or, for [`Begin::Start`],
    /// nothing is).
    pub(crate) prepare: Step,
    /// Sets it going.
    pub(crate) act: Step,
    /// True once all that follows from it is done, where nobody interferes.
    pub(crate) settled: Fact,
    /// What must be so afterwards, beside the invariants. A successor was started where supervise had died.
    pub(crate) after: Outcome,
    /// A successor is started where supervise is gone.
    pub(crate) succeeded: bool,
}

impl Scenario {
    /// `U` is given in it.
    pub(crate) fn upgrades(&self) -> bool {
        self.name.split([' ', ',']).any(|word| word == "U")
    }
}

/// Alarms are stored, and never delivered: the relay refuses connections.
pub(crate) const CONF: &str = "[global]\nalarm_interval : 600\nalarm_mail : nobody@example.invalid\n\
                    mail_transport : smtp://127.0.0.1:1\npacing : 0.1\n";

/// A scenario in which nothing happens.
pub(crate) fn scenario(name: &str) -> Scenario {
    Scenario {
        name: name.to_owned(),
        service: "ready",
        conf: CONF.to_owned(),
        options: Vec::new(),
        begin: Begin::Attach,
        prepare: Box::new(|_| ()),
        act: Box::new(|_| ()),
        settled: Box::new(|_| true),
        after: Box::new(|world, _| {
            world.until_up();
        }),
        succeeded: true,
    }
}

/// The service has run for longer than the pacing, so that it is restarted at once.
pub(crate) fn ran() -> Box<dyn Fn(&World<'_>) + Send + Sync> {
    const ENOUGH: Duration = Duration::from_millis(120); // 0.1 s, and what the kernel's time of the start may be off
    Box::new(|world| {
        world.wait("the service has run for longer than the pacing", || {
            let uptime = std::fs::read_to_string("/proc/uptime").expect("proc(5) is there");
            let now = uptime.split(' ').next().and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs_f64);
            let service = world.sandbox.service_pid().and_then(process_stat);
            now.zip(service).is_some_and(|(now, service)| now.saturating_sub(service.started) > ENOUGH)
        });
    })
}

/// The counts of the long record.
#[track_caller]
pub(crate) fn expect_exits(world: &World<'_>, exits: u64) {
    eventually(&world.sandbox, &format!("{exits} exits are counted"), || world.sandbox.count("exits") >= exits);
    assert_eq!(world.sandbox.count("exits"), exits, "each exit is counted, and once");
}

#[track_caller]
pub(crate) fn expect_alarms(world: &World<'_>, alarms: usize) {
    eventually(&world.sandbox, &format!("{alarms} alarms are stored"), || world.spooled().len() >= alarms);
    assert_eq!(world.spooled().len(), alarms, "each alarm is stored, and once");
}

/// The service died once by itself, and one more time where the plan struck its successor before its exec.
pub(crate) fn after_a_crash(world: &World<'_>, after: &After) {
    world.until_up();
    expect_exits(world, 1 + u64::from(after.service_struck));
    if after.without_conf {
        return;
    }
    expect_alarms(world, 1);
    assert_eq!(world.sandbox.count("window_exits"), 1 + u64::from(after.service_struck));
}

fn starts() -> Vec<Scenario> {
    let unharmed = |world: &World<'_>, after: &After| {
        world.until_up();
        expect_exits(world, u64::from(after.service_struck));
        expect_alarms(world, usize::from(after.service_struck));
    };
    let up = |world: &World<'_>| world.sandbox.value("state").as_deref() == Some("up") && world.lives().len() == 1;
    vec![
        Scenario {
            begin: Begin::Start,
            settled: Box::new(up),
            after: Box::new(unharmed),
            ..scenario("start in a fresh directory")
        },
        Scenario {
            begin: Begin::Start,
            prepare: Box::new(|world| {
                world.supervise();
                world.until_up();
                world.sandbox.write_control(b"dx");
                world.wait("supervise ends", || !world.is_supervised());
                std::fs::remove_file(world.sandbox.path("starts")).expect("it is there");
            }),
            settled: Box::new(up),
            after: Box::new(unharmed),
            ..scenario("start in a directory that was used")
        },
        Scenario {
            begin: Begin::Start,
            prepare: Box::new(|world| {
                world.supervise();
                world.until_up();
                world.sandbox.kill_supervise();
            }),
            settled: Box::new(|world| world.sandbox.value("adopted").as_deref() == Some("yes")),
            after: Box::new(|world, _| {
                world.until_up();
                assert_eq!(world.lives().len(), 1, "the service that lives is adopted");
                expect_exits(world, 0);
                expect_alarms(world, 0);
            }),
            ..scenario("adoption")
        },
        Scenario {
            begin: Begin::Start,
            prepare: Box::new(|world| {
                world.supervise();
                world.until_up();
                world.sandbox.write_control(b"p");
                world.wait("the service is paused", || world.sandbox.record().paused == 1);
                world.sandbox.kill_supervise();
            }),
            settled: Box::new(|world| world.sandbox.value("adopted").as_deref() == Some("yes")),
            after: Box::new(|world, _| {
                // Where the STOP may not be sent, that is told, and it is paused no more.
                let refused = || world.said().iter().any(|line| line.contains("unable to send Stop"));
                world.wait("it is stopped again", || {
                    world.service_state() == Some('T') || refused() && world.sandbox.record().paused == 0
                });
                assert_eq!(world.lives().len(), 1);
            }),
            ..scenario("adoption of a paused service")
        },
        Scenario {
            begin: Begin::Start,
            prepare: Box::new(|world| {
                world.supervise();
                let service = world.until_up();
                world.sandbox.kill_supervise();
                signal(service, Signal::SIGKILL);
                world.sandbox.until_dead(service);
            }),
            settled: Box::new(|world| world.lives().len() == 2 && world.spooled().len() == 1),
            after: Box::new(after_a_crash),
            ..scenario("a start that finds the service dead")
        },
    ]
}

fn crashes() -> Vec<Scenario> {
    let act = || Box::new(|world: &World<'_>| world.kill_service());
    let restarted = || Box::new(|world: &World<'_>| world.lives().len() == 2 && world.spooled().len() == 1);
    vec![
        Scenario {
            prepare: ran(),
            act: act(),
            settled: restarted(),
            after: Box::new(after_a_crash),
            ..scenario("crash and restart")
        },
        Scenario {
            conf: CONF.replace("0.1", "0.5") + "log_max_size : 100\nlog_backups : 2\n",
            act: act(),
            settled: restarted(),
            after: Box::new(after_a_crash),
            ..scenario("crash and restart after the pacing")
        },
        Scenario {
            service: "child ready",
            conf: format!("{CONF}kill_mode : group\n"),
            prepare: ran(),
            act: act(),
            settled: restarted(),
            after: Box::new(|world, after| {
                after_a_crash(world, after);
                // What it may not end stays, and is told.
                if world.said().iter().any(|line| line.contains("what is left of the service's")) {
                    world.end_what_is_left();
                }
            }),
            ..scenario("crash of a group")
        },
        Scenario {
            prepare: Box::new(|world| {
                world.sandbox.kill_supervise();
                world.supervise();
                world.wait("it is adopted", || world.sandbox.value("adopted").as_deref() == Some("yes"));
                ran()(world);
            }),
            act: act(),
            settled: restarted(),
            after: Box::new(after_a_crash),
            ..scenario("crash of an adopted service")
        },
        Scenario {
            conf: CONF.replace("alarm_mail : nobody@example.invalid", "alarm_exec : ./service delivered sink"),
            prepare: ran(),
            act: act(),
            settled: Box::new(|world| {
                let delivered = world.sandbox.read("sink").lines().count() == 1;
                delivered && world.sandbox.value("undelivered").as_deref() == Some("0") && world.lives().len() == 2
            }),
            after: Box::new(|world, after| {
                world.until_up();
                expect_exits(world, 1 + u64::from(after.service_struck));
                // At least once, and always the same one. It may be the next attempt that does it.
                let alarms = || {
                    let sink = world.sandbox.read("sink");
                    let id = |line: &str| Some(line.strip_prefix('<')?.split_once('@')?.0.to_owned());
                    let mut ids: Vec<String> = sink.lines().filter_map(id).chain(world.spooled()).collect();
                    ids.sort();
                    ids.dedup();
                    ids.len()
                };
                world.wait("the alarm is stored or delivered", || alarms() == 1);
            }),
            ..scenario("crash, with an alarm that is delivered")
        },
        Scenario {
            options: vec!["-r", "./service note hooks"],
            prepare: ran(),
            act: act(),
            settled: restarted(),
            after: Box::new(after_a_crash),
            ..scenario("crash with a hook")
        },
        Scenario {
            conf: format!("{CONF}max_tries : 1\n"),
            prepare: Box::new(|world| {
                world.crash();
                world.wait("its alarm is stored", || world.spooled().len() == 1);
            }),
            act: act(),
            settled: Box::new(|world| !world.is_supervised()),
            after: Box::new(|world, after| {
                world.until_up();
                let subjects = world.sandbox.subjects();
                let gave_up = subjects.iter().filter(|subject| subject.contains("gave up after 1 tries")).count();
                // Killed before the turn had decided, the exit was found at a start, which never gives up (rule 12.7).
                assert!(subjects.len() == 1 + gave_up && gave_up <= 1, "{subjects:?}");
                let untold = || world.said().iter().any(|line| line.contains("alarms"));
                assert!(gave_up == 1 || after.supervise_struck || untold(), "a give-up is alarmed: {subjects:?}");
                let told = world.sandbox.warnings().matches("exited itself").count();
                assert!(told <= gave_up, "a give-up that was told was alarmed");
            }),
            ..scenario("give-up")
        },
        Scenario {
            conf: format!("{CONF}max_tries : 2\n"),
            prepare: Box::new(|world| {
                std::fs::copy(world.sandbox.path("service"), world.sandbox.path("copy")).expect("it can be copied");
                std::fs::remove_file(world.sandbox.path("service")).expect("it is there");
            }),
            act: act(),
            settled: Box::new(|world| !world.is_supervised()),
            after: Box::new(|world, _| {
                std::fs::rename(world.sandbox.path("copy"), world.sandbox.path("service")).expect("it is there");
                world.wait("it is up, after a give-up by a new supervise", || {
                    if !world.is_supervised() {
                        world.supervise();
                    }
                    world.sandbox.service_pid().is_some_and(|pid| world.lives().contains(&pid) && alive(pid))
                });
                let told = || world.said().iter().any(|line| line.contains("alarms"));
                world.wait("its alarm is stored, or it is told why not", || !world.spooled().is_empty() || told());
            }),
            ..scenario("crash, and the program is gone")
        },
    ]
}

/// All of them.
pub(crate) fn all() -> Vec<Scenario> {
    starts().into_iter().chain(crashes()).chain(commands::commands()).chain(replacing::replacing()).collect()
}
