//! What is said while services are steered: a line for each, how far it is, and which ones failed.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::arguments::Named;
use super::exit::DONE;
use super::terminal::{say, say_plainly};
use crate::client::Service;
use crate::text::{escape, printable};

/// So many names of those that are waited for stand in the progress line.
const SHOWN: usize = 3;

/// What came of something: the exit code, and words that follow the name of a service.
pub(super) type Ended = (u8, String);

/// Says it.
pub(super) struct Report {
    /// Only on a terminal, and for several services.
    progress: Option<ProgressBar>,
    pending: BTreeSet<String>,
    failed: Vec<String>,
    count: usize,
    quiet: bool,
}

impl Report {
    /// Begins with the names that name nothing.
    pub(super) fn new(Named { services, unknown, .. }: &Named, quiet: bool) -> Self {
        let mut failed = Vec::new();
        for (name, line) in unknown {
            say(line);
            failed.push(escape(name.as_encoded_bytes()));
        }
        let progress = (services.len() > 1 && io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(Some(services.len() as u64), ProgressDrawTarget::stderr());
            // A template that is wrong is a plain bar.
            bar.set_style(
                ProgressStyle::with_template("{pos} of {len} {wide_msg}")
                    .unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
            bar
        });
        let pending =
            if progress.is_some() { services.iter().map(Service::shown).collect() } else { BTreeSet::default() };
        let report = Self { progress, pending, failed, count: services.len() + unknown.len(), quiet };
        report.show_pending();
        report
    }

    /// What came of one service: lines, each with its exit code. The answer: the largest of these.
    pub(super) fn over(&mut self, name: &str, ended: &[Ended]) -> u8 {
        let worst = ended.iter().map(|(code, _)| *code).max().unwrap_or(DONE);
        self.aside(|| {
            // The output may be closed, and who steers services goes on all the same.
            for (code, words) in ended {
                let line = format!("{name}: {words}");
                if *code != DONE {
                    say_plainly(&line);
                } else if !self.quiet {
                    let _ = writeln!(io::stdout(), "{}", printable(line.as_bytes()));
                }
            }
        });
        self.pending.remove(name);
        if worst != DONE {
            self.failed.push(name.to_owned());
        }
        if let Some(bar) = &self.progress {
            bar.inc(1);
            self.show_pending();
        }
        worst
    }

    /// The last line: of several services, those that failed.
    pub(super) fn end(self) {
        if let Some(bar) = &self.progress {
            bar.finish_and_clear();
        }
        if self.count > 1 && !self.failed.is_empty() {
            say(&format!("{} of {} failed: {}", self.failed.len(), self.count, self.failed.join(", ")));
        }
    }

    /// Writes while the progress line is not there.
    fn aside(&self, write: impl FnOnce()) {
        match &self.progress {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    fn show_pending(&self) {
        let Some(bar) = &self.progress else { return };
        let names: Vec<&str> = self.pending.iter().take(SHOWN).map(String::as_str).collect();
        let more = if self.pending.len() > SHOWN { ", ..." } else { "" };
        bar.set_message(if names.is_empty() {
            String::new()
        } else {
            format!("waiting for {}{more}", names.join(", "))
        });
    }
}
