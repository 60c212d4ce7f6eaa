//! What is said while services are steered: a line for each, how far it is, and which ones failed.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::client::Service;

/// So many names of those that are waited for stand in the progress line.
const SHOWN: usize = 3;

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
    pub(super) fn new(services: &[Service], quiet: bool) -> Self {
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
        let report = Self { progress, pending, failed: Vec::new(), count: services.len(), quiet };
        report.show_pending();
        report
    }

    /// A line about no service.
    pub(super) fn complain(&self, line: &str) {
        self.aside(|| {
            let _ = writeln!(io::stderr(), "svc: {line}"); // it may be closed
        });
    }

    /// What came of one service.
    pub(super) fn tell(&mut self, name: &str, words: &str, good: bool) {
        self.aside(|| {
            // Either may be closed, and who steers services goes on all the same.
            if !good {
                let _ = writeln!(io::stderr(), "{name}: {words}");
            } else if !self.quiet {
                let _ = writeln!(io::stdout(), "{name}: {words}");
            }
        });
        if !good {
            self.failed.push(name.to_owned());
        }
        self.pending.remove(name);
        if let Some(bar) = &self.progress {
            bar.inc(1);
            self.show_pending();
        }
    }

    /// The last line: of several services, those that failed.
    pub(super) fn end(self) {
        if let Some(bar) = &self.progress {
            bar.finish_and_clear();
        }
        if self.count > 1 && !self.failed.is_empty() {
            self.complain(&format!("{} of {} failed: {}", self.failed.len(), self.count, self.failed.join(", ")));
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
