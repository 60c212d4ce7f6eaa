//! System calls that need `unsafe` or that no safe wrapper offers; every unsafe block of the project is here.
#![allow(unsafe_code)]

mod background;
mod child;
mod clock;
mod entry;
mod errno;
mod fds;
#[doc(hidden)]
pub mod left_out;
mod lent;
mod memory;
mod names;
mod own;
mod pidfd;
mod proc_stat;
mod process;
mod program;
mod raw;
mod signals;
mod spawn;
mod terminal;
mod waits;
mod zone;

pub use background::go_on_in_background;
pub use clock::{BOOT_ID, boot_id, boot_ns, now};
pub use entry::{enter, words};
pub use errno::{errno_of, why, why_io};
pub use fds::{
    bytes_waiting, close_from, close_on_exec_from, inherited, lease, lock_exclusively, open_owned_link, pass_exec,
    set_pipe_size, unlock, watch_directory,
};
pub use memory::give_back_memory;
pub use names::{each_name, exchange_names};
pub use own::{set_name_after, started_from, take_variable};
pub use pidfd::{ExitStatus, Pidfd};
pub use proc_stat::{ProcStat, all_processes};
pub use process::{
    Forked, Reaped, Target, end_group_of_dead, ends_with_parent, fork_background, kill, own_session, reap_next,
};
pub use program::Program;
pub use signals::{Signals, Wakeup, read_signals, take_over_signals};
pub use spawn::{Launch, Launched, Output, Report, StampClaim, StartReport, Step, launch};
pub use terminal::columns;
pub use waits::{Place, Waits};
pub use zone::{LocalTime, local_time};
