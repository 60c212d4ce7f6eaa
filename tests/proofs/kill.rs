//! supervise, its children and its caller are killed at every system call of every scenario, one by one.

use std::collections::BTreeSet;

use nix::libc::{SYS_prctl, SYS_setpgid, SYS_setsid, c_long};

use crate::jobs::{Job, Outcome};
use crate::scenarios::Scenario;
use crate::tracer::{Plan, Seen};
use crate::world::{After, World};
use crate::{calls, errors};

/// So many points behind the last one that was counted are tried too: a run can have a turn more than another.
const BEYOND: usize = 3;

/// What one process of a scenario did.
pub(crate) struct Watched {
    /// The calls of each process, in their order.
    pub(crate) calls: Vec<Vec<c_long>>,
    /// The lines about troubles that belong to it.
    pub(crate) said: Vec<String>,
}

/// Runs a scenario to its end, with nobody struck, and tells which calls it is made of.
pub(crate) fn watch(scenario: &Scenario) -> Watched {
    let world = World::new(scenario);
    let mut tracer = world.begin(Plan::Watch);
    world.wait("the scenario ends", || world.is_settled(&tracer.seen()));
    tracer.end();
    let said = world.said();
    let calls: Vec<Vec<c_long>> = tracer.seen().processes.iter().map(|process| process.calls.clone()).collect();
    let unknown: BTreeSet<String> =
        calls.iter().flatten().filter(|kind| !errors::is_known(**kind)).map(|kind| calls::name(*kind)).collect();
    assert!(unknown.is_empty(), "nothing says if these can fail: {unknown:?}");
    world.check(&after(&world, &tracer.seen(), None));
    Watched { calls, said }
}

/// What a plan that was carried out for this process means to the world.
pub(crate) fn after(world: &World<'_>, seen: &Seen, process: Option<usize>) -> After {
    let supervise = world.supervise_number();
    let struck = seen.struck().is_some();
    let is_service = struck && process.is_some_and(|process| is_service(world, seen, process));
    After {
        struck,
        supervise_struck: struck && process == Some(supervise),
        service_struck: is_service,
        without_conf: false,
        turn_ended: seen.struck().is_some_and(|strike| strike.turn_ended),
    }
}

/// Whether this child was to become the service. The children are not always forked in the same order: its own calls tell
/// which it is, and where it did not live to make them, what supervise said of it does.
pub(crate) fn is_service(world: &World<'_>, seen: &Seen, process: usize) -> bool {
    let hook = world.scenario.options.contains(&"-r");
    let named = |pid: i32| world.sandbox.log().contains(&format!("pid {pid},"));
    let Some(child) = seen.processes.get(process).filter(|_| process > world.supervise_number()) else { return false };
    match (child.calls.contains(&SYS_setsid), child.calls.contains(&SYS_setpgid)) {
        (true, _) => false,
        // One that is asked if an upgrade is possible takes care not to outlive supervise.
        (false, true) if child.calls.contains(&SYS_prctl) => false,
        (false, true) if world.scenario.upgrades() => {
            let was_one = || named(child.pid) || world.sandbox.warnings().contains("[FATAL]");
            let was_asked = || world.sandbox.value("upgrade_problem").is_some();
            world.wait("it is known what it was", || was_one() || was_asked());
            was_one()
        }
        (false, true) => !hook || process > world.supervise_number() + 1,
        (false, false) => named(child.pid),
    }
}

/// Kills one process at one call. False: it never made so many.
pub(crate) fn kill(scenario: &Scenario, process: usize, call: usize) -> bool {
    let world = World::new(scenario);
    let mut tracer = world.begin(Plan::Kill { process, call });
    world.wait("it is killed, or the scenario ends", || {
        let seen = tracer.seen();
        let others_gone = |supervise| seen.processes.iter().enumerate().all(|(n, other)| n == supervise || other.gone);
        match seen.struck() {
            // What the dead one has forked goes on to its exec, or to the end of its pipe.
            Some(_) if process == world.supervise_number() => seen.processes[process].gone && others_gone(process),
            Some(_) => world.is_quiet(&seen),
            None => world.is_settled(&seen),
        }
    });
    tracer.end();
    let seen = tracer.seen();
    assert_eq!(seen.trouble, None, "seen before a system call");
    world.check_caller(&seen);
    world.check(&after(&world, &seen, Some(process)));
    seen.struck().is_some()
}

/// All points of a scenario, and a few more.
pub(crate) fn jobs<'a>((number, scenario): (usize, &'a Scenario), watched: &'a Watched) -> Vec<Job<'a>> {
    let mut jobs = Vec::new();
    for (process, calls) in watched.calls.iter().enumerate() {
        for call in 1..=calls.len() + BEYOND {
            let last = call == calls.len() + BEYOND;
            jobs.push(Job {
                scenario: number,
                name: format!("{}: process {process} killed at its call {call}", scenario.name),
                run: Box::new(move || {
                    let mut blows = 0;
                    // Where it makes more calls than were counted: until it ends.
                    while kill(scenario, process, call + blows) {
                        blows += 1;
                        if !last {
                            break;
                        }
                    }
                    if blows > 0 { Outcome::Done(blows) } else { Outcome::NotReached }
                }),
            });
        }
    }
    jobs
}
