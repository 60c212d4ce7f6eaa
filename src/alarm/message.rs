//! What an alarm says: the subject line, the facts and the body, from the exit and the conf of the moment.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::core_file::{Dumped, core_file};
use super::facts::{self, Fact};
use super::stderr_tail::{LINES, last_lines, tail};
use crate::config::{Settings, Transport, join_words};
use crate::policy::{Alarm, AlarmKind, Ended, Next, Stamp};
use crate::statusdir::{Debt, Directory, ended_text};
use crate::sys::{local_time, why};
use crate::text::escape;

/// What does not depend on the exit.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The host's name.
    pub host: &'a str,
    /// The module's name.
    pub module: &'a [u8],
    /// The words of the command, joined by blanks.
    pub command: &'a [u8],
    /// The first of them.
    pub program: &'a [u8],
    /// Who is to receive it, and how: what holds now is what its delivery falls back to.
    pub settings: &'a Settings,
    /// The path of supervise.conf.
    pub conf: Option<&'a [u8]>,
}

/// The message file: header lines, an empty line, the body. It depends on nothing but its arguments, the core file
/// and the lines of `__stderr` before the mark: written twice it is the same. All text from outside is escaped, so
/// that none of it can end a line.
#[must_use]
pub fn message(debt: &Debt, facts: Facts<'_>, dir: &Directory) -> String {
    let mut out = String::with_capacity(4096);
    let mut header = |key: &str, value: &str| {
        let _ = writeln!(out, "{key}: {value}"); // writing to a String cannot fail
    };
    let host = escape(facts.host.as_bytes());
    header("Message-ID", &format!("<{}@{}>", debt.id, mail_host(&host)));
    header("Date", &rfc5322_date(debt.alarm.at));
    header("Subject", &subject(&debt.alarm, &host, facts.module));
    for (key, value) in recipients(facts.settings).into_iter().chain(ways(facts)) {
        header(key, &value);
    }
    let core_file = core_file_of(debt, facts);
    for Fact { key, value } in facts::of(debt, facts, core_file.as_deref()) {
        header("Fact", &format!("{key} {value}"));
    }
    out.push('\n');
    body(debt, facts, core_file.as_deref(), dir, &mut out);
    out
}

