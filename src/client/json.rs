//! The answer of `svc status --json` (docs/svc-json.md): one line a service, keys in an order that stays.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

use super::{Sight, State};
use crate::policy::{Stamp, Wanted};
use crate::text::{escape, printable};

/// Changes when a key goes away or means something else; a new key does not change it.
const VERSION: u64 = 1;

/// The whole answer, as it was at this time.
#[must_use]
pub fn json(root: &Path, now: Stamp, sights: &[Sight]) -> String {
    let mut head = Object::new();
    head.number("version", Some(VERSION));
    head.text("root", Some(&escape(root.as_os_str().as_encoded_bytes())));
    head.time("time", Some(now));
    let services: Vec<String> = sights.iter().map(|sight| format!("\n{}", service(sight))).collect();
    head.raw("services", &format!("[{}{}]", services.join(","), if sights.is_empty() { "" } else { "\n" }));
    head.end() + "\n"
}

fn service(sight: &Sight) -> String {
    let record = sight.record.as_ref();
    let text = |key: &str| record.and_then(|record| record.text(key));
    let number = |key: &str| sight.number(key);
    let time = |key: &str| record.and_then(|record| record.time(key));
    let mut out = Object::new();
    out.text("name", Some(&sight.service.shown()));
    out.text("dir", Some(&escape(sight.service.dir.as_os_str().as_encoded_bytes())));
    out.text("state", Some(sight.state.word()));
    let readable = sight.state != State::Unreadable;
    out.flag("up", readable.then_some(sight.pid.is_some()));
    out.flag("failed", Some(sight.trouble().is_some()));
    out.text("problem", sight.problem.as_deref());
    out.flag("supervise", sight.supervise);
    out.number("supervise_pid", number("supervise").filter(|_| sight.supervise == Some(true)));
    out.flag("supervise_stopped", sight.supervise.filter(|&lives| lives).map(|_| sight.stopped.is_some()));
    out.text("version", text("version"));
    out.time("upgraded", time("upgraded"));
    out.text("upgrade_problem", text("upgrade_problem"));
    out.text("command", text("command"));
    out.text("conf", text("conf"));
    out.time("conf_read", time("conf_read"));
    out.text("conf_problem", text("conf_problem"));
    out.number("pid", sight.pid.map(u64::from));
    out.time("since", sight.since);
    out.text(
        "wanted",
        sight.wanted.map(|wanted| match wanted {
            Wanted::Up => "up",
            Wanted::Down => "down",
            Wanted::Once => "once",
        }),
    );
    out.flag("paused", readable.then_some(sight.paused));
    out.flag("alarms", sight.alarms);
    out.flag("adopted", record.and_then(|record| record.flag("adopted")));
    out.time("next_start", time("next_start").filter(|_| sight.state == State::Pacing));
    out.raw("last_exit", &last_exit(sight));
    out.number("starts", number("starts"));
    out.number("exits", number("exits"));
    out.raw("window", &window(sight));
    out.number("undelivered", number("undelivered"));
    out.end()
}

/// `code 3`, `signal SEGV core`, taken apart.
fn last_exit(sight: &Sight) -> String {
    let Some(record) = sight.record.as_ref() else { return "null".to_owned() };
    let Some(text) = record.text("last_exit") else { return "null".to_owned() };
    let mut words = text.split(' ');
    let (kind, what) = (words.next(), words.next());
    let mut out = Object::new();
    out.text("text", Some(text));
    out.number("code", what.filter(|_| kind == Some("code")).and_then(|code| code.parse().ok()));
    out.text("signal", what.filter(|_| kind == Some("signal")));
    out.flag("core", Some(kind == Some("signal") && words.next() == Some("core")));
    out.time("at", record.time("last_exit_at"));
    out.seconds("ran", record.duration("last_ran").map(|ran| ran.as_nanos().try_into().unwrap_or(u64::MAX)));
    out.flag("expected", record.flag("last_exit_expected"));
    out.end()
}

fn window(sight: &Sight) -> String {
    let opened = sight.record.as_ref().and_then(|record| record.time("window_opened"));
    if opened.is_none() {
        return "null".to_owned();
    }
    let mut out = Object::new();
    out.time("opened", opened);
    out.number("exits", sight.number("window_exits"));
    out.number("coredumps", sight.number("window_coredumps"));
    out.end()
}

/// An object that is written key by key: a map would sort them.
struct Object(String);

impl Object {
    fn new() -> Self {
        Self("{".to_owned())
    }

    fn raw(&mut self, key: &str, value: &str) {
        let comma = if self.0.len() > 1 { "," } else { "" };
        let _ = write!(self.0, "{comma}\"{key}\":{value}"); // a String takes all
    }

    fn value(&mut self, key: &str, value: Option<Value>) {
        self.raw(key, &value.unwrap_or(Value::Null).to_string());
    }

    /// Readers print what they read: no text is more than text.
    fn text(&mut self, key: &str, value: Option<&str>) {
        self.value(key, value.map(|text| Value::from(printable(text.as_bytes()))));
    }

    fn flag(&mut self, key: &str, value: Option<bool>) {
        self.value(key, value.map(Value::from));
    }

    fn number(&mut self, key: &str, value: Option<u64>) {
        self.value(key, value.map(Value::from));
    }

    /// Unix seconds.
    fn time(&mut self, key: &str, value: Option<Stamp>) {
        self.seconds(key, value.map(|stamp| stamp.0));
    }

    /// To the microsecond, which is what the numbers of most readers of JSON can hold.
    fn seconds(&mut self, key: &str, nanoseconds: Option<u64>) {
        let text = nanoseconds.map(|time| format!("{}.{:06}", time / 1_000_000_000, time % 1_000_000_000 / 1000));
        self.raw(key, text.as_deref().unwrap_or("null"));
    }

    fn end(self) -> String {
        self.0 + "}"
    }
}
