//! Numbers that look random, and are the same for the same seed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(crate) struct Random(u64);

impl Random {
    #[allow(dead_code, reason = "the tests that cargo runs have other numbers each time")]
    pub(crate) fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// Others in each run. A failed test prints where they began.
    pub(crate) fn of_this_moment() -> Self {
        let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos().into();
        eprintln!("seed {seed}");
        Random(seed)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        // Knuth's MMIX generator; its upper bits are the good ones.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    /// The random moment itself: what may happen in it is what is tested.
    pub(crate) fn pass_some_time(&mut self, up_to: Duration) {
        let limit = u64::try_from(up_to.as_micros()).expect("a short time");
        std::thread::sleep(Duration::from_micros(self.below(limit)));
    }
}
