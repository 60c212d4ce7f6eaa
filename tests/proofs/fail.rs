//! Every system call of every scenario fails, with every error that it can have: once, and for as long as it lasts.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::{self, c_long};

use crate::calls;
use crate::common::{Pid, alive};
use crate::errors;
use crate::harmless::is_harmless;
use crate::invariants::descriptors_of;
use crate::jobs::{Job, Outcome};
use crate::kill::{self, Watched};
use crate::later;
use crate::scenarios::{Begin, Scenario};
use crate::tracer::{Plan, Seen, Which};
use crate::world::{After, World};

/// An error that lasts is kept up for so long after its first call.
const WHILE: Duration = Duration::from_millis(150);

/// How a signal is sent.
const SENDING: &[c_long] = &[libc::SYS_kill, libc::SYS_pidfd_send_signal];

/// The steps of a child without which there is no start.
const FATAL: &[c_long] = &[libc::SYS_setpgid, libc::SYS_execve];

/// What is to fail.
#[derive(Clone, Copy, Debug)]
struct Failure<'a> {
    process: usize,
    kind: c_long,
    which: Which,
    errno: Errno,
    /// These lines about troubles belong to the scenario itself.
    usual: &'a [String],
}

/// Runs a scenario with a failure.
fn fail(scenario: &Scenario, failure: Failure<'_>) -> Outcome {
    let Failure { process, kind, which, errno, usual } = failure;
    let world = World::new(scenario);
    let descriptors = world.supervise_before().map(descriptors_of).unwrap_or_default();
    let held = world.supervise_before().is_some_and(alive);
    let mut tracer = world.begin(Plan::Fail { process, kind, which, errno });
    let mut first = None;
    let (mut again, mut relented) = (false, false);
    world.wait("the scenario ends, in spite of it", || {
        let seen = tracer.seen();
        if seen.struck().is_some() {
            first.get_or_insert_with(Instant::now);
        }
        let lasts = which == Which::All && first.is_some_and(|first| first.elapsed() < WHILE);
        let refused =
            seen.exit.is_some_and(|code| code != Some(0)) && seen.processes.iter().all(|process| process.gone);
        if lasts && !refused {
            return false;
        }
        let struck = seen.struck().is_some();
        drop(seen);
        if struck && which == Which::All && !relented {
            // No call is interrupted for ever.
            if scenario.begin == Begin::Attach && errno != Errno::EINTR {
                later::sleeps_meanwhile(&world);
            }
            tracer.relent();
            relented = true;
        }
        // A signal that may not be sent is told, and given again once it may.
        let not_sent = || world.said().iter().any(|line| line.contains("unable to send "));
        if struck && SENDING.contains(&kind) && !again && world.is_quiet(&tracer.seen()) && not_sent() {
            again = true;
            tracer.relent();
            world.until_true();
            (scenario.act)(&world);
        }
        let seen = tracer.seen();
        let without_conf = scenario.begin == Begin::Start && is_about_conf(&seen);
        refused || world.is_settled(&seen) || without_conf && world.is_quiet(&seen) && seen.exit.is_some()
    });
    tracer.end();
    let seen = tracer.seen();
    assert_eq!(seen.trouble, None, "seen before a system call");
    let Some(strike) = seen.struck() else {
        return if seen.cannot_happen { Outcome::CannotHappen } else { Outcome::NotReached };
    };
    world.check_caller(&seen);
    let refused = seen.exit.is_some_and(|code| code != Some(0));
    let without_conf = scenario.begin == Begin::Start && is_about_conf(&seen);
    let said = world.said();
    assert!(!said.iter().any(|line| line.contains("panicked")), "{said:?}");
    // As long as the child that watches over a holder lives, what fails is tried again, and told if it lasts (rule 22.3).
    let again = scenario.begin == Begin::Start && held && strike.ended == 0;
    // Whom it asked if an upgrade is possible may answer too late: supervise has ended as it was told meanwhile.
    let is_asked = scenario.upgrades() && process > world.supervise_number();
    let too_late = is_asked && scenario.begin == Begin::Attach && seen.processes[world.supervise_number()].gone;
    let in_child = process > world.supervise_number();
    let harmful = || seen.strikes.iter().filter(|strike| !is_harmless(strike, errno, in_child));
    // Nothing can be said while that log can't be opened or written, and it is not said again.
    let at_log = || seen.strikes.iter().any(|strike| strike.object == "supervise.log.wf");
    let speechless = [libc::SYS_openat, libc::SYS_write].contains(&kind) && at_log();
    // Whether the service lives is asked once more there, when the claim is known to name it.
    let asked_twice = kind == libc::SYS_pidfd_open && which == Which::Nth(1) && !held && world.has_another_supervise();
    let taking_over = scenario.options.contains(&"--take-over");
    let harmless = harmful().next().is_none() || too_late || again || speechless || taking_over && asked_twice;
    let refused_start = FATAL.contains(&kind) && said.iter().any(|line| line.contains("[FATAL]"));
    if !harmless && !refused_start {
        let objects: Vec<&str> = harmful().map(|strike| strike.object.as_str()).collect();
        let what = format!("something is said of {} {objects:?}: {errno:?}", calls::name(kind));
        world.wait(&what, || is_news(&world.said(), usual));
    }
    let struck_beginning = seen.strikes.iter().any(|strike| strike.beginning);
    if scenario.begin == Begin::Attach && !struck_beginning {
        let gave_up = || {
            let state = world.sandbox.value("state");
            state.as_deref() == Some("gave-up") || world.sandbox.warnings().contains("exited itself")
        };
        let ended_well = seen.exit.is_none_or(|code| code == Some(0) || code == Some(1) && gave_up());
        assert!(ended_well, "a supervise that is up never ends because of it: {:?}", seen.exit);
    }
    if refused {
        let before: Vec<Pid> = world.supervise_before().into_iter().collect();
        let alone = !world.is_supervised() || world.sandbox.lock_holders() == before;
        assert!(alone, "a start that failed leaves nothing running that was not there before");
    } else if world.is_supervised() && scenario.begin == Begin::Attach {
        world.until_true();
        world.until_ok("no descriptor is left open", || {
            let now = descriptors_of(world.sandbox.supervise_pid());
            // One that had to begin anew knows its service by a pidfd.
            let more = usize::from(world.sandbox.value("adopted").as_deref() == Some("yes"));
            (now.len() > descriptors.len() + more).then(|| format!("{descriptors:?} before, {now:?} after"))
        });
    }
    let after = After {
        struck: true,
        supervise_struck: false,
        service_struck: FATAL.contains(&kind) && kill::is_service(&world, &seen, process),
        without_conf,
        turn_ended: true,
    };
    world.check(&after);
    Outcome::Done(1)
}

