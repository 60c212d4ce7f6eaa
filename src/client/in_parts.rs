//! Work on many things, shared among processors: nearly all of it is the kernel's.

use std::panic::resume_unwind;
use std::thread;

/// Fewer are done before a thread has begun.
const MANY: usize = 200;
/// More would wait for each other in the kernel.
const MOST_THREADS: usize = 4;

/// The results of `work` for all items, in their order: of all at once where there are few, else of parts at the same
/// time.
pub(super) fn in_parts<Item: Sync, Made: Send>(
    items: &[Item],
    work: impl Fn(&[Item]) -> Vec<Made> + Sync,
) -> Vec<Made> {
    let processors = || thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
    let count = if items.len() < MANY { 1 } else { processors() };
    if count == 1 {
        return work(items);
    }
    thread::scope(|scope| {
        let mut parts = items.chunks(items.len().div_ceil(count));
        let own = parts.next().unwrap_or_default();
        let threads: Vec<_> = parts.map(|part| scope.spawn(|| work(part))).collect();
        let mut made = work(own);
        for thread in threads {
            made.extend(thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        made
    })
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
