//! The alarms that somebody has not got yet, as the spool and the claim tell, whoever lives.

use nix::errno::Errno;

use crate::alarm;
use crate::statusdir::{Claim, ClaimBlock, Directory};

/// Alarms that were raised and are not in the spool yet (docs/operation.md, 17.5). Where the claim can't be read, none
/// is known.
#[must_use]
pub fn owed(dir: &Directory) -> u64 {
    let claim = dir.read("claim", ClaimBlock::SIZE).ok().and_then(|bytes| Claim::decode(&bytes));
    // supervise may have been killed between the message file and the claim.
    claim.map_or(0, |claim| claim.debts.iter().filter(|debt| !alarm::holds(dir, &debt.id)).count() as u64)
}

/// Alarms that wait in the spool or are still to be written there.
///
/// # Errors
/// What the system call that failed says.
pub(super) fn undelivered(dir: &Directory) -> Result<u64, Errno> {
    Ok(alarm::count(dir)? + owed(dir))
}
