//! What an exit of the service means: expected or not, counted or not, and what follows.

use std::time::Duration;

use super::ledger::LastExit;
use super::machine::{Policy, State};
use super::{Action, Alarm, AlarmKind, Ended, Exit, Ledger, Moment, Next, Now, Sig, Stamp, Told, Wanted, Window};

/// An exit within this time of `k`, `t`, `i` or `q` can be the command's doing (docs/operation.md, "Expected exits").
pub const EXPLAINS: Duration = Duration::from_secs(10);

/// What is to be told of an exit once its status is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Late {
    exit: Exit,
    at: Now,
    /// The memory of the run that ended, by which its end is judged.
    run: Ledger,
    ran: Option<Duration>,
    expected: bool,
    /// The window in which it was counted, by its opening.
    window: Option<(Moment, u32)>,
    next: Next,
}

impl Ledger {
    /// The place of a signal in [`Ledger::sent`]; `None`: it explains no exit.
    pub(super) fn sent_slot(sig: Sig) -> Option<usize> {
        match sig {
            Sig::Term => Some(0),
            Sig::Int => Some(1),
            Sig::Quit => Some(2),
            Sig::Kill => Some(3),
            Sig::Hup | Sig::Alrm | Sig::Usr1 | Sig::Usr2 | Sig::Stop | Sig::Cont => None,
        }
    }

    /// Forgets what belongs to one run of the service.
    pub(super) fn forget_run(&mut self) {
        self.paused = false;
        self.stopping = None;
        self.up_since = false;
        self.killed = false;
        self.sent = [None; 4];
    }
}

/// Linux's numbers of the signals in [`Ledger::sent`], in its order; the same on every architecture.
const SENT_NUMBERS: [i32; 4] = [15, 2, 3, 9];
const QUIT: i32 = 3;

impl Policy {
    /// The service is gone. `at_begin`: its end was found at a start by the operator, which never gives up and
    /// waits for nothing.
    pub(super) fn exited(&mut self, now: Now, exit: Exit, at_begin: bool, out: &mut Vec<Action>) {
        let run = self.ledger;
        let expected = is_expected(&run, now.moment, exit.ended) || (at_begin && run.wanted == Wanted::Down);
        // Nobody saw when a service ended that is found dead.
        let ran = run.started.filter(|_| !at_begin).map(|started| now.moment.since(started));
        self.remember_exit(now, exit, ran, expected);
        let counted = if expected { None } else { self.count(now, exit.ended.dumped_core()) };
        let gives_up = !at_begin && counted.is_some_and(|window| self.passes_a_limit(window));
        let next = self.next_step(now.moment, gives_up, at_begin);
        let late = Late {
            exit,
            at: now,
            run,
            ran,
            expected,
            window: counted.map(|window| (window.opened, window.exits)),
            next,
        };
        if exit.ended == Ended::Pending {
            self.late = Some(late);
        } else {
            out.push(late.told(exit));
        }
        if let Some(window) = counted.filter(|window| gives_up || window.exits == 1) {
            self.ledger.alarmed = true;
            out.push(Action::Raise(self.alarm(now, exit, ran, window, next), run.run_start()));
        }
        self.take_step(now, next, counted, out);
    }

    /// The status that was pending is known, or never will be. It changes what is told and counted, but nothing that
    /// was done.
    pub(super) fn status_known(&mut self, now: Now, ended: Ended, out: &mut Vec<Action>) {
        let Some(mut late) = self.late.take() else { return };
        let exit = Exit { ended, ..late.exit };
        if late.expected && !is_expected(&late.run, late.at.moment, ended) {
            // Unknown, it passed for the doing of a command; now it does not.
            late.expected = false;
            if let Some(window) = self.count(now, ended.dumped_core()) {
                late.window = Some((window.opened, window.exits));
                if window.exits == 1 {
                    let alarm = self.alarm(late.at, exit, late.ran, window, late.next);
                    out.push(Action::Raise(alarm, late.run.run_start()));
                }
            }
        } else if ended.dumped_core()
            && let Some((opened, _)) = late.window
            && let Some(window) = self.ledger.window.as_mut().filter(|window| window.opened == opened)
        {
            window.coredumps = window.coredumps.saturating_add(1);
        }
        if let Some(last) = self.ledger.last_exit.as_mut().filter(|last| last.moment == late.at.moment) {
            last.ended = ended;
            last.expected = late.expected;
        }
        out.push(late.told(exit));
        out.push(Action::Settle(exit));
    }

    fn remember_exit(&mut self, now: Now, exit: Exit, ran: Option<Duration>, expected: bool) {
        let reset = self.rules.hook.and_then(|hook| hook.reset);
        let ledger = &mut self.ledger;
        ledger.hook_count = match (reset, ledger.last_exit) {
            (Some(reset), Some(last)) if now.moment.since(last.moment) < reset => ledger.hook_count.saturating_add(1),
            _ => 1,
        };
        ledger.forget_run();
        ledger.exits = ledger.exits.saturating_add(1);
        ledger.last_exit = Some(LastExit {
            ended: exit.ended,
            at: now.stamp,
            moment: now.moment,
            ran_ns: ran.map(|ran| u64::try_from(ran.as_nanos()).unwrap_or(u64::MAX)),
            expected,
        });
    }

