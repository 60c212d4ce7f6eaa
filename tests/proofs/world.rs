//! One run of a scenario: a sandbox, the supervise in it, and what is to be true of them in the end.

use std::fs::File;
use std::process::Stdio;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::common::{Pid, Sandbox, alive, eventually, eventually_some, process_stat, signal};
use crate::invariants::Published;
use crate::scenarios::{Begin, Scenario};
use crate::tracer::{Plan, Seen, Tracer};
use crate::{calls, invariants, later};

/// A scenario that is being run.
pub(crate) struct World<'a> {
    pub(crate) sandbox: Sandbox,
    pub(crate) scenario: &'a Scenario,
    /// The supervise that was there before it began.
    before: Mutex<Option<Pid>>,
}

/// What the plan has done to a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct After {
    /// It was carried out.
    pub(crate) struck: bool,
    /// It struck supervise itself, and not the caller or a child.
    pub(crate) supervise_struck: bool,
    /// It struck the service between its fork and its exec.
    pub(crate) service_struck: bool,
    /// The conf could not be read at a start, so that nobody was to receive an alarm.
    pub(crate) without_conf: bool,
    /// The turn in which supervise learned of it all had ended by then.
    pub(crate) turn_ended: bool,
}

/// Between two looks; some of them go through all of /proc.
const PAUSE: Duration = Duration::from_millis(3);

/// Long enough for a machine that is busy; nothing waits for it where all is well.
const LIMIT: Duration = Duration::from_secs(30);

/// A supervise sleeps for so long at most while its records are not true: what could not be written is tried again after
/// 1 s, 2 s and 4 s, and a process that was sent a signal may wait for its processor.
const UNTRUE: Duration = Duration::from_secs(6);

impl<'a> World<'a> {
    /// Makes the sandbox, and brings it to where the scenario begins.
    pub(crate) fn new(scenario: &'a Scenario) -> Self {
        let world = World { sandbox: Sandbox::new(), scenario, before: Mutex::new(None) };
        world.sandbox.write_conf(&scenario.conf);
        if scenario.begin == Begin::Attach {
            world.supervise();
            world.until_up();
        }
        (scenario.prepare)(&world);
        if scenario.begin == Begin::Attach {
            world.note_supervise(world.sandbox.supervise_pid());
        }
        world
    }

    /// The command line of the service, blanks between its words.
    pub(crate) fn service_words(&self) -> String {
        format!("./service alone one refused line starts {}", self.scenario.service)
    }

    fn args(&self) -> Vec<String> {
        let mut args: Vec<String> = ["-p", "status/app", "-F", "supervise.conf", "-f"].map(String::from).to_vec();
        args.push(self.service_words());
        args.extend(self.scenario.options.iter().map(|option| (*option).to_owned()));
        args
    }

    /// Starts a supervise, which must work.
    pub(crate) fn supervise(&self) {
        let args = self.args();
        self.sandbox.background(&args.iter().map(String::as_str).collect::<Vec<_>>()).expect_code(0);
    }

    /// Begins the trace and lets happen what the scenario is about.
    pub(crate) fn begin(&self, plan: Plan) -> Tracer {
        let path = self.sandbox.status_path().to_owned();
        let published = Published::in_directory(&path);
        let look = move || invariants::records_are_whole(&path, &published);
        if self.scenario.begin == Begin::Attach {
            self.wait("nobody delivers alarms", || {
                let supervise = self.sandbox.supervise_pid();
                self.svalarms().is_empty() && invariants::zombies_of(supervise).is_empty()
            });
        }
        let tracer = match self.scenario.begin {
            Begin::Attach => Tracer::attach(self.sandbox.supervise_pid(), plan, look),
            Begin::Start => {
                let args = self.args();
                let mut command = self.sandbox.command(&args.iter().map(String::as_str).collect::<Vec<_>>());
                let file = |name| File::create(self.sandbox.path(name)).expect("the sandbox is writable");
                command.stdin(Stdio::null()).stdout(file("start.out")).stderr(file("start.err"));
                Tracer::start(command, plan, look)
            }
        };
        if self.scenario.begin == Begin::Attach {
            self.wait("supervise waits under the tracer", || {
                let supervise = &tracer.seen().processes[0];
                supervise.idle || supervise.gone
            });
        }
        (self.scenario.act)(self);
        tracer
    }

    /// Which of the traced processes is supervise.
    pub(crate) fn supervise_number(&self) -> usize {
        match self.scenario.begin {
            Begin::Attach => 0,
            Begin::Start => 1, // its caller is the first
        }
    }

    /// The same by what is seen: one that could not go on in its process after an upgrade has begun anew in another.
    fn supervise_now(&self, seen: &Seen) -> usize {
        let pid = self.sandbox.value("supervise").and_then(|pid| pid.parse().ok());
        let known = seen.processes.iter().position(|process| Some(process.pid) == pid);
        known.unwrap_or_else(|| self.supervise_number())
    }

    /// This supervise is there before it begins.
    pub(crate) fn note_supervise(&self, pid: Pid) {
        *self.before.lock().expect("nobody panics with it") = Some(pid);
    }

