//! `svc tail`: the end of what services said, and what they say from then on.

use std::collections::HashMap;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use nix::sys::time::TimeSpec;
use unicode_width::UnicodeWidthStr as _;

use super::arguments::{Named, Names};
use super::exit::SYSTEM;
use super::limits::allow_many_files;
use super::printer::{Printer, Source};
use super::terminal::{has_colours, say};
use crate::client::{Followed, Service, refusal};
use crate::sys::why_io;

/// Even where the kernel tells of changes, all files are looked at so often: a link may lead out of the directory.
const LOOK: Duration = Duration::from_secs(1);
/// Where it does not tell, because a user may have only so many watches.
const LOOK_WITHOUT_WATCHES: Duration = Duration::from_millis(200);

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Goes on with what they say from now on
    #[arg(short, long)]
    follow: bool,
    /// So many lines of each file
    #[arg(short = 'n', long, value_name = "LINES", default_value_t = 20, value_parser = lines, allow_negative_numbers = true)]
    lines: usize,
    /// Only __stdout; without one of these, both __stdout and __stderr
    #[arg(long)]
    stdout: bool,
    /// Only __stderr
    #[arg(long)]
    stderr: bool,
    /// What supervise says of them: supervise.log and supervise.log.wf, merged
    #[arg(long, conflicts_with_all = ["stdout", "stderr"])]
    log: bool,
    #[command(flatten)]
    names: Names,
}

/// Reads a number of lines as it is typed.
fn lines(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| "a number of lines is meant, 0 or more".to_owned())
}

pub(super) fn run(root: &Path, arguments: Arguments) -> u8 {
    let Named { services, unknown, code } = arguments.names.find(root);
    for (_, line) in &unknown {
        say(line);
    }
    if services.is_empty() {
        return code;
    }
    allow_many_files();
    let mut tail = Tail::new(&services, &arguments);
    let code = if tail.open(&arguments) { SYSTEM } else { code };
    let done =
        tail.print_last(&arguments).and_then(|()| if arguments.follow { tail.follow() } else { tail.printer.end() });
    match done {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            say(&format!("unable to write: {}", why_io(&error)));
            SYSTEM
        }
        _ => code,
    }
}

struct Tail {
    files: Vec<Followed>,
    printer: Printer,
    /// The lines have times, and are put in their order.
    is_log: bool,
}

impl Tail {
    fn new(services: &[Service], arguments: &Arguments) -> Self {
        let names: &[&'static str] = match arguments {
            Arguments { log: true, .. } => &["supervise.log", "supervise.log.wf"],
            Arguments { stdout: true, stderr: false, .. } => &["__stdout"],
            Arguments { stdout: false, stderr: true, .. } => &["__stderr"],
            _ => &["__stdout", "__stderr"],
        };
        let (mut files, mut prefixes) = (Vec::new(), Vec::new());
        for (number, service) in services.iter().enumerate() {
            for name in names {
                files.push(Followed::new(&service.dir, name));
                let mut words = Vec::new();
                words.extend((services.len() > 1).then(|| service.shown()));
                // A line of a log says by its level which one it is from.
                words.extend((names.len() > 1 && !arguments.log).then(|| name.trim_start_matches('_').to_owned()));
                prefixes.push((words.join(" "), number));
            }
        }
        let width = prefixes.iter().map(|(prefix, _)| prefix.width()).max().unwrap_or(0);
        let sources = prefixes.into_iter().map(|(prefix, colour)| {
            let blanks = " ".repeat(width - prefix.width());
            Source { prefix: if prefix.is_empty() { prefix } else { format!("{prefix}{blanks} |") }, colour }
        });
        let is_terminal = io::stdout().is_terminal();
        let out = BufWriter::new(io::stdout().lock());
        let printer = Printer::new(out, sources.collect(), is_terminal, has_colours(is_terminal));
        Self { files, printer, is_log: arguments.log }
    }

    /// Opens the files at their last lines, and says what is in the way. The answer: whether something is.
    fn open(&mut self, arguments: &Arguments) -> bool {
        let (mut refused, mut missing) = (Vec::new(), Vec::new());
        for file in &mut self.files {
            match file.open(arguments.lines) {
                Ok(()) => {}
                Err(Errno::ENOENT) => missing.push(file.path()),
                Err(Errno::EINVAL) => say(&format!("{} is no plain file", file.path().display())),
                Err(errno) => refused.push(refusal(&file.path(), errno)),
            }
        }
        refused.dedup(); // a folder that is closed keeps us from both of its files
        for line in &refused {
            say(line);
        }
        // Many services never write to stderr, and supervise to .wf: one of both is enough.
        if missing.len() == self.files.len() {
            for path in missing {
                say(&format!("there is no {} yet", path.display()));
            }
        }
        !refused.is_empty()
    }

    /// What the files end with.
    fn print_last(&mut self, arguments: &Arguments) -> io::Result<()> {
        if self.is_log {
            return self.print_last_merged(arguments.lines);
        }
        self.print_new(None)
    }

