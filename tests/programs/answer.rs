//! A program that stands where the next version of supervise should: what it does when it is asked is in `./answer`.
//!
//! ```text
//! nothing     says nothing and ends well
//! junk        says something else
//! flood       says something else, for ever
//! hang        says nothing and never ends
//! crash       says yes and dies of a signal
//! fail        says yes and ends with 3
//! no REASON   says no, for this reason
//! locked      says yes, after it has taken from its own file the right to be executed
//! swapped     says yes, after it has put `./junk` in the place of its own file
//! limited     says yes; executed, it becomes `bin/next` with 5 descriptors at most, and a hand-over that can't be read
//! ```

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::{fs, io, process, thread, time::Duration};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

const YES: &[u8] = b"supervise upgrade 1: yes\n";

fn main() {
    let say = |bytes: &[u8]| {
        let _ = io::stdout().write_all(bytes).and_then(|()| io::stdout().flush());
    };
    let asked = std::env::args().nth(1).as_deref() == Some("--can-go-on");
    let answer = fs::read_to_string("answer").unwrap_or_default();
    match answer.trim() {
        "limited" if !asked => {
            let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("there is one");
            setrlimit(Resource::RLIMIT_NOFILE, 5, most).expect("less is allowed");
            let mut next = process::Command::new("bin/next");
            next.args(std::env::args_os().skip(1)).env("SUPERVISE_HAND_OVER", format!("2 {}", process::id()));
            panic!("bin/next: {}", next.exec());
        }
        "limited" => say(YES),
        _ if !asked => {
            fs::write("executed", "").expect("the current folder is writable");
            process::exit(98)
        }
        "junk" => say(b"yes\n"),
        "flood" => loop {
            say(&[b'y'; 4096]);
        },
        "hang" => loop {
            thread::sleep(Duration::from_secs(3600));
        },
        "crash" => {
            say(YES);
            process::abort();
        }
        "fail" => {
            say(YES);
            process::exit(3);
        }
        "locked" => {
            fs::set_permissions("/proc/self/exe", fs::Permissions::from_mode(0o600)).expect("its own file");
            say(YES);
        }
        "swapped" => {
            fs::rename("junk", "bin/supervise").expect("both are there");
            say(YES);
        }
        other => {
            if let Some(reason) = other.strip_prefix("no ") {
                say(format!("supervise upgrade 1: no: {reason}\n").as_bytes());
            }
        }
    }
}
