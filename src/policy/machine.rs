//! The state machine: every state answers every event.

use std::time::Duration;

use super::exits::Late;
use super::{Action, Command, Ended, Event, Found, Ledger, Moment, Now, Rules, Sig, Stamp, Told, Wanted, Window};

/// Where the service stands. Paused and alarms off are flags of the [`Ledger`], not states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not running, and no start is due.
    Down,
    /// Running (or between fork and exec).
    Up,
    /// Running, and asked to stop.
    Stopping,
    /// Not running; started again when the pacing allows.
    Pacing,
    /// Not running; started again after the hook, which runs since this moment.
    Hook {
        /// When the hook was started.
        since: Moment,
    },
    /// A limit was passed; supervise is on its way out.
    GaveUp,
    /// Supervise is on its way out, as asked for.
    Left,
}

/// What there is to publish; two equal views need no second publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// Where the service stands.
    pub state: State,
    /// Since when.
    pub since: Stamp,
    /// When the next start is due; only while pacing.
    pub next_start: Option<Moment>,
    /// Everything else.
    pub ledger: Ledger,
}

/// The policy of one supervise.
#[derive(Clone, Debug)]
pub struct Policy {
    pub(super) rules: Rules,
    pub(super) ledger: Ledger,
    pub(super) state: State,
    pub(super) since: Stamp,
    /// `x` was given; it can't be taken back.
    pub(super) exit_asked: bool,
    /// The exit whose status is still to come.
    pub(super) late: Option<Late>,
}

