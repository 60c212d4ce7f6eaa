//! The other end of the status directory: finds services, reads how they fare, and steers them.
//!
//! It knows nothing but the status directory, and never waits for a supervise that does not live.
#![forbid(unsafe_code)]

mod effect;
mod fare;
mod look;
mod owner;
mod run;
mod select;
mod steer;
mod target;
mod verb;
mod watch;
mod words;

pub use fare::Fare;
pub use look::{Liveness, Look, Unreadable};
pub use owner::{refusal, user_name};
pub use select::{Service, find_all, root, select};
pub use steer::{Order, Outcome, steer, write_only};
pub use verb::{Until, Verb};
