//! Time as the policy sees it: an argument, never a question.

use std::ops::Add;
use std::time::Duration;

/// A point on CLOCK_MONOTONIC, in nanoseconds; the only time that anything is decided by.
///
/// The clock is the same for every process of a boot, so a moment holds over an adoption.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

impl Moment {
    /// The time from `earlier` to this moment; zero where `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, delay: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// A reading of the wall clock, in nanoseconds since 1970 (Unix time): for texts and stamps only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp(pub u64);

impl Stamp {
    /// The whole seconds of the Unix time.
    #[must_use]
    pub fn seconds(self) -> u64 {
        self.0 / 1_000_000_000
    }

    /// The nanoseconds past the whole second.
    #[must_use]
    pub fn nanos(self) -> u32 {
        u32::try_from(self.0 % 1_000_000_000).unwrap_or(0)
    }
}

/// Both clocks, read together when an event happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For decisions.
    pub moment: Moment,
    /// For texts.
    pub stamp: Stamp,
}

impl Now {
    /// The wall time at which `moment` will be (or was), if nobody sets the clock in between.
    #[must_use]
    pub fn stamp_of(self, moment: Moment) -> Stamp {
        let ahead = moment.0.saturating_sub(self.moment.0);
        let behind = self.moment.0.saturating_sub(moment.0);
        Stamp(self.stamp.0.saturating_add(ahead).saturating_sub(behind))
    }
}
