//! Where a policy stands beside its ledger: what one version of the program hands over to the next within a process.

use super::machine::{Policy, State};
use super::{Ledger, Rules, Stamp};

/// What dies with a process, and therefore is in no ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Where the service stands.
    pub state: State,
    /// Since when.
    pub since: Stamp,
    /// `x` was given.
    pub exit_asked: bool,
}

impl Policy {
    /// A policy that goes on where another version of the program stood: nothing begins, and the status of no exit is
    /// still to come.
    #[must_use]
    pub fn go_on(rules: Rules, ledger: Ledger, standing: Standing) -> Self {
        let Standing { state, since, exit_asked } = standing;
        Self { ledger, state, since, exit_asked, ..Self::new(rules) }
    }

    /// What another version needs beside the ledger to go on.
    #[must_use]
    pub fn standing(&self) -> Standing {
        Standing { state: self.state, since: self.since, exit_asked: self.exit_asked }
    }
}
