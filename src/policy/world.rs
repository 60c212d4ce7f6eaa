//! A world around the policy, and what must hold in it whatever happens there: for random tests and for fuzzing.

#![cfg_attr(not(test), allow(dead_code, reason = "fuzzing asks for less than the simulated years"))]

use std::time::Duration;

use super::*;

/// Something that the world does to a supervise.
#[derive(Clone, Debug)]
pub(crate) enum Doing {
    /// Nothing but time passes, in nanoseconds.
    Wait(u64),
    ToDeadline,
    Command(Command),
    Terminate,
    Exit(Ended),
    /// The status of an exit that was pending is known.
    StatusKnown(Ended),
    HookEnds,
    ForkRefused,
    Reload(Rules),
    /// Somebody sets the wall clock, to this Unix time in nanoseconds.
    ClockSet(u64),
    /// Supervise is killed, and the service dies before the successor looks (or not).
    Killed {
        dies: bool,
    },
}

/// What an observer who knows nothing of the policy's inside sees.
pub(crate) struct World {
    policy: Policy,
    now: Now,
    runs: bool,
    hook: bool,
    last_start: Option<Moment>,
    /// `u` or `o` was given, or an operator started supervise, since the last start.
    asked: bool,
    wanted: Wanted,
    left: bool,
    /// The run that lasts was told to stop, and when.
    stop_asked: Option<Moment>,
    /// It was killed for not doing so.
    killed: bool,
    /// When `t`, `i`, `q` or `k` was last sent to the run that lasts.
    sent: Option<Moment>,
    alarms_in_window: u32,
    status_pending: bool,
    /// A limit may be passed where a reload lowered it, or at a start by the operator: it holds at the next exit.
    exempt: bool,
}

impl World {
    /// A world in which an operator has just started a supervise.
    pub(crate) fn new(rules: Rules) -> Self {
        let mut world = Self::before(rules);
        world.send(Event::Begin { taken: None, found: Found::Nothing });
        world
    }

    /// The same a moment earlier.
    fn before(rules: Rules) -> Self {
        let now = Now { moment: Moment(1_000_000_000_000), stamp: Stamp(5_000_000_000_000) };
        Self {
            policy: Policy::new(rules),
            now,
            runs: false,
            hook: false,
            last_start: None,
            asked: true,
            wanted: Wanted::Up,
            left: false,
            stop_asked: None,
            killed: false,
            sent: None,
            alarms_in_window: 0,
            status_pending: false,
            exempt: false,
        }
    }

    /// Supervise took its leave, and an operator starts another.
    pub(crate) fn start_afresh(&mut self) {
        assert!(self.left && !self.runs, "there is one");
        *self = Self { now: self.now, ..Self::before(self.policy.rules().clone()) };
        self.send(Event::Begin { taken: None, found: Found::Nothing });
    }

    pub(crate) fn now(&self) -> Moment {
        self.now.moment
    }

    pub(crate) fn next_deadline(&self) -> Option<Moment> {
        self.policy.next_deadline()
    }

    /// Whether the service runs, and whether the hook does.
    pub(crate) fn running(&self) -> (bool, bool) {
        (self.runs, self.hook)
    }

    pub(crate) fn has_left(&self) -> bool {
        self.left
    }

    pub(crate) fn status_is_pending(&self) -> bool {
        self.status_pending
    }

