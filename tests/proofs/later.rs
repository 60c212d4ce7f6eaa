//! What shows only later: supervise sleeps when there is nothing to do, and its successor knows the service.

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::common::{Pid, alive, process_stat, signal};
use crate::invariants;
use crate::world::World;

/// Nothing happens for so long. A deadline in the past, or a descriptor that nobody reads, wakes it at once.
const ASLEEP: Duration = Duration::from_millis(40);

/// What was set going before may still wake it, but not again and again: so often it may be found awake.
const AWAKE: usize = 75;

/// So many times a process has gone to sleep or was interrupted; `None` while it runs, or could.
pub(crate) fn switches(pid: Pid) -> Option<u64> {
    process_stat(pid).filter(|stat| stat.state == 'S')?;
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let counts = text.lines().filter_map(|line| line.split_once("_ctxt_switches:")?.1.trim().parse::<u64>().ok());
    Some(counts.sum())
}

/// A supervise with nothing to do sleeps, whatever has failed before: it neither spins nor looks again and again.
#[track_caller]
pub(crate) fn sleeps(world: &World<'_>) {
    let has_slept = || {
        // One that was told to end may do so only now.
        if !world.is_supervised() {
            world.supervise();
        }
        let Some(supervise) = world.sandbox.value("supervise").and_then(|pid| pid.parse().ok()) else { return false };
        let before = switches(supervise);
        std::thread::sleep(ASLEEP); // the time itself is what is tested
        before.is_some() && switches(supervise) == before
    };
    assert!((0..AWAKE).any(|_| has_slept()), "supervise never sleeps");
}

/// While something fails, again and again: supervise goes on sleeping between its tries.
#[track_caller]
pub(crate) fn sleeps_meanwhile(world: &World<'_>) {
    let supervise = || world.sandbox.value("supervise").and_then(|pid| pid.parse().ok()).filter(|pid| alive(*pid));
    let has_slept = || {
        let Some(supervise) = supervise() else { return true }; // told to end, it did
        let before = switches(supervise);
        std::thread::sleep(ASLEEP); // the time itself is what is tested
        before.is_some() && switches(supervise) == before
    };
    assert!((0..AWAKE).any(|_| has_slept()), "supervise never sleeps while it fails");
}

/// A service that ends once more, and a supervise that dies then: its successor finds that service, and no other.
#[track_caller]
pub(crate) fn succession(world: &World<'_>) {
    let sandbox = &world.sandbox;
    let is = |key: &str, value: &str| sandbox.value(key).as_deref() == Some(value);
    if world.scenario.conf.contains("max_tries") {
        // Otherwise the next exit may be the one that is too many.
        world.until_obeyed(b"s", "alarms are off", || is("alarms", "no"));
    }
    if !is("wanted", "up") {
        world.until_obeyed(b"u", "the service is up", || is("state", "up") && is("wanted", "up"));
    }
    let old = world.until_up();
    signal(old, Signal::SIGKILL);
    let running = || world.lives().last().copied().filter(|pid| *pid != old && alive(*pid));
    world.wait("the service is started again", || {
        // Some hooks wait, and some pacing is long.
        world.hooks().into_iter().filter(|pid| alive(*pid)).for_each(|pid| signal(pid, Signal::SIGKILL));
        if is("state", "pacing") && world.scenario.conf.contains("pacing : 60") {
            world.command(b"u");
        }
        running().is_some()
    });
    let (service, lives) = (running(), world.lives().len());
    sandbox.kill_supervise();
    world.supervise();
    let adopted = world.until_up();
    assert_eq!(
        (Some(adopted), world.lives().len()),
        (service, lives),
        "the successor takes over the service that lives"
    );
    invariants::hold(world);
}
