//! The lines of the logs. The classic program's own phrases stay recognisable: people search for them.

use std::time::Duration;

use nix::errno::Errno;

use crate::policy::{Ended, Exit, Next, Told};
use crate::statusdir::{Level, ended_text};
use crate::sys::{Report, Step, why};

/// A line, and whether whoever starts supervise is told it too.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) level: Level,
    pub(super) text: String,
    pub(super) for_caller: bool,
}

impl Line {
    pub(super) fn notice(text: impl Into<String>) -> Self {
        Self { level: Level::Notice, text: text.into(), for_caller: false }
    }

    pub(super) fn warning(text: impl Into<String>) -> Self {
        Self { level: Level::Warning, text: text.into(), for_caller: true }
    }

    pub(super) fn fatal(text: impl Into<String>) -> Self {
        Self { level: Level::Fatal, text: text.into(), for_caller: true }
    }
}

/// What there is to say of something that the policy told, in this order.
pub(super) fn lines(told: &Told, module: &str, program: &str) -> Vec<Line> {
    match *told {
        Told::Exited { exit, ran, expected, window_exit, next } => {
            vec![exited(module, program, exit, ran, expected, window_exit, next)]
        }
        Told::Restarting => vec![Line::notice(format!("supervise is trying to restart {module}..."))],
        Told::GaveUp { tries } => {
            let text = format!(
                "supervise refused to restart {module} any more and exited itself! (a limit of the alarm window was \
                 passed after {tries} tries)"
            );
            vec![Line::notice(text.clone()), Line::fatal(text)]
        }
        Told::KilledAfterTimeout { timeout } => {
            let seconds = timeout.as_secs_f64();
            vec![Line::warning(format!("the service did not stop within {seconds} s of TERM and gets KILL"))]
        }
        Told::HookTimedOut => {
            vec![Line::warning("the hook ran too long and was killed; the start goes on")]
        }
        Told::Adopted => vec![Line::notice("the service runs already and is adopted")],
        Told::LeftDown => vec![Line {
            for_caller: true,
            ..Line::notice("the service is left down, as an operator asked for; `u` on svcontrol starts it")
        }],
    }
}

fn exited(
    module: &str,
    program: &str,
    exit: Exit,
    ran: Option<Duration>,
    expected: bool,
    window_exit: Option<u32>,
    next: Next,
) -> Line {
    let next = match next {
        Next::RestartNow => "restart at once".to_owned(),
        Next::RestartAfter(time) => format!("restart in {:.3} s", time.as_secs_f64()),
        Next::RestartAfterHook => "restart after the hook".to_owned(),
        Next::StaysDown => "stays down".to_owned(),
        Next::Exits => "supervise exits".to_owned(),
        Next::GivesUp => "no restart".to_owned(),
    };
    if let Ended::NotStarted { step, errno } = exit.ended {
        let why = why(Errno::from_raw(errno));
        let what = match Step::from_number(step) {
            Some(Step::Exec) | None => format!("unable to execute {program}: {why}"),
            Some(step) => format!("unable to start {program}: {}: {why}", step.name()),
        };
        let hint = match Errno::from_raw(errno) {
            Errno::ENOEXEC => " (a script needs a #! line; no shell is tried)",
            _ => "",
        };
        return Line::fatal(format!("{what}{hint}; {next}"));
    }
    let core = if exit.ended.dumped_core() { " with coredump" } else { "" };
    let ran = ran.map_or_else(String::new, |ran| format!(", ran {:.3} s", ran.as_secs_f64()));
    let cause = match (expected, window_exit) {
        (true, _) => ", by command".to_owned(),
        (false, Some(number)) => format!(", unexpected, number {number} of the window"),
        (false, None) => ", unexpected".to_owned(),
    };
    Line::notice(format!(
        "service exited{core}! ({module}, pid {}, {}{ran}{cause}; {next})",
        exit.pid,
        ended_text(exit.ended)
    ))
}

/// A step before the exec that failed without being fatal.
pub(super) fn step_failed(report: Report, dir: &str) -> Option<Line> {
    let why = match (report.step, report.errno) {
        (Step::Stdout | Step::Stderr, Errno::ELOOP) => "it is a link of another user's".to_owned(),
        (_, errno) => why(errno),
    };
    let text = match report.step {
        Step::Stdout => format!("unable to open {dir}/__stdout: {why}; it is /dev/null until the next start"),
        Step::Stderr => format!("unable to open {dir}/__stderr: {why}; it is /dev/null until the next start"),
        Step::Claim => claim_failed(dir, report.errno),
        Step::Group | Step::Signals | Step::Exec => return None, // told as an exit
    };
    Some(Line::warning(text))
}

/// The claim could not be written.
pub(super) fn claim_failed(dir: &str, errno: Errno) -> String {
    format!("unable to write {dir}/claim: {}; a death of supervise now may not be survived", why(errno))
}

/// KILL was sent to what was left of the service's process group, or could not be.
pub(super) fn rest_not_ended(sent: Result<(), Errno>) -> Option<Line> {
    // None is left.
    let errno = sent.err().filter(|&errno| errno != Errno::ESRCH)?;
    Some(Line::warning(format!("unable to end what is left of the service's process group: {}", why(errno))))
}

/// KILL was sent to a hook, or could not be.
pub(super) fn hook_not_ended(sent: Result<(), Errno>) -> Option<Line> {
    // It has ended.
    let errno = sent.err().filter(|&errno| errno != Errno::ESRCH)?;
    Some(Line::warning(format!("unable to end the hook: {}; it runs on", why(errno))))
}

/// The name stood for something else, which was removed.
pub(super) fn not_a_fifo(at: &str, name: &str) -> Line {
    Line::warning(format!("{at}/{name} was no fifo and is replaced by one"))
}