    /// Prints what is new in these files, in all where none is named.
    fn print_new(&mut self, only: Option<&[usize]>) -> io::Result<()> {
        let Self { files, printer, .. } = self;
        for (number, file) in files.iter_mut().enumerate() {
            if only.is_none_or(|only| only.contains(&number)) {
                file.read(&mut |bytes| printer.print(number, bytes))?;
            }
        }
        printer.flush()
    }

    /// The last lines of both logs of each service, all in the order of their times.
    fn print_last_merged(&mut self, lines: usize) -> io::Result<()> {
        let mut all = Vec::new();
        for (number, pair) in self.files.chunks_mut(2).enumerate() {
            let mut dated = Vec::new();
            for (place, file) in pair.iter_mut().enumerate() {
                let mut text = Vec::new();
                file.read(&mut |bytes| text.write_all(bytes))?;
                let mut time = Vec::new();
                for line in text.split_inclusive(|&byte| byte == b'\n') {
                    if let Some(own) = time_of(line) {
                        time = own.to_vec();
                    }
                    dated.push((time.clone(), number * 2 + place, line.to_vec()));
                }
            }
            dated.sort_by(|one, other| one.0.cmp(&other.0)); // stable: lines of one second stay as they were
            all.extend(dated.split_off(dated.len().saturating_sub(lines)));
        }
        all.sort_by(|one, other| one.0.cmp(&other.0));
        for (_, source, line) in all {
            self.printer.print(source, &line)?;
        }
        self.printer.flush()
    }

    /// Prints what comes, until nobody reads it any more.
    fn follow(&mut self) -> io::Result<()> {
        let mut watches = Watches::new();
        loop {
            watches.renew(&self.files);
            let stdout = io::stdout();
            let mut descriptors = vec![PollFd::new(stdout.as_fd(), PollFlags::empty())];
            descriptors.extend(watches.inotify.as_ref().map(|inotify| PollFd::new(inotify.as_fd(), PollFlags::POLLIN)));
            let timeout = if watches.complete { LOOK } else { LOOK_WITHOUT_WATCHES };
            let ready = ppoll(&mut descriptors, Some(TimeSpec::from_duration(timeout)), None);
            let gone = PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL;
            if descriptors[0].revents().is_some_and(|events| events.intersects(gone)) {
                return Ok(()); // who read it has ended, as `head` does
            }
            match ready {
                Ok(0) | Err(_) => self.print_new(None)?,
                Ok(_) => {
                    let changed = watches.changed();
                    self.print_new(changed.as_deref())?;
                }
            }
        }
    }
}

/// `2026-11-21 01:25:00` of a log line.
fn time_of(line: &[u8]) -> Option<&[u8]> {
    let after = line.iter().position(|&byte| byte == b']')? + 2;
    line.get(after..after + 19).filter(|time| line[0] == b'[' && time[0].is_ascii_digit())
}

/// What the kernel tells of the files and their folders.
struct Watches {
    inotify: Option<Inotify>,
    /// The files that a change of this concerns.
    files: HashMap<WatchDescriptor, Vec<usize>>,
    /// The open file that is watched, by file.
    watched: HashMap<usize, (u64, u64)>,
    complete: bool,
}

impl Watches {
    fn new() -> Self {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).ok();
        Self { complete: inotify.is_some(), inotify, files: HashMap::new(), watched: HashMap::new() }
    }

    /// Watches what was opened since.
    fn renew(&mut self, files: &[Followed]) {
        use std::os::unix::fs::MetadataExt as _;
        let Some(inotify) = self.inotify.as_ref() else { return };
        for (number, file) in files.iter().enumerate() {
            let link = file.descriptor().map(|fd| format!("/proc/self/fd/{fd}"));
            let id = link.as_ref().and_then(|link| std::fs::metadata(link).ok()).map_or((0, 0), |m| (m.dev(), m.ino()));
            if self.watched.insert(number, id) == Some(id) {
                continue;
            }
            let path = file.path();
            let names = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
            let folder = path.parent().map(|folder| inotify.add_watch(folder, names));
            let file = link.map(|link| inotify.add_watch(link.as_str(), AddWatchFlags::IN_MODIFY));
            for watch in [folder, file].into_iter().flatten() {
                match watch {
                    Ok(watch) => {
                        let numbers = self.files.entry(watch).or_default();
                        if !numbers.contains(&number) {
                            numbers.push(number);
                        }
                    }
                    Err(_) => self.complete = false,
                }
            }
        }
    }

    /// The files that changed; `None`: any may have.
    fn changed(&self) -> Option<Vec<usize>> {
        let mut changed = Vec::new();
        while let Ok(events) = self.inotify.as_ref()?.read_events() {
            for event in events {
                changed.extend(self.files.get(&event.wd)?); // unknown: the kernel has dropped some
            }
        }
        changed.sort_unstable();
        changed.dedup();
        Some(changed)
    }
}
