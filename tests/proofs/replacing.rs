//! The scenarios in which one supervise takes the place of another that lives: `U`, and `--take-over`.

use nix::sys::signal::Signal;

use crate::common::{Pid, alive, eventually_some, example, signal};
use crate::scenarios::{Begin, CONF, Scenario, after_a_crash, expect_alarms, expect_exits, ran, scenario};
use crate::world::World;

/// All of them.
pub(crate) fn replacing() -> Vec<Scenario> {
    upgrades().into_iter().chain(upgrades_and_an_exit()).chain(takings_over()).collect()
}

/// The next program is there, or was refused, or has begun anew where it could not go on.
fn is_answered(world: &World<'_>) -> bool {
    let has = |key| world.sandbox.value(key).is_some();
    has("upgraded") || has("upgrade_problem") || world.has_another_supervise()
}

/// Something with `U` in it. The fact holds after it, whoever is supervise then.
fn upgrade(base: Scenario, fact: impl Fn(&World<'_>) -> bool + Clone + Send + Sync + 'static) -> Scenario {
    let settled = fact.clone();
    Scenario {
        settled: Box::new(move |world| is_answered(world) && settled(world)),
        after: Box::new(move |world, after| {
            world.wait("all is as it was", || fact(world));
            assert!(after.struck || world.sandbox.value("upgraded").is_some(), "it is upgraded");
        }),
        ..base
    }
}

/// Gives `U`.
fn give_u() -> Box<dyn Fn(&World<'_>) + Send + Sync> {
    Box::new(|world| world.command(b"U"))
}

fn is_in(world: &World<'_>, state: &str) -> bool {
    world.sandbox.value("state").as_deref() == Some(state)
}

/// While up, down, paused and pacing; with a command, and with the end of supervise.
fn upgrades() -> Vec<Scenario> {
    let up = |world: &World<'_>| is_in(world, "up") && world.lives().len() == 1 && world.sandbox.count("exits") == 0;
    let down = |world: &World<'_>| is_in(world, "down") && world.sandbox.record().pid.is_none();
    let alarms_off = |world: &World<'_>| world.sandbox.record().alarms == b'x';
    let told = |bytes: &'static [u8], fact: fn(&World<'_>) -> bool| {
        move |world: &World<'_>| {
            world.sandbox.write_control(bytes);
            world.wait("the command is obeyed", || fact(world));
        }
    };
    let paused = |world: &World<'_>| world.service_state() == Some('T') && world.sandbox.record().paused == 1;
    vec![
        upgrade(Scenario { act: give_u(), ..scenario("U while up") }, up),
        upgrade(Scenario { prepare: Box::new(told(b"d", down)), act: give_u(), ..scenario("U while down") }, down),
        upgrade(
            Scenario { prepare: Box::new(told(b"p", paused)), act: give_u(), ..scenario("U while paused") },
            move |world| {
                // Where a successor may not send the STOP, that is told, and it is paused no more.
                let refused = || world.said().iter().any(|line| line.contains("unable to send Stop"));
                world.lives().len() == 1 && (paused(world) || refused() && world.sandbox.record().paused == 0)
            },
        ),
        Scenario {
            conf: CONF.replace("pacing : 0.1", "pacing : 60"),
            prepare: Box::new(|world| {
                world.kill_service();
                world.wait("it is pacing", || is_in(world, "pacing"));
                world.wait("its alarm is stored", || world.spooled().len() == 1);
            }),
            act: give_u(),
            settled: Box::new(|world| is_answered(world) && (is_in(world, "pacing") || world.lives().len() == 2)),
            after: Box::new(|world, after| {
                if is_in(world, "pacing") {
                    world.until_obeyed(b"u", "the pacing is cut short", || world.lives().len() == 2);
                }
                after_a_crash(world, after);
            }),
            ..scenario("U while pacing")
        },
        Scenario {
            act: Box::new(|world| {
                world.command(b"U");
                world.command(b"s");
            }),
            settled: Box::new(move |world| is_answered(world) && alarms_off(world)),
            after: Box::new(move |world, after| {
                world.wait("all is as it was", || up(world));
                // Killed before it had read it, it did not obey.
                world.wait("alarms are off", || alarms_off(world) || after.supervise_struck);
            }),
            ..scenario("U, and s in that moment")
        },
        Scenario {
            act: Box::new(|world| {
                world.command(b"U");
                world.command(b"dx");
            }),
            settled: Box::new(|world| !world.is_supervised()),
            after: Box::new(|world, _| {
                // Killed in between, it leaves a service that is to be down. One that was told to end may still do so.
                let settled = || is_in(world, "up") || is_in(world, "down");
                world.wait("it is up, or down as asked for", settled);
                world.command(b"s");
                let obeyed = || world.sandbox.value("alarms").as_deref() == Some("no");
                world.wait("it obeys, or has ended", || obeyed() || !world.is_supervised());
                if !world.is_supervised() {
                    world.supervise();
                    world.wait("it is up", settled);
                }
            }),
            ..scenario("U, and dx in that moment")
        },
        Scenario {
            prepare: Box::new(|world| world.sandbox.write_conf(&CONF.replace("pacing : 0.1", "pacing : soon"))),
            act: give_u(),
            settled: Box::new(is_answered),
            after: Box::new(move |world, after| {
                world.wait("it is up", || up(world));
                let problem = world.sandbox.value("upgrade_problem");
                assert!(after.struck || problem.is_some_and(|text| text.contains("pacing")), "the conf is refused");
            }),
            ..scenario("U, which is refused")
        },
    ]
}

