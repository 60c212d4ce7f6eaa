//! The policy, tested by calling it: single rules, the table of every state times every event, and properties over
//! simulated time.

mod begin;
mod exits;
mod properties;
mod simulation;
mod table;
mod timing;

use std::num::NonZeroU32;
use std::time::Duration;

use super::*;

/// A policy in a world where the test says what time it is.
struct Bench {
    policy: Policy,
    now: Now,
}

const SECOND: u64 = 1_000_000_000;
const CRASH: Ended = Ended::Signal { number: 11, core: false };
const CORE: Ended = Ended::Signal { number: 11, core: true };
const KILLED: Ended = Ended::Signal { number: 9, core: false };
const TERMINATED: Ended = Ended::Signal { number: 15, core: false };

fn rules() -> Rules {
    Rules { window: Some(Duration::from_secs(60)), ..Rules::default() }
}

fn limit(number: u32) -> Option<NonZeroU32> {
    NonZeroU32::new(number)
}

fn with_hook(reset: Option<u64>) -> Rules {
    let hook = HookRules { reset: reset.map(Duration::from_secs), timeout: Duration::from_secs(60) };
    Rules { hook: Some(hook), ..rules() }
}

fn exit(ended: Ended) -> Event {
    Event::Exited(Exit { pid: 42, ended, peak_kib: None, cpu_us: None })
}

impl Bench {
    /// A policy that has begun afresh and started its service, 100 s ago.
    fn up(rules: Rules) -> Self {
        let mut bench = Self::new(rules);
        bench.send(Event::Begin { taken: None, found: Found::Nothing });
        bench.wait(100.0);
        bench
    }

    fn new(rules: Rules) -> Self {
        let now = Now { moment: Moment(1000 * SECOND), stamp: Stamp(5000 * SECOND) };
        Self { policy: Policy::new(rules), now }
    }

    /// Time passes, and nothing else.
    fn wait(&mut self, seconds: f64) {
        let time = Duration::from_secs_f64(seconds);
        self.now.stamp = self.now.stamp_of(self.now.moment + time);
        self.now.moment = self.now.moment + time;
    }

    fn send(&mut self, event: Event) -> Vec<Action> {
        self.policy.handle(self.now, event)
    }

    fn command(&mut self, command: Command) -> Vec<Action> {
        self.send(Event::Command(command))
    }

    /// Time jumps to the next deadline, which is handled.
    fn deadline(&mut self) -> Vec<Action> {
        let deadline = self.policy.next_deadline().expect("a deadline");
        let time = deadline.since(self.now.moment);
        self.wait(time.as_secs_f64());
        self.now.moment = self.now.moment.max(deadline);
        self.send(Event::Deadline)
    }

    /// The same, if time alone changes anything.
    fn deadline_if_any(&mut self) -> Vec<Action> {
        if self.policy.next_deadline().is_some() { self.deadline() } else { Vec::new() }
    }

    fn state(&self) -> State {
        self.policy.view().state
    }

    fn window(&self) -> Option<(u32, u32)> {
        self.policy.ledger().window.map(|window| (window.exits, window.coredumps))
    }

    fn last_expected(&self) -> bool {
        self.policy.ledger().last_exit.expect("an exit").expected
    }
}

/// The actions in short, the lines for the log left out.
fn short(actions: &[Action]) -> String {
    let words: Vec<String> = actions
        .iter()
        .filter_map(|action| {
            Some(match action {
                Action::Start => "start".to_owned(),
                Action::Signal(sig) => format!("{sig:?}").to_uppercase(),
                Action::StartHook(count) => format!("hook{count}"),
                Action::KillHook => "kill-hook".to_owned(),
                Action::Raise(alarm, _) => match alarm.kind {
                    AlarmKind::Exited => "alarm".to_owned(),
                    AlarmKind::Coredump => "alarm-core".to_owned(),
                    AlarmKind::GaveUp { tries } => format!("alarm-gave-up-{tries}"),
                    AlarmKind::Recovered => "recovered".to_owned(),
                },
                Action::Settle(_) => "settle".to_owned(),
                Action::Tell(_) => return None,
                Action::ReadConf => "read".to_owned(),
                Action::Upgrade => "upgrade".to_owned(),
                Action::Leave { gave_up: false } => "leave".to_owned(),
                Action::Leave { gave_up: true } => "give-up".to_owned(),
            })
        })
        .collect();
    words.join("+")
}
