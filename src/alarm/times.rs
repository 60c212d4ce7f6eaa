//! How long a copy may take.

use std::time::Duration;

/// A copy that has not come to an end by then is given up for this attempt.
const DEADLINE: Duration = Duration::from_secs(60);
/// A relay that has the whole mail may think about it for so many deadlines: ten minutes (RFC 5321, 4.5.3.2.6). To end
/// earlier is to send a mail twice that was taken.
const AFTER_DATA: u32 = 10;

/// The deadline of a copy. Only a build for tests can be told of a shorter one; all other times follow it.
pub(super) fn deadline() -> Duration {
    let told = if cfg!(debug_assertions) { std::env::var("SVALARM_TEST_DEADLINE_MS").ok() } else { None };
    told.and_then(|millis| millis.parse().ok()).map_or(DEADLINE, Duration::from_millis)
}

/// By when a relay is reached, whatever the number of its addresses: 25 s.
pub(super) fn to_connect() -> Duration {
    deadline() * 5 / 12
}

/// For each address of it, however many there are: 5 s.
pub(super) fn least_to_connect() -> Duration {
    deadline() / 12
}

/// For the answer to a goodbye: 5 s.
pub(super) fn to_quit() -> Duration {
    deadline() / 12
}

/// For one answer of a relay: 30 s.
pub(super) fn to_answer() -> Duration {
    deadline() / 2
}

/// For the answer to the whole mail, and how much longer the copy may take then: 10 min.
pub(super) fn to_take_a_mail() -> Duration {
    deadline() * AFTER_DATA
}

/// For a whole web request, below the deadline so that the reason can be told: 50 s.
pub(super) fn to_post() -> Duration {
    deadline() * 5 / 6
}
