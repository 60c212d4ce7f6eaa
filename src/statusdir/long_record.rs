//! The text of `state`: one `key : value` a line, in an order that never changes.

use std::fmt::Write as _;
use std::ops::Range;
use std::time::Duration;

use crate::policy::{Ended, LastExit, Stamp, Wanted, Window};

use super::ended_text;
use crate::text::{escape, unescape};

/// Between a key and its value.
const SEPARATOR: &str = " : ";
/// There are hardly more keys.
const USUAL_LINES: usize = 28;

/// The long record (docs/operation.md, "The long record"). A key without a value is left out.
#[derive(Clone, Debug)]
pub struct LongRecord<'a> {
    /// The module's name.
    pub module: &'a [u8],
    /// The pid of supervise.
    pub supervise: u32,
    /// The version of supervise.
    pub version: &'a str,
    /// When it took the place of another version.
    pub upgraded: Option<Stamp>,
    /// Why the last attempt to upgrade failed, after its time.
    pub upgrade_problem: Option<&'a str>,
    /// The words of the command, joined by blanks.
    pub command: &'a [u8],
    /// The path of supervise.conf.
    pub conf: Option<&'a [u8]>,
    /// When it was read.
    pub conf_read: Option<Stamp>,
    /// What is wrong with it.
    pub conf_problem: Option<&'a str>,
    /// The service's pid.
    pub pid: Option<u32>,
    /// `down`, `up`, `stopping`, `pacing`, `hook` or `gave-up`.
    pub state: &'a str,
    /// When that began.
    pub since: Stamp,
    /// What the operator asked for.
    pub wanted: Wanted,
    /// The service is paused.
    pub paused: bool,
    /// Alarms are off.
    pub alarms_off: bool,
    /// The service was started by a supervise that has died.
    pub adopted: bool,
    /// When the next start is due.
    pub next_start: Option<Stamp>,
    /// The last exit.
    pub last_exit: Option<LastExit>,
    /// Starts of the service.
    pub starts: u64,
    /// Exits of the service.
    pub exits: u64,
    /// The open alarm window.
    pub window: Option<Window>,
    /// Alarms that were not delivered yet.
    pub undelivered: u64,
}

impl LongRecord<'_> {
    /// The text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut out = String::with_capacity(768);
        let mut line = |key: &str, value: &str| {
            let _ = writeln!(out, "{key} : {value}"); // writing to a String cannot fail
        };
        let yes_no = |flag: bool| if flag { "yes" } else { "no" };
        line("module", &escape(self.module));
        line("supervise", &self.supervise.to_string());
        line("version", self.version);
        if let Some(upgraded) = self.upgraded {
            line("upgraded", &time(upgraded));
        }
        if let Some(problem) = self.upgrade_problem {
            line("upgrade_problem", &escape(problem.as_bytes()));
        }
        line("command", &escape(self.command));
        if let Some(conf) = self.conf {
            line("conf", &escape(conf));
        }
        if let Some(read) = self.conf_read {
            line("conf_read", &time(read));
        }
        if let Some(problem) = self.conf_problem {
            line("conf_problem", &escape(problem.as_bytes()));
        }
        line("pid", &self.pid.unwrap_or(0).to_string());
        line("state", self.state);
        line("since", &time(self.since));
        line(
            "wanted",
            match self.wanted {
                Wanted::Up => "up",
                Wanted::Down => "down",
                Wanted::Once => "once",
            },
        );
        line("paused", yes_no(self.paused && self.pid.is_some()));
        line("alarms", yes_no(!self.alarms_off));
        line("adopted", yes_no(self.adopted));
        if let Some(start) = self.next_start {
            line("next_start", &time(start));
        }
        if let Some(last) = self.last_exit {
            let ended = match last.ended {
                Ended::Pending => Ended::Unknown, // for a reader, as long as it has not come
                Ended::NotStarted { .. } => Ended::Code(127), // what the child ends with, as a shell's would
                other => other,
            };
            line("last_exit", &ended_text(ended));
            line("last_exit_at", &time(last.at));
            if let Some(ran) = last.ran_ns {
                let ran = Duration::from_nanos(ran);
                line("last_ran", &format!("{}.{:09}", ran.as_secs(), ran.subsec_nanos()));
            }
            line("last_exit_expected", yes_no(last.expected));
        }
        line("starts", &self.starts.to_string());
        line("exits", &self.exits.to_string());
        if let Some(window) = self.window {
            line("window_opened", &time(window.opened_at));
        }
        line("window_exits", &self.window.map_or(0, |window| window.exits).to_string());
        line("window_coredumps", &self.window.map_or(0, |window| window.coredumps).to_string());
        line("undelivered", &self.undelivered.to_string());
        out
    }
}