/// The host's name where mail wants a domain; a name that is none there is not used.
pub(super) fn mail_host(host: &str) -> &str {
    let fits = |part: &str| {
        !part.is_empty() && part.len() <= 63 && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if host.len() <= 253 && host.split('.').all(fits) { host } else { "localhost" }
}

/// Who is to receive it, one a header.
pub(super) fn recipients(settings: &Settings) -> Vec<(&'static str, String)> {
    let mut out = Vec::new();
    if settings.mail_transport != Some(Transport::None) {
        out.extend(settings.alarm_mail.iter().map(|address| ("To", escape(address.as_bytes()))));
    }
    out.extend(settings.alarm_gsm.iter().map(|number| ("Gsm", escape(number.as_bytes()))));
    out.extend(settings.alarm_exec.iter().map(|words| ("Exec", escape(&join_words(words)))));
    out.extend(settings.alarm_webhook.iter().map(|address| ("Webhook", escape(address.as_bytes()))));
    out
}

/// What the delivery needs to know besides, with absolute paths.
fn ways(facts: Facts<'_>) -> Vec<(&'static str, String)> {
    ways_from(facts, std::env::current_dir().ok().as_deref())
}

/// The same for a supervise that runs in this folder.
pub(super) fn ways_from(facts: Facts<'_>, folder: Option<&Path>) -> Vec<(&'static str, String)> {
    use std::os::unix::ffi::OsStrExt;
    // Without a current folder (it was removed) what is named from there is not there any more either.
    let absolute = |path: &Path| {
        let path = folder.map_or_else(|| path.to_owned(), |folder| folder.join(path));
        let path = std::path::absolute(&path).unwrap_or(path);
        path.is_absolute().then(|| escape(path.as_os_str().as_bytes()))
    };
    let settings = facts.settings;
    let mut out = Vec::new();
    out.extend(settings.mail_transport.as_ref().map(|way| ("Mail-Transport", escape(way.to_string().as_bytes()))));
    out.extend(settings.mail_from.as_ref().map(|from| ("Mail-From", escape(from.as_bytes()))));
    let password_file = settings.mail_password_file.as_ref().and_then(|path| absolute(path));
    out.extend(password_file.map(|path| ("Mail-Password-File", path)));
    out.extend(settings.gsm_command.as_ref().map(|words| ("Gsm-Command", escape(&join_words(words)))));
    let conf = facts.conf.and_then(|path| absolute(Path::new(std::ffi::OsStr::from_bytes(path))));
    out.extend(conf.map(|path| ("Conf", path)));
    out.extend(folder.map(|folder| ("Folder", escape(folder.as_os_str().as_bytes()))));
    out
}

/// `2026-11-21 01:25:00 [Alarm: HOST] Service NAME exited!` and its sisters.
fn subject(alarm: &Alarm, host: &str, module: &[u8]) -> String {
    let what = match alarm.kind {
        AlarmKind::Exited => "exited!".to_owned(),
        AlarmKind::Coredump => "exited with coredump!".to_owned(),
        AlarmKind::GaveUp { tries } => format!("exited, supervise gave up after {tries} tries!"),
        AlarmKind::Recovered => "recovered!".to_owned(),
    };
    format!("{} [Alarm: {host}] Service {} {what}", local_text(alarm.at), escape(module))
}

fn body(debt: &Debt, facts: Facts<'_>, core_file: Option<&Path>, dir: &Directory, out: &mut String) {
    let Alarm { exit, at, ran, window_exit, window_coredumps, window_ends, next, .. } = debt.alarm;
    let mut line = |key: &str, value: &str| {
        let _ = writeln!(out, "{key:<13}{value}");
    };
    line("host:", &escape(facts.host.as_bytes()));
    line("module:", &escape(facts.module));
    line("command:", &escape(facts.command));
    line("pid:", &exit.pid.to_string());
    if debt.alarm.kind == AlarmKind::Recovered {
        line("running for:", &ran.map_or_else(|| "unknown".to_owned(), duration_words));
        line("last exit:", &ended_words(exit.ended));
        line("next:", "nothing: it has run for a whole alarm window since the last alarm");
        return;
    }
    line("ended:", &ended_words(exit.ended));
    if let Some(path) = core_file {
        line("core file:", &escape(path.as_os_str().as_encoded_bytes()));
    }
    line("noticed at:", &local_text(at));
    line("ran for:", &ran.map_or_else(|| "unknown".to_owned(), duration_words));
    line("peak memory:", &exit.peak_kib.map_or_else(|| "unknown".to_owned(), |kib| format!("{kib} KiB")));
    let cpu = exit.cpu_us.map(|(user, system)| {
        let seconds = |micros: u64| duration_words(Duration::from_micros(micros));
        format!("{} user, {} system", seconds(user), seconds(system))
    });
    line("CPU time:", cpu.as_deref().unwrap_or("unknown"));
    line(
        "window:",
        &format!(
            "unexpected exit {window_exit}, {window_coredumps} with coredump; the window ends at {}",
            local_text(window_ends)
        ),
    );
    line("next:", &next_words(next));
    if debt.merged > 0 {
        line("also:", &format!("{} earlier alarms for which there was no room", debt.merged));
    }
    let said = debt.said.as_deref().map(last_lines);
    match debt.stderr.map(|mark| said.or_else(|| tail(dir, mark))) {
        None => out.push_str("\nThere was no __stderr at the exit.\n"),
        Some(None) => out.push_str("\n__stderr of the time of the exit can't be read any more.\n"),
        Some(Some(lines)) if lines.is_empty() => out.push_str("\n__stderr was empty.\n"),
        Some(Some(lines)) => {
            let _ = writeln!(out, "\nThe last lines of __stderr at the exit ({LINES} at most):\n");
            for line in lines {
                let _ = writeln!(out, "{line}");
            }
        }
    }
}

fn core_file_of(debt: &Debt, facts: Facts<'_>) -> Option<PathBuf> {
    let Alarm { exit, at, ran, .. } = debt.alarm;
    let Ended::Signal { number, core: true } = exit.ended else { return None };
    core_file(Dumped {
        pid: exit.pid,
        signal: number,
        host: facts.host,
        program: facts.program,
        not_before: at.seconds().saturating_sub(ran.map_or(0, |ran| ran.as_secs() + 1)),
    })
}

fn ended_words(ended: Ended) -> String {
    match ended {
        Ended::Code(code) => format!("by itself, exit code {code}"),
        Ended::Signal { core, .. } => {
            let name = ended_text(ended);
            let name = name.trim_start_matches("signal ").trim_end_matches(" core");
            format!("by signal {name}{}", if core { ", with coredump" } else { "" })
        }
        Ended::NotStarted { errno, .. } => {
            format!("it was never started: {}", why(nix::errno::Errno::from_raw(errno)))
        }
        Ended::Unknown | Ended::Pending => "unknown: the supervise that had started it is dead".to_owned(),
    }
}

fn next_words(next: Next) -> String {
    match next {
        Next::RestartNow => "supervise starts it again at once".to_owned(),
        Next::RestartAfter(time) => format!("supervise starts it again in {}", duration_words(time)),
        Next::RestartAfterHook => "supervise runs the hook, then starts it again".to_owned(),
        Next::StaysDown => "it stays down, as an operator asked for".to_owned(),
        Next::Exits => "supervise exits, as an operator asked for".to_owned(),
        Next::GivesUp => "nothing: supervise gave up and exited, the service is down".to_owned(),
    }
}

/// Seconds to the millisecond, and the days, hours and minutes in them where there are any.
fn duration_words(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    let mut out = String::new();
    for (number, unit) in [(days, "d"), (hours, "h"), (minutes, "min")] {
        if number > 0 || !out.is_empty() {
            let _ = write!(out, "{number} {unit} ");
        }
    }
    let _ = write!(out, "{}.{:03} s", seconds % 60, time.subsec_millis());
    out
}

/// `2026-11-21 01:25:00`, in local time.
pub(super) fn local_text(stamp: Stamp) -> String {
    let time = local_time(stamp);
    format!("{:04}-{:02}-{:02} {:02}:{:02}:{:02}", time.year, time.month, time.day, time.hour, time.minute, time.second)
}

/// `21 Nov 2026 01:25:00 +0800` (RFC 5322, section 3.3).
pub(super) fn rfc5322_date(stamp: Stamp) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let time = local_time(stamp);
    let month = usize::try_from(time.month - 1).ok().and_then(|month| MONTHS.get(month)).copied().unwrap_or("Jan");
    let offset = time.utc_offset / 60;
    let sign = if offset < 0 { '-' } else { '+' };
    let (hours, minutes) = (offset.abs() / 60, offset.abs() % 60);
    format!(
        "{} {month} {:04} {:02}:{:02}:{:02} {sign}{hours:02}{minutes:02}",
        time.day, time.year, time.hour, time.minute, time.second
    )
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
