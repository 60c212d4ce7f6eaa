//! `svc status`: how services fare.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::Path;

use super::arguments::{Named, NamesOrAll};
use super::exit::{DONE, SOME_DOWN, SOME_UNREADABLE, SYSTEM};
use super::terminal::{USUAL_WIDTH, has_colours, say};
use crate::client::{COLUMNS, Level, Service, Sight, json, notes, rows, summary, table};
use crate::sys::{columns as terminal_columns, now, why_io};
use crate::text::escape;

/// A table of fewer services is counted at a glance.
const MANY: usize = 8;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// As JSON (docs/svc-json.md), for programs
    #[arg(long, conflicts_with = "watch")]
    json: bool,
    /// A live view on the whole screen; the key ? says what can be done there
    #[arg(long)]
    watch: bool,
    /// Only what needs attention, the worst first
    #[arg(long)]
    failed: bool,
    #[command(flatten)]
    names: NamesOrAll,
}

pub(super) fn run(root: &Path, arguments: Arguments) -> u8 {
    let Arguments { json: as_json, watch, failed, names: NamesOrAll { names } } = arguments;
    if watch {
        return super::watch::run(root, &names, failed);
    }
    let mut sights = match look(root, &names) {
        Ok(sights) => sights,
        Err(error) => {
            say(&error);
            return SYSTEM;
        }
    };
    let level = sights.iter().map(Sight::level).max().unwrap_or(Level::Up);
    let all = summary(&sights);
    let is_empty = sights.is_empty();
    if failed {
        sights.retain(|sight| sight.trouble().is_some());
        sights.sort_by_key(Sight::trouble); // stable: by name within each
    }
    let printed = if as_json {
        io::stdout().write_all(json(root, now().stamp, &sights).as_bytes())
    } else if is_empty {
        say(&format!("there are no services below {}", escape(root.as_os_str().as_encoded_bytes())));
        Ok(())
    } else {
        print_table(&sights, failed, &all)
    };
    match printed {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            say(&format!("unable to write: {}", why_io(&error)));
            SYSTEM
        }
        _ => match level {
            Level::Up => DONE,
            Level::Down => SOME_DOWN,
            Level::Unwatched => SOME_UNREADABLE,
        },
    }
}

/// How the named services fare, by name; what names none is among them, with the reason.
pub(super) fn look(root: &Path, names: &[OsString]) -> Result<Vec<Sight>, String> {
    if names.is_empty() {
        return Sight::of_root(root);
    }
    let Named { services, unknown, .. } = Named::find(root, names);
    let unknown = unknown.into_iter().map(|(name, line)| {
        let service = Service { dir: root.join(&name), name };
        // The name stands before the reason in the table.
        let reason = line.strip_prefix(&format!("{}: ", service.shown())).map(str::to_owned).unwrap_or(line);
        Sight::unreadable(service, reason)
    });
    let mut sights: Vec<Sight> = Sight::of_all(&services).into_iter().chain(unknown).collect();
    sights.sort_by(|one, other| one.service.cmp(&other.service));
    Ok(sights)
}

fn print_table(sights: &[Sight], failed: bool, all: &str) -> io::Result<()> {
    let stdout = io::stdout();
    let is_terminal = stdout.is_terminal();
    let now = now().stamp;
    let mut rows = rows(sights, now);
    let mut columns = COLUMNS.as_slice();
    if is_terminal {
        // There is room for the notes below the table only.
        columns = &columns[..columns.len() - 1];
        rows.iter_mut().for_each(|row| row.0.truncate(columns.len()));
    }
    let width = is_terminal.then(|| usize::from(terminal_columns(stdout.as_fd()).unwrap_or(USUAL_WIDTH)));
    let mut text = if sights.is_empty() {
        String::new() // with --failed there is nothing to say
    } else {
        table::lines(columns, &rows, width, has_colours(is_terminal)).join("\n") + "\n"
    };
    let notes = if is_terminal { notes(sights) } else { Vec::new() };
    if !notes.is_empty() {
        text.push_str(&format!("\n{}\n", notes.join("\n")));
    }
    if is_terminal && (failed || sights.len() > MANY) {
        text.push_str(if sights.is_empty() { "all is as it is wanted: " } else { "\n" });
        text.push_str(all);
        text.push('\n');
    }
    stdout.lock().write_all(text.as_bytes())
}