    /// The supervise that was there before.
    pub(crate) fn supervise_before(&self) -> Option<Pid> {
        *self.before.lock().expect("nobody panics with it")
    }

    /// Another one says that it is supervise.
    pub(crate) fn has_another_supervise(&self) -> bool {
        let pid = self.sandbox.value("supervise").and_then(|pid| pid.parse().ok());
        pid.is_some() && pid != self.supervise_before()
    }

    /// All that the scenario sets going has come to its end, with nobody struck down.
    pub(crate) fn is_settled(&self, seen: &Seen) -> bool {
        let service = self.sandbox.service_pid();
        let settled = (self.scenario.settled)(self);
        let number_now = self.supervise_now(seen);
        let supervise = seen.processes.get(number_now);
        // What a supervise that has ended leaves to deliver its alarms stays.
        let ended = supervise.is_some_and(|supervise| supervise.gone);
        let quiet = supervise.is_some_and(|supervise| supervise.idle || supervise.gone)
            && seen.processes.iter().enumerate().all(|(number, process)| {
                let dead = ended || Some(process.pid) == service || !alive(process.pid);
                number == number_now || process.gone && dead
            });
        settled && quiet
    }

    /// The same, where the caller or a child was struck: supervise is in its poll, or has ended, and no child is on
    /// its way any more. What follows later, after the pacing for example, is waited for without the tracer.
    pub(crate) fn is_quiet(&self, seen: &Seen) -> bool {
        let supervise = self.supervise_now(seen);
        let others_gone = seen.processes.iter().enumerate().all(|(number, other)| number == supervise || other.gone);
        others_gone && seen.processes.get(supervise).is_none_or(|known| known.gone || known.idle)
    }

    /// The lines that supervise said of what went wrong, to whoever could hear it. Those of svalarm, whose relay is
    /// never there, are not among them.
    pub(crate) fn said(&self) -> Vec<String> {
        let logs = ["supervise.log.wf.2", "supervise.log.wf.1", "supervise.log.wf"].map(|name| self.sandbox.text(name));
        let text = logs.concat() + &self.sandbox.read("start.err");
        text.lines().filter(|line| !line.contains("was not delivered")).map(str::to_owned).collect()
    }

    /// What the one who starts supervise was told.
    #[track_caller]
    pub(crate) fn check_caller(&self, seen: &Seen) {
        match seen.exit.filter(|_| self.scenario.begin == Begin::Start) {
            None | Some(None | Some(0 | 110 | 111)) => {}
            Some(Some(code)) => panic!("the caller was told {code}"),
        }
    }

    /// Waits for a fact.
    #[track_caller]
    pub(crate) fn wait(&self, what: &str, mut fact: impl FnMut() -> bool) {
        self.until_ok(what, || (!fact()).then(String::new));
    }

    /// Waits until nothing is wrong any more; where that never comes, says what still is.
    #[track_caller]
    pub(crate) fn until_ok(&self, what: &str, mut wrong: impl FnMut() -> Option<String>) {
        let limit = Instant::now() + LIMIT;
        while let Some(wrong) = wrong() {
            assert!(Instant::now() < limit, "never happened: {what}; {wrong}");
            std::thread::sleep(PAUSE);
        }
    }

    /// What the records say is so within a turn of the loop. The load of the machine doesn't matter: a supervise that
    /// sleeps has ended its turn, and what it has not written by then it writes only when something else wakes it.
    #[track_caller]
    pub(crate) fn until_true(&self) {
        let mut sleeps = None;
        self.until_ok("the records are true", || {
            let wrong = invariants::untrue(&self.sandbox)?;
            let supervise = self.sandbox.value("supervise").and_then(|pid| pid.parse().ok());
            let count = supervise.and_then(later::switches);
            let (since, _) = *sleeps.insert(match sleeps {
                Some((since, before)) if count.is_some() && before == count => (since, count),
                _ => (Instant::now(), count),
            });
            assert!(since.elapsed() < UNTRUE, "supervise sleeps, and the records are not true: {wrong}");
            Some(wrong)
        });
    }

    /// The service is up, and has said so itself.
    #[track_caller]
    pub(crate) fn until_up(&self) -> Pid {
        eventually_some(&self.sandbox, "the service is up", || {
            let pid = self.sandbox.service_pid().filter(|pid| alive(*pid))?;
            let up = matches!(self.sandbox.value("state")?.as_str(), "up" | "stopping");
            (up && self.lives().contains(&pid)).then_some(pid)
        })
    }

    /// The pid of every service that got as far as to say so.
    pub(crate) fn lives(&self) -> Vec<Pid> {
        pids(&self.sandbox.read("starts"))
    }

    /// Kills the service that runs, and waits until it is dead.
    #[track_caller]
    pub(crate) fn kill_service(&self) {
        let pid = eventually_some(&self.sandbox, "there is a service", || self.sandbox.service_pid());
        signal(pid, Signal::SIGKILL);
        self.sandbox.until_dead(pid);
    }

