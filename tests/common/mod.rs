//! What the integration tests stand on: a sandbox for each test, and ways to see what became of it.
//!
//! A test makes a [`Sandbox`], starts supervise in it, waits for facts with [`eventually`] or one of the `until_…`
//! methods, and lets the sandbox go: that ends every process that was started in it, by pid, and where the test
//! failed prints what there is to see. The services are `tests/programs/service.rs`, in each sandbox as `./service`.

mod acts;
mod call;
mod clients;
mod kernel;
mod mounts;
mod process;
mod random;
mod report;
mod sandbox;
mod status_dir;
mod wait;
#[cfg(target_arch = "x86_64")]
mod wall_clock;

pub(crate) use acts::{Mark, log_texts};
pub(crate) use call::{Foreground, Output};
pub(crate) use clients::client_program;
pub(crate) use kernel::{NO_PIDFD_GET_INFO, Refused, can_refuse, no_links, refusing, without_proc};
#[allow(unused_imports, reason = "tests of alarms use the rest")]
pub(crate) use mounts::{Mount, with_mounts, with_status_on_a_small_disk};
pub(crate) use process::{Pid, alive, is_root, process_stat, signal};
pub(crate) use random::Random;
#[allow(unused_imports, reason = "named by tests that keep one")]
pub(crate) use report::Report;
pub(crate) use sandbox::{Sandbox, copy_program, example, service_program, supervise_program};
pub(crate) use status_dir::{Record, STATE_KEYS, StatusDir, decode_record};
#[allow(unused_imports, reason = "tests of alarms use the rest")]
pub(crate) use wait::{after_a_delay, eventually, eventually_some, skip};
#[cfg(target_arch = "x86_64")]
#[allow(unused_imports, reason = "not every test program sets the clock")]
pub(crate) use wall_clock::run_with_wall_clock;
