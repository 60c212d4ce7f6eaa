//! What a dead supervise left: its memory, its debts, and perhaps its living service.

use std::fs;

use nix::unistd::Pid;

use super::service::Service;
use crate::policy::{Ended, Exit, Found, Ledger};
use crate::statusdir::{Claim, Debt};
use crate::sys::{ExitStatus, Pidfd};

/// What was found.
#[derive(Debug)]
pub(super) struct Predecessor {
    /// What to go on from; `None`: a fresh start.
    pub(super) ledger: Option<Ledger>,
    pub(super) found: Found,
    /// The living service.
    pub(super) service: Option<Service>,
    /// The number of the command that it was started with.
    pub(super) command: u64,
    /// The alarms that are owed; they hold over a reboot too.
    pub(super) debts: Vec<Debt>,
}

/// This boot's id; empty where the kernel does not tell.
pub(super) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map_or_else(|_| String::new(), |id| id.trim().to_owned())
}

impl Predecessor {
    /// Reads what a claim means now. Only one that died without taking leave, in this boot, has a successor.
    pub(super) fn from_claim(claim: Option<Claim>, boot: &str) -> Self {
        let Some(claim) = claim else { return Self::nobody(Vec::new()) };
        if claim.left || claim.boot != boot {
            return Self::nobody(claim.debts);
        }
        let (found, service) = match claim.pid {
            None => (Found::Nothing, None),
            Some(pid) => find(pid, claim.started_between),
        };
        Self { ledger: Some(claim.ledger), found, service, command: claim.command, debts: claim.debts }
    }

    fn nobody(debts: Vec<Debt>) -> Self {
        Self { ledger: None, found: Found::Nothing, service: None, command: 0, debts }
    }
}

/// Looks for the process with this pid that was started in this time.
fn find(pid: u32, started_between: (u64, u64)) -> (Found, Option<Service>) {
    let number = i32::try_from(pid).unwrap_or(0);
    let dead = |ended| Found::Dead(Exit { pid: number, ended, peak_kib: None, cpu_us: None });
    // The pidfd first: it stays with the process that is then found to be the right one.
    let Ok(process) = Pidfd::open(Pid::from_raw(number)) else { return (dead(Ended::Unknown), None) };
    let Some((started, runs)) = process.started() else { return (dead(Ended::Unknown), None) };
    let tick = 1_000_000_000 / Pidfd::ticks_a_second();
    if started < started_between.0 / tick || started > started_between.1 / tick {
        return (dead(Ended::Unknown), None); // a stranger with the same pid
    }
    if runs {
        return (Found::Alive, Some(Service::adopted(process, started_between)));
    }
    match process.exit_status() {
        ExitStatus::Known(ended) => (dead(ended), None),
        ExitStatus::AfterReaping | ExitStatus::Unknown => (dead(Ended::Unknown), None),
    }
}