    /// Kills the service, and waits until another one runs.
    #[track_caller]
    pub(crate) fn crash(&self) {
        let old = self.until_up();
        signal(old, Signal::SIGKILL);
        eventually(&self.sandbox, "another service is up", || self.sandbox.service_pid().is_some_and(|pid| pid != old));
        self.until_up();
    }

    /// Writes commands; a supervise that was struck at its first call does not hear them any more.
    pub(crate) fn command(&self, bytes: &[u8]) {
        let _ = self.sandbox.write_fifo("svcontrol", bytes);
    }

    /// Sends a signal to supervise, if it lives.
    pub(crate) fn signal_supervise(&self, which: Signal) {
        if let Some(pid) = self.sandbox.value("supervise").and_then(|pid| pid.parse().ok()) {
            signal(pid, which);
        }
    }

    /// Whether a supervise lives here.
    pub(crate) fn is_supervised(&self) -> bool {
        !self.sandbox.lock_is_free()
    }

    /// Whether it is one of ours, and not the classic program.
    fn is_supervised_by_ours(&self) -> bool {
        let is_classic = |pid: &Pid| comm(*pid) == "classic";
        self.is_supervised() && !self.sandbox.lock_holders().iter().any(is_classic)
    }

    /// Whether a process waits in poll(2) or ppoll(2).
    pub(crate) fn waits_in_poll(&self, pid: Pid) -> bool {
        let text = std::fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
        let number = text.split(' ').next().and_then(|number| number.parse().ok());
        number.is_some_and(|number| ["poll", "ppoll"].contains(&calls::name(number).as_str()))
    }

    /// The pid of every hook that got as far as to say so.
    pub(crate) fn hooks(&self) -> Vec<Pid> {
        pids(&self.sandbox.read("hooks"))
    }

    /// Ends the members of groups whose leader was a service and is not the one of now.
    pub(crate) fn end_what_is_left(&self) {
        let groups: Vec<Pid> =
            self.lives().into_iter().filter(|pid| Some(*pid) != self.sandbox.service_pid()).collect();
        let is_left = |pid: &Pid| process_stat(*pid).is_some_and(|stat| groups.contains(&stat.group));
        self.sandbox.processes().into_iter().filter(is_left).for_each(|pid| signal(pid, Signal::SIGKILL));
    }

    /// The ids of the messages in the spool.
    pub(crate) fn spooled(&self) -> Vec<String> {
        let names = self.sandbox.alarms().into_iter();
        let names = names.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()));
        names.filter(|name| name.starts_with(|first: char| first.is_ascii_digit())).collect()
    }

    /// The state letter of the service, as /proc has it.
    pub(crate) fn service_state(&self) -> Option<char> {
        Some(process_stat(self.sandbox.service_pid()?)?.state)
    }

    /// After whatever was done: a supervise is there, all is quiet, and every invariant holds.
    #[track_caller]
    pub(crate) fn check(&self, after: &After) {
        if !self.is_supervised_by_ours() && self.scenario.succeeded {
            self.supervise();
        }
        (self.scenario.after)(self, after);
        invariants::hold(self);
        later::sleeps(self);
        if !after.supervise_struck {
            later::succession(self);
        }
        self.leave();
        invariants::nothing_is_left(self);
    }

    /// Ends supervise and service in order, whatever state they are in.
    #[track_caller]
    pub(crate) fn leave(&self) {
        if self.is_supervised() {
            self.command(b"dkx");
            eventually(&self.sandbox, "supervise has ended", || !self.is_supervised());
        }
    }

    /// Whether this is the living supervise, and not a number that it had.
    pub(crate) fn holds_lock(&self, pid: Pid) -> bool {
        self.sandbox.lock_holders().contains(&pid)
    }

    /// The processes that deliver alarms.
    pub(crate) fn svalarms(&self) -> Vec<Pid> {
        self.sandbox.processes().into_iter().filter(|pid| comm(*pid) == "svalarm").collect()
    }

    /// Gives commands, and waits until they are obeyed. Where supervise gives up or ends meanwhile, starts another and
    /// gives them again; and so where the service ends, of an earlier signal: to one that is down some mean nothing.
    #[track_caller]
    pub(crate) fn until_obeyed(&self, bytes: &[u8], what: &str, fact: impl Fn() -> bool) {
        let mut given_to = self.sandbox.service_pid();
        self.command(bytes);
        self.wait(what, || {
            if fact() {
                return true;
            }
            let service = self.sandbox.service_pid();
            let ended = !self.is_supervised();
            if ended {
                self.supervise();
            }
            if ended || service != given_to {
                given_to = self.sandbox.service_pid();
                self.command(bytes);
            }
            false
        });
    }
}

/// The first word of each line of `PID TIME`.
fn pids(text: &str) -> Vec<Pid> {
    text.lines().filter_map(|line| line.split_once(' ')?.0.parse().ok()).collect()
}

/// The name of a process, empty where there is none.
fn comm(pid: Pid) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim_end().to_owned()
}
