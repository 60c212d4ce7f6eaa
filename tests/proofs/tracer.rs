//! Stops a process tree at every system call, and kills the caller at one of them or makes one of them fail.
//!
//! ptrace(2) directly and not strace(1): a point is then "the 37th call of the second process", whichever call that
//! is, the child between fork and exec is told from its parent, and an error can end in mid-run.

use std::os::unix::process::CommandExt;
use std::os::unix::thread::JoinHandleExt;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::{self, c_long};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::common::supervise_program;
use crate::registers::{answer, set_first_argument, skip};
use crate::{calls, errors};

/// What is done at which call. Processes are numbered in the order in which they appear, the first is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Nothing: the calls are counted.
    Watch,
    /// KILL instead of this call of this process; the first is 1.
    Kill { process: usize, call: usize },
    /// An error instead of the calls of this kind.
    Fail { process: usize, kind: c_long, which: Which, errno: Errno },
}

/// Of the calls of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// One; the first is 1.
    Nth(usize),
    /// All, until [`Tracer::relent`].
    All,
}

/// A process that was traced.
#[derive(Debug, Default)]
pub(crate) struct Traced {
    pub(crate) pid: i32,
    /// The numbers of its calls.
    pub(crate) calls: Vec<c_long>,
    /// It is in its poll, and has nothing to do.
    pub(crate) idle: bool,
    /// It is about to read from svcontrol.
    listens: bool,
    /// It has read a command.
    heard: bool,
    /// The turn in which it has read the first one has ended.
    turn_ended: bool,
    /// It has ended, or has executed a program that is none of ours.
    pub(crate) gone: bool,
    /// It has executed supervise, and is not in its `main` yet.
    beginning: bool,
    /// The call that is being made is to fail: its number and its first argument.
    failing: Option<(c_long, u64)>,
}

/// What was seen so far.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) processes: Vec<Traced>,
    /// The calls at which the plan was carried out, but for those that differ in nothing from an earlier one.
    pub(crate) strikes: Vec<Strike>,
    /// The exit code of a program that was started; `None` inside: a signal ended it.
    pub(crate) exit: Option<Option<i32>>,
    relented: bool,
    /// A call that was to fail cannot fail so, with its arguments.
    pub(crate) cannot_happen: bool,
    /// What was wrong, if anything ever was.
    pub(crate) trouble: Option<String>,
}

impl Seen {
    /// The first call at which the plan was carried out.
    pub(crate) fn struck(&self) -> Option<&Strike> {
        self.strikes.first()
    }
}

/// One time that a plan was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Strike {
    pub(crate) kind: c_long,
    /// The file that the call was about.
    pub(crate) object: String,
    pub(crate) turn_ended: bool,
    /// So many processes had ended by then.
    pub(crate) ended: usize,
    /// The program that was executed had not begun yet.
    pub(crate) beginning: bool,
}

/// Looks at the world before every call; the answer is what is wrong with it.
pub(crate) trait Look: Fn() -> Option<String> + Send + 'static {}
impl<T: Fn() -> Option<String> + Send + 'static> Look for T {}

/// A running trace.
pub(crate) struct Tracer {
    seen: Arc<Mutex<Seen>>,
    thread: Option<JoinHandle<()>>,
    stop: Arc<Mutex<bool>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Wakes a tracer that waits: its wait ends with EINTR.
const WAKE: Signal = Signal::SIGUSR1;

extern "C" fn ignore(_: libc::c_int) {}

fn options() -> Options {
    Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
}

impl Tracer {
    /// Attaches to a running process; returns once it is traced.
    pub(crate) fn attach(pid: i32, plan: Plan, look: impl Look) -> Self {
        Self::run(plan, look, move || {
            let pid = Pid::from_raw(pid);
            ptrace::seize(pid, options()).and_then(|()| ptrace::interrupt(pid)).map_err(|e| format!("attach: {e}"))?;
            Ok((pid, None))
        })
    }

    /// Starts a program under the tracer; returns once it is.
    pub(crate) fn start(mut command: Command, plan: Plan, look: impl Look) -> Self {
        Self::run(plan, look, move || {
            // SAFETY: one system call, which is async-signal-safe.
            unsafe { command.pre_exec(|| Ok(ptrace::traceme()?)) };
            let child = command.spawn().map_err(|e| format!("start: {e}"))?;
            let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid fits"));
            waitpid(pid, None).and_then(|_| ptrace::setoptions(pid, options())).map_err(|e| format!("start: {e}"))?;
            ptrace::syscall(pid, None).map_err(|e| format!("start: {e}"))?;
            Ok((pid, Some(child)))
        })
    }

