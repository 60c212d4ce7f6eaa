//! The text of `claim`: what a supervise leaves for its successor, whenever it may be killed.
//!
//! The block has one size and is written in one piece, by the child between fork and exec or by supervise itself.
//! What the child adds (its pid, a time, the sum) stands in fixed places, so that it needs no memory for it.

use std::fmt::Write as _;
use std::time::Duration;

use crate::policy::{Alarm, AlarmKind, Exit, LastExit, Ledger, Moment, Next, Stamp, Wanted, Window};
use crate::sys::StampClaim;

use super::{ended_from_text, ended_text};

/// An alarm that is owed: raised, and not yet a message file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Debt {
    /// The Message-ID's left side, and the name of the message file.
    pub id: String,
    /// What the message says.
    pub alarm: Alarm,
    /// How far `__stderr` reached at the exit.
    pub stderr: Option<StderrMark>,
    /// The end of what it had said there. Who saw the exit knows it, and the claim does not.
    pub said: Option<Vec<u8>>,
    /// Alarms for which there was no room any more, which this one speaks for too.
    pub merged: u32,
}

/// A place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StderrMark {
    /// The file's device.
    pub device: u64,
    /// The file's inode number.
    pub inode: u64,
    /// Its length.
    pub length: u64,
}

/// What the claim says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The service's pid; `None`: it is down.
    pub pid: Option<u32>,
    /// Its start lies between these two, in nanoseconds since boot.
    pub started_between: (u64, u64),
    /// The session that it is in, if its supervise leads that; else 0, and if it is not known.
    pub session: i32,
    /// The boot in which this was written.
    pub boot: String,
    /// The writer took leave: there is nothing to take over.
    pub left: bool,
    /// A number that two equal commands share.
    pub command: u64,
    /// The policy's memory.
    pub ledger: Ledger,
    /// The alarms that are owed.
    pub debts: Vec<Debt>,
}

const TITLE: &str = "supervise claim 1\n";
const DIGITS: usize = 20; // u64::MAX has as many
const SUM: usize = TITLE.len() + "sum ".len();
const SUMMED: usize = SUM + DIGITS + 1;
const PID: usize = SUMMED + "pid ".len();
/// Most claims are shorter, in bytes.
const USUAL: usize = 768;
const UNTIL: usize = PID + DIGITS + 1 + "until ".len();

/// The bytes of a claim, laid out for the child to stamp.
#[derive(Clone, Debug)]
pub struct ClaimBlock {
    /// What it says; newlines follow, up to its size.
    said: Vec<u8>,
}

impl ClaimBlock {
    /// The size of the file: a page, so that one write is one copy in the kernel, never half of it.
    pub const SIZE: usize = 4096;

    /// A block that says nothing.
    pub const EMPTY: &[u8; Self::SIZE] = &[b'\n'; Self::SIZE];

    /// The bytes to write, in two pieces: the newlines are the program's own, and no copy has to be kept of them.
    #[must_use]
    pub fn bytes(&self) -> [&[u8]; 2] {
        [&self.said, Self::EMPTY.get(self.said.len()..).unwrap_or_default()]
    }

    fn put(&mut self, at: usize, mut number: u64) {
        for place in self.said.iter_mut().skip(at).take(DIGITS).rev() {
            *place = b'0' + u8::try_from(number % 10).unwrap_or(0);
            number /= 10;
        }
    }
}

impl StampClaim for ClaimBlock {
    fn stamp(&mut self, pid: u32, boot_ns: u64) -> [&[u8]; 2] {
        self.put(PID, u64::from(pid));
        self.put(UNTIL, boot_ns);
        self.put(SUM, sum(self.said.get(SUMMED..).unwrap_or_default()));
        self.bytes()
    }
}

/// FNV-1a: tells a block that was cut short or damaged from a whole one; it needs no more.
fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A number of ten digits at most that tells these bytes from nearly all others; the same in every version.
#[must_use]
pub fn short_sum(bytes: &[u8]) -> u32 {
    let sum = sum(bytes);
    (sum >> 32) as u32 ^ sum as u32
}

impl Claim {
    /// As many alarms can be owed at once, so that the block has room for all of them.
    pub const MAX_DEBTS: usize = 8;

