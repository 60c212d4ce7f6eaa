//! The other end of the status directory: finds services, reads how they fare, and steers them.
//!
//! It knows nothing but the status directory, and never waits for a supervise that does not live.
#![forbid(unsafe_code)]

mod age;
mod board;
mod changes;
mod effect;
mod fare;
mod follow;
mod in_parts;
mod json;
mod liveness;
mod look;
mod owed;
mod owner;
mod process;
mod rows;
mod run;
mod select;
mod sight;
mod steer;
/// A table in columns, for any width.
pub mod table;
mod target;
mod unrecorded;
mod verb;
mod walk;
mod words;

pub use age::age;
pub use board::{Board, Line, STEPS, Sort};
pub use changes::Changes;
pub use fare::{Fare, State};
pub use follow::Followed;
pub use json::json;
pub use liveness::Liveness;
pub use look::{Look, Records, Unreadable};
pub use owed::owed;
pub use owner::{refusal, shown, user_name};
pub use process::Process;
pub use rows::{COLUMNS, detail, notes, row, rows, state_words, summary, time_since, tone};
pub use select::{Service, distinct, find_all, root, select};
pub use sight::{Level, Sight, Trouble};
pub use steer::{Order, Outcome, steer, write_only};
pub use target::Refusal;
pub use verb::{Until, Verb};
