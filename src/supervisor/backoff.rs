//! When to try again what failed: soon, then less and less often.

use std::time::Duration;

use crate::policy::Moment;

/// The delay after the first failure, in which most disks get room again.
const FIRST: Duration = Duration::from_secs(1);
/// However long it lasts, so often is looked.
const LONGEST: Duration = Duration::from_secs(60);

/// Something that is tried again after a growing delay, as long as it fails.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backoff {
    failed: Option<(Moment, Duration)>,
}

impl Backoff {
    /// When to try again; `None`: it did not fail last time.
    pub(super) fn deadline(self) -> Option<Moment> {
        self.failed.map(|(at, _)| at)
    }

    /// It did not fail last time, or the time for the next try has come.
    pub(super) fn allows(self, now: Moment) -> bool {
        self.deadline().is_none_or(|at| at <= now)
    }

    /// It failed. The answer: it had not failed the time before, so somebody should be told.
    pub(super) fn fail(&mut self, now: Moment) -> bool {
        let delay = self.failed.map_or(FIRST, |(_, delay)| (delay * 2).min(LONGEST));
        self.failed.replace((now + delay, delay)).is_none()
    }

    /// It worked.
    pub(super) fn succeed(&mut self) {
        self.failed = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_grows_up_to_its_limit_and_is_told_once() {
        let mut backoff = Backoff::default();
        let mut now = Moment(0);
        let mut delays = Vec::new();
        assert!(backoff.allows(now) && backoff.deadline().is_none());
        for round in 0..8 {
            assert_eq!(backoff.fail(now), round == 0);
            assert!(!backoff.allows(now));
            let next = backoff.deadline().unwrap();
            delays.push(next.since(now).as_secs());
            now = next;
            assert!(backoff.allows(now));
        }
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 60, 60]);
        backoff.succeed();
        assert!(backoff.fail(now));
    }
}