/// With an exit of the service, or of a hook, in that moment.
fn upgrades_and_an_exit() -> Vec<Scenario> {
    let restarted =
        || Box::new(|world: &World<'_>| is_answered(world) && world.lives().len() == 2 && world.spooled().len() == 1);
    let crash = |name: &str| Scenario {
        prepare: ran(),
        act: Box::new(|world| {
            world.command(b"U");
            world.kill_service();
        }),
        settled: restarted(),
        after: Box::new(after_a_crash),
        ..scenario(name)
    };
    // One more exit brings one more hook.
    fn no_hook_runs(world: &World<'_>) -> bool {
        let run: Vec<Pid> = world.hooks().into_iter().filter(|pid| alive(*pid)).collect();
        run.iter().for_each(|pid| signal(*pid, Signal::SIGKILL));
        run.is_empty() && !is_in(world, "hook")
    }
    vec![
        crash("U, and a crash in that moment"),
        Scenario {
            act: Box::new(|world| {
                world.kill_service();
                world.command(b"U");
            }),
            ..crash("a crash, and U in that moment")
        },
        Scenario {
            prepare: Box::new(|world| {
                world.sandbox.kill_supervise();
                world.supervise();
                world.wait("it is adopted", || world.sandbox.value("adopted").as_deref() == Some("yes"));
                ran()(world);
            }),
            ..crash("U, and an adopted service crashes in that moment")
        },
        Scenario {
            options: vec!["-r", "./service line hooks wait"],
            prepare: Box::new(|world| {
                world.kill_service();
                world.sandbox.until_state("hook");
                world.wait("the hook runs", || world.hooks().len() == 1);
                world.wait("the alarm is stored", || world.spooled().len() == 1);
            }),
            act: Box::new(|world| {
                world.command(b"U");
                signal(world.hooks()[0], Signal::SIGKILL);
            }),
            settled: Box::new(move |world| no_hook_runs(world) && restarted()(world)),
            after: Box::new(move |world, after| {
                world.wait("no hook runs", || no_hook_runs(world));
                after_a_crash(world, after);
            }),
            ..crash("U, and a hook ends in that moment")
        },
    ]
}

/// With a holder of the lock, ours or the classic program, and without one.
fn takings_over() -> Vec<Scenario> {
    let take_over = |name: &str| Scenario {
        begin: Begin::Start,
        options: vec!["--take-over"],
        settled: Box::new(|world| {
            world.sandbox.value("adopted").as_deref() == Some("yes") && world.has_another_supervise()
        }),
        after: Box::new(|world, _| {
            world.until_up();
            assert_eq!(world.lives().len(), 1, "the service goes on under whoever is its supervise");
            expect_exits(world, 0);
            expect_alarms(world, 0);
        }),
        ..scenario(name)
    };
    let ours = |world: &World<'_>| {
        world.supervise();
        world.until_up();
        world.note_supervise(world.sandbox.supervise_pid());
    };
    vec![
        Scenario {
            prepare: Box::new(move |world| {
                ours(world);
                world.sandbox.kill_supervise();
            }),
            ..take_over("taking over where no supervise is")
        },
        Scenario {
            prepare: Box::new(move |world| {
                ours(world);
                world.wait("it waits", || world.waits_in_poll(world.sandbox.supervise_pid()));
            }),
            ..take_over("taking over from one of ours")
        },
        Scenario {
            prepare: Box::new(|world| {
                start_classic(world);
            }),
            ..take_over("taking over from the classic program")
        },
        Scenario {
            prepare: Box::new(|world| {
                let classic = start_classic(world);
                world.sandbox.write_control(b"p");
                world.wait("it is paused", || world.sandbox.record().paused == 1);
                world.wait("it waits", || world.waits_in_poll(classic));
            }),
            after: Box::new(|world, _| {
                let refused = || world.said().iter().any(|line| line.contains("unable to send Stop"));
                world.wait("it is stopped again", || {
                    world.service_state() == Some('T') || refused() && world.sandbox.record().paused == 0
                });
                assert_eq!(world.lives().len(), 1);
            }),
            ..take_over("taking over from the classic program, with a paused service")
        },
        Scenario {
            prepare: Box::new(|world| {
                let classic = start_classic(world);
                signal(classic, Signal::SIGKILL);
                world.sandbox.until_dead(classic);
            }),
            ..take_over("taking over from a classic program that is dead")
        },
    ]
}

/// Starts the stand-in of the classic program, with the service; it waits for something to do.
fn start_classic(world: &World<'_>) -> Pid {
    let mut command = world.sandbox.program(example("classic"));
    command.args(["--no-rest", "-p", "status/app"]).args(world.service_words().split(' '));
    world.sandbox.run(command).expect_code(0);
    let service = eventually_some(&world.sandbox, "the service is up", || {
        world.sandbox.service_pid().filter(|pid| world.lives().contains(pid))
    });
    let classic = eventually_some(&world.sandbox, "it holds the lock", || match world.sandbox.lock_holders()[..] {
        [pid] if pid != service => Some(pid),
        _ => None,
    });
    world.note_supervise(classic);
    world.wait("it waits", || world.waits_in_poll(classic));
    classic
}
