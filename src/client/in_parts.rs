//! Work on many things, shared among processors.

use std::iter;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use nix::sched::{CloneFlags, unshare};

/// Fewer are done before a thread has begun.
const MANY: usize = 200;
/// More would wait for each other in the kernel.
const MOST_THREADS: usize = 4;
/// So many are taken at once: who is late, or held up, leaves the rest to the others.
const PART: usize = 16;

/// The results of `work` for all items, in their order: of all at once where there are few, else of parts, each done by
/// whoever is free.
pub(super) fn in_parts<Item: Sync, Made: Send>(
    items: &[Item],
    work: impl Fn(&[Item]) -> Vec<Made> + Sync,
) -> Vec<Made> {
    let processors = || thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
    let count = if items.len() < MANY { 1 } else { processors() };
    if count == 1 {
        return work(items);
    }
    let next = AtomicUsize::new(0);
    let take = || {
        let number = next.fetch_add(1, Ordering::Relaxed);
        items.chunks(PART).nth(number).map(|part| (number, work(part)))
    };
    let mut made: Vec<(usize, Vec<Made>)> = thread::scope(|scope| {
        let threads: Vec<_> = (1..count).map(|_| scope.spawn(|| apart(|| iter::from_fn(take).collect()))).collect();
        let own = iter::from_fn(take).collect();
        let others = threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        iter::once(own).chain(others).flat_map(|made: Vec<_>| made).collect()
    });
    made.sort_unstable_by_key(|(number, _)| *number);
    made.into_iter().flat_map(|(_, made)| made).collect()
}

/// With a table of descriptors of its own: in one that is shared, each call must count its users.
fn apart<Made>(work: impl FnOnce() -> Made) -> Made {
    let _ = unshare(CloneFlags::CLONE_FILES); // who may not is only slower
    work()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_worked_on_once_and_in_order() {
        for count in [0, 1, MANY - 1, MANY, MANY + 1, 7 * MANY] {
            let items: Vec<usize> = (0..count).collect();
            let made = in_parts(&items, |part| part.iter().map(|item| item * 2).collect());
            assert_eq!(made, (0..count).map(|item| item * 2).collect::<Vec<_>>());
        }
    }
}