/// Whether there is a line that does not belong to the scenario. Numbers differ from run to run.
fn is_news(said: &[String], usual: &[String]) -> bool {
    let plain = |line: &String| line.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
    let usual_lines: Vec<String> = usual.iter().map(plain).collect();
    said.len() > usual.len() || said.iter().any(|line| !usual_lines.contains(&plain(line)))
}

fn is_about_conf(seen: &Seen) -> bool {
    seen.struck().is_some_and(|strike| strike.object.ends_with("supervise.conf"))
}

/// All failures of a scenario.
pub(crate) fn jobs<'a>((number, scenario): (usize, &'a Scenario), watched: &'a Watched) -> Vec<Job<'a>> {
    let mut jobs = Vec::new();
    for (process, calls) in watched.calls.iter().enumerate() {
        let mut kinds = BTreeMap::<c_long, usize>::new();
        for call in calls {
            *kinds.entry(*call).or_default() += 1;
        }
        for (kind, count) in kinds {
            let runs = scenario.begin == Begin::Attach && process == 0;
            for &errno in errors::of(kind, runs) {
                let all = (count > 1).then_some(Which::All);
                for which in (1..=count).map(Which::Nth).chain(all) {
                    let call = calls::name(kind);
                    let failure = Failure { process, kind, which, errno, usual: &watched.said };
                    jobs.push(Job {
                        scenario: number,
                        name: format!("{}: process {process}, {call} {which:?} fails with {errno:?}", scenario.name),
                        run: Box::new(move || fail(scenario, failure)),
                    });
                }
            }
        }
    }
    jobs
}