    /// A number that two equal commands share.
    #[must_use]
    pub fn command_number<'a>(words: impl IntoIterator<Item = &'a [u8]>) -> u64 {
        sum(&words.into_iter().collect::<Vec<_>>().join(&0))
    }

    /// The block that says this. [`Claim::pid`] and the end of [`Claim::started_between`] can be stamped later.
    #[must_use]
    pub fn encode(&self) -> ClaimBlock {
        let mut out = String::with_capacity(USUAL);
        let ledger = &self.ledger;
        let moment = |moment: Option<Moment>| moment.map_or_else(|| "-".to_owned(), |moment| moment.0.to_string());
        // Writing to a String cannot fail.
        let _ = write!(out, "{TITLE}sum {:020}\npid {:020}\nuntil {:020}\n", 0, 0, 0);
        let _ = writeln!(out, "from {}\nsession {}\nboot {}", self.started_between.0, self.session, self.boot);
        let _ = writeln!(out, "left {}\ncommand {}", u8::from(self.left), self.command);
        let _ = writeln!(out, "wanted {}", wanted_text(ledger.wanted));
        let flags = [ledger.alarms_off, ledger.paused, ledger.start_due, ledger.prompt, ledger.up_since, ledger.killed];
        let _ = writeln!(out, "flags {}", flags.map(|flag| if flag { "1" } else { "0" }).join(" "));
        let _ = writeln!(out, "stopping {}", moment(ledger.stopping));
        let _ = writeln!(out, "sent {}", ledger.sent.map(moment).join(" "));
        let _ = writeln!(out, "started {} {}", moment(ledger.started), ledger.started_at.0);
        let _ = writeln!(out, "counts {} {} {}", ledger.starts, ledger.exits, ledger.hook_count);
        if let Some(last) = ledger.last_exit {
            let ran = moment(last.ran_ns.map(Moment));
            let expected = u8::from(last.expected);
            let ended = ended_text(last.ended);
            let _ = writeln!(out, "last_exit {} {} {ran} {expected} {ended}", last.moment.0, last.at.0);
        }
        if let Some(window) = ledger.window {
            let Window { opened, opened_at, exits, coredumps } = window;
            let _ = writeln!(out, "window {} {} {exits} {coredumps}", opened.0, opened_at.0);
        }
        if ledger.alarmed {
            let _ = writeln!(out, "alarmed 1");
        }
        for debt in self.debts.iter().take(Self::MAX_DEBTS) {
            debt_text(debt, &mut out);
        }
        out.push_str("end\n");
        let mut block = ClaimBlock { said: out.into_bytes() };
        block.said.truncate(ClaimBlock::SIZE);
        block.stamp(self.pid.unwrap_or(0), self.started_between.1);
        block
    }

    /// Reads a block; `None`: it says nothing, or is damaged. Lines with an unknown word are skipped, so that an
    /// older supervise can read what a newer one wrote.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let used = text.find("\nend\n")? + "\nend\n".len();
        let text = text[..used].strip_prefix(TITLE)?;
        let mut claim = Self {
            pid: None,
            started_between: (0, 0),
            session: 0,
            boot: String::new(),
            left: false,
            command: 0,
            ledger: Ledger::default(),
            debts: Vec::new(),
        };
        let mut expected_sum = None;
        // A CR before the end of a line is part of it.
        for line in text.split('\n') {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            if word == "sum" {
                expected_sum = rest.parse().ok();
            } else {
                claim.take_line(word, rest)?;
            }
        }
        (expected_sum == Some(sum(bytes.get(SUMMED..used)?))).then_some(claim)
    }

    fn take_line(&mut self, word: &str, rest: &str) -> Option<()> {
        let ledger = &mut self.ledger;
        let mut fields = rest.split(' ');
        match word {
            "pid" => self.pid = Some(rest.parse().ok()?).filter(|&pid: &u32| pid != 0),
            "until" => self.started_between.1 = rest.parse().ok()?,
            "from" => self.started_between.0 = rest.parse().ok()?,
            "session" => self.session = rest.parse().ok()?,
            "boot" => rest.clone_into(&mut self.boot),
            "left" => self.left = flag(Some(rest))?,
            "command" => self.command = rest.parse().ok()?,
            "wanted" => ledger.wanted = wanted_from(rest)?,
            "flags" => {
                ledger.alarms_off = flag(fields.next())?;
                ledger.paused = flag(fields.next())?;
                ledger.start_due = flag(fields.next())?;
                ledger.prompt = flag(fields.next())?;
                ledger.up_since = flag(fields.next())?;
                ledger.killed = flag(fields.next())?;
            }
            "alarmed" => ledger.alarmed = flag(Some(rest))?,
            "stopping" => ledger.stopping = moment(Some(rest))?,
            "sent" => {
                for sent in &mut ledger.sent {
                    *sent = moment(fields.next())?;
                }
            }
            "started" => {
                ledger.started = moment(fields.next())?;
                ledger.started_at = Stamp(number(fields.next())?);
            }
            "counts" => {
                ledger.starts = number(fields.next())?;
                ledger.exits = number(fields.next())?;
                ledger.hook_count = number(fields.next())?;
            }
            "last_exit" => {
                let moment_of = Moment(number(fields.next())?);
                let at = Stamp(number(fields.next())?);
                let ran_ns = moment(fields.next())?.map(|ran| ran.0);
                let expected = flag(fields.next())?;
                let ended = ended_from_text(&fields.collect::<Vec<_>>().join(" "))?;
                ledger.last_exit = Some(LastExit { ended, at, moment: moment_of, ran_ns, expected });
            }
            "window" => {
                ledger.window = Some(Window {
                    opened: Moment(number(fields.next())?),
                    opened_at: Stamp(number(fields.next())?),
                    exits: number(fields.next())?,
                    coredumps: number(fields.next())?,
                });
            }
            "debt" => self.debts.push(debt_from(rest)?),
            _ => {}
        }
        Some(())
    }
}