/// A long record as a reader has it: whatever version wrote it, what it says under the keys that the reader knows.
#[derive(Clone, Debug, Default)]
pub struct ReadRecord {
    /// The file. One string, because a thousand services have tens of thousands of keys and values.
    text: String,
    /// Where keys and values stand in it, in their order.
    lines: Vec<[Range<usize>; 2]>,
}

/// What both say is the same, whatever lines were skipped.
impl PartialEq for ReadRecord {
    fn eq(&self, other: &Self) -> bool {
        self.lines().eq(other.lines())
    }
}

impl Eq for ReadRecord {}

impl ReadRecord {
    /// Reads the text of `state`. A line that is no `key : value` is skipped, as an unknown key is. `None`: it names no
    /// module, so it is no long record.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let whole = std::str::from_utf8(bytes).map(str::to_owned);
        let text = whole.unwrap_or_else(|_| String::from_utf8_lossy(bytes).into_owned());
        let (mut lines, mut start) = (Vec::with_capacity(USUAL_LINES), 0);
        for line in text.split('\n') {
            if let Some(length) =
                line.as_bytes().windows(SEPARATOR.len()).position(|three| three == SEPARATOR.as_bytes())
            {
                let key_end = start + length;
                lines.push([start..key_end, key_end + SEPARATOR.len()..start + line.len()]);
            }
            start += line.len() + 1;
        }
        let record = Self { text, lines };
        record.text("module").is_some().then_some(record)
    }

    /// Every key with its value, as they stand in the file.
    pub fn lines(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lines.iter().map(|[key, value]| (&self.text[key.clone()], &self.text[value.clone()]))
    }

    /// The value of a key as it stands in the file, with its bytes escaped.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        let line = self.lines.iter().find(|[known, _]| self.is(known, key))?;
        Some(&self.text[line[1].clone()])
    }

    /// Most keys differ in their length.
    fn is(&self, known: &Range<usize>, key: &str) -> bool {
        known.len() == key.len() && self.text.as_bytes()[known.clone()] == *key.as_bytes()
    }

    /// The bytes of a text from outside (`module`, `command`, `conf`, …).
    #[must_use]
    pub fn bytes(&self, key: &str) -> Option<Vec<u8>> {
        unescape(self.text(key)?)
    }

    /// A number (`supervise`, `starts`, `exits`, `window_exits`, …).
    #[must_use]
    pub fn number(&self, key: &str) -> Option<u64> {
        self.text(key)?.parse().ok()
    }

    /// Puts another number under a key, where it has that key.
    pub fn set_number(&mut self, key: &str, number: u64) {
        if let Some(line) = self.lines.iter().position(|[known, _]| self.is(known, key)) {
            let start = self.text.len(); // behind all else
            self.text.push_str(&number.to_string());
            self.lines[line][1] = start..self.text.len();
        }
    }

    /// The service's pid; `None`: it is down.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.text("pid")?.parse().ok().filter(|&pid| pid != 0)
    }

    /// A `yes` or `no` (`paused`, `alarms`, `adopted`, `last_exit_expected`).
    #[must_use]
    pub fn flag(&self, key: &str) -> Option<bool> {
        match self.text(key)? {
            "yes" => Some(true),
            "no" => Some(false),
            _ => None,
        }
    }

    /// A time (`since`, `conf_read`, `next_start`, `last_exit_at`, `window_opened`, …).
    #[must_use]
    pub fn time(&self, key: &str) -> Option<Stamp> {
        nanoseconds(self.text(key)?).map(Stamp)
    }

    /// A length of time (`last_ran`).
    #[must_use]
    pub fn duration(&self, key: &str) -> Option<Duration> {
        nanoseconds(self.text(key)?).map(Duration::from_nanos)
    }
}

