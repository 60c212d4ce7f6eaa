//! System calls that need `unsafe` or that no safe wrapper offers; every unsafe block of the project is here.
#![allow(unsafe_code)]

mod clock;
mod errno;
mod fds;
mod pidfd;
mod process;
mod program;
mod signals;
mod spawn;

pub use clock::{BOOT_ID, LocalTime, boot_id, boot_ns, local_time, now};
pub use errno::{why, why_io};
pub use fds::{
    close_from, close_on_exec_from, dir_stream, lock_exclusively, open_owned_link, set_pipe_size, watch_directory,
};
pub use pidfd::{ExitStatus, Pidfd};
pub use process::{
    Forked, Reaped, Target, end_group_of_dead, ends_with_parent, fork_background, kill, reap_next, session,
    set_ended_by_parent,
};
pub use program::Program;
pub use signals::{Signals, Wakeup, take_over_signals};
pub use spawn::{Launch, Launched, Output, Report, StampClaim, Step, launch, read_reports};
