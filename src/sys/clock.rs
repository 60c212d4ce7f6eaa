//! The clocks.

use std::fs::File;
use std::io::Read as _;
use std::mem::MaybeUninit;

use super::raw::{call, word};
use crate::policy::{Moment, Now, Stamp};

fn read(clock: libc::clockid_t) -> u64 {
    let mut time = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: the pointer is to a timespec of ours. The three clocks that are asked for always exist (clock_gettime(2)).
    let time = unsafe {
        libc::clock_gettime(clock, time.as_mut_ptr());
        time.assume_init()
    };
    nanoseconds(time)
}

fn nanoseconds(time: libc::timespec) -> u64 {
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// Both clocks: CLOCK_MONOTONIC for decisions, CLOCK_REALTIME for texts.
#[must_use]
pub fn now() -> Now {
    Now { moment: Moment(read(libc::CLOCK_MONOTONIC)), stamp: Stamp(read(libc::CLOCK_REALTIME)) }
}

/// Nanoseconds since boot, suspension included: what the kernel stamps the start of a process with.
/// Async-signal-safe.
#[must_use]
pub fn boot_ns() -> u64 {
    read(libc::CLOCK_BOOTTIME)
}

/// The same for a child before its exec: asked of the kernel itself, which in a copy of the memory takes less time than to
/// find the page in which it tells the time to everybody. Leaves errno alone.
pub(super) fn boot_ns_of_child() -> u64 {
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: the pointer is to a timespec of ours, which the kernel fills in where it says 0.
    let time = unsafe {
        match call(libc::SYS_clock_gettime, [word(libc::CLOCK_BOOTTIME), time.as_mut_ptr().expose_provenance()]) {
            Ok(_) => time.assume_init(),
            Err(_) => return boot_ns(), // a kernel of 32 bits that has no such call any more
        }
    };
    nanoseconds(time)
}

/// Where the kernel tells the id of this boot.
pub const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// This boot's id; empty where the kernel does not tell.
#[must_use]
pub fn boot_id() -> String {
    let mut bytes = [0; 64];
    let length = File::open(BOOT_ID).and_then(|mut file| file.read(&mut bytes)).unwrap_or(0);
    String::from_utf8_lossy(&bytes[..length]).trim().to_owned()
}
