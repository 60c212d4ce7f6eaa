//! The part that waits: one poll loop, which performs what the policy decides.
#![forbid(unsafe_code)]

mod backoff;
mod caller;
mod claim_file;
mod command;
mod conf;
mod debts;
mod options;
mod perform;
mod predecessor;
mod publish;
mod service;
mod setup;
mod svalarm;
mod texts;
mod turn;

pub use caller::Caller;
pub use conf::{ConfFile, Loaded, load};
pub use options::{ConfSource, Hook, Options, StartError};
pub use turn::Supervisor;