impl Policy {
    /// A policy that has not begun yet: its first event is [`Event::Begin`].
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            ledger: Ledger::default(),
            state: State::Down,
            since: Stamp::default(),
            exit_asked: false,
            late: None,
        }
    }

    /// What there is to publish.
    #[must_use]
    pub fn view(&self) -> View {
        let next_start = (self.state == State::Pacing).then(|| self.paced_start());
        View { state: self.state, since: self.since, next_start, ledger: self.ledger }
    }

    /// What a successor would take over.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The rules in force.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// When [`Event::Deadline`] is due; `None`: time alone changes nothing.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        let of_state = match self.state {
            State::Down => None,
            State::Up => self.recovery_due(),
            State::GaveUp | State::Left => return None,
            State::Stopping => self.kill_due(),
            State::Pacing => Some(self.paced_start()),
            State::Hook { since } => self.rules.hook.map(|hook| since + hook.timeout),
        };
        [of_state, self.window_end()].into_iter().flatten().min()
    }

    /// Takes an event and answers with what is to be done about it, in this order.
    pub fn handle(&mut self, now: Now, event: Event) -> Vec<Action> {
        let mut out = Vec::new();
        if matches!(self.state, State::GaveUp | State::Left) {
            return out; // on the way out nothing is decided any more
        }
        self.close_window(now.moment);
        match event {
            Event::Begin { taken, found } => self.begin(now, taken, found, &mut out),
            Event::Command(command) => self.obey(now, command, &mut out),
            Event::Terminate => {
                self.obey(now, Command::Down, &mut out);
                self.obey(now, Command::Exit, &mut out);
            }
            Event::Reloaded(rules) => {
                if !self.rules.recovered {
                    self.ledger.alarmed = false; // what was raised before it was asked for has no sequel
                }
                self.rules = rules;
                self.close_window(now.moment);
                self.deadline(now, &mut out);
            }
            Event::Exited(exit) => match self.state {
                State::Up | State::Stopping => self.exited(now, exit, false, &mut out),
                State::Down | State::Pacing | State::Hook { .. } | State::GaveUp | State::Left => {}
            },
            Event::StatusKnown(ended) => self.status_known(now, ended, &mut out),
            Event::ForkRefused => match self.state {
                State::Up | State::Stopping => self.fork_refused(now, &mut out),
                State::Down | State::Pacing | State::Hook { .. } | State::GaveUp | State::Left => {}
            },
            Event::NotSent(sig) => self.not_sent(sig),
            Event::HookEnded => match self.state {
                State::Hook { .. } => self.start_when_paced(now, &mut out),
                State::Down | State::Up | State::Stopping | State::Pacing | State::GaveUp | State::Left => {}
            },
            Event::Deadline => self.deadline(now, &mut out),
        }
        out
    }

    /// The first event: a fresh start, or what a dead predecessor left.
    fn begin(&mut self, now: Now, taken: Option<Ledger>, found: Found, out: &mut Vec<Action>) {
        self.since = now.stamp;
        let Some(ledger) = taken else { return self.start(now, out) };
        self.ledger = ledger;
        self.close_window(now.moment);
        match found {
            Found::Alive => {
                self.enter(now, if ledger.stopping.is_some() { State::Stopping } else { State::Up });
                out.push(Action::Tell(Told::Adopted));
                if ledger.paused {
                    out.push(Action::Signal(Sig::Stop)); // the kernel continued it when its supervise died
                }
            }
            Found::Dead(exit) => {
                self.enter(now, if ledger.stopping.is_some() { State::Stopping } else { State::Up });
                self.exited(now, exit, true, out);
            }
            Found::Nothing if ledger.wanted == Wanted::Up || ledger.start_due => self.start(now, out),
            Found::Nothing => self.enter(now, State::Down),
        }
        if self.state == State::Down {
            out.push(Action::Tell(Told::LeftDown));
        }
    }

    fn obey(&mut self, now: Now, command: Command, out: &mut Vec<Action>) {
        match command {
            Command::Up => self.up(now, out),
            Command::Down => self.down(now, out),
            Command::Once => self.once(now, out),
            Command::Exit => self.exit(now, out),
            Command::Kill => self.signal(now, Sig::Kill, out),
            Command::Term => self.signal(now, Sig::Term, out),
            Command::Int => self.signal(now, Sig::Int, out),
            Command::Hup => self.signal(now, Sig::Hup, out),
            Command::Alrm => self.signal(now, Sig::Alrm, out),
            Command::Quit => self.signal(now, Sig::Quit, out),
            Command::Usr1 => self.signal(now, Sig::Usr1, out),
            Command::Usr2 => self.signal(now, Sig::Usr2, out),
            Command::Pause => self.signal(now, Sig::Stop, out),
            Command::Continue => self.signal(now, Sig::Cont, out),
            Command::AlarmsOff => self.ledger.alarms_off = true,
            Command::AlarmsOn => self.ledger.alarms_off = false,
            Command::Reload => out.push(Action::ReadConf),
            Command::Upgrade => out.push(Action::Upgrade),
        }
    }

    fn up(&mut self, now: Now, out: &mut Vec<Action>) {
        self.ledger.wanted = Wanted::Up;
        match self.state {
            State::Down | State::Pacing => self.start(now, out),
            State::Hook { .. } => self.ledger.prompt = true, // the pacing is cut, the hook is not
            State::Stopping => {
                self.ledger.prompt = true;
                self.ledger.up_since = true;
            }
            State::Up | State::GaveUp | State::Left => {}
        }
    }

    fn once(&mut self, now: Now, out: &mut Vec<Action>) {
        self.ledger.wanted = Wanted::Once;
        match self.state {
            State::Down | State::Pacing => self.start(now, out),
            State::Hook { .. } | State::Stopping => self.ledger.prompt = true,
            State::Up | State::GaveUp | State::Left => {}
        }
    }

    fn down(&mut self, now: Now, out: &mut Vec<Action>) {
        self.ledger.wanted = Wanted::Down;
        self.ledger.prompt = false;
        match self.state {
            State::Up | State::Stopping => {
                out.push(Action::Signal(Sig::Term));
                out.push(Action::Signal(Sig::Cont));
                self.ledger.paused = false;
                self.ledger.up_since = false;
                if self.ledger.stopping.is_none() {
                    self.ledger.stopping = Some(now.moment);
                }
                if self.state == State::Up {
                    self.enter(now, State::Stopping);
                }
            }
            State::Hook { .. } => {
                out.push(Action::KillHook);
                self.enter(now, State::Down);
            }
            State::Pacing => self.enter(now, State::Down),
            State::Down | State::GaveUp | State::Left => {}
        }
        if self.state == State::Down {
            self.ledger.start_due = false;
        }
    }

    fn exit(&mut self, now: Now, out: &mut Vec<Action>) {
        self.exit_asked = true;
        match self.state {
            State::Up | State::Stopping => return, // as soon as it is down
            State::Hook { .. } => out.push(Action::KillHook),
            State::Down | State::Pacing | State::GaveUp | State::Left => {}
        }
        self.leave(now, false, out);
    }

    /// Sends a signal to a running service, and remembers what it explains.
    fn signal(&mut self, now: Now, sig: Sig, out: &mut Vec<Action>) {
        match self.state {
            State::Up | State::Stopping => {}
            State::Down | State::Pacing | State::Hook { .. } | State::GaveUp | State::Left => return,
        }
        match sig {
            Sig::Stop => self.ledger.paused = true,
            Sig::Cont => self.ledger.paused = false,
            Sig::Term | Sig::Int | Sig::Quit | Sig::Kill | Sig::Hup | Sig::Alrm | Sig::Usr1 | Sig::Usr2 => {}
        }
        if let Some(slot) = Ledger::sent_slot(sig) {
            self.ledger.sent[slot] = Some(now.moment);
        }
        out.push(Action::Signal(sig));
    }

    /// What was noted of a signal that never reached the service is not so: it explains no exit and pauses nothing.
    fn not_sent(&mut self, sig: Sig) {
        if let Some(slot) = Ledger::sent_slot(sig) {
            self.ledger.sent[slot] = None;
        }
        if sig == Sig::Stop {
            self.ledger.paused = false;
        }
    }

    fn deadline(&mut self, now: Now, out: &mut Vec<Action>) {
        match self.state {
            State::Stopping if self.kill_due().is_some_and(|due| due <= now.moment) => {
                self.ledger.killed = true;
                out.push(Action::Signal(Sig::Kill));
                let timeout = self.rules.stop_timeout.unwrap_or_default();
                out.push(Action::Tell(Told::KilledAfterTimeout { timeout }));
            }
            State::Pacing if self.paced_start() <= now.moment => self.start(now, out),
            State::Up if self.recovery_due().is_some_and(|due| due <= now.moment) => self.recovered(now, out),
            State::Hook { since } if self.rules.hook.is_none_or(|hook| since + hook.timeout <= now.moment) => {
                out.push(Action::KillHook);
                out.push(Action::Tell(Told::HookTimedOut));
                self.start_when_paced(now, out);
            }
            State::Down
            | State::Up
            | State::Stopping
            | State::Pacing
            | State::Hook { .. }
            | State::GaveUp
            | State::Left => {}
        }
    }

    pub(super) fn start(&mut self, now: Now, out: &mut Vec<Action>) {
        if self.ledger.starts > 0 {
            out.push(Action::Tell(Told::Restarting));
        }
        self.ledger.forget_run();
        self.ledger.start_due = false;
        self.ledger.prompt = false;
        self.ledger.started = Some(now.moment);
        self.ledger.started_at = now.stamp;
        self.ledger.starts = self.ledger.starts.saturating_add(1);
        self.enter(now, State::Up);
        out.push(Action::Start);
    }

    /// Starts now if `u` or `o` asked for it or the pacing allows, else when it does.
    fn start_when_paced(&mut self, now: Now, out: &mut Vec<Action>) {
        if self.pacing_left(now.moment).is_zero() {
            self.start(now, out);
        } else {
            self.enter(now, State::Pacing);
        }
    }

    /// There is no service after all; it is tried again after the pacing, unless that is not wanted any more.
    fn fork_refused(&mut self, now: Now, out: &mut Vec<Action>) {
        self.ledger.forget_run();
        self.ledger.starts = self.ledger.starts.saturating_sub(1);
        if self.exit_asked {
            self.leave(now, false, out);
        } else if self.ledger.wanted == Wanted::Down {
            self.enter(now, State::Down);
        } else {
            self.ledger.start_due = true;
            self.enter(now, State::Pacing);
        }
    }

    pub(super) fn leave(&mut self, now: Now, gave_up: bool, out: &mut Vec<Action>) {
        self.status_known(now, Ended::Unknown, out); // nobody will be there to hear it
        self.ledger.start_due = false;
        self.ledger.prompt = false;
        self.enter(now, if gave_up { State::GaveUp } else { State::Left });
        out.push(Action::Leave { gave_up });
    }

    pub(super) fn enter(&mut self, now: Now, state: State) {
        self.state = state;
        self.since = now.stamp;
    }

    /// The moment before which the pacing allows no start that nobody asked for.
    fn paced_start(&self) -> Moment {
        self.ledger.started.map_or(Moment::default(), |started| started + self.rules.pacing)
    }

    /// How long the pacing delays a start that is due now.
    pub(super) fn pacing_left(&self, now: Moment) -> Duration {
        if self.ledger.prompt { Duration::ZERO } else { self.paced_start().since(now) }
    }

    fn kill_due(&self) -> Option<Moment> {
        let (Some(since), Some(timeout), false) = (self.ledger.stopping, self.rules.stop_timeout, self.ledger.killed)
        else {
            return None;
        };
        Some(since + timeout)
    }

    fn window_end(&self) -> Option<Moment> {
        let window: Window = self.ledger.window?;
        Some(self.rules.window.map_or(window.opened, |length| window.opened + length))
    }

    /// A window that is over is closed before anything else is decided; both counts go back to 0.
    fn close_window(&mut self, now: Moment) {
        if self.window_end().is_some_and(|end| end <= now) {
            self.ledger.window = None;
        }
    }
}
