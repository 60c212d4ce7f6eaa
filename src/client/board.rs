//! Many services as one looks at them for a while: sorted, filtered, one of them selected.

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::time::Duration;

use super::process::Process;
use super::{Service, Sight};
use crate::policy::Moment;

/// The history of restarts has so many steps,
pub const STEPS: usize = 20;
/// each so long: five minutes in all.
const STEP: Duration = Duration::from_secs(15);

/// What the lines are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// By name.
    Name,
    /// What needs attention first.
    State,
    /// The busiest first.
    Cpu,
    /// The largest first.
    Memory,
    /// The youngest first.
    Since,
    /// The most often started first.
    Starts,
}

impl Sort {
    const ALL: [Self; 6] = [Self::Name, Self::State, Self::Cpu, Self::Memory, Self::Since, Self::Starts];

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::State => "state",
            Self::Cpu => "CPU",
            Self::Memory => "memory",
            Self::Since => "since",
            Self::Starts => "starts",
        }
    }

    fn step(self, steps: usize) -> Self {
        let place = Self::ALL.iter().position(|sort| *sort == self).unwrap_or(0);
        Self::ALL[(place + steps) % Self::ALL.len()]
    }
}

/// A service on the board.
#[derive(Clone, Debug)]
pub struct Line {
    /// How it fares.
    pub sight: Sight,
    /// Its process, while it runs and where the kernel shows it.
    pub process: Option<Process>,
    /// Of one processor, since the look before.
    pub cpu_percent: Option<f64>,
    /// Restarts in each step, the newest last; steps before the first look are not there.
    pub history: VecDeque<u64>,
    /// As last seen.
    starts: Option<u64>,
    pid: Option<u32>,
    /// Its CPU time at the last measurement, and when that was.
    measured: Option<(u32, Moment, Duration)>,
}

/// The services, and how they are looked at.
#[derive(Clone, Debug)]
pub struct Board {
    lines: BTreeMap<Service, Line>,
    /// What they are sorted by.
    pub sort: Sort,
    /// The other way round.
    pub reversed: bool,
    /// Only names that hold this are shown.
    pub filter: String,
    /// Only what needs attention is shown.
    pub failed_only: bool,
    shown: Vec<Service>,
    selected: usize,
    step_began: Option<Moment>,
}

impl Board {
    /// An empty one.
    #[must_use]
    pub fn new(failed_only: bool) -> Self {
        Self {
            lines: BTreeMap::new(),
            sort: if failed_only { Sort::State } else { Sort::Name },
            reversed: false,
            filter: String::new(),
            failed_only,
            shown: Vec::new(),
            selected: 0,
            step_began: None,
        }
    }

    /// The services that there are now. Who has gone leaves the board, who is new comes onto it.
    pub fn set_services(&mut self, sights: Vec<Sight>) {
        let mut old = std::mem::take(&mut self.lines);
        for sight in sights {
            let service = sight.service.clone();
            let line = match old.remove(&service) {
                Some(line) => changed(line, sight),
                None => Line::new(sight),
            };
            self.lines.insert(service, line);
        }
    }

    /// Looks again at the service with this status directory.
    pub fn look_at(&mut self, dir: &Path) {
        for (service, line) in &mut self.lines {
            if service.dir == dir {
                *line = changed(line.clone(), Sight::of(service.clone()));
            }
        }
    }

    /// Looks again at all of them.
    pub fn look(&mut self) {
        let services: Vec<Service> = self.lines.keys().cloned().collect();
        self.set_services(Sight::of_all(&services));
    }

    /// Measures what the processes use, and goes on to the next step of the history when it is time.
    pub fn measure(&mut self, now: Moment) {
        let began = *self.step_began.get_or_insert(now);
        let steps = usize::try_from(now.since(began).as_nanos() / STEP.as_nanos()).unwrap_or(STEPS);
        if steps > 0 {
            self.step_began = Some(now);
        }
        for line in self.lines.values_mut() {
            for _ in 0..steps.min(STEPS) {
                line.history.push_back(0);
            }
            while line.history.len() > STEPS {
                line.history.pop_front();
            }
            line.measure(now);
        }
    }

