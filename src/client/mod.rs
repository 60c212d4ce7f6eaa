//! The other end of the status directory: finds services, reads how they fare, and steers them.
//!
//! It knows nothing but the status directory, and never waits for a supervise that does not live.
#![forbid(unsafe_code)]

mod look;
mod select;

pub use look::{Liveness, Look, Unreadable};
pub use select::{Service, find_all, root, select};