    fn run(
        plan: Plan,
        look: impl Look,
        begin: impl FnOnce() -> Result<(Pid, Option<Child>), String> + Send + 'static,
    ) -> Self {
        let action = SigAction::new(SigHandler::Handler(ignore), SaFlags::empty(), SigSet::empty());
        // SAFETY: the handler does nothing.
        unsafe { sigaction(WAKE, &action).expect("a handler can be set") };
        let (seen, stop) = (Arc::<Mutex<Seen>>::default(), Arc::<Mutex<bool>>::default());
        let (theirs, their_stop) = (Arc::clone(&seen), Arc::clone(&stop));
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || match begin() {
            Err(trouble) => {
                lock(&theirs).trouble = Some(trouble);
                let _ = tell.send(());
            }
            Ok((root, _child)) => {
                lock(&theirs).processes.push(Traced { pid: root.as_raw(), ..Traced::default() });
                let _ = tell.send(());
                Pump { plan, look: Box::new(look), seen: theirs, stop: their_stop, root }.run();
            }
        });
        let _ = told.recv();
        let tracer = Self { seen, thread: Some(thread), stop };
        if let Some(trouble) = &tracer.seen().trouble {
            panic!("no trace: {trouble}");
        }
        tracer
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }

    /// From now on nothing fails any more.
    pub(crate) fn relent(&self) {
        self.seen().relented = true;
    }

    /// Lets all that still lives go on alone.
    pub(crate) fn end(&mut self) {
        *lock(&self.stop) = true;
        let Some(thread) = self.thread.take() else { return };
        while !thread.is_finished() {
            // SAFETY: the thread was not joined yet, so its id is its own.
            unsafe { libc::pthread_kill(thread.as_pthread_t(), WAKE as libc::c_int) };
            std::thread::sleep(Duration::from_millis(1));
        }
        let _ = thread.join();
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        self.end();
    }
}

/// The thread that is the tracer: the kernel lets no other do it.
struct Pump {
    plan: Plan,
    look: Box<dyn Look>,
    seen: Arc<Mutex<Seen>>,
    stop: Arc<Mutex<bool>>,
    root: Pid,
}

fn is_supervise(pid: Pid) -> bool {
    let program = std::fs::read_link(format!("/proc/{pid}/exe"));
    program.is_ok_and(|program| program.file_name() == supervise_program().file_name())
}

/// linux/ptrace.h
const EVENT_STOP: i32 = 128;