    /// Sorts and filters again; the service that was selected stays so where it is still shown.
    pub fn arrange(&mut self) {
        let selected = self.selected().cloned();
        let filter = self.filter.to_lowercase();
        let is_shown = |line: &&Line| {
            (!self.failed_only || line.sight.trouble().is_some())
                && (filter.is_empty() || line.sight.service.shown().to_lowercase().contains(&filter))
        };
        let mut shown: Vec<&Line> = self.lines.values().filter(is_shown).collect();
        shown.sort_by(|one, other| {
            let order = compare(self.sort, one, other); // stable: by name among equals
            if self.reversed { order.reverse() } else { order }
        });
        self.shown = shown.into_iter().map(|line| line.sight.service.clone()).collect();
        let place = selected.and_then(|selected| self.shown.iter().position(|service| *service == selected));
        self.selected = place.unwrap_or(self.selected).min(self.shown.len().saturating_sub(1));
    }

    /// What is shown, in its order.
    pub fn shown(&self) -> impl Iterator<Item = &Line> {
        self.shown.iter().filter_map(|service| self.lines.get(service))
    }

    /// All services, shown or not.
    pub fn all(&self) -> impl Iterator<Item = &Line> {
        self.lines.values()
    }

    /// The selected service's place among those that are shown.
    #[must_use]
    pub fn place(&self) -> usize {
        self.selected
    }

    /// The selected service.
    #[must_use]
    pub fn selected(&self) -> Option<&Service> {
        self.shown.get(self.selected)
    }

    /// What is seen of it.
    #[must_use]
    pub fn selected_line(&self) -> Option<&Line> {
        self.lines.get(self.selected()?)
    }

    /// Selects another one, so many places further down.
    pub fn select(&mut self, by: isize) {
        let last = self.shown.len().saturating_sub(1);
        self.selected = self.selected.saturating_add_signed(by).min(last);
    }

    /// Sorts by the next column, or by the one before.
    pub fn sort_next(&mut self, forward: bool) {
        self.sort = self.sort.step(if forward { 1 } else { Sort::ALL.len() - 1 });
        self.arrange();
    }
}

/// A line with what is seen of its service now.
fn changed(mut line: Line, sight: Sight) -> Line {
    let starts = sight.number("starts").or(line.starts);
    let restarts = match (line.starts, starts) {
        (Some(before), Some(now)) if now >= before => now - before,
        // A supervise that began anew counts anew.
        (Some(_), Some(now)) => now.min(1),
        // The classic program counts nothing: another pid is another start.
        (None, None) => u64::from(sight.pid.is_some() && line.pid.is_some() && sight.pid != line.pid),
        _ => 0,
    };
    if let Some(newest) = line.history.back_mut() {
        *newest += restarts;
    }
    // In the middle of a change there may be nothing to be seen for a moment.
    (line.starts, line.pid) = (starts, sight.pid.or(line.pid));
    line.sight = sight;
    line
}

impl Line {
    fn new(sight: Sight) -> Self {
        Self {
            starts: sight.number("starts"),
            pid: sight.pid,
            sight,
            process: None,
            cpu_percent: None,
            history: VecDeque::from([0]),
            measured: None,
        }
    }

    fn measure(&mut self, now: Moment) {
        self.process = self.sight.pid.and_then(Process::at).filter(|process| process.runs);
        let measured = self.sight.pid.zip(self.process).map(|(pid, process)| (pid, now, process.cpu));
        self.cpu_percent = match (self.measured, measured) {
            (Some((before_pid, before, used)), Some((pid, _, cpu))) if before_pid == pid && now > before => {
                Some(cpu.saturating_sub(used).as_secs_f64() / now.since(before).as_secs_f64() * 100.0)
            }
            _ => None,
        };
        self.measured = measured;
    }
}

fn compare(sort: Sort, one: &Line, other: &Line) -> Ordering {
    let cpu = |line: &Line| line.cpu_percent.unwrap_or(-1.0);
    let memory = |line: &Line| line.process.map_or(0, |process| process.memory);
    let since = |line: &Line| line.sight.since.map_or(0, |since| since.0);
    let starts = |line: &Line| line.sight.number("starts").unwrap_or(0);
    let trouble = |line: &Line| (line.sight.trouble().is_none(), line.sight.trouble(), line.sight.state);
    match sort {
        Sort::Name => Ordering::Equal,
        Sort::State => trouble(one).cmp(&trouble(other)),
        Sort::Cpu => cpu(other).total_cmp(&cpu(one)),
        Sort::Memory => memory(other).cmp(&memory(one)),
        Sort::Since => since(other).cmp(&since(one)),
        Sort::Starts => starts(other).cmp(&starts(one)),
    }
}

#[cfg(test)]
#[path = "board_tests.rs"]
mod tests;
