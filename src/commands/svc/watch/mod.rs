//! `svc status --watch`: a live view of services on the whole screen.

mod draw;
mod keys;
mod pane;
mod screen;

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use nix::sys::time::TimeSpec;
use ratatui::crossterm::event::{self, Event, KeyEventKind};

use self::keys::{Turn, press};
use self::pane::Pane;
use self::screen::{Screen, signals};
use super::exit::{DONE, MISUSE, SYSTEM};
use super::interrupts::code_of;
use super::status::look;
use super::terminal::{has_colours, say};
use crate::client::{Board, Changes, Outcome, Service, Verb, write_only};
use crate::policy::Moment;
use crate::sys::{now, why, why_io};

/// Everything is looked at so often: what processes use is told by nobody.
const LOOK: Duration = Duration::from_secs(1);
/// While somebody reads along, the files of the pane are looked at so often.
const LOOK_AT_PANE: Duration = Duration::from_millis(200);
/// A folder deep below the root can come unseen: the root is searched so often.
const SEARCH: Duration = Duration::from_secs(5);

/// What is asked of a service, and may wait for a yes.
struct Asked {
    verb: Verb,
    /// The verb as it is typed.
    word: &'static str,
    service: Service,
}

/// What is on the screen.
struct View {
    root: PathBuf,
    board: Board,
    /// The first line that is in sight.
    top: usize,
    /// So many lines are.
    page: usize,
    pane: Option<Pane>,
    asked: Option<Asked>,
    /// The filter is being typed.
    typing: bool,
    help: bool,
    message: Option<String>,
    /// Why the services cannot be found now.
    problem: Option<String>,
    painted: bool,
}

impl View {
    /// Tells supervise. What comes of it is seen on the board.
    fn tell(&mut self, asked: &Asked) {
        let Asked { verb, word, service } = asked;
        let name = service.shown();
        self.message = Some(match write_only(service, &verb.bytes()) {
            Outcome::Done(_) => format!("{name}: told to {word}"),
            refused => format!("{name}: {}", refused.words()),
        });
    }
}

/// Runs it; the answer is the exit code.
pub(super) fn run(root: &Path, names: &[OsString], failed: bool) -> u8 {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        say("--watch needs a terminal; `svc status` prints a table anywhere");
        return MISUSE;
    }
    let began = begin(root, names, failed);
    let ended = began.and_then(|watch| {
        let screen = Screen::enter().map_err(|error| why_io(&error))?;
        watch.run(screen)
    });
    ended.unwrap_or_else(|error| {
        say(&error);
        SYSTEM
    })
}

fn begin(root: &Path, names: &[OsString], failed: bool) -> Result<Watch, String> {
    let mut watch = Watch {
        names: names.to_vec(),
        changes: Changes::new(),
        signals: signals().map_err(|errno| format!("unable to receive signals: {}", why(errno)))?,
        searched: Moment::default(),
        looked: Moment::default(),
        view: View {
            root: root.to_owned(),
            board: Board::new(failed),
            top: 0,
            page: 1,
            pane: None,
            asked: None,
            typing: false,
            help: false,
            message: None,
            problem: None,
            painted: has_colours(true),
        },
    };
    watch.search(now().moment);
    match watch.view.problem.take() {
        Some(problem) => Err(problem),
        None => Ok(watch),
    }
}

struct Watch {
    names: Vec<OsString>,
    view: View,
    changes: Changes<PathBuf>,
    signals: SignalFd,
    searched: Moment,
    looked: Moment,
}

impl Watch {
    fn run(mut self, mut screen: Screen) -> Result<u8, String> {
        loop {
            let drawn = screen.terminal.draw(|frame| draw::draw(frame, &mut self.view, now().stamp));
            self.view.page = usize::from(drawn.map_err(|error| why_io(&error))?.area.height).saturating_sub(4);
            // For the test of what a panic leaves behind.
            let is_asked = cfg!(debug_assertions) && std::env::var_os("SVC_TEST_PANIC").is_some();
            assert!(!is_asked, "a panic was asked for");
            let Some(has_keys) = self.wait() else { return Ok(code_of(Signal::SIGHUP)) };
            while let Ok(Some(info)) = self.signals.read_signal() {
                let signal = i32::try_from(info.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok());
                let done = match signal {
                    Some(Signal::SIGWINCH) => Ok(()), // drawing asks for the size
                    Some(Signal::SIGTSTP) => screen.suspend(),
                    Some(Signal::SIGCONT) => screen.renew(),
                    Some(signal) => return Ok(code_of(signal)),
                    None => Ok(()),
                };
                done.map_err(|error| why_io(&error))?;
            }
            while has_keys && event::poll(Duration::ZERO).map_err(|error| why_io(&error))? {
                let Event::Key(key) = event::read().map_err(|error| why_io(&error))? else { continue };
                if key.kind == KeyEventKind::Release {
                    continue;
                }
                let done = match press(&mut self.view, key) {
                    Turn::GoOn => Ok(()),
                    Turn::Quit => return Ok(DONE),
                    Turn::Suspend => screen.suspend(),
                    Turn::Redraw => screen.renew(),
                };
                done.map_err(|error| why_io(&error))?;
            }
            self.look();
        }
    }

    /// Waits until something happens. The answer: whether there are keys; `None`: the terminal has gone.
    fn wait(&self) -> Option<bool> {
        let limit = if self.view.pane.is_some() { LOOK_AT_PANE } else { LOOK };
        let left = LOOK.saturating_sub(now().moment.since(self.looked)).min(limit);
        let stdin = io::stdin();
        let mut descriptors =
            vec![PollFd::new(stdin.as_fd(), PollFlags::POLLIN), PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        descriptors.extend(self.changes.descriptor().map(|changes| PollFd::new(changes, PollFlags::POLLIN)));
        let _ = ppoll(&mut descriptors, Some(TimeSpec::from_duration(left)), None);
        let events = descriptors[0].revents().unwrap_or(PollFlags::empty());
        if events.intersects(PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL) {
            return None;
        }
        Some(events.contains(PollFlags::POLLIN))
    }

    /// Looks at what changed; once a second at everything.
    fn look(&mut self) {
        let now = now().moment;
        if let Some(pane) = self.view.pane.as_mut() {
            pane.read();
        }
        let changed = self.changes.take();
        let is_new = changed.contains(&self.view.root);
        // A root that is gone may come back at any time, and no watch tells of it.
        let every = if self.view.problem.is_some() { LOOK } else { SEARCH };
        if is_new || now.since(self.searched) >= every {
            self.search(now);
        } else if now.since(self.looked) >= LOOK {
            self.view.board.look();
            self.view.board.measure(now);
            self.looked = now;
        } else if changed.is_empty() {
            return;
        } else {
            for folder in &changed {
                self.view.board.look_at(folder);
            }
        }
        self.view.board.arrange();
    }

    /// Finds the services anew. Where that fails, those that were there stay on the board.
    fn search(&mut self, now: Moment) {
        match look(&self.view.root, &self.names) {
            Ok(sights) => {
                self.view.board.set_services(sights);
                self.view.problem = None;
            }
            Err(problem) => {
                self.view.board.look();
                self.view.problem = Some(problem);
            }
        }
        self.changes.watch(&self.view.root, self.view.root.clone());
        for line in self.view.board.all() {
            let dir = &line.sight.service.dir;
            self.changes.watch(dir, dir.clone());
        }
        self.view.board.measure(now);
        self.view.board.arrange();
        (self.searched, self.looked) = (now, now);
    }
}
