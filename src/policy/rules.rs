//! The numbers that the policy decides by: what supervise.conf and the command line say about restarts.

use std::num::NonZeroU32;
use std::time::Duration;

/// What the policy is told to do; replaced as a whole by a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Length of the alarm window; `None`: no window, so nothing is counted, limited or alarmed.
    pub window: Option<Duration>,
    /// At most this many restarts in a window; the next unexpected exit is a give-up. `None`: no limit.
    pub max_tries: Option<NonZeroU32>,
    /// When this many exits in a window dumped core: give-up. `None`: no limit.
    pub max_coredumps: Option<NonZeroU32>,
    /// The shortest time from one start to the next.
    pub pacing: Duration,
    /// From TERM to KILL; `None`: KILL never follows by itself.
    pub stop_timeout: Option<Duration>,
    /// An alarm is followed by another message once the service has run for a whole window.
    pub recovered: bool,
    /// The hook that runs before every restart; `None`: there is none.
    pub hook: Option<HookRules>,
}

/// How the hook is counted and bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HookRules {
    /// The exit count starts at 1 again when this much time has passed since the exit before; `None`: it is always 1.
    pub reset: Option<Duration>,
    /// A hook that runs longer is killed.
    pub timeout: Duration,
}

impl Default for Rules {
    /// What holds without a supervise.conf: restarts, paced by a second, and no more.
    fn default() -> Self {
        Self {
            window: None,
            max_tries: None,
            max_coredumps: None,
            pacing: Duration::from_secs(1),
            stop_timeout: None,
            recovered: false,
            hook: None,
        }
    }
}
