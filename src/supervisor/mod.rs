//! The part that waits: one poll loop, which performs what the policy decides.
#![forbid(unsafe_code)]

mod answer;
mod backoff;
mod caller;
mod children;
mod claim_file;
mod classic;
mod command;
mod conf;
mod debts;
mod hand_over;
mod helper;
mod names;
mod options;
mod parts;
mod perform;
mod predecessor;
mod publish;
mod resume;
mod service;
mod setup;
mod svalarm;
mod take_over;
mod texts;
mod turn;
mod upgrade;
mod wait;

pub use answer::can_go_on;
pub use caller::Caller;
pub use conf::{ConfFile, Loaded, load};
pub use hand_over::{HandOver, Handed};
pub use options::{ConfSource, Hook, Options, StartError};
pub use turn::Supervisor;