    pub(crate) fn do_it(&mut self, doing: Doing) {
        match doing {
            Doing::Wait(nanos) => {
                let until = self.now.moment + Duration::from_nanos(nanos);
                // The supervisor never sleeps past a deadline.
                while let Some(deadline) = self.policy.next_deadline().filter(|&deadline| deadline <= until) {
                    self.reach(deadline);
                }
                self.idle_until(until);
            }
            Doing::ToDeadline => {
                if let Some(deadline) = self.policy.next_deadline() {
                    self.reach(deadline);
                }
            }
            Doing::Command(command) => self.command(command),
            Doing::Terminate => {
                self.wanted = Wanted::Down;
                self.asks_to_stop();
                self.send(Event::Terminate);
                assert!(self.runs || self.left, "nothing runs, and it does not end");
            }
            Doing::Exit(ended) => {
                self.do_it(Doing::StatusKnown(Ended::Signal { number: 11, core: true }));
                if self.runs {
                    self.runs = false;
                    self.status_pending |= ended == Ended::Pending;
                    self.send(Event::Exited(Exit { pid: 42, ended, peak_kib: None, cpu_us: None }));
                }
            }
            Doing::StatusKnown(ended) if self.status_pending => {
                self.send(Event::StatusKnown(ended));
            }
            Doing::HookEnds if self.hook => {
                self.hook = false;
                self.send(Event::HookEnded);
            }
            Doing::ForkRefused if self.last_start == Some(self.now.moment) && self.runs => {
                self.runs = false;
                self.send(Event::ForkRefused);
            }
            Doing::StatusKnown(_) | Doing::HookEnds | Doing::ForkRefused => {}
            Doing::Reload(rules) => {
                let hook = self.policy.rules().hook; // it is the command line's
                self.exempt = true;
                self.send(Event::Reloaded(Rules { hook, ..rules }));
            }
            Doing::ClockSet(nanos) => self.now.stamp = Stamp(nanos),
            Doing::Killed { dies } => self.killed(dies),
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Up => (self.asked, self.wanted) = (true, Wanted::Up),
            Command::Once => (self.asked, self.wanted) = (true, Wanted::Once),
            Command::Down => {
                (self.asked, self.wanted) = (false, Wanted::Down);
                self.asks_to_stop();
            }
            _ => {}
        }
        let (ran, had_left, could_start) = (self.runs, self.left, !self.hook);
        let actions = self.send(Event::Command(command));
        if had_left {
            return;
        }
        let signals: Vec<Sig> = actions
            .iter()
            .filter_map(|action| if let Action::Signal(sig) = action { Some(*sig) } else { None })
            .collect();
        let expected = signals_of(command);
        assert!(if ran { signals == expected } else { signals.is_empty() }, "{command:?}: {signals:?}");
        if ran && [Sig::Term, Sig::Int, Sig::Quit, Sig::Kill].iter().any(|sig| expected == [*sig]) {
            self.sent = Some(self.now.moment);
        }
        match command {
            Command::Up | Command::Once => assert!(self.runs || !could_start, "{command:?} starts nothing"),
            Command::Down => assert!(self.runs || !self.hook, "the hook of a start that is not wanted runs on"),
            Command::Exit => assert!(self.runs || self.left, "nothing runs, and it does not end"),
            Command::Reload => assert!(actions.contains(&Action::ReadConf)),
            Command::Upgrade => assert!(actions.contains(&Action::Upgrade)),
            Command::AlarmsOff => assert!(self.policy.ledger().alarms_off),
            Command::AlarmsOn => assert!(!self.policy.ledger().alarms_off),
            _ => {}
        }
    }

    fn asks_to_stop(&mut self) {
        if self.runs && self.stop_asked.is_none() {
            self.stop_asked = Some(self.now.moment);
        }
    }

    /// A successor takes over what the claim says.
    fn killed(&mut self, dies: bool) {
        if self.left {
            return;
        }
        let ledger = *self.policy.ledger();
        let found = match (self.runs, dies) {
            (false, _) => Found::Nothing,
            (true, false) => Found::Alive,
            (true, true) => Found::Dead(Exit { pid: 42, ended: Ended::Unknown, peak_kib: None, cpu_us: None }),
        };
        self.policy = Policy::new(self.policy.rules().clone());
        self.exempt = true;
        self.runs = self.runs && !dies;
        self.hook = false; // it ends with the supervise that ran it
        self.asked = true;
        self.status_pending = false;
        let open = ledger.window.map(|window| window.opened);
        let alarms = self.alarms_in_window;
        self.send(Event::Begin { taken: Some(ledger), found });
        if open.is_some() && self.policy.ledger().window.map(|window| window.opened) == open {
            self.alarms_in_window = alarms;
        }
    }

    fn reach(&mut self, deadline: Moment) {
        self.idle_until(deadline);
        self.send(Event::Deadline);
        let next = self.policy.next_deadline();
        assert!(next.is_none_or(|next| next > self.now.moment), "the deadline was handled and is still due");
        let overdue = self.stop_asked.zip(self.policy.rules().stop_timeout).map(|(asked, timeout)| asked + timeout);
        let is_overdue = self.runs && overdue.is_some_and(|due| due <= self.now.moment);
        assert!(self.killed || !is_overdue, "it may ignore TERM");
    }

    /// Time that passes without an event does nothing but at the deadline.
    pub(crate) fn idle_until(&mut self, until: Moment) {
        let half = self.now.moment + until.since(self.now.moment) / 2;
        if self.policy.next_deadline().is_none_or(|deadline| half < deadline) {
            let mut early = self.policy.clone();
            let view = early.view();
            let now = Now { moment: half, stamp: self.now.stamp_of(half) };
            assert_eq!(early.handle(now, Event::Deadline), vec![], "it acted before its deadline");
            assert_eq!(early.view(), view);
        }
        let until = until.max(self.now.moment);
        self.now = Now { moment: until, stamp: self.now.stamp_of(until) };
    }
}

/// What a running service gets of a command.
fn signals_of(command: Command) -> &'static [Sig] {
    match command {
        Command::Down => &[Sig::Term, Sig::Cont],
        Command::Kill => &[Sig::Kill],
        Command::Term => &[Sig::Term],
        Command::Int => &[Sig::Int],
        Command::Hup => &[Sig::Hup],
        Command::Alrm => &[Sig::Alrm],
        Command::Quit => &[Sig::Quit],
        Command::Usr1 => &[Sig::Usr1],
        Command::Usr2 => &[Sig::Usr2],
        Command::Pause => &[Sig::Stop],
        Command::Continue => &[Sig::Cont],
        Command::Up
        | Command::Once
        | Command::Exit
        | Command::AlarmsOff
        | Command::AlarmsOn
        | Command::Reload
        | Command::Upgrade => &[],
    }
}

#[path = "world_rules.rs"]
mod rules_of_it;
