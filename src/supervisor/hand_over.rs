//! What one version of the program hands over to the next in the same process: the claim, and what no claim says.
//!
//! The claim's block comes first, then a line for each thing that otherwise dies with a process. Lines with an unknown
//! word are skipped, so that a version can read what a newer one wrote.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::uio::pwrite;

use super::command::Running;
use crate::policy::{Moment, Stamp, Standing, State};
use crate::statusdir::{Claim, ClaimBlock};
use crate::sys;
use crate::text::{escape, unescape};

/// The variable that tells the next program where to read: the number of a descriptor, a blank, and the process that it
/// is for. So a variable that somebody else has set is told from a hand-over that can't be read.
pub(super) const VARIABLE: &std::ffi::CStr = c"SUPERVISE_HAND_OVER";

const TITLE: &str = "supervise hand-over 1\n";
/// The longest that is read: a command is at most as long as the kernel lets one be (execve(2): 128 KiB a word, a
/// quarter of the stack in all), and escaping makes it four times as long.
const LONGEST: u64 = 16 << 20;

/// What is handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandOver {
    /// As it would be written now.
    pub(super) claim: Claim,
    /// The version that hands over.
    pub(super) version: String,
    /// Its process, which is that of the next one too.
    pub(super) supervise: u32,
    /// Where `U` finds the next program.
    pub(super) path: Option<PathBuf>,
    /// The open status directory.
    pub(super) dir: RawFd,
    pub(super) lock: RawFd,
    pub(super) ok: RawFd,
    pub(super) fifos: Vec<RawFd>,
    /// The open claim; `None`: it could not be opened, or an older version hands over.
    pub(super) claim_file: Option<RawFd>,
    /// The service was adopted, and this is its pidfd.
    pub(super) pidfd: Option<RawFd>,
    /// The pid of the running hook.
    pub(super) hook: Option<i32>,
    /// The pid of the running svalarm.
    pub(super) svalarm: Option<i32>,
    pub(super) standing: Standing,
    pub(super) pid_changed: Stamp,
    /// Another `U` came since this one.
    pub(super) asked_again: bool,
    /// A conf was read, and is in force.
    pub(super) has_conf: bool,
    pub(super) running: Running,
}

/// What a process finds of a hand-over when it begins.
#[derive(Debug)]
pub enum Handed {
    /// Nothing was handed over to this process.
    Nothing,
    /// This was.
    This(Box<HandOver>),
    /// Something was, and it can't be read or understood.
    Unusable,
}

impl Handed {
    /// Takes what was handed over to this process. It is asked for once, before anything is opened.
    #[must_use]
    pub fn take() -> Self {
        let value = sys::take_variable(VARIABLE);
        let words = value.as_ref().and_then(|value| value.to_str()?.split_once(' '));
        let own = std::process::id();
        let Some((number, _)) = words.filter(|(_, process)| process.parse() == Ok(own)) else { return Self::Nothing };
        let file = number.parse().ok().and_then(|number| sys::inherited(number).ok());
        let handed = file.and_then(|file| HandOver::read(File::from(file)));
        match handed.filter(|handed| handed.supervise == own) {
            Some(handed) => Self::This(Box::new(handed)),
            None => Self::Unusable,
        }
    }
}

impl HandOver {
    /// Reads one; `None`: it says nothing, or what this version does not understand.
    pub(super) fn read(from: impl Read) -> Option<Self> {
        let mut bytes = Vec::new();
        from.take(LONGEST).read_to_end(&mut bytes).ok()?;
        Self::decode(&bytes)
    }

