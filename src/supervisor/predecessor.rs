//! What a dead supervise left: its memory, its debts, and perhaps its living service.

use nix::errno::Errno;
use nix::unistd::Pid;

use super::service::Service;
use crate::policy::{Ended, Exit, Found, Ledger};
use crate::statusdir::{Claim, Debt};
use crate::sys::{BOOT_ID, ExitStatus, Pidfd, ProcStat, why};

/// What was found.
#[derive(Debug)]
pub(super) struct Predecessor {
    /// What to go on from; `None`: a fresh start.
    pub(super) ledger: Option<Ledger>,
    pub(super) found: Found,
    /// The living service.
    pub(super) service: Option<Service>,
    /// The process group that a dead service has led, and the session that its supervise led, where no other process
    /// has the number now.
    pub(super) group: Option<(Pid, Option<Pid>)>,
    /// The number of the command that it was started with.
    pub(super) command: u64,
    /// The alarms that are owed; they hold over a reboot too.
    pub(super) debts: Vec<Debt>,
}

/// Whether the service of the predecessor runs can't be told. To start then would be to risk a second copy.
#[derive(Debug)]
pub(super) struct Doubt {
    /// The service that may run.
    pub(super) pid: u32,
    /// What could not be done, and why.
    pub(super) cause: String,
}

impl Predecessor {
    /// Reads what a claim means now. Only one that died without taking leave, in this boot, has a successor.
    pub(super) fn from_claim(claim: Option<Claim>, boot: &str) -> Result<Self, Doubt> {
        let Some(claim) = claim else { return Ok(Self::nobody(Vec::new())) };
        if let Some(pid) = claim.pid
            && !claim.left
            && boot.is_empty()
            && !claim.boot.is_empty()
        {
            return Err(Doubt { pid, cause: format!("unable to read {BOOT_ID}") });
        }
        let same_boot = claim.boot == boot;
        let boot_unknown = claim.boot.is_empty(); // it was written without /proc
        if claim.left || !(same_boot || boot_unknown) {
            return Ok(Self::nobody(claim.debts));
        }
        let session = Pid::from_raw(claim.session);
        let (found, service, group) = match claim.pid {
            None => (Found::Nothing, None, None),
            Some(pid) => find(pid, claim.started_between, session).map_err(|cause| Doubt { pid, cause })?,
        };
        if !same_boot && service.is_none() {
            return Ok(Self::nobody(claim.debts)); // what is gone may be of another boot
        }
        let group = group.map(|leader| (leader, Some(session).filter(|session| session.as_raw() > 0)));
        Ok(Self { ledger: Some(claim.ledger), found, service, group, command: claim.command, debts: claim.debts })
    }

    fn nobody(debts: Vec<Debt>) -> Self {
        Self { ledger: None, found: Found::Nothing, service: None, group: None, command: 0, debts }
    }
}

/// What is there, the living service, or the number of a dead one where no other process has it now.
type Search = (Found, Option<Service>, Option<Pid>);

/// Looks for the process with this pid that was started in this time.
fn find(pid: u32, started_between: (u64, u64), session: Pid) -> Result<Search, String> {
    let number = i32::try_from(pid).unwrap_or(0);
    let leader = Some(Pid::from_raw(number));
    let dead = |ended| Found::Dead(Exit { pid: number, ended, peak_kib: None, cpu_us: None });
    // The pidfd first: it stays with the process that is then found to be the right one.
    let process = match Pidfd::open(Pid::from_raw(number)) {
        Ok(process) => process,
        Err(Errno::ESRCH) => return Ok((dead(Ended::Unknown), None, leader)),
        // A thread has the number, which is EINVAL or, on newer kernels, ENOENT. To older ones it is EINVAL too where nothing
        // has it but a process group that its dead leader has left.
        Err(Errno::EINVAL | Errno::ENOENT) => {
            let leader = leader.filter(|&leader| ProcStat::read(leader).is_none());
            return Ok((dead(Ended::Unknown), None, leader));
        }
        Err(errno) => return Err(format!("unable to open process {pid}: {}", why(errno))),
    };
    let Some((started, runs)) = process.started() else {
        if process.is_unreaped() {
            return Err(format!("unable to read /proc/{pid}/stat"));
        }
        return Ok((dead(Ended::Unknown), None, leader));
    };
    let tick = 1_000_000_000 / Pidfd::ticks_a_second();
    if started < started_between.0 / tick || started > started_between.1 / tick {
        return Ok((dead(Ended::Unknown), None, None)); // a stranger with the same pid
    }
    if runs {
        return Ok((Found::Alive, Some(Service::adopted(process, started_between, session)), None));
    }
    Ok(match process.exit_status() {
        ExitStatus::Known(ended) => (dead(ended), None, leader),
        ExitStatus::AfterReaping | ExitStatus::Unknown => (dead(Ended::Unknown), None, leader),
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::sys::boot_ns;

    #[test]
    fn a_service_whose_boot_could_not_be_known_is_adopted_while_it_lives() {
        let from = boot_ns();
        let mut service = Command::new("sleep").arg("1000").spawn().unwrap();
        let claim = Claim {
            pid: Some(service.id()),
            started_between: (from, boot_ns()),
            session: 0,
            boot: String::new(),
            left: false,
            command: 0,
            ledger: Ledger::default(),
            debts: Vec::new(),
        };
        let found = |claim: &Claim| Predecessor::from_claim(Some(claim.clone()), "now").unwrap().found;
        assert_eq!(found(&claim), Found::Alive);
        assert_eq!(found(&Claim { boot: "another".to_owned(), ..claim.clone() }), Found::Nothing);
        service.kill().unwrap();
        service.wait().unwrap();
        assert_eq!(found(&claim), Found::Nothing, "it may have been of another boot");
    }
}
