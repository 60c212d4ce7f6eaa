//! What supervise costs, beside the least that is possible (the floor) and the supervisors that are installed.
//!
//! `cargo bench --bench costs [-- CASE…] [--rounds N] [--copies N] [--json FILE]`; the cases are restart, control,
//! start, memory, scale, svc, crash, idle, size and limits. Without one it is all but limits, which are counts that repeat exactly, checked
//! against what is written in limits.rs. docs/performance.md says more.

mod client;
mod limits;
mod loops;
mod memory;
mod place;
mod report;
mod times;

use report::Report;

/// What can be asked for.
#[derive(Debug)]
pub(crate) struct Plan {
    cases: Vec<String>,
    rounds: usize,
    copies: usize,
    json: Option<String>,
}

const CASES: [&str; 9] = ["restart", "control", "start", "memory", "scale", "svc", "crash", "idle", "size"];

fn plan() -> Result<Plan, String> {
    let mut plan = Plan { cases: Vec::new(), rounds: 30, copies: 100, json: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} wants a value"));
        let number = |text: String| text.parse::<usize>().map_err(|error| format!("{text}: {error}"));
        match word.as_str() {
            "--bench" => {} // cargo says so
            "--rounds" => plan.rounds = number(value()?)?.max(1),
            "--copies" => plan.copies = number(value()?)?.max(1),
            "--json" => plan.json = Some(value()?),
            "limits" => plan.cases.push(word),
            case if CASES.contains(&case) => plan.cases.push(word),
            _ => return Err(format!("no such case: {word}")),
        }
    }
    if plan.cases.is_empty() {
        plan.cases = CASES.map(str::to_owned).to_vec();
    }
    Ok(plan)
}

fn main() {
    let plan = plan().unwrap_or_else(|error| {
        eprintln!("{error}");
        std::process::exit(100);
    });
    let programs = place::Programs::build();
    let mut report = Report::default();
    let mut kept = true;
    for case in &plan.cases {
        match case.as_str() {
            "restart" => times::restart(&programs, plan.rounds, &mut report),
            "control" => times::control(&programs, plan.rounds, &mut report),
            "start" => times::start(&programs, plan.rounds, &mut report),
            "memory" => memory::memory(&programs, plan.copies, &mut report),
            "scale" => memory::scale(&programs, plan.copies * 10, &mut report),
            "svc" => client::status(&programs, plan.copies * 10, plan.rounds, &mut report),
            "crash" => loops::crash(&programs, &mut report),
            "idle" => loops::idle(&programs, &mut report),
            "size" => memory::size(&programs, &mut report),
            _ => kept = limits::check(&programs),
        }
    }
    report.print();
    if let Some(path) = &plan.json {
        std::fs::write(path, report.json()).expect("the file for the results can be written");
    }
    if !kept {
        std::process::exit(1);
    }
}
