//! What holds whatever happens: random worlds over simulated time.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// Something that the world does to a supervise.
#[derive(Clone, Debug)]
enum Doing {
    Wait(u64),
    ToDeadline,
    Command(Command),
    Terminate,
    Exit(Ended),
    HookEnds,
    ForkRefused,
    Reload(Rules),
    /// Supervise is killed, and the service dies before the successor looks (or not).
    Killed {
        dies: bool,
    },
}

fn doing() -> impl Strategy<Value = Doing> {
    let commands: Vec<Command> =
        Command::ALL.into_iter().filter(|command| !matches!(command, Command::Exit | Command::Reload)).collect();
    let ends = vec![Ended::Code(0), Ended::Code(1), CRASH, CORE, KILLED, TERMINATED, Ended::Unknown, Ended::Pending];
    prop_oneof![
        4 => (0..3_000_000_000_u64).prop_map(Doing::Wait),
        1 => (0..200_000_000_000_u64).prop_map(Doing::Wait),
        6 => Just(Doing::ToDeadline),
        6 => select(commands).prop_map(Doing::Command),
        12 => select(ends).prop_map(Doing::Exit),
        4 => Just(Doing::HookEnds),
        1 => Just(Doing::ForkRefused),
        1 => any_rules().prop_map(Doing::Reload),
        1 => any::<bool>().prop_map(|dies| Doing::Killed { dies }),
        1 => prop_oneof![Just(Doing::Terminate), Just(Doing::Command(Command::Exit))],
    ]
}

fn any_rules() -> impl Strategy<Value = Rules> {
    let window = prop_oneof![Just(None), Just(Some(60)), Just(Some(600))];
    let stop = prop_oneof![Just(None), Just(Some(5))];
    (window, 0..5_u32, 0..4_u32, 100..3000_u64, stop).prop_map(|(window, tries, cores, pacing, stop)| Rules {
        window: window.map(Duration::from_secs),
        max_tries: limit(tries),
        max_coredumps: limit(cores),
        pacing: Duration::from_millis(pacing),
        stop_timeout: stop.map(Duration::from_secs),
        recovered: tries % 2 == 0,
        hook: None,
    })
}

/// What an observer who knows nothing of the policy's inside sees.
struct World {
    bench: Bench,
    runs: bool,
    hook: bool,
    last_start: Option<Moment>,
    /// `u` or `o` was given, or an operator started supervise, since the last start.
    asked: bool,
    wanted_down: bool,
    left: bool,
    alarms_in_window: u32,
    status_pending: bool,
    /// A limit may be passed where a reload lowered it, or at a start by the operator: it holds at the next exit.
    exempt: bool,
}

impl World {
    fn new(rules: Rules) -> Self {
        let mut world = Self {
            bench: Bench::new(rules),
            runs: false,
            hook: false,
            last_start: None,
            asked: true,
            wanted_down: false,
            left: false,
            alarms_in_window: 0,
            status_pending: false,
            exempt: false,
        };
        world.send(Event::Begin { taken: None, found: Found::Nothing });
        world
    }

    fn send(&mut self, event: Event) {
        let before = *self.bench.policy.ledger();
        let had_left = self.left;
        let is_begin = matches!(event, Event::Begin { .. });
        // A limit that is passed by a status that comes late holds at the next exit too.
        let decides_nothing = is_begin || matches!(event, Event::StatusKnown(_));
        self.exempt |= decides_nothing;
        let ended = match event {
            Event::Exited(exit) => Some(exit),
            _ => None,
        };
        let actions = self.bench.send(event);
        let now = self.bench.now.moment;
        let after = *self.bench.policy.ledger();
        assert!(!had_left || actions.is_empty(), "it decides after it left: {actions:?}");
        if before.window.map(|window| window.opened) != after.window.map(|window| window.opened) {
            self.alarms_in_window = 0;
            self.exempt = decides_nothing;
        }
        for action in &actions {
            match action {
                Action::Start => {
                    assert!(!self.runs, "a second service");
                    assert!(!self.wanted_down, "a start while wanted down");
                    assert!(!self.hook, "a start while the hook runs");
                    if let Some(last) = self.last_start.filter(|_| !self.asked) {
                        assert!(
                            now.since(last) >= self.bench.policy.rules().pacing,
                            "a start before the pacing allows"
                        );
                    }
                    self.runs = true;
                    self.last_start = Some(now);
                    self.asked = false;
                }
                Action::Signal(_) => assert!(self.runs, "a signal to nobody"),
                Action::StartHook(_) => {
                    assert!(!self.hook && !self.runs);
                    self.hook = true;
                }
                Action::KillHook => self.hook = false,
                Action::Raise(alarm) => {
                    assert!(!before.alarms_off, "an alarm while they are off");
                    if !matches!(alarm.kind, AlarmKind::GaveUp { .. } | AlarmKind::Recovered) {
                        self.alarms_in_window += 1;
                        assert_eq!(self.alarms_in_window, 1, "two alarms in a window");
                    }
                }
                Action::Leave { gave_up } => {
                    assert!(!self.status_pending, "an exit is never told");
                    assert!(!self.runs || ended.is_some(), "it left a running service");
                    let raised = actions.iter().any(
                        |action| matches!(action, Action::Raise(alarm) if matches!(alarm.kind, AlarmKind::GaveUp { .. })),
                    );
                    assert_eq!(*gave_up, raised, "a give-up is alarmed, and nothing else is one");
                    self.left = true;
                }
                Action::Settle(_) => self.status_pending = false,
                Action::Tell(_) | Action::ReadConf | Action::Upgrade => {}
            }
        }
        if actions.contains(&Action::Upgrade) && !self.status_pending {
            self.upgrade();
        }
        if ended.is_some() && !had_left && after.last_exit.is_some_and(|last| last.expected) && !is_begin {
            let counts = |ledger: &Ledger| ledger.window.map(|window| (window.exits, window.coredumps));
            let closed = before.window.is_some() && after.window.is_none();
            assert!(closed || counts(&before) == counts(&after), "an expected exit changed a count");
        }
        self.check_limits();
    }

