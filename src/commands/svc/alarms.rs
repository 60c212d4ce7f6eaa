//! `svc alarms`: what is still to be delivered; `svc alarm`: alarms on and off, and a test.

use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::Path;

use nix::errno::Errno;

use super::alarm_rows::{COLUMNS, rows};
use super::alarm_test;
use super::arguments::{Named, Names, NamesOrAll, Waiting};
use super::exit::{DONE, MISUSE, NOT_SO, SYSTEM};
use super::retry::retry;
use super::steer::{Told, tell};
use super::terminal::{USUAL_WIDTH, has_colours, say};
use crate::alarm::{self, Delivery, Kept, Place};
use crate::client::table;
use crate::client::{self, Service, owed, refusal};
use crate::statusdir::Directory;
use crate::sys::{columns, why, why_io};
use crate::text::printable;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Turns alarms on or off, or sends a test
    #[command(subcommand)]
    Alarm(Alarm),
    /// The alarms that somebody has not got yet: lists them, shows one, delivers them now, drops one
    Alarms(Alarms),
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Alarm {
    /// Unexpected exits raise alarms, and are counted
    On(Told),
    /// They are neither counted nor alarmed
    Off(Told),
    /// Sends a test to everybody who gets the alarms of a service, and says who has got it
    Test(Test),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Test {
    #[command(flatten)]
    names: Names,
    #[command(flatten)]
    waiting: Waiting,
}

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Alarms {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    names: NamesOrAll,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// One line for each
    List {
        #[command(flatten)]
        names: NamesOrAll,
    },
    /// What it says, and who has it
    Show {
        /// As `list` shows it; its beginning is enough
        #[arg(value_name = "ID")]
        id: String,
        #[command(flatten)]
        names: NamesOrAll,
    },
    /// Delivers all of them now, failed ones too
    Retry {
        #[command(flatten)]
        waiting: Waiting,
        #[command(flatten)]
        names: NamesOrAll,
    },
    /// Takes one away for good: who has not got it will not get it
    Drop {
        /// As `list` shows it; its beginning is enough
        #[arg(value_name = "ID")]
        id: String,
        #[command(flatten)]
        names: NamesOrAll,
    },
}

pub(super) fn run(root: &Path, verb: Verb) -> u8 {
    let done = match verb {
        Verb::Alarm(Alarm::On(told)) => return tell(root, client::Verb::AlarmsOn, told),
        Verb::Alarm(Alarm::Off(told)) => return tell(root, client::Verb::AlarmsOff, told),
        Verb::Alarm(Alarm::Test(Test { names, waiting })) => return alarm_test::run(root, &names, &waiting),
        Verb::Alarms(Alarms { what: None, names }) | Verb::Alarms(Alarms { what: Some(What::List { names }), .. }) => {
            list(root, &names)
        }
        Verb::Alarms(Alarms { what: Some(What::Show { id, names }), .. }) => show(root, &id, &names),
        Verb::Alarms(Alarms { what: Some(What::Retry { waiting, names }), .. }) => {
            Ok(retry_all(root, &names, &waiting))
        }
        Verb::Alarms(Alarms { what: Some(What::Drop { id, names }), .. }) => drop_one(root, &id, &names),
    };
    done.unwrap_or_else(|error| {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return DONE;
        }
        say(&format!("unable to write: {}", why_io(&error)));
        SYSTEM
    })
}

/// What the spools of the named services keep.
struct Spools {
    /// The services with their messages.
    kept: Vec<(Service, Vec<Kept>)>,
    /// A line for each service with alarms that are not in its spool yet.
    owed: Vec<String>,
    /// The exit code of what could not be found or read, which was said.
    code: u8,
}

fn read(root: &Path, names: &NamesOrAll) -> Spools {
    let Named { services, unknown, mut code } = Named::find(root, &names.names);
    for (_, line) in &unknown {
        say(line);
    }
    let (mut spools, mut owed) = (Vec::new(), Vec::new());
    for service in services {
        let kept = match Directory::open(&service.dir) {
            Ok(dir) => {
                owed.extend(owed_line(&service, &dir));
                alarm::list(&dir).map_err(|errno| (service.dir.join("alarms"), errno))
            }
            Err(errno) => Err((service.dir.clone(), errno)),
        };
        match kept {
            Ok(kept) => spools.push((service, kept)),
            Err((path, errno)) => {
                code = SYSTEM;
                say(&refusal(&path, errno));
            }
        }
    }
    Spools { kept: spools, owed, code }
}

fn owed_line(service: &Service, dir: &Directory) -> Option<String> {
    let alarms = match owed(dir) {
        0 => return None,
        1 => "1 alarm is".to_owned(),
        several => format!("{several} alarms are"),
    };
    Some(format!("{}: {alarms} not in the spool yet: see supervise.log.wf", service.shown()))
}

