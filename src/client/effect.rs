//! Whether a command has had its effect: decided from what the records said before it and what they say now.

use std::time::Duration;

use super::fare::Fare;
use super::liveness::stopped_words;
use super::verb::{Until, Verb};
use super::words::{end_words, seconds};
use crate::policy::Wanted;

/// What is known of a supervise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// It lives.
    Lives,
    /// It was killed, so that the records are as they were then.
    Killed,
    /// It ended by itself, and has said so in the records.
    Ended,
}

/// All that the decision depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene<'a> {
    /// What the service is called, for hints.
    pub(super) name: &'a str,
    /// The records before the bytes were written.
    pub(super) before: &'a Fare,
    /// The records now.
    pub(super) now: &'a Fare,
    /// Whether a supervise lives.
    pub(super) life: Life,
    /// The supervise that lives is stopped, and has this pid.
    pub(super) stopped: Option<u32>,
    /// The turn of supervise that read the bytes is over: what they changed is published.
    pub(super) obeyed: bool,
    /// The first pid that came after the one before, and how long it has been there.
    pub(super) fresh: Option<(u32, Duration)>,
    /// A new process counts as up when it has run so long.
    pub(super) settle: Duration,
}

/// What the decision is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is so, in words.
    Done(String),
    /// It will not become so.
    Failed(Failure),
    /// It may still become so; at the latest after this time it is worth a look.
    NotYet(Option<Duration>),
}

/// Why it will not become so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// In words.
    pub(super) words: String,
    /// Where more stands.
    pub(super) see: See,
}

/// The file of the status directory that says more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum See {
    /// None does.
    Nothing,
    /// What the service wrote to stderr.
    Stderr,
    /// The warnings of supervise: it could not execute the service.
    Log,
}

fn failed(words: impl Into<String>) -> Verdict {
    Verdict::Failed(Failure { words: words.into(), see: See::Nothing })
}

fn done(words: impl Into<String>) -> Verdict {
    Verdict::Done(words.into())
}

const NOT_YET: Verdict = Verdict::NotYet(None);

/// Decides whether `verb` has had its effect.
#[must_use]
pub(super) fn judge(verb: Verb, scene: &Scene<'_>) -> Verdict {
    if let Verb::Wait(until) = verb {
        return awaited(until, scene);
    }
    // A `gave-up` that stood there before is that of an earlier supervise.
    if scene.life != Life::Lives || (scene.now.gave_up() && !scene.before.gave_up()) {
        return after_the_end(verb, scene);
    }
    if !scene.obeyed {
        return NOT_YET;
    }
    let (before, now) = (scene.before, scene.now);
    match verb {
        Verb::Start | Verb::Restart | Verb::Once => came_up(verb, scene),
        Verb::Stop if now.pid.is_none() && now.record.wanted == Wanted::Down => {
            done(if before.pid.is_some() { "stopped" } else { "down already" })
        }
        Verb::Kill if before.pid.is_none() => done("not running"),
        Verb::Kill if now.pid != before.pid => done("killed"),
        Verb::Pause if now.pid.is_none() => failed("not running, so it cannot be paused"),
        Verb::Pause if now.record.paused => done("paused"),
        Verb::Continue if !now.record.paused => done(if before.record.paused { "continued" } else { "not paused" }),
        Verb::Reload => reloaded(scene),
        Verb::Upgrade => upgraded(scene),
        Verb::AlarmsOn if !now.record.alarms_off => done("alarms on"),
        Verb::AlarmsOff if now.record.alarms_off => done("alarms off"),
        Verb::Send(_) => done("told"),
        Verb::Stop
        | Verb::Kill
        | Verb::Pause
        | Verb::Continue
        | Verb::Exit
        | Verb::AlarmsOn
        | Verb::AlarmsOff
        | Verb::Wait(_) => NOT_YET,
    }
}

/// Why it was not so in time: what stands in the way.
#[must_use]
pub(super) fn not_in_time(verb: Verb, scene: &Scene<'_>, timeout: Duration) -> String {
    let wanted = verb.wanted();
    let limit = seconds(timeout);
    if let Some(pid) = scene.stopped {
        return format!("not {wanted} within {limit} s: {}", stopped_words(pid));
    }
    if !scene.obeyed && !matches!(verb, Verb::Wait(_)) {
        return format!("not {wanted} within {limit} s: supervise has not obeyed yet");
    }
    format!("not {wanted} within {limit} s: it is {}{}", scene.now.words(), hint(verb, scene))
}

/// What would help.
fn hint(verb: Verb, scene: &Scene<'_>) -> String {
    let (before, now) = (scene.before, scene.now);
    let is_old_one = now.pid.is_some() && now.pid == before.pid;
    let is_to_end = now.is_stopping() || (matches!(verb, Verb::Stop | Verb::Restart | Verb::Exit) && is_old_one);
    match verb {
        Verb::Kill | Verb::Pause | Verb::Continue | Verb::Reload | Verb::Upgrade => String::new(),
        _ if is_to_end && now.record.paused => format!("; `svc continue {}` lets it go on", scene.name),
        _ if is_to_end => format!("; it does not end by TERM, and `svc kill {}` would end it", scene.name),
        _ => String::new(),
    }
}

/// Supervise is gone, or on its way out by a give-up.
fn after_the_end(verb: Verb, scene: &Scene<'_>) -> Verdict {
    let now = scene.now;
    match (verb, now.pid) {
        (Verb::Exit, None) => done("exited"),
        (_, None) if now.gave_up() => {
            Verdict::Failed(Failure { words: end_words("supervise", scene.life, now), see: See::Stderr })
        }
        (Verb::Stop, None) if now.record.wanted == Wanted::Down => done("stopped"),
        (Verb::Kill, None) if scene.before.pid.is_some() => done("killed"),
        _ => failed(end_words("supervise", scene.life, now)),
    }
}