    /// Counts an unexpected exit in the window, which it opens if there is none. `None`: nothing is counted.
    fn count(&mut self, now: Now, core: bool) -> Option<Window> {
        if self.ledger.alarms_off || self.rules.window.is_none() {
            return None;
        }
        let fresh = Window { opened: now.moment, opened_at: now.stamp, exits: 0, coredumps: 0 };
        let window = self.ledger.window.get_or_insert(fresh);
        window.exits = window.exits.saturating_add(1);
        window.coredumps = window.coredumps.saturating_add(u32::from(core));
        Some(*window)
    }

    fn passes_a_limit(&self, window: Window) -> bool {
        self.rules.max_tries.is_some_and(|limit| window.exits > limit.get())
            || self.rules.max_coredumps.is_some_and(|limit| window.coredumps >= limit.get())
    }

    fn next_step(&self, now: Moment, gives_up: bool, at_begin: bool) -> Next {
        let restart = match self.ledger.wanted {
            Wanted::Up => true,
            Wanted::Down => false,
            Wanted::Once => self.ledger.prompt, // `o` came while it was stopping: it is for the next run
        };
        let left = self.pacing_left(now);
        match () {
            () if gives_up => Next::GivesUp,
            () if self.exit_asked => Next::Exits,
            () if !restart => Next::StaysDown,
            () if at_begin => Next::RestartNow,
            () if self.rules.hook.is_some() => Next::RestartAfterHook,
            () if left.is_zero() => Next::RestartNow,
            () => Next::RestartAfter(left),
        }
    }

    fn take_step(&mut self, now: Now, next: Next, counted: Option<Window>, out: &mut Vec<Action>) {
        match next {
            Next::GivesUp => {
                out.push(Action::Tell(Told::GaveUp { tries: tries(counted) }));
                self.leave(now, true, out);
            }
            Next::Exits => self.leave(now, false, out),
            Next::StaysDown => self.enter(now, State::Down),
            Next::RestartNow => self.start(now, out),
            Next::RestartAfter(_) => {
                self.ledger.start_due = true;
                self.enter(now, State::Pacing);
            }
            Next::RestartAfterHook => {
                self.ledger.start_due = true;
                out.push(Action::StartHook(self.ledger.hook_count));
                self.enter(now, State::Hook { since: now.moment });
            }
        }
    }

    fn alarm(&self, now: Now, exit: Exit, ran: Option<Duration>, window: Window, next: Next) -> Alarm {
        let kind = match next {
            Next::GivesUp => AlarmKind::GaveUp { tries: tries(Some(window)) },
            _ if exit.ended.dumped_core() => AlarmKind::Coredump,
            _ => AlarmKind::Exited,
        };
        let length = self.rules.window.unwrap_or_default();
        Alarm {
            kind,
            exit,
            at: now.stamp,
            ran,
            window_exit: window.exits,
            window_coredumps: window.coredumps,
            window_ends: Stamp(now.stamp_of(window.opened + length).0),
            next,
        }
    }
}

/// An exit that a command caused, by what had been asked of the run that ended.
fn is_expected(run: &Ledger, now: Moment, ended: Ended) -> bool {
    let stopped = run.stopping.is_some()
        && match ended {
            _ if !run.up_since => true,
            Ended::Code(_) | Ended::Unknown | Ended::Pending => true,
            Ended::Signal { number, core } => !core && [15, 2, 9].contains(&number),
            Ended::NotStarted { .. } => false,
        };
    let once = run.wanted == Wanted::Once && ended == Ended::Code(0);
    let explained = run.sent.iter().zip(SENT_NUMBERS).any(|(sent, sent_number)| {
        sent.is_some_and(|sent| now.since(sent) <= EXPLAINS)
            && match ended {
                Ended::Code(_) | Ended::Unknown | Ended::Pending => true,
                Ended::Signal { number, core } => number == sent_number && (!core || number == QUIT),
                Ended::NotStarted { .. } => false,
            }
    });
    stopped || once || explained
}

impl Policy {
    /// When the service will have run for a whole window after an alarm, if that is to be told.
    pub(super) fn recovery_due(&self) -> Option<Moment> {
        let told = self.rules.recovered && self.ledger.alarmed && !self.ledger.alarms_off;
        Some(self.ledger.started? + self.rules.window.filter(|_| told)?)
    }

    /// It has.
    pub(super) fn recovered(&mut self, now: Now, out: &mut Vec<Action>) {
        self.ledger.alarmed = false;
        let ended = self.ledger.last_exit.map_or(Ended::Unknown, |last| last.ended);
        let alarm = Alarm {
            kind: AlarmKind::Recovered,
            exit: Exit { pid: 0, ended, peak_kib: None, cpu_us: None }, // the pid is the supervisor's to fill in
            at: now.stamp,
            ran: self.ledger.started.map(|started| now.moment.since(started)),
            window_exit: 0,
            window_coredumps: 0,
            window_ends: now.stamp,
            next: Next::RestartNow,
        };
        out.push(Action::Raise(alarm, self.ledger.run_start()));
    }
}

/// The restarts in a window: every counted exit but the last was followed by one.
fn tries(window: Option<Window>) -> u32 {
    window.map_or(0, |window| window.exits.saturating_sub(1))
}

impl Late {
    fn told(&self, exit: Exit) -> Action {
        Action::Tell(Told::Exited {
            exit,
            ran: self.ran,
            expected: self.expected,
            window_exit: self.window.map(|(_, exits)| exits),
            next: self.next,
        })
    }
}
