//! `supervise --check`: what every module gets from a conf, and everything that is wrong with it.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};

use crate::config::{self, Severity};
use crate::statusdir::Module;
use crate::sys::{why, why_io};
use crate::text::escape;

/// Prints what was found. The answer: nothing is wrong.
pub(super) fn check(
    path: &Path,
    module: Option<&Module>,
    out: &mut impl Write,
    err: &mut impl Write,
) -> std::io::Result<bool> {
    let name = config::shown(path);
    let bytes = match config::read(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            writeln!(err, "supervise: unable to read {name}: {}", why_io(&error))?;
            return Ok(false);
        }
    };
    let conf = config::parse(&bytes);
    let mut print = |title: &str, module: &[u8]| -> std::io::Result<()> {
        writeln!(out, "{title}")?;
        for (key, value) in conf.resolve(module).settings.describe() {
            writeln!(out, "{}", format!("{key} : {value}").trim_end())?;
        }
        writeln!(out)
    };
    match module {
        Some(module) => print(&format!("[{module}]"), module.name())?,
        None => {
            for module in conf.modules() {
                print(&format!("[{}]", escape(module)), module)?;
            }
            print("# every other module", b"")?;
        }
    }
    let refused = conf.problems().iter().filter(|problem| problem.severity == Severity::Refused).count();
    for problem in conf.problems() {
        let kind = match problem.severity {
            Severity::Warning => "warning",
            Severity::Refused => "refused",
        };
        writeln!(err, "{name}:{problem} ({kind})")?;
    }
    let mut count = conf.problems().len();
    for (line, key, program) in conf.alarm_programs() {
        if let Some(wrong) = cannot_run(&program) {
            let program = escape(program.as_encoded_bytes());
            writeln!(err, "{name}:{line}: {key}: {program}: {wrong}, so nobody gets an alarm by it (warning)")?;
            count += 1;
        }
    }
    if count > 0 {
        let problems = if count == 1 { "problem" } else { "problems" };
        writeln!(err, "supervise: {name}: {count} {problems}, {refused} of them would refuse a start")?;
    }
    Ok(count == 0)
}

/// Why a program could not be run from here; `None`: it could. One without a slash is looked for in PATH.
fn cannot_run(program: &OsStr) -> Option<String> {
    let runs = |path: &Path| {
        access(path, AccessFlags::X_OK)?;
        if path.is_dir() { Err(Errno::EISDIR) } else { Ok(()) }
    };
    if program.as_encoded_bytes().contains(&b'/') {
        return runs(Path::new(program)).err().map(why);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = std::env::split_paths(&path).any(|folder: PathBuf| runs(&folder.join(program)).is_ok());
    (!is_there).then(|| "there is no such program in PATH".to_owned())
}
