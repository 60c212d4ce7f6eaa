//! What holds at every event of a world.

use super::*;

impl World {
    /// Tells the policy, looks at its answer, and does what it says.
    pub(super) fn send(&mut self, event: Event) -> Vec<Action> {
        let before = *self.policy.ledger();
        let had_left = self.left;
        let is_begin = matches!(event, Event::Begin { .. });
        // A limit that is passed by a status that comes late holds at the next exit too.
        let decides_nothing = is_begin || matches!(event, Event::StatusKnown(_));
        self.exempt |= decides_nothing;
        let ended = match event {
            Event::Exited(exit) => Some(exit.ended),
            _ => None,
        };
        let is_command = matches!(event, Event::Command(_));
        let actions = self.policy.handle(self.now, event);
        let after = *self.policy.ledger();
        assert!(!had_left || actions.is_empty(), "it decides after it left: {actions:?}");
        if before.window.map(|window| window.opened) != after.window.map(|window| window.opened) {
            self.alarms_in_window = 0;
            self.exempt = decides_nothing;
        }
        let run = (self.stop_asked, self.sent);
        for action in &actions {
            match action {
                Action::Signal(Sig::Kill) if !is_command => self.killed = true,
                Action::Leave { gave_up } => {
                    assert!(!self.status_pending, "an exit is never told");
                    assert!(!self.runs || ended.is_some(), "it left a running service");
                    let raised = actions.iter().any(
                        |action| matches!(action, Action::Raise(alarm, _) if matches!(alarm.kind, AlarmKind::GaveUp { .. })),
                    );
                    assert_eq!(*gave_up, raised, "a give-up is alarmed, and nothing else is one");
                    self.left = true;
                }
                _ => self.perform(action, &before),
            }
        }
        if actions.contains(&Action::Upgrade) && !self.status_pending {
            self.upgrade();
        }
        if let Some(ended) = ended.filter(|_| !had_left) {
            self.check_exit(ended, run, (&before, &after), &actions);
        }
        if !self.runs {
            (self.stop_asked, self.killed, self.sent) = (None, false, None);
        }
        self.check_limits();
        self.check_it_goes_on();
        actions
    }

    fn perform(&mut self, action: &Action, before: &Ledger) {
        match action {
            Action::Start => {
                assert!(!self.runs, "a second service");
                assert!(self.wanted != Wanted::Down, "a start while wanted down");
                assert!(!self.hook, "a start while the hook runs");
                if let Some(last) = self.last_start.filter(|_| !self.asked) {
                    let time = self.now.moment.since(last);
                    assert!(time >= self.policy.rules().pacing, "a start before the pacing allows");
                }
                self.runs = true;
                self.last_start = Some(self.now.moment);
                self.asked = false;
                (self.stop_asked, self.killed, self.sent) = (None, false, None);
            }
            Action::Signal(_) => assert!(self.runs, "a signal to nobody"),
            Action::StartHook(_) => {
                assert!(!self.hook && !self.runs);
                self.hook = true;
            }
            Action::KillHook => self.hook = false,
            Action::Raise(alarm, _) => {
                assert!(!before.alarms_off, "an alarm while they are off");
                if !matches!(alarm.kind, AlarmKind::GaveUp { .. } | AlarmKind::Recovered) {
                    self.alarms_in_window += 1;
                    assert_eq!(self.alarms_in_window, 1, "two alarms in a window");
                }
            }
            Action::Settle(_) => self.status_pending = false,
            Action::Tell(_) | Action::ReadConf | Action::Upgrade | Action::Leave { .. } => {}
        }
    }

    /// Another version goes on with what is handed over, and nothing shows it.
    fn upgrade(&mut self) {
        let old = &self.policy;
        let new = Policy::go_on(old.rules().clone(), *old.ledger(), old.standing());
        assert_eq!((new.view(), new.next_deadline()), (old.view(), old.next_deadline()));
        self.policy = new;
    }

    /// An exit that nothing explains is counted and told, and one that was asked for is neither.
    fn check_exit(
        &self,
        ended: Ended,
        (stop_asked, sent): (Option<Moment>, Option<Moment>),
        (before, after): (&Ledger, &Ledger),
        actions: &[Action],
    ) {
        let now = self.now.moment;
        let expected = after.last_exit.is_some_and(|last| last.expected);
        let is_known = !matches!(ended, Ended::Unknown | Ended::Pending);
        let explained = sent.is_some_and(|sent| now.since(sent) <= EXPLAINS);
        let is_done = before.wanted == Wanted::Once && ended == Ended::Code(0);
        if is_known && stop_asked.is_none() && !explained && !is_done {
            assert!(!expected, "nobody had asked for it");
            let length = self.policy.rules().window.filter(|_| !before.alarms_off);
            if let Some(length) = length {
                let was_open = before.window.is_some_and(|window| window.opened + length > now);
                let is_raised = actions.iter().any(|action| matches!(action, Action::Raise(..)));
                assert!(was_open || is_raised, "an exit that nobody hears of");
            }
        }
        if stop_asked.is_some() && matches!(ended, Ended::Code(_)) {
            assert!(expected, "it ended as it was told to");
        }
        if expected {
            let counts = |ledger: &Ledger| ledger.window.map(|window| (window.exits, window.coredumps));
            let closed = before.window.is_some() && after.window.is_none();
            assert!(closed || counts(before) == counts(after), "an expected exit changed a count");
        }
    }

    fn check_limits(&self) {
        let (rules, ledger) = (self.policy.rules(), self.policy.ledger());
        if let (Some(limit), Some(window), false) = (rules.max_tries, ledger.window, self.left || self.exempt) {
            assert!(window.exits <= limit.get(), "more exits than the limit allows, and it goes on");
        }
    }

    /// What is wanted up runs, or its start is due as soon as the pacing allows.
    fn check_it_goes_on(&self) {
        if self.wanted == Wanted::Up && !self.runs && !self.hook && !self.left {
            let paced = self.last_start.map_or(self.now.moment, |start| start + self.policy.rules().pacing);
            let due = self.policy.next_deadline();
            assert!(
                due.is_some_and(|due| due <= paced.max(self.now.moment)),
                "it stays down, and nobody asked for that"
            );
        }
    }
}