    /// Another version goes on with what is handed over, and nothing shows it.
    fn upgrade(&mut self) {
        let old = &self.bench.policy;
        let new = Policy::go_on(old.rules().clone(), *old.ledger(), old.standing());
        assert_eq!((new.view(), new.next_deadline()), (old.view(), old.next_deadline()));
        self.bench.policy = new;
    }

    fn check_limits(&self) {
        let (rules, ledger) = (self.bench.policy.rules(), self.bench.policy.ledger());
        let running = !self.left;
        if let (Some(limit), Some(window), true) = (rules.max_tries, ledger.window, running && !self.exempt) {
            assert!(window.exits <= limit.get(), "more exits than the limit allows, and it goes on");
        }
    }

    fn exited(&mut self, ended: Ended) {
        if !self.runs {
            return;
        }
        self.runs = false;
        self.status_pending |= ended == Ended::Pending;
        self.send(exit(ended));
    }

    fn do_it(&mut self, doing: Doing) {
        match doing {
            Doing::Wait(nanos) => {
                let until = self.bench.now.moment + Duration::from_nanos(nanos);
                // The supervisor never sleeps past a deadline.
                while let Some(deadline) = self.bench.policy.next_deadline().filter(|&deadline| deadline <= until) {
                    self.reach(deadline);
                }
                self.idle_until(until);
            }
            Doing::ToDeadline => {
                if let Some(deadline) = self.bench.policy.next_deadline() {
                    self.reach(deadline);
                }
            }
            Doing::Command(command) => {
                match command {
                    Command::Up | Command::Once => (self.asked, self.wanted_down) = (true, false),
                    Command::Down => (self.asked, self.wanted_down) = (false, true),
                    _ => {}
                }
                self.send(Event::Command(command));
            }
            Doing::Terminate => {
                self.wanted_down = true;
                self.send(Event::Terminate);
            }
            Doing::Exit(ended) => {
                if self.status_pending {
                    self.send(Event::StatusKnown(CORE));
                }
                self.exited(ended);
            }
            Doing::HookEnds if self.hook => {
                self.hook = false;
                self.send(Event::HookEnded);
            }
            Doing::ForkRefused if self.last_start == Some(self.bench.now.moment) && self.runs => {
                self.runs = false;
                self.send(Event::ForkRefused);
            }
            Doing::HookEnds | Doing::ForkRefused => {}
            Doing::Reload(rules) => {
                let hook = self.bench.policy.rules().hook;
                self.exempt = true;
                self.send(Event::Reloaded(Rules { hook, ..rules }));
            }
            Doing::Killed { dies } => self.killed(dies),
        }
    }

    /// A successor takes over what the claim says.
    fn killed(&mut self, dies: bool) {
        if self.left {
            return;
        }
        let ledger = *self.bench.policy.ledger();
        let found = match (self.runs, dies) {
            (false, _) => Found::Nothing,
            (true, false) => Found::Alive,
            (true, true) => Found::Dead(Exit { pid: 42, ended: Ended::Unknown, peak_kib: None, cpu_us: None }),
        };
        self.bench.policy = Policy::new(self.bench.policy.rules().clone());
        self.exempt = true;
        self.runs = self.runs && !dies;
        self.hook = false; // it ends with the supervise that ran it
        self.asked = true;
        self.status_pending = false;
        let open = ledger.window.map(|window| window.opened);
        let alarms = self.alarms_in_window;
        self.send(Event::Begin { taken: Some(ledger), found });
        if open.is_some() && self.bench.policy.ledger().window.map(|window| window.opened) == open {
            self.alarms_in_window = alarms;
        }
    }

    fn reach(&mut self, deadline: Moment) {
        self.idle_until(deadline);
        self.send(Event::Deadline);
        let next = self.bench.policy.next_deadline();
        assert!(next.is_none_or(|next| next > self.bench.now.moment), "the deadline was handled and is still due");
    }

    /// Time that passes without an event does nothing but at the deadline.
    fn idle_until(&mut self, until: Moment) {
        let time = until.since(self.bench.now.moment);
        let half = self.bench.now.moment + time / 2;
        if self.bench.policy.next_deadline().is_none_or(|deadline| half < deadline) {
            let mut early = self.bench.policy.clone();
            let view = early.view();
            let now = Now { moment: half, stamp: self.bench.now.stamp_of(half) };
            assert_eq!(early.handle(now, Event::Deadline), vec![], "it acted before its deadline");
            assert_eq!(early.view(), view);
        }
        self.bench.wait(time.as_secs_f64());
        self.bench.now.moment = self.bench.now.moment.max(until);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens(
        rules in any_rules(),
        reset in prop_oneof![Just(None), Just(Some(None)), Just(Some(Some(10)))],
        doings in proptest::collection::vec(doing(), 1..120),
    ) {
        let hook = reset.and_then(|reset| with_hook(reset).hook);
        let mut world = World::new(Rules { hook, ..rules });
        for doing in doings {
            world.do_it(doing);
        }
    }
}