fn list(root: &Path, names: &NamesOrAll) -> io::Result<u8> {
    let Spools { kept, owed, code } = read(root, names);
    let rows = rows(&kept);
    let mut stdout = io::stdout();
    let is_terminal = stdout.is_terminal();
    owed.iter().for_each(|line| say(line));
    if rows.is_empty() {
        return Ok(none(&owed, code));
    }
    let width = is_terminal.then(|| usize::from(columns(stdout.as_fd()).unwrap_or(USUAL_WIDTH)));
    let lines = table::lines(&COLUMNS, &rows, width, has_colours(is_terminal));
    stdout.write_all((lines.join("\n") + "\n").as_bytes())?;
    Ok(code)
}

/// The spools are empty, as far as could be seen. `code`: what it is of what could not be.
fn none(owed: &[String], code: u8) -> u8 {
    if code != DONE {
        return code;
    }
    if owed.is_empty() {
        say("no alarm is waiting, and none has failed");
    }
    DONE
}

/// The message with this id, or with the only id that begins so.
fn find(root: &Path, id: &str, names: &NamesOrAll) -> Result<(Service, Kept), u8> {
    let id = id.strip_suffix('…').unwrap_or(id); // as a list on a narrow terminal shows it
    let Spools { kept, code, .. } = read(root, names);
    let all = || kept.iter().flat_map(|(service, kept)| kept.iter().map(move |kept| (service, kept)));
    let mut found: Vec<_> = all().filter(|(_, kept)| kept.id == id).collect();
    if found.is_empty() && !id.is_empty() {
        found = all().filter(|(_, kept)| kept.id.starts_with(id)).collect();
    }
    let shown = printable(id.as_bytes());
    match found.as_slice() {
        [(service, kept)] => Ok(((*service).clone(), (*kept).clone())),
        // Refused by some and still to come for others: what waits is what can be acted on first.
        [(service, kept), (_, other)] if kept.id == other.id && kept.place != other.place => {
            let waiting = if kept.place == Place::Queue { kept } else { other };
            Ok(((*service).clone(), (*waiting).clone()))
        }
        [] => {
            say(&format!("no alarm has the id {shown}"));
            Err(code.max(NOT_SO))
        }
        several => {
            say(&format!("{} alarms have ids that begin with {shown}", several.len()));
            Err(MISUSE)
        }
    }
}

fn show(root: &Path, id: &str, names: &NamesOrAll) -> io::Result<u8> {
    let (service, kept) = match find(root, id, names) {
        Ok(found) => found,
        Err(code) => return Ok(code),
    };
    let text = Directory::open(&service.dir).and_then(|dir| alarm::text(&dir, kept.place, &kept.id));
    let text = match text {
        Ok(text) => text,
        Err(errno) => {
            say(&format!("{}: {}", kept.id, why(errno)));
            return Ok(SYSTEM);
        }
    };
    let mut stdout = io::stdout().lock();
    if !stdout.is_terminal() {
        stdout.write_all(&text)?;
        return Ok(DONE);
    }
    for (line, delivery) in &kept.recipients {
        match delivery {
            Delivery::Accepted => writeln!(stdout, "delivered   {line}")?,
            Delivery::ToCome(None) => writeln!(stdout, "to come     {line}")?,
            Delivery::ToCome(Some(reason)) => writeln!(stdout, "to come     {line}: {reason}")?,
            Delivery::Refused(reason) => writeln!(stdout, "refused     {line}: {}", printable(reason.as_bytes()))?,
        }
    }
    writeln!(stdout)?;
    for line in text.split(|&byte| byte == b'\n') {
        writeln!(stdout, "{}", printable(line))?;
    }
    Ok(DONE)
}

fn drop_one(root: &Path, id: &str, names: &NamesOrAll) -> io::Result<u8> {
    let (service, kept) = match find(root, id, names) {
        Ok(found) => found,
        Err(code) => return Ok(code),
    };
    let dropped = Directory::open(&service.dir).and_then(|dir| alarm::remove(&dir, kept.place, &kept.id));
    match dropped {
        Ok(()) => {
            let what = kept.subject.as_deref().unwrap_or("no message");
            let missing = kept.recipients.iter().filter(|(_, delivery)| *delivery != Delivery::Accepted).count();
            let line = format!("{}: dropped {} ({what}; {missing} had not got it)", service.shown(), kept.id);
            writeln!(io::stdout(), "{}", printable(line.as_bytes()))?;
            Ok(DONE)
        }
        Err(Errno::ENOENT) => {
            say(&format!("{}: it has just been delivered", kept.id));
            Ok(NOT_SO)
        }
        Err(errno) => {
            say(&format!("{}: {}", kept.id, refusal(&service.dir.join("alarms"), errno)));
            Ok(SYSTEM)
        }
    }
}

fn retry_all(root: &Path, names: &NamesOrAll, waiting: &Waiting) -> u8 {
    let Spools { kept, owed, code } = read(root, names);
    let spools: Vec<_> = kept.into_iter().filter(|(_, kept)| !kept.is_empty()).collect();
    owed.iter().for_each(|line| say(line));
    let left = if owed.is_empty() { DONE } else { NOT_SO };
    if spools.is_empty() {
        return none(&owed, code).max(left);
    }
    code.max(left).max(retry(spools, waiting))
}
