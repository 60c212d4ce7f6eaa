//! The status directory as a protocol: the names, the bytes and the locks that both of its ends agree on.
#![forbid(unsafe_code)]

mod claim;
mod commands;
mod control;
mod directory;
mod ended;
mod holder;
mod lock;
mod log;
mod long_record;
mod name;
mod record;
mod replace;

pub use claim::{Claim, ClaimBlock, Debt, StderrMark, is_id, short_sum};
pub use commands::{byte_of, command_of, is_ignored};
pub use control::{Control, OkFifo};
pub use directory::{Directory, OpenError};
pub use ended::{ended_from_text, ended_text};
pub use holder::{has_open, holds_lock, lock_holders, lock_is_held};
pub use lock::{Lock, LockError, listed_holder, living_supervise};
pub use log::{Level, Logs};
pub use long_record::{LongRecord, ReadRecord};
pub use name::{Module, NameError};
pub use record::Record;
pub use replace::{Replaced, create_afresh, give_mode};
