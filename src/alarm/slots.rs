//! How many copies are delivered at once on this machine: a hundred services that die together are not to open a
//! hundred connections.
//!
//! A slot is the name of an abstract socket (unix(7)), one of a few for each user: who has bound it has the slot, and
//! the kernel takes it back from whoever dies. It needs no folder that all can write to.

use std::hash::{BuildHasher, Hasher};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// So many copies of one user's alarms are on their way at once.
const SLOTS: u64 = 8;

/// A slot, held until it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    _bound: UnixDatagram,
}

/// Takes a slot that is free.
pub(super) fn take() -> Option<Slot> {
    let user = nix::unistd::getuid();
    // Tests have slots of their own, so that they do not wait for what else is delivered on the machine.
    let own = std::env::var("SVALARM_TEST_SLOTS").unwrap_or_default();
    let first = chance_number();
    (0..SLOTS).find_map(|offset| {
        let number = first.wrapping_add(offset) % SLOTS;
        let name = SocketAddr::from_abstract_name(format!("svalarm.{user}.{number}{own}")).ok()?;
        Some(Slot { _bound: UnixDatagram::bind_addr(&name).ok()? })
    })
}

/// A number by chance: the standard library seeds its hash maps with the kernel's random numbers.
fn chance_number() -> u64 {
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

/// From 0 to below 1, by chance.
pub(super) fn chance() -> f64 {
    let bits = chance_number() >> 32;
    f64::from(u32::try_from(bits).unwrap_or(0)) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_spread() {
        let numbers: Vec<f64> = (0..100).map(|_| chance()).collect();
        assert!(numbers.iter().all(|number| (0.0..1.0).contains(number)));
        assert!(numbers.iter().any(|number| *number < 0.4) && numbers.iter().any(|number| *number > 0.6));
    }
}