fn debt_text(debt: &Debt, out: &mut String) {
    let Alarm { kind, exit, at, ran, window_exit, window_coredumps, window_ends, next } = debt.alarm;
    let optional = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let kind = match kind {
        AlarmKind::Exited => "exited".to_owned(),
        AlarmKind::Coredump => "coredump".to_owned(),
        AlarmKind::GaveUp { tries } => tries.to_string(),
        AlarmKind::Recovered => "recovered".to_owned(),
    };
    let next = match next {
        Next::RestartNow => "now".to_owned(),
        Next::RestartAfter(time) => nanos(time).to_string(),
        Next::RestartAfterHook => "hook".to_owned(),
        Next::StaysDown => "down".to_owned(),
        Next::Exits => "exits".to_owned(),
        Next::GivesUp => "gives-up".to_owned(),
    };
    let cpu = exit.cpu_us;
    let mark = debt.stderr;
    let fields = [
        debt.id.clone(),
        debt.merged.to_string(),
        kind,
        exit.pid.to_string(),
        optional(exit.peak_kib),
        optional(cpu.map(|cpu| cpu.0)),
        optional(cpu.map(|cpu| cpu.1)),
        at.0.to_string(),
        optional(ran.map(nanos)),
        window_exit.to_string(),
        window_coredumps.to_string(),
        window_ends.0.to_string(),
        next,
        optional(mark.map(|mark| mark.device)),
        optional(mark.map(|mark| mark.inode)),
        optional(mark.map(|mark| mark.length)),
        ended_text(exit.ended),
    ];
    let _ = writeln!(out, "debt {}", fields.join(" "));
}

fn debt_from(rest: &str) -> Option<Debt> {
    let mut fields = rest.split(' ');
    let optional = |field: Option<&str>| Some(moment(field)?.map(|number| number.0));
    let id = fields.next().filter(|id| is_id(id))?.to_owned();
    let merged = number(fields.next())?;
    let kind = match fields.next()? {
        "exited" => AlarmKind::Exited,
        "coredump" => AlarmKind::Coredump,
        "recovered" => AlarmKind::Recovered,
        tries => AlarmKind::GaveUp { tries: tries.parse().ok()? },
    };
    let pid = number(fields.next())?;
    let peak_kib = optional(fields.next())?;
    let cpu_us = optional(fields.next())?.zip(optional(fields.next())?);
    let at = Stamp(number(fields.next())?);
    let ran = optional(fields.next())?.map(Duration::from_nanos);
    let window_exit = number(fields.next())?;
    let window_coredumps = number(fields.next())?;
    let window_ends = Stamp(number(fields.next())?);
    let next = match fields.next()? {
        "now" => Next::RestartNow,
        "hook" => Next::RestartAfterHook,
        "down" => Next::StaysDown,
        "exits" => Next::Exits,
        "gives-up" => Next::GivesUp,
        time => Next::RestartAfter(Duration::from_nanos(time.parse().ok()?)),
    };
    let (device, inode, length) = (optional(fields.next())?, optional(fields.next())?, optional(fields.next())?);
    let ended = ended_from_text(&fields.collect::<Vec<_>>().join(" "))?;
    let stderr = match (device, inode, length) {
        (Some(device), Some(inode), Some(length)) => Some(StderrMark { device, inode, length }),
        _ => None,
    };
    let exit = Exit { pid, ended, peak_kib, cpu_us };
    let alarm = Alarm { kind, exit, at, ran, window_exit, window_coredumps, window_ends, next };
    Some(Debt { id, alarm, stderr, said: None, merged })
}

/// Whether an alarm can have this id: digits and dots. It becomes a file's name, whoever wrote it here.
#[must_use]
pub fn is_id(id: &str) -> bool {
    id.starts_with(|first: char| first.is_ascii_digit()) && id.chars().all(|c| c.is_ascii_digit() || c == '.')
}

fn wanted_text(wanted: Wanted) -> &'static str {
    match wanted {
        Wanted::Up => "up",
        Wanted::Down => "down",
        Wanted::Once => "once",
    }
}

fn wanted_from(text: &str) -> Option<Wanted> {
    [Wanted::Up, Wanted::Down, Wanted::Once].into_iter().find(|&wanted| wanted_text(wanted) == text)
}

fn number<T: std::str::FromStr>(field: Option<&str>) -> Option<T> {
    field?.parse().ok()
}

fn flag(field: Option<&str>) -> Option<bool> {
    match field? {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    }
}

/// A number or `-`. The outer `None`: neither.
fn moment(field: Option<&str>) -> Option<Option<Moment>> {
    match field? {
        "-" => Some(None),
        number => Some(Some(Moment(number.parse().ok()?))),
    }
}

#[cfg(test)]
#[path = "claim_tests.rs"]
mod tests;
