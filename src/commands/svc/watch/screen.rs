//! The terminal while the live view has it, and as it was afterwards, whatever ends the view.

use std::io::{self, Stdout, stdout};
use std::panic;

use nix::sys::signal::{Signal, raise};
use nix::sys::signalfd::SignalFd;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};

use crate::sys::read_signals;

/// The alternate screen of the terminal, in raw mode. When dropped, or when anything panics, the terminal is as it was.
pub(super) struct Screen {
    pub(super) terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    pub(super) fn enter() -> io::Result<Self> {
        // The release build ends at once after a panic (panic = "abort"): nothing is dropped, but this is called.
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            leave();
            usual(info);
        }));
        let terminal = Terminal::new(CrosstermBackend::new(stdout()))?;
        let mut screen = Self { terminal };
        screen.take()?;
        Ok(screen)
    }

    fn take(&mut self) -> io::Result<()> {
        enable_raw_mode()?;
        execute!(stdout(), EnterAlternateScreen)?;
        self.terminal.hide_cursor()?;
        self.terminal.clear()
    }

    /// Gives the terminal back and stops, as ^Z does with other programs; returns when somebody continues us.
    pub(super) fn suspend(&mut self) -> io::Result<()> {
        leave();
        let _ = raise(Signal::SIGSTOP); // TSTP is blocked, so that it could be read
        self.take()
    }

    /// Somebody may have written on the screen, or given the terminal other settings.
    pub(super) fn renew(&mut self) -> io::Result<()> {
        // What is to be restored is what was there before the first time: so it is restored first.
        disable_raw_mode()?;
        self.take()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

fn leave() {
    let _ = execute!(stdout(), LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
}

/// The signals that concern a terminal, to be read and not to strike.
pub(super) fn signals() -> nix::Result<SignalFd> {
    read_signals(&[
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGQUIT,
        Signal::SIGTSTP,
        Signal::SIGCONT,
        Signal::SIGWINCH,
    ])
}