impl Pump {
    fn run(&self) {
        loop {
            // Not the children of other threads: those have other owners.
            let status = waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD));
            match status {
                Err(Errno::EINTR) if *lock(&self.stop) => return, // the end of this thread detaches
                Err(Errno::EINTR) => {}
                Err(_) => return, // nobody is left
                Ok(status) => self.handle(status),
            }
        }
    }

    fn handle(&self, status: WaitStatus) {
        match status {
            WaitStatus::PtraceSyscall(pid) => {
                let go_on = self.at_call(pid);
                if go_on {
                    let _ = ptrace::syscall(pid, None); // it may have been killed
                }
            }
            WaitStatus::PtraceEvent(pid, _, event) if event == libc::PTRACE_EVENT_EXEC => {
                let number = self.number(pid);
                // supervise stays traced over an exec, and whom it asks before one.
                if is_supervise(pid) {
                    lock(&self.seen).processes[number].beginning = true;
                    let _ = ptrace::syscall(pid, None);
                } else {
                    lock(&self.seen).processes[number].gone = true;
                    let _ = ptrace::detach(pid, None);
                }
            }
            WaitStatus::PtraceEvent(pid, _, event) if event == EVENT_STOP => {
                self.number(pid);
                let _ = ptrace::syscall(pid, None);
            }
            WaitStatus::PtraceEvent(pid, _, _) => {
                if let Ok(child) = ptrace::getevent(pid) {
                    self.number(Pid::from_raw(i32::try_from(child).unwrap_or(0)));
                }
                let _ = ptrace::syscall(pid, None);
            }
            // The first stop of a new process is no signal of anybody's.
            WaitStatus::Stopped(pid, Signal::SIGSTOP) if self.is_new(pid) => {
                let _ = ptrace::syscall(pid, None);
            }
            WaitStatus::Stopped(pid, signal) => {
                let _ = ptrace::syscall(pid, signal);
            }
            WaitStatus::Exited(pid, code) => self.ended(pid, Some(code)),
            WaitStatus::Signaled(pid, _, _) => self.ended(pid, None),
            WaitStatus::Continued(_) | WaitStatus::StillAlive => {}
        }
    }

    fn number(&self, pid: Pid) -> usize {
        let processes = &mut lock(&self.seen).processes;
        let known = processes.iter().position(|process| process.pid == pid.as_raw());
        known.unwrap_or_else(|| {
            processes.push(Traced { pid: pid.as_raw(), ..Traced::default() });
            processes.len() - 1
        })
    }

    fn is_new(&self, pid: Pid) -> bool {
        let number = self.number(pid);
        lock(&self.seen).processes[number].calls.is_empty()
    }

    fn ended(&self, pid: Pid, code: Option<i32>) {
        let number = self.number(pid);
        let mut seen = lock(&self.seen);
        seen.processes[number].gone = true;
        seen.processes[number].idle = false;
        if pid == self.root {
            seen.exit = Some(code);
        }
    }

    /// A process is about to make a call, or has made it. False: it was killed.
    fn at_call(&self, pid: Pid) -> bool {
        let number = self.number(pid);
        let Ok(info) = ptrace::syscall_info(pid) else { return false };
        let mut seen = lock(&self.seen);
        let seen = &mut *seen;
        if info.op == libc::PTRACE_SYSCALL_INFO_EXIT {
            let process = &mut seen.processes[number];
            process.idle = false;
            // SAFETY: the kernel says that this is an exit, so this is the part that it filled.
            if std::mem::take(&mut process.listens) && unsafe { info.u.exit.sval } > 0 {
                process.heard = true;
            }
            match (process.failing.take(), self.plan) {
                (Some((libc::SYS_brk, argument)), _) => set_first_argument(pid, argument),
                (Some(_), Plan::Fail { errno, .. }) => answer(pid, errno),
                _ => {}
            }
            return true;
        }
        if let Some(wrong) = (self.look)() {
            seen.trouble.get_or_insert(wrong);
        }
        // SAFETY: the kernel says that this is an entry, so this is the part that it filled.
        let entry = unsafe { info.u.entry };
        let kind = c_long::try_from(entry.nr).unwrap_or(-1);
        let ended = seen.processes.iter().filter(|process| process.gone).count();
        let process = &mut seen.processes[number];
        process.calls.push(kind);
        // The first thing that it does is to take the descriptors that it was handed.
        process.beginning &= (kind, entry.args[1]) != (libc::SYS_fcntl, libc::F_SETFD.unsigned_abs().into());
        // The loop waits for several things. Whoever waits for a child's exec waits for one.
        if kind == libc::SYS_ppoll && entry.args[1] > 1 && !process.beginning {
            process.idle = true;
            process.turn_ended |= process.heard;
        }
        process.listens = kind == libc::SYS_read && calls::object(pid, kind, &entry.args) == "svcontrol";
        let strikes = match self.plan {
            Plan::Watch => false,
            Plan::Kill { process: wanted, call } => number == wanted && process.calls.len() == call,
            Plan::Fail { process: wanted, kind: wanted_kind, which, .. } => {
                let of_kind = || process.calls.iter().filter(|&&call| call == wanted_kind).count();
                number == wanted
                    && kind == wanted_kind
                    && !seen.relented
                    && match which {
                        Which::All => true,
                        Which::Nth(nth) => of_kind() == nth,
                    }
            }
        };
        if !strikes {
            return true;
        }
        let object = calls::object(pid, kind, &entry.args);
        if let Plan::Fail { errno, .. } = self.plan
            && !errors::can_happen(pid, kind, &object, &entry.args, errno)
        {
            seen.cannot_happen = true;
            return true;
        }
        let strike = Strike { kind, object, turn_ended: process.turn_ended, ended, beginning: process.beginning };
        if !seen.strikes.contains(&strike) {
            seen.strikes.push(strike);
        }
        if let Plan::Kill { .. } = self.plan {
            let _ = kill(pid, Signal::SIGKILL); // the call is not made any more
            return false;
        }
        process.failing = Some((kind, entry.args[0]));
        match kind {
            libc::SYS_close => {} // a file is closed whatever it answers
            // It answers with no error, but with where the memory ends, as to one that asks (brk(2), notes).
            libc::SYS_brk => set_first_argument(pid, 0),
            _ => skip(pid),
        }
        true
    }
}