    /// Writes it to a file in memory, which is close-on-exec.
    pub(super) fn write(&self) -> Result<OwnedFd, Errno> {
        let file = memfd_create(c"supervise hand-over", MFdFlags::MFD_CLOEXEC)?;
        let bytes = self.encode();
        // By pwrite, so that whoever inherits it reads from its beginning.
        if pwrite(&file, &bytes, 0)? == bytes.len() { Ok(file) } else { Err(Errno::ENOMEM) }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = TITLE.to_owned();
        let path = self.path.as_ref().map(|path| escape(path.as_os_str().as_encoded_bytes()));
        let Standing { state, since, exit_asked } = self.standing;
        let optional = |number: Option<i32>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        // Writing to a String cannot fail.
        let _ = writeln!(out, "from {} {}", self.supervise, self.version);
        let _ = writeln!(out, "path {}", path.as_deref().unwrap_or("-"));
        let _ = writeln!(out, "held {} {} {}", self.dir, self.lock, self.ok);
        let _ = writeln!(out, "fifos {}", self.fifos.iter().map(RawFd::to_string).collect::<Vec<_>>().join(" "));
        let _ = writeln!(out, "claim {}", optional(self.claim_file));
        let _ = writeln!(out, "pidfd {}", optional(self.pidfd));
        let _ = writeln!(out, "children {} {}", optional(self.hook), optional(self.svalarm));
        let _ = writeln!(out, "state {}", state_text(state));
        let _ = writeln!(out, "since {} {}", since.0, self.pid_changed.0);
        let flags = [exit_asked, self.asked_again, self.has_conf];
        let _ = writeln!(out, "flags {}", flags.map(|flag| if flag { "1" } else { "0" }).join(" "));
        let _ = writeln!(out, "command {}", escape(&self.running.text));
        let _ = writeln!(out, "program {}", escape(&self.running.program));
        out.push_str("end\n");
        let mut bytes = self.claim.encode().bytes().concat();
        bytes.extend_from_slice(out.as_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (block, text) = bytes.split_at_checked(ClaimBlock::SIZE)?;
        let text = std::str::from_utf8(text).ok()?.strip_prefix(TITLE)?.strip_suffix("\nend\n")?;
        let line = |word: &str| text.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
        let numbers =
            |word: &str| line(word)?.split(' ').map(|number| number.parse().ok()).collect::<Option<Vec<i32>>>();
        let optional = |text: &str| if text == "-" { Some(None) } else { text.parse().ok().map(Some) };
        let (supervise, version) = line("from")?.split_once(' ')?;
        let path = match line("path")? {
            "-" => None,
            path => Some(PathBuf::from(std::ffi::OsString::from_vec(unescape(path)?))),
        };
        let [dir, lock, ok] = numbers("held")?.try_into().ok()?;
        let (hook, svalarm) = line("children")?.split_once(' ')?;
        let (since, pid_changed) = line("since")?.split_once(' ')?;
        let [exit_asked, asked_again, has_conf] = numbers("flags")?.try_into().ok()?;
        let handed = Self {
            claim: Claim::decode(block)?,
            version: version.to_owned(),
            supervise: supervise.parse().ok()?,
            path,
            dir,
            lock,
            ok,
            fifos: numbers("fifos")?,
            claim_file: line("claim").map_or(Some(None), optional)?,
            pidfd: optional(line("pidfd")?)?,
            hook: optional(hook)?,
            svalarm: optional(svalarm)?,
            standing: Standing {
                state: state_from(line("state")?)?,
                since: Stamp(since.parse().ok()?),
                exit_asked: exit_asked != 0,
            },
            pid_changed: Stamp(pid_changed.parse().ok()?),
            asked_again: asked_again != 0,
            has_conf: has_conf != 0,
            running: Running { text: unescape(line("command")?)?, program: unescape(line("program")?)? },
        };
        handed.adds_up().then_some(handed)
    }

    /// No descriptor stands for two things, and a service that runs is there.
    fn adds_up(&self) -> bool {
        let mut descriptors = [self.dir, self.lock, self.ok].to_vec();
        descriptors.extend(self.fifos.iter().chain(&self.claim_file).chain(&self.pidfd));
        let count = descriptors.len();
        descriptors.sort_unstable();
        descriptors.dedup();
        let runs = matches!(self.standing.state, State::Up | State::Stopping);
        descriptors.len() == count && !self.fifos.is_empty() && runs == self.claim.pid.is_some()
    }
}

fn state_text(state: State) -> String {
    match state {
        State::Down => "down".to_owned(),
        State::Up => "up".to_owned(),
        State::Stopping => "stopping".to_owned(),
        State::Pacing => "pacing".to_owned(),
        State::Hook { since } => format!("hook {}", since.0),
        State::GaveUp | State::Left => "left".to_owned(), // nothing is handed over then
    }
}

fn state_from(text: &str) -> Option<State> {
    match text.split_once(' ') {
        None => [State::Down, State::Up, State::Stopping, State::Pacing].into_iter().find(|&it| state_text(it) == text),
        Some(("hook", since)) => Some(State::Hook { since: Moment(since.parse().ok()?) }),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Ledger;

    fn claim(pid: Option<u32>) -> Claim {
        Claim {
            pid,
            started_between: (7, 9),
            session: 5,
            boot: "boot".to_owned(),
            left: false,
            command: 5,
            ledger: Ledger::default(),
            debts: Vec::new(),
        }
    }

    fn handed() -> HandOver {
        HandOver {
            claim: claim(Some(42)),
            version: "0.1.0".to_owned(),
            supervise: 41,
            path: Some("/usr/bin/super\nvise".into()),
            dir: 3,
            lock: 4,
            ok: 7,
            fifos: vec![5, 6],
            claim_file: Some(8),
            pidfd: None,
            hook: None,
            svalarm: Some(43),
            standing: Standing { state: State::Up, since: Stamp(11), exit_asked: true },
            pid_changed: Stamp(12),
            asked_again: false,
            has_conf: true,
            running: Running { text: b"sleep \xff".to_vec(), program: b"sleep".to_vec() },
        }
    }

    #[test]
    fn golden_bytes() {
        let bytes = handed().encode();
        assert_eq!(bytes[..ClaimBlock::SIZE], claim(Some(42)).encode().bytes().concat()[..]);
        assert_eq!(
            String::from_utf8_lossy(&bytes[ClaimBlock::SIZE..]),
            "supervise hand-over 1\nfrom 41 0.1.0\npath /usr/bin/super\\x0avise\nheld 3 4 7\nfifos 5 6\nclaim 8\n\
             pidfd -\nchildren - 43\nstate up\nsince 11 12\nflags 1 0 1\ncommand sleep \\xff\nprogram sleep\nend\n"
        );
    }

    #[test]
    fn what_is_handed_over_comes_through() {
        let up = handed();
        let down = HandOver { claim: claim(None), path: None, svalarm: None, running: Running::default(), ..handed() };
        let states = [State::Down, State::Pacing, State::Hook { since: Moment(u64::MAX) }];
        let downs = states.map(|state| HandOver {
            standing: Standing { state, ..down.standing },
            hook: Some(7),
            ..down.clone()
        });
        let stopping = Standing { state: State::Stopping, ..up.standing };
        let adopted = HandOver { standing: stopping, pidfd: Some(9), asked_again: true, has_conf: false, ..handed() };
        for handed in downs.into_iter().chain([up, adopted]) {
            assert_eq!(HandOver::read(handed.encode().as_slice()), Some(handed));
        }
    }

    #[test]
    fn what_a_newer_one_adds_is_skipped() {
        let text = String::from_utf8(handed().encode()).unwrap();
        let more = text.replace("pidfd -\n", "pidfd -\nshoes blue\n");
        assert_eq!(HandOver::decode(more.as_bytes()), Some(handed()));
    }

    #[test]
    fn an_older_one_does_not_hand_over_the_open_claim() {
        let text = String::from_utf8(handed().encode()).unwrap();
        for less in ["", "claim -\n"] {
            let without = text.replace("claim 8\n", less);
            assert_eq!(HandOver::decode(without.as_bytes()), Some(HandOver { claim_file: None, ..handed() }));
        }
    }

    #[test]
    fn what_does_not_add_up_is_not_taken() {
        let text = String::from_utf8(handed().encode()).unwrap();
        for (from, to) in [
            ("hand-over 1", "hand-over 2"),
            ("supervise claim 1", "supervise claim 2"),
            ("held 3 4 7", "held 3 4 4"),
            ("held 3 4 7", "held 3 4"),
            ("fifos 5 6", "fifos 5 7"),
            ("fifos 5 6", "fifos "),
            ("claim 8", "claim 7"),
            ("claim 8", "claim x"),
            ("state up", "state down"),
            ("state up", "state sideways"),
            ("flags 1 0 1", "flags 1 0"),
            ("\nend\n", "\n"),
            ("from 41", "from x"),
        ] {
            assert!(text.contains(from));
            assert_eq!(HandOver::decode(text.replacen(from, to, 1).as_bytes()), None, "{from} -> {to}");
        }
        assert_eq!(HandOver::decode(b""), None);
    }
}