/// Seconds with nine decimals, in nanoseconds.
fn nanoseconds(text: &str) -> Option<u64> {
    let (seconds, decimals) = text.split_once('.')?;
    let nanos: u64 = decimals.parse().ok().filter(|_| decimals.len() == 9 && !decimals.starts_with('+'))?;
    seconds.parse::<u64>().ok()?.checked_mul(1_000_000_000)?.checked_add(nanos)
}

/// Unix seconds with nine decimals.
fn time(stamp: Stamp) -> String {
    format!("{}.{:09}", stamp.seconds(), stamp.nanos())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Moment;

    #[test]
    fn golden_text() {
        let full = LongRecord {
            module: b"a\nb\\\xff\xe5\xba\x94",
            supervise: 7,
            version: "0.1.0",
            upgraded: Some(Stamp(4_000_000_000)),
            upgrade_problem: Some("5.0 no\nanswer"),
            command: b"sleep 1",
            conf: Some(b"supervise.conf"),
            conf_read: Some(Stamp(1_000_000_001)),
            conf_problem: Some("3: x: unknown"),
            pid: Some(8),
            state: "up",
            since: Stamp(2_500_000_000),
            wanted: Wanted::Once,
            paused: true,
            alarms_off: true,
            adopted: true,
            next_start: Some(Stamp(3_000_000_000)),
            last_exit: Some(LastExit {
                ended: Ended::Signal { number: 11, core: true },
                at: Stamp(2_000_000_000),
                moment: Moment(0),
                ran_ns: Some(1_500_000_000),
                expected: false,
            }),
            starts: 3,
            exits: 2,
            window: Some(Window { opened: Moment(0), opened_at: Stamp(1_000_000_000), exits: 2, coredumps: 1 }),
            undelivered: 1,
        };
        assert_eq!(
            full.encode(),
            "module : a\\x0ab\\x5c\\xff应\nsupervise : 7\nversion : 0.1.0\nupgraded : 4.000000000\n\
             upgrade_problem : 5.0 no\\x0aanswer\ncommand : sleep 1\nconf : supervise.conf\n\
             conf_read : 1.000000001\nconf_problem : 3: x: unknown\npid : 8\nstate : up\nsince : 2.500000000\n\
             wanted : once\npaused : yes\nalarms : no\nadopted : yes\nnext_start : 3.000000000\n\
             last_exit : signal SEGV core\nlast_exit_at : 2.000000000\nlast_ran : 1.500000000\n\
             last_exit_expected : no\nstarts : 3\nexits : 2\nwindow_opened : 1.000000000\nwindow_exits : 2\n\
             window_coredumps : 1\nundelivered : 1\n"
        );
        let read = ReadRecord::decode(full.encode().as_bytes()).unwrap();
        assert_eq!(read.bytes("module").as_deref(), Some(full.module));
        assert_eq!((read.pid(), read.number("starts")), (Some(8), Some(3)));
        assert_eq!(
            (read.time("since"), read.duration("last_ran")),
            (Some(full.since), Some(Duration::from_millis(1500)))
        );
        assert_eq!(
            (read.flag("paused"), read.flag("alarms"), read.text("state")),
            (Some(true), Some(false), Some("up"))
        );
        assert_eq!(read.lines().count(), full.encode().lines().count());
    }

    #[test]
    fn a_reader_takes_what_it_knows() {
        let read =
            ReadRecord::decode(b"later : 7\nno line\nmodule : a\npid : 0\nsince : 5\nstarts : many\n\xff : \xff\n")
                .unwrap();
        assert_eq!(
            (read.pid(), read.time("since"), read.number("starts"), read.flag("paused")),
            (None, None, None, None)
        );
        assert_eq!(read.text("later"), Some("7"));
        let read = ReadRecord::decode(b"module : a\r\n").unwrap();
        assert_eq!(read.text("module"), Some("a\r"), "a value is all that stands there");
        for none in [&b""[..], b"\0\0\0", b"module:a\n"] {
            assert_eq!(ReadRecord::decode(none), None);
        }
    }
}
