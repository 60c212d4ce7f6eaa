//! Proofs that nothing takes a service down: everybody dies at every system call, every call fails, all at random.
//!
//! ```text
//! cargo build --example service
//! cargo test --test proofs -- kill  [--scenario TEXT] [--threads N] [--limit SECONDS] [--count N] [--seed N]
//! cargo test --test proofs -- fail  [--scenario TEXT] [--threads N] [--limit SECONDS] [--count N] [--seed N]
//! cargo test --test proofs -- chaos [--rounds N] [--seed N]
//! ```
//!
//! `--scenario`: only those with this text in their name; `--without` (also several times): none with it; `--job`: the same
//! of what is done in them. `--limit`: as many as fit in; `--count`: so many; chosen by `--seed`, the same for the same.

#[allow(dead_code, unused_imports, reason = "other test programs use the rest")]
#[path = "../common/mod.rs"]
mod common;

mod calls;
mod chaos;
mod commands;
mod errors;
mod fail;
mod harmless;
mod invariants;
mod jobs;
mod kill;
mod later;
mod registers;
mod replacing;
mod scenarios;
mod tracer;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use jobs::{Job, Limits, Tally};
use kill::Watched;
use scenarios::Scenario;

/// What is asked for on the command line.
struct Asked {
    what: String,
    scenario: String,
    without: Vec<String>,
    job: String,
    rounds: u64,
    limits: Limits,
}

fn read() -> Result<Asked, String> {
    let mut words = std::env::args().skip(1);
    let what = words.next().ok_or("kill, fail or chaos?")?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let limits = Limits { threads: 8, time: None, count: None, seed: now.as_secs() };
    let mut asked =
        Asked { what, scenario: String::new(), without: Vec::new(), job: String::new(), rounds: 500, limits };
    while let Some(word) = words.next() {
        let value = words.next().ok_or(format!("{word} wants a value"))?;
        let number = || value.parse::<u64>().map_err(|error| format!("{value}: {error}"));
        match word.as_str() {
            "--scenario" => asked.scenario = value,
            "--without" => asked.without.push(value),
            "--job" => asked.job = value,
            "--threads" => asked.limits.threads = usize::try_from(number()?).unwrap_or(1),
            "--limit" => asked.limits.time = Some(Duration::from_secs(number()?)),
            "--count" => asked.limits.count = Some(usize::try_from(number()?).unwrap_or(usize::MAX)),
            "--rounds" => asked.rounds = number()?,
            "--seed" => asked.limits.seed = number()?,
            _ => return Err(format!("{word} is not known")),
        }
    }
    Ok(asked)
}

fn main() {
    let result = read().and_then(|asked| {
        println!("seed {}", asked.limits.seed);
        match asked.what.as_str() {
            "kill" => at_every_call(&asked, "killed at", kill::jobs),
            "fail" => at_every_call(&asked, "errors:", fail::jobs),
            "chaos" => Ok(chaos(&asked)),
            other => Err(format!("{other} is not known")),
        }
    });
    match result {
        Ok(failed) => {
            failed.iter().for_each(|name| println!("failed: {name}"));
            std::process::exit(i32::from(!failed.is_empty()));
        }
        Err(error) => {
            eprintln!("proofs: {error}");
            std::process::exit(100);
        }
    }
}

/// Runs every scenario once to see its calls, and then once for each of the jobs that come of it.
fn at_every_call(
    asked: &Asked,
    what: &str,
    jobs_of: impl for<'a> Fn((usize, &'a Scenario), &'a Watched) -> Vec<Job<'a>>,
) -> Result<Vec<String>, String> {
    let begun = Instant::now();
    let mut scenarios = scenarios::all();
    scenarios.retain(|scenario| {
        let is_without = !asked.without.iter().any(|text| scenario.name.contains(text));
        scenario.name.contains(&asked.scenario) && is_without
    });
    if scenarios.is_empty() {
        return Err(format!("no scenario is left of those with {:?} in their names", asked.scenario));
    }
    let slots: Vec<Mutex<Option<Watched>>> = scenarios.iter().map(|_| Mutex::new(None)).collect();
    jobs::each(scenarios.len(), asked.limits.threads, |number| {
        let watched = catch_unwind(AssertUnwindSafe(|| kill::watch(&scenarios[number])));
        *slots[number].lock().expect("nobody panics with it") = watched.ok();
    });
    let watched: Vec<Option<Watched>> =
        slots.into_iter().map(|slot| slot.into_inner().expect("nobody panics with it")).collect();
    let mut jobs = Vec::new();
    for ((number, scenario), watched) in scenarios.iter().enumerate().zip(&watched) {
        jobs.extend(watched.iter().flat_map(|watched| jobs_of((number, scenario), watched)));
    }
    jobs.retain(|job| job.name.contains(&asked.job));
    let tallies = jobs::run(jobs, scenarios.len(), asked.limits);
    let mut failed = Vec::new();
    for ((scenario, watched), tally) in scenarios.iter().zip(&watched).zip(&tallies) {
        let Some(watched) = watched else {
            failed.push(format!("{}, without any disturbance", scenario.name));
            continue;
        };
        let calls: Vec<usize> = watched.calls.iter().map(Vec::len).collect();
        let Tally { done, not_reached, cannot_happen, left, failed: bad } = tally;
        println!(
            "{}: calls {calls:?}, {what} {done}, {} failed, {not_reached} not reached, {cannot_happen} cannot happen, \
             {left} left",
            scenario.name,
            bad.len()
        );
        failed.extend_from_slice(bad);
        if asked.job.is_empty() && tally.is_too_little() {
            failed.push(format!("{}: most of it was never reached", scenario.name));
        }
    }
    let sum = |number: fn(&Tally) -> usize| tallies.iter().map(number).sum::<usize>();
    println!("in all: {what} {}, {} left, {:.0} s", sum(|t| t.done), sum(|t| t.left), begun.elapsed().as_secs_f64());
    if failed.is_empty() && sum(|t| t.done) == 0 {
        failed.push("nothing was done to anybody".to_owned());
    }
    Ok(failed)
}

fn chaos(asked: &Asked) -> Vec<String> {
    let begun = Instant::now();
    let (figures, mut failed) = chaos::run(asked.rounds, asked.limits.seed);
    println!("{figures:#?}\n{:.0} s", begun.elapsed().as_secs_f64());
    if failed.is_empty() {
        failed.extend(figures.too_few());
    }
    failed
}
