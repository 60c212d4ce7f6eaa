//! When a message that somebody has not got yet is tried again, and when not any more.

use std::time::Duration;

/// The first delay; each is twice the one before.
const FIRST: Duration = Duration::from_secs(10);
/// No delay is longer, jitter included.
pub(super) const LONGEST: Duration = Duration::from_secs(3600);
/// A delay is longer than its base by up to this fraction of it, so that what failed together is not tried together.
const JITTER: f64 = 0.2;
/// So much is waited in all. What is counted are the delays themselves: neither a clock that is set nor a machine that
/// is switched off shortens them.
pub(super) const PATIENCE: Duration = Duration::from_secs(5 * 24 * 3600);

/// What follows an attempt that was not the last: the delay until the next one, or `None`, it was the last.
/// `attempts`: how many there were, this one included. `waited`: what was waited between them. `jitter`: 0 to 1, by chance.
pub(super) fn next_delay(attempts: u32, waited: Duration, jitter: f64) -> Option<Duration> {
    if waited >= PATIENCE {
        return None;
    }
    let longest_base = LONGEST.div_f64(1.0 + JITTER);
    let doublings = attempts.saturating_sub(1).min(16); // far past the longest
    let base = (FIRST * 2_u32.pow(doublings)).min(longest_base);
    Some(base.mul_f64(1.0 + JITTER * jitter.clamp(0.0, 1.0)))
}

/// After a trouble of this machine with a message, a removal that fails for example: the number of times in a row says
/// how long until it is tried again.
pub(super) fn after_trouble(times: u32) -> Duration {
    (FIRST * 2_u32.pow(times.saturating_sub(1).min(16))).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_from_ten_seconds_to_an_hour() {
        let delays: Vec<u64> =
            (1..=12).map(|attempts| next_delay(attempts, Duration::ZERO, 0.0).unwrap().as_secs()).collect();
        assert_eq!(delays, [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3000, 3000, 3000]);
        assert_eq!(next_delay(1, Duration::ZERO, 1.0), Some(Duration::from_secs(12)));
        assert_eq!(next_delay(u32::MAX, Duration::ZERO, 1.0), Some(LONGEST));
    }

    #[test]
    fn five_days_of_delays_and_a_last_attempt() {
        for jitter in [0.0, 0.5, 1.0] {
            let (mut attempts, mut waited) = (1, Duration::ZERO);
            while let Some(delay) = next_delay(attempts, waited, jitter) {
                waited += delay;
                attempts += 1;
            }
            assert!((PATIENCE..PATIENCE + LONGEST).contains(&waited), "{waited:?}");
            assert!((120..160).contains(&attempts), "{attempts}");
        }
    }

    #[test]
    fn a_trouble_is_looked_at_less_and_less_often() {
        let delays: Vec<u64> = [1, 2, 3, 9, 10, 1000].map(|times| after_trouble(times).as_secs()).to_vec();
        assert_eq!(delays, [10, 20, 40, 2560, 3600, 3600]);
    }
}