fn came_up(verb: Verb, scene: &Scene<'_>) -> Verdict {
    let (before, now) = (scene.before, scene.now);
    let wanted = if verb == Verb::Once { Wanted::Once } else { Wanted::Up };
    let is_up = now.pid.is_some() && now.record.wanted == wanted && !now.is_stopping();
    // A process that was being stopped, or that is to be restarted, is not the one that was asked for.
    let is_old_one_good = verb != Verb::Restart && before.record.wanted != Wanted::Down && !before.is_stopping();
    if is_up && is_old_one_good && now.pid == before.pid {
        let once = if verb == Verb::Once { ", and not restarted when it exits" } else { "" };
        let paused = if now.record.paused {
            format!(", but paused: `svc continue {}` lets it go on", scene.name)
        } else {
            String::new()
        };
        return done(format!("up already ({}){once}{paused}", now.pid_words()));
    }
    if exited_again(scene) {
        return came_down(verb, scene);
    }
    match scene.fresh {
        Some((pid, age)) if is_up && now.pid == Some(pid) => {
            if age < scene.settle {
                return Verdict::NotYet(Some(scene.settle - age));
            }
            let what = match verb {
                Verb::Restart => "restarted",
                Verb::Once => "started once",
                _ => "started",
            };
            done(format!("{what} ({})", now.pid_words()))
        }
        _ => NOT_YET,
    }
}

/// Whether a process that was started for this has exited already. The exit of the one before is no such.
fn exited_again(scene: &Scene<'_>) -> bool {
    let counts = |fare: &Fare| Some((fare.number("starts")?, fare.number("exits")?));
    let by_count = match (counts(scene.before), counts(scene.now)) {
        (Some((starts, exits)), Some((starts_now, exits_now))) => {
            starts_now > starts && exits_now > exits + u64::from(scene.before.pid.is_some())
        }
        _ => false,
    };
    by_count || scene.fresh.is_some_and(|(pid, _)| scene.now.pid != Some(pid))
}

fn came_down(verb: Verb, scene: &Scene<'_>) -> Verdict {
    let now = scene.now;
    let Some(last_exit) = now.last_exit() else {
        return if scene.before.long.is_some() {
            NOT_YET // the long record follows in a moment
        } else if verb == Verb::Once {
            done("has run once")
        } else {
            failed("started, but exited again")
        };
    };
    if verb == Verb::Once && last_exit == "code 0" {
        return done("has run once: code 0");
    }
    let started = if verb == Verb::Restart { "restarted" } else { "started" };
    let after = now.last_ran().map_or_else(String::new, |ran| format!(" after {} s", seconds(ran)));
    // What the long record calls a failed exec; a service that ends so itself has written nothing to the log.
    let see = if last_exit == "code 127" { See::Log } else { See::Stderr };
    Verdict::Failed(Failure { words: format!("{started}, but exited again{after}: {last_exit}"), see })
}

fn reloaded(scene: &Scene<'_>) -> Verdict {
    let (Some(before), Some(now)) = (scene.before.long.as_ref(), scene.now.long.as_ref()) else {
        // The classic program says nothing of it; that it has read the byte is all there is to know.
        return if scene.now.long.is_none() && scene.before.long.is_none() { done("told to reload") } else { NOT_YET };
    };
    let problem = now.text("conf_problem");
    match (now.text("conf_read") != before.text("conf_read"), problem) {
        (true, None) => done("reloaded"),
        (true, Some(problem)) => done(format!("reloaded, but: {problem}")),
        (false, Some(problem)) => failed(format!("not reloaded: {problem}")),
        (false, None) if now.text("conf").is_none() => failed("not reloaded: it has no supervise.conf"),
        (false, None) => NOT_YET,
    }
}

fn upgraded(scene: &Scene<'_>) -> Verdict {
    let (Some(before), Some(now)) = (scene.before.long.as_ref(), scene.now.long.as_ref()) else {
        let nothing_tells = scene.now.long.is_none() && scene.before.long.is_none();
        return if nothing_tells { failed("told to upgrade, but no long record shows if it did") } else { NOT_YET };
    };
    if now.text("upgraded") != before.text("upgraded") {
        return done(format!("upgraded to {}", now.text("version").unwrap_or("an unknown version")));
    }
    match now.text("upgrade_problem") {
        Some(problem) if before.text("upgrade_problem") != Some(problem) => {
            // The time in front of it is there so that the same problem twice can be told apart.
            let is_time = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
            let words = problem.split_once(' ').filter(|(time, _)| is_time(time)).map_or(problem, |(_, words)| words);
            failed(format!("not upgraded: {words}"))
        }
        _ => NOT_YET,
    }
}

fn awaited(until: Until, scene: &Scene<'_>) -> Verdict {
    let (now, lives) = (scene.now, scene.life == Life::Lives);
    match until {
        Until::Up if lives && now.pid.is_some() && !now.is_stopping() => done(now.words()),
        Until::Down if now.pid.is_none() && (!lives || now.stays_down()) => done("down"),
        Until::GaveUp if now.gave_up() => done("gave up"),
        Until::Exited if !lives => done("exited"),
        _ if !lives => failed(end_words("supervise", scene.life, now)),
        _ => NOT_YET,
    }
}

#[cfg(test)]
#[path = "effect_tests.rs"]
mod tests;
