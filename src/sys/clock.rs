//! The clocks.

use std::mem::MaybeUninit;

use crate::policy::{Moment, Now, Stamp};

/// A wall clock time in the local time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    /// The year, as people write it.
    pub year: i32,
    /// 1 to 12.
    pub month: i32,
    /// 1 to 31.
    pub day: i32,
    /// 0 to 23.
    pub hour: i32,
    /// 0 to 59.
    pub minute: i32,
    /// 0 to 60.
    pub second: i32,
    /// How far local time is ahead of UTC, in seconds.
    pub utc_offset: i64,
}

fn read(clock: libc::clockid_t) -> u64 {
    let mut time = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: the pointer is to a timespec of ours. The three clocks that are asked for always exist (clock_gettime(2)).
    let time = unsafe {
        libc::clock_gettime(clock, time.as_mut_ptr());
        time.assume_init()
    };
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

/// Where the kernel tells the id of this boot.
pub const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// This boot's id; empty where the kernel does not tell.
#[must_use]
pub fn boot_id() -> String {
    std::fs::read_to_string(BOOT_ID).map_or_else(|_| String::new(), |id| id.trim().to_owned())
}

/// A stamp in local time. The time zone is read once, at the first call.
#[must_use]
pub fn local_time(stamp: Stamp) -> LocalTime {
    let seconds = libc::time_t::try_from(stamp.seconds()).unwrap_or(libc::time_t::MAX);
    let mut broken = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both pointers are to values of ours; all-zero bytes are a valid tm (its zone pointer is nullable), so
    // the value is initialised even where localtime_r refuses a year beyond its range.
    let broken = unsafe {
        libc::localtime_r(&raw const seconds, broken.as_mut_ptr());
        broken.assume_init()
    };
    LocalTime {
        year: broken.tm_year.saturating_add(1900),
        month: broken.tm_mon + 1,
        day: broken.tm_mday,
        hour: broken.tm_hour,
        minute: broken.tm_min,
        second: broken.tm_sec,
        utc_offset: broken.tm_gmtoff,
    }
}
