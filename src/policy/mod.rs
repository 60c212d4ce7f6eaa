//! What happened -> what to do: a state machine without files, processes or a clock.
//!
//! The supervisor feeds it `Event`s with the time at which they happened and performs the `Action`s
//! that come back. Everything it needs to remember across the death of a supervise is in its `Ledger`.
#![forbid(unsafe_code)]

mod action;
mod command;
mod event;
mod exits;
mod ledger;
mod machine;
mod rules;
mod standing;
mod time;
#[cfg(any(test, fuzzing))]
pub(crate) mod world;

pub use action::{Action, Alarm, AlarmKind, Next, Sig, Told};
pub use command::Command;
pub use event::{Ended, Event, Exit, Found};
pub use exits::EXPLAINS;
pub use ledger::{LastExit, Ledger, RunStart, Wanted, Window};
pub use machine::{Policy, State, View};
pub use rules::{HookRules, Rules};
pub use standing::Standing;
pub use time::{Moment, Now, Stamp};

#[cfg(test)]
mod tests;
