//! A service of which no record tells though its supervise lives, as on a disk that was full from the beginning: what
//! the processes themselves show.

use nix::unistd::Pid;

use super::fare::Fare;
use super::process::Process;
use super::verb::{Until, Verb};
use crate::policy::{Stamp, Wanted};
use crate::statusdir::{Directory, Record, listed_holder, lock_holders};
use crate::sys::{ProcStat, all_processes, now};

/// How the service of a living supervise fares without records. Nothing tells what is wanted: once supervise has obeyed,
/// it is what `verb` asks for. `None`: nobody shows us who holds `lock`.
pub(super) fn unrecorded(dir: &Directory, verb: Option<Verb>) -> Option<Fare> {
    let supervise = holder(dir)?;
    let service = service_of(supervise);
    let process = service.and_then(Process::at);
    let clock = now().stamp;
    let age = process.map_or(0, |process| u64::try_from(process.age().as_nanos()).unwrap_or(u64::MAX));
    let record = Record {
        stamp: Stamp(clock.0.saturating_sub(age)),
        paused: process.is_some_and(|process| process.stopped),
        wanted: match verb {
            Some(Verb::Stop | Verb::Exit | Verb::Wait(Until::Down)) => Wanted::Down,
            Some(Verb::Once) => Wanted::Once,
            _ => Wanted::Up,
        },
        alarms_off: verb == Some(Verb::AlarmsOff),
        pid: service,
    };
    Some(Fare::new(record, None, Some(true)))
}

/// The supervise that holds `lock`. Some file systems have another device number in the kernel's list; then the
/// descriptors that we may see are looked through.
pub(super) fn holder(dir: &Directory) -> Option<u32> {
    let open = || lock_holders(dir).first().map(|pid| pid.as_raw().unsigned_abs());
    listed_holder(dir).or_else(open)
}

/// Its child in its session that leads a process group: svalarm has a session of its own. A hook looks the same, but
/// runs only while the service does not.
fn service_of(supervise: u32) -> Option<u32> {
    let supervise = Pid::from_raw(i32::try_from(supervise).ok()?);
    let session = ProcStat::read(supervise)?.session;
    let is_it = |pid: &Pid| {
        ProcStat::read(*pid).is_some_and(|stat| {
            stat.parent == supervise.as_raw() && stat.session == session && stat.group == pid.as_raw() && stat.runs()
        })
    };
    all_processes().find(is_it).map(|pid| pid.as_raw().unsigned_abs())
}
