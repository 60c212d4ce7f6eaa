//! The program `supervise`: from its command line to its exit code.

use std::ffi::OsString;
use std::io::{self, Write};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::{pipe2, setsid};

use super::arguments::{Asked, read};
use super::check::check;
use super::help::HELP;
use crate::exit_code;
use crate::supervisor::{Caller, Handed, Options, Supervisor, can_go_on};
use crate::sys::{close_from, close_on_exec_from, go_on_in_background, why};

/// Runs `supervise` with these arguments, the program's name not included, and returns its exit code: 0 done, 1 gave
/// up, 100 wrong use or conf, 110 no status directory, 111 a system call failed or the lock is held.
#[must_use]
pub fn main(arguments: Vec<OsString>) -> u8 {
    match begin(arguments) {
        Begun::Ended(code) => code,
        Begun::Supervisor(supervisor, caller) => supervisor.run(caller),
    }
}

/// What a command line has come to.
enum Begun {
    /// It is done, with this exit code.
    Ended(u8),
    /// This one is to run, and its caller waits.
    Supervisor(Box<Supervisor>, Caller),
}

/// Everything before the loop. A function of its own, since what it has on the stack would otherwise stay there.
#[inline(never)]
fn begin(arguments: Vec<OsString>) -> Begun {
    let handed = Handed::take();
    let asked = match read(arguments) {
        Ok(asked) => asked,
        Err(error) => {
            say(&format!("supervise: {error}"));
            say("supervise: try `supervise --help`");
            return Begun::Ended(exit_code::USAGE);
        }
    };
    Begun::Ended(match asked {
        Asked::Help => print(HELP),
        Asked::Version => print(concat!("supervise ", env!("CARGO_PKG_VERSION"), "\n")),
        Asked::Check { conf, module } => {
            match check(&conf, module.as_ref(), &mut io::stdout().lock(), &mut io::stderr().lock()) {
                Ok(true) => 0,
                Ok(false) => exit_code::USAGE,
                Err(_) => exit_code::SYSTEM, // nobody reads the answer
            }
        }
        Asked::CanGoOn { options } => answer(&can_go_on(&options, io::stdin().lock())),
        Asked::Run { options, foreground } => {
            return match handed {
                Handed::Nothing if foreground => {
                    close_on_exec_from(3);
                    serve(options, Caller::none())
                }
                Handed::Nothing => background(options),
                Handed::This(handed) => match Supervisor::resume(options.clone(), *handed) {
                    Some(supervisor) => {
                        close_on_exec_from(3);
                        Begun::Supervisor(supervisor, Caller::answered())
                    }
                    None => begin_anew(options),
                },
                Handed::Unusable => begin_anew(options),
            };
        }
    })
}

/// Starts after an upgrade whose hand-over is of no use. It is in the background already where it is to be, and its
/// service is not to lose its parent: the kernel would continue one that is paused.
fn begin_anew(options: Options) -> Begun {
    close_from(3); // what it can't use it must not hold: the lock is to be taken anew
    let module = options.module.to_string();
    match Supervisor::begin_anew(options, |line| say(&format!("supervise: {module}: {line}"))) {
        Ok(supervisor) => Begun::Supervisor(supervisor, Caller::none()),
        Err(code) => Begun::Ended(code),
    }
}

/// Supervises in a process of its own; the caller's ends once it is known how its start went.
fn background(options: Options) -> Begun {
    close_from(3);
    let failed = |what: &str, errno: Errno| {
        say(&format!("supervise: {}: unable to {what}: {}", options.module, why(errno)));
        Begun::Ended(exit_code::SYSTEM)
    };
    let (answer, caller) = match pipe2(OFlag::O_CLOEXEC) {
        Ok(pipe) => pipe,
        Err(errno) => return failed("make a pipe", errno),
    };
    let unanswered = format!("supervise: {}: supervise died before the service was started\n", options.module);
    match go_on_in_background(answer, &caller, unanswered.into_bytes(), exit_code::SYSTEM) {
        Err(errno) => failed("fork", errno),
        Ok(()) => {
            let _ = setsid(); // a child that was just forked leads no process group, the one thing that forbids it
            let lets_go = !options.inherit_output;
            serve(options, Caller::waiting(caller, lets_go))
        }
    }
}

/// Sets everything up; where that fails the caller is told why.
fn serve(options: Options, mut caller: Caller) -> Begun {
    let module = options.module.to_string();
    match Supervisor::set_up(options) {
        Ok(supervisor) => Begun::Supervisor(supervisor, caller),
        Err(error) => {
            for line in error.lines {
                say(&format!("supervise: {module}: {line}"));
            }
            caller.answer(error.code);
            Begun::Ended(error.code)
        }
    }
}

fn print(text: &str) -> u8 {
    answer(text.as_bytes())
}

fn answer(bytes: &[u8]) -> u8 {
    match io::stdout().write_all(bytes) {
        Ok(()) => 0,
        Err(_) => exit_code::SYSTEM,
    }
}

/// A line on stderr; it may be closed.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
