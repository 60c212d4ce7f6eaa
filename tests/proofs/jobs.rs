//! Runs many independent jobs on a few threads, for as long as there is time, and counts what became of them.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What became of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// So many blows were struck, and all held.
    Done(usize),
    /// The run never came to where it was to be struck.
    NotReached,
    /// It came there, and what was to be done to it cannot happen with such arguments.
    CannotHappen,
}

/// One of them.
pub(crate) struct Job<'a> {
    /// The number of the scenario that it belongs to.
    pub(crate) scenario: usize,
    pub(crate) name: String,
    pub(crate) run: Box<dyn Fn() -> Outcome + Send + Sync + 'a>,
}

/// What became of the jobs of a scenario.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) done: usize,
    pub(crate) not_reached: usize,
    pub(crate) cannot_happen: usize,
    pub(crate) left: usize,
    pub(crate) failed: Vec<String>,
}

impl Tally {
    /// So little was done that it proves nothing. A run can have a turn less than the one that was watched, so that some
    /// are not reached; the tries beyond the last call of the watched one are never reached.
    pub(crate) fn is_too_little(&self) -> bool {
        self.left == 0 && self.failed.is_empty() && self.not_reached >= self.done + self.cannot_happen
    }
}

/// So many threads, and no more time and jobs than this.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) threads: usize,
    pub(crate) time: Option<Duration>,
    /// No more jobs than this.
    pub(crate) count: Option<usize>,
    /// Which jobs come first where not all of them are done.
    pub(crate) seed: u64,
}

/// Runs the jobs of so many scenarios.
pub(crate) fn run(mut jobs: Vec<Job<'_>>, scenarios: usize, limits: Limits) -> Vec<Tally> {
    if limits.time.is_some() || limits.count.is_some() {
        // By their names, so that one job more or less changes nothing for the others.
        jobs.sort_by_cached_key(|job| {
            let mut hasher = DefaultHasher::new();
            (limits.seed, &job.name).hash(&mut hasher);
            hasher.finish()
        });
    }
    let begun = Instant::now();
    let tallies = Mutex::new(vec![Tally::default(); scenarios]);
    each(jobs.len(), limits.threads, |number| {
        let job = &jobs[number];
        let in_time = limits.time.is_none_or(|time| begun.elapsed() < time);
        let is_one = limits.count.is_none_or(|count| number < count);
        let outcome = (in_time && is_one).then(|| catch_unwind(AssertUnwindSafe(&job.run)));
        let mut tallies = tallies.lock().expect("nobody panics with it");
        let tally = &mut tallies[job.scenario];
        match outcome {
            None => tally.left += 1,
            Some(Ok(Outcome::Done(blows))) => tally.done += blows,
            Some(Ok(Outcome::NotReached)) => tally.not_reached += 1,
            Some(Ok(Outcome::CannotHappen)) => tally.cannot_happen += 1,
            Some(Err(_)) => {
                eprintln!("FAILED: {}\n", job.name);
                tally.failed.push(job.name.clone());
            }
        }
    });
    tallies.into_inner().expect("nobody panics with it")
}

/// Does this for every number below `count`, on so many threads.
pub(crate) fn each(count: usize, threads: usize, work: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    work(number);
                }
            });
        }
    });
}
