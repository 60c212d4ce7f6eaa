//! The scenarios in which supervise is told something.

use nix::sys::signal::Signal;

use crate::common::signal;
use crate::scenarios::{CONF, Scenario, scenario};
use crate::world::World;

/// One command, and what is to be seen of it.
fn command(
    name: &str,
    bytes: &'static [u8],
    base: Scenario,
    obeyed: impl Fn(&World<'_>) -> bool + Clone + Send + Sync + 'static,
) -> Scenario {
    let settled = obeyed.clone();
    Scenario {
        name: name.to_owned(),
        act: Box::new(move |world| world.command(bytes)),
        settled: Box::new(settled),
        after: Box::new(move |world, after| {
            // Run once and killed before its exec, it is not started again.
            let once = || after.service_struck && world.sandbox.record().wanted == 0;
            if !after.supervise_struck || after.turn_ended {
                world.wait("the command is obeyed", || obeyed(world) || once());
            } else {
                world.wait("it was obeyed or not", || world.sandbox.value("state").is_some());
            }
        }),
        ..base
    }
}

/// One scenario for each, and for the two signals.
pub(crate) fn commands() -> Vec<Scenario> {
    let up = || scenario("");
    fn state(world: &World<'_>, state: &str) -> bool {
        world.sandbox.value("state").as_deref() == Some(state)
    }
    let is_down = |world: &World<'_>| state(world, "down") && world.sandbox.record().pid.is_none();
    let not_killed = |world: &World<'_>| world.said().iter().any(|line| line.contains("unable to send Kill"));
    let lives = |count: usize| move |world: &World<'_>| world.lives().len() == count && state(world, "up");
    // The service waits for signals, and says which one came.
    let hears = || Scenario { service: "ready signals", conf: format!("{CONF}hup : default\n"), ..scenario("") };
    let said = |line: &'static str| move |world: &World<'_>| world.sandbox.stdout().lines().any(|said| said == line);
    let down = || Scenario {
        prepare: Box::new(|world| {
            world.sandbox.write_control(b"d");
            world.sandbox.until_state("down");
        }),
        ..scenario("")
    };
    let paused = || Scenario {
        prepare: Box::new(|world| {
            world.sandbox.write_control(b"p");
            world.wait("the service is paused", || world.sandbox.record().paused == 1);
        }),
        ..scenario("")
    };
    let mut all = vec![
        command("d while up", b"d", up(), is_down),
        command("u while down", b"u", down(), lives(2)),
        command("o while down", b"o", down(), move |world| {
            // What could not be started at all is not tried again.
            let refused = || is_down(world) && world.sandbox.warnings().contains("[FATAL]");
            (lives(2)(world) || refused()) && world.sandbox.value("wanted").as_deref() == Some("once")
        }),
        command("k", b"k", up(), lives(2)),
        command("t", b"t", up(), lives(2)),
        command("i", b"i", up(), lives(2)),
        command("q", b"q", up(), lives(2)),
        command("h", b"h", hears(), said("got HUP")),
        command("a", b"a", hears(), said("got ALRM")),
        command("1", b"1", hears(), said("got USR1")),
        command("2", b"2", hears(), said("got USR2")),
        command("p", b"p", up(), |world| world.service_state() == Some('T') && world.sandbox.record().paused == 1),
        command("c", b"c", paused(), |world| world.service_state() == Some('S') && world.sandbox.record().paused == 0),
        command("s", b"s", up(), |world| world.sandbox.record().alarms == b'x'),
        command(
            "n",
            b"n",
            Scenario {
                prepare: Box::new(|world| {
                    world.sandbox.write_control(b"s");
                    world.wait("alarms are off", || world.sandbox.record().alarms == b'x');
                }),
                ..scenario("")
            },
            |world| world.sandbox.record().alarms == b'o',
        ),
        command("du, a restart", b"du", up(), lives(2)),
    ];
    all.extend([
        Scenario {
            act: Box::new(|world| {
                let service = world.sandbox.service_pid().expect("it runs");
                world.command(b"x");
                signal(service, Signal::SIGTERM);
            }),
            settled: Box::new(|world| !world.is_supervised()),
            ..scenario("x, and the service ends")
        },
        Scenario { settled: Box::new(|world| !world.is_supervised()), ..command("dx", b"dx", up(), |_| true) },
        Scenario {
            settled: Box::new(|world| !world.is_supervised()),
            ..command("x while down", b"x", down(), |_| true)
        },
        Scenario {
            act: Box::new(|world| world.signal_supervise(Signal::SIGTERM)),
            settled: Box::new(|world| !world.is_supervised()),
            after: Box::new(|world, _| {
                // Killed after it had sent TERM and written that, it leaves a service that is to be down.
                world.wait("it is up, or down as asked for", || {
                    world.sandbox.value("state").is_some_and(|state| state == "up" || state == "down")
                });
            }),
            ..scenario("TERM to supervise")
        },
        Scenario {
            prepare: Box::new(|world| {
                world.sandbox.write_conf(&CONF.replace("pacing : 0.1", "pacing : 0.2\n:nonsense"))
            }),
            settled: Box::new(|world| world.sandbox.value("conf_problem").is_some()),
            ..command("r", b"r", up(), |world| world.sandbox.value("conf_problem").is_some())
        },
        Scenario {
            prepare: Box::new(|world| {
                world.sandbox.write_conf(&CONF.replace("pacing : 0.1", "pacing : 0.2\n:nonsense"))
            }),
            act: Box::new(|world| world.signal_supervise(Signal::SIGHUP)),
            settled: Box::new(|world| world.sandbox.value("conf_problem").is_some()),
            ..scenario("HUP to supervise")
        },
        Scenario {
            service: "ignore TERM ready",
            conf: format!("{CONF}stop_timeout : 0.2\n"),
            prepare: Box::new(|world| {
                world.sandbox.until_ready();
            }),
            // Where KILL may not be sent either, that is told, and it is the operator's turn.
            settled: Box::new(move |world| is_down(world) || not_killed(world)),
            after: Box::new(move |world, after| {
                if not_killed(world) {
                    world.until_obeyed(b"dk", "it is killed", || is_down(world));
                }
                let heard = !after.supervise_struck || after.turn_ended;
                world.wait("the command is obeyed", || is_down(world) || !heard && state(world, "up"));
            }),
            ..command("d, and the service ignores TERM", b"d", up(), is_down)
        },
        Scenario {
            options: vec!["-r", "./service line hooks wait"],
            prepare: Box::new(|world| {
                world.kill_service();
                world.sandbox.until_state("hook");
                world.wait("the hook runs", || world.sandbox.read("hooks").lines().count() == 1);
                world.wait("the alarm is stored", || world.spooled().len() == 1);
            }),
            settled: Box::new(move |world| {
                // One that may not be ended runs on, and that is told.
                if world.said().iter().any(|line| line.contains("unable to end the hook")) {
                    world.hooks().into_iter().for_each(|pid| signal(pid, Signal::SIGKILL));
                }
                is_down(world)
            }),
            ..command("d while a hook runs", b"d", up(), is_down)
        },
        Scenario {
            prepare: Box::new(|world| {
                world.crash();
                world.wait("its alarm is stored", || world.spooled().len() == 1);
            }),
            settled: Box::new(|world| {
                // The alarm is another's business from then on, or it is told why not.
                let told = || world.said().iter().any(|line| line.contains("svalarm"));
                !world.is_supervised() && (!world.svalarms().is_empty() || told())
            }),
            ..command("dx, with an alarm in the spool", b"dx", up(), |_| true)
        },
    ]);
    all
}
