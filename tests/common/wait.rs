//! Waiting for facts, never for a time.

use std::time::{Duration, Instant};

use super::{Pid, Sandbox, alive};

/// How long a fact may take to become true. Far longer than any takes, because the machine may be busy.
pub(crate) const LIMIT: Duration = Duration::from_secs(15);

/// The pause between two looks at a fact.
pub(crate) const POLL: Duration = Duration::from_millis(5);

/// Waits until `fact` is true. Where it never becomes so the test fails; the sandbox then prints what there is to see.
#[track_caller]
pub(crate) fn eventually(sandbox: &Sandbox, what: &str, mut fact: impl FnMut() -> bool) {
    eventually_some(sandbox, what, || fact().then_some(()))
}

/// The same for what comes after a delay of the program's own, which is up to 12 s before a second attempt.
#[track_caller]
#[allow(dead_code, reason = "not every test program waits for one")]
pub(crate) fn after_a_delay(sandbox: &Sandbox, what: &str, mut fact: impl FnMut() -> bool) {
    within(LIMIT * 3, sandbox, what, || fact().then_some(()));
}

/// Waits until `fact` is there, and returns it.
#[track_caller]
pub(crate) fn eventually_some<T>(sandbox: &Sandbox, what: &str, fact: impl FnMut() -> Option<T>) -> T {
    within(LIMIT, sandbox, what, fact)
}

#[track_caller]
fn within<T>(limit: Duration, sandbox: &Sandbox, what: &str, mut fact: impl FnMut() -> Option<T>) -> T {
    let limit = Instant::now() + limit;
    loop {
        if let Some(value) = fact() {
            return value;
        }
        assert!(Instant::now() < limit, "never happened in {}: {what}", sandbox.path("").display());
        std::thread::sleep(POLL);
    }
}

/// Says on the test's output why a test, or a part of one, cannot be run here.
pub(crate) fn skip(reason: &str) {
    eprintln!("skipped: {reason}");
}

impl Sandbox {
    /// Waits until a service runs that has printed "ready PID" to `__stdout`; returns its pid.
    #[track_caller]
    pub(crate) fn until_ready(&self) -> Pid {
        eventually_some(self, "the service is up and ready", || self.ready_pid())
    }

    /// Waits until a service is ready that is not this one; returns its pid.
    #[track_caller]
    pub(crate) fn until_ready_after(&self, old: Pid) -> Pid {
        eventually_some(self, "another service is up and ready", || self.ready_pid().filter(|pid| *pid != old))
    }

    fn ready_pid(&self) -> Option<Pid> {
        let pid = self.service_pid()?;
        let line = format!("ready {pid}");
        (alive(pid) && self.stdout().lines().any(|said| said == line)).then_some(pid)
    }

    /// The pid of the living supervise: of what holds `lock`, the one that the long record names, since between fork
    /// and exec a child holds it too.
    #[track_caller]
    pub(crate) fn supervise_pid(&self) -> Pid {
        eventually_some(self, "the long record names the process that holds lock", || {
            let named: Pid = self.value("supervise")?.parse().ok()?;
            self.lock_holders().contains(&named).then_some(named)
        })
    }

    /// Waits until the long record says `key : value`.
    #[track_caller]
    pub(crate) fn until_value(&self, key: &str, value: &str) {
        eventually(self, &format!("{key} : {value}"), || self.value(key).as_deref() == Some(value));
    }

    /// Waits until the long record says `state : STATE`.
    #[track_caller]
    pub(crate) fn until_state(&self, state: &str) {
        self.until_value("state", state);
    }

    /// Waits until the record says that no service runs.
    #[track_caller]
    pub(crate) fn until_down(&self) {
        eventually(self, "the record says down", || self.record().pid.is_none());
    }

    /// Waits until supervise.log holds this text.
    #[track_caller]
    pub(crate) fn until_logged(&self, text: &str) {
        eventually(self, &format!("supervise.log holds {text:?}"), || self.log().contains(text));
    }

    /// Waits until supervise.log.wf holds this text.
    #[track_caller]
    pub(crate) fn until_warned(&self, text: &str) {
        eventually(self, &format!("supervise.log.wf holds {text:?}"), || self.warnings().contains(text));
    }

    /// Waits until the service's stdout holds this line.
    #[track_caller]
    pub(crate) fn until_said(&self, line: &str) {
        eventually(self, &format!("__stdout holds {line:?}"), || self.stdout().lines().any(|said| said == line));
    }

    /// Waits until a file in the sandbox holds so many lines; returns them.
    #[track_caller]
    pub(crate) fn until_lines(&self, file: &str, count: usize) -> Vec<String> {
        eventually_some(self, &format!("{file} has {count} lines"), || {
            let lines: Vec<String> = self.read(file).lines().map(str::to_owned).collect();
            (lines.len() >= count).then_some(lines)
        })
    }

    /// Waits until a process is dead, reaped or not.
    #[track_caller]
    pub(crate) fn until_dead(&self, pid: Pid) {
        eventually(self, &format!("process {pid} is dead"), || !alive(pid));
    }

    /// Waits until no process has `lock` open: supervise has ended.
    #[track_caller]
    pub(crate) fn until_ended(&self) {
        // A process in the middle of an exec shows neither its environment nor its descriptors.
        eventually(self, "supervise has ended", || self.lock_holders().is_empty() && self.lock_is_free());
    }
}
