//! The service that the tests run under supervise: it does what its arguments say, one after the other, then waits.
//!
//! ```text
//! ready               prints "ready PID" on stdout
//! out TEXT, err TEXT  prints TEXT on stdout, on stderr
//! line FILE           appends "PID NANOSECONDS" (CLOCK_MONOTONIC) to FILE
//! note FILE TEXT      appends "PID TEXT" to FILE, and exits; as the last words of a hook: its count
//! delivered FILE      appends the ID, the kind, the time and the pid of the alarm in its environment to FILE, and exits
//! flock FILE          holds FILE with flock(2) for as long as it lives
//! alone LOCK FILE     holds the lock of LOCK for as long as it lives; appends "PID" to FILE if another holds it
//! report FILE         writes what it was given by its parent to FILE (one `key value` a line), all at once
//! child               forks a child that stays in the process group and waits; prints "child PID"
//! bomb                forks for ever, and so does every child
//! chdir FOLDER        changes the current folder
//! ignore NAME         ignores a signal, e.g. TERM; so does a `child` forked later
//! core                raises its soft limit for core files to the hard one
//! sleep MS            sleeps, so that a run has a length
//! from N FILE         goes on only if FILE has fewer than N lines; else prints "ready PID" and waits here
//! until NAME          waits for a signal, then goes on; prints "got NAME" for each that comes
//! signals             waits for signals for ever, and prints "got NAME" for each
//! limit PID NAME SOFT sets the soft limit `nproc`, `nofile` or `fsize` of another process; `max` is its hard limit
//! keep WORD...        runs the rest of the words as a program, and is the parent of what that leaves behind, which it
//!                     does not reap before USR1 comes; prints "reaped" then
//! kill NAME           kills itself by a signal, with its default action
//! exit CODE           exits
//! wait                waits for ever, with the signals as they were given to it
//! ```
//!
//! With `until` or `signals` among its arguments it blocks all signals from the start, so that none is missed; but not
//! those that it was given ignored, because a signal that is blocked is kept even where it is ignored.
//!
//! It has a C `main`, because Rust's own start-up code opens descriptors, ignores SIGPIPE and catches SIGSEGV: a
//! report would show the runtime's doing instead of the parent's.
#![no_main]

use std::ffi::{CStr, c_char, c_int};
use std::fmt::Write as _;
use std::io::Write as _;
use std::{fs, process, ptr};

/// Name and number of each signal that a test speaks of.
const SIGNALS: [(&str, c_int); 24] = [
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("ILL", libc::SIGILL),
    ("TRAP", libc::SIGTRAP),
    ("ABRT", libc::SIGABRT),
    ("BUS", libc::SIGBUS),
    ("FPE", libc::SIGFPE),
    ("KILL", libc::SIGKILL),
    ("USR1", libc::SIGUSR1),
    ("SEGV", libc::SIGSEGV),
    ("USR2", libc::SIGUSR2),
    ("PIPE", libc::SIGPIPE),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("CHLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("STOP", libc::SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("XCPU", libc::SIGXCPU),
    ("WINCH", libc::SIGWINCH),
    ("SYS", libc::SIGSYS),
];

#[unsafe(no_mangle)]
extern "C" fn main(argc: c_int, argv: *const *const c_char) -> c_int {
    let args: Vec<String> = (0..argc as usize)
        // SAFETY: the C runtime passes argc valid strings that live as long as the process.
        .map(|i| unsafe { CStr::from_ptr(*argv.add(i)) }.to_string_lossy().into_owned())
        .collect();
    // Before anything is changed: what a report is to show.
    let given = report(&args);
    if args.iter().any(|arg| arg == "until" || arg == "signals") {
        set_mask(libc::SIG_SETMASK, &signals_not_ignored());
    }
    let mut words = args.into_iter().skip(1);
    while let Some(action) = words.next() {
        let mut word = || words.next().unwrap_or_else(|| fail(&format!("{action}: an argument is missing")));
        match action.as_str() {
            "ready" => print(1, &format!("ready {}", process::id())),
            "out" => print(1, &word()),
            "err" => print(2, &word()),
            "line" => append(&word(), &format!("{} {}\n", process::id(), monotonic_nanoseconds())),
            "note" => {
                let file = word();
                append(&file, &format!("{} {}\n", process::id(), word()));
                process::exit(0);
            }
            "delivered" => {
                let fact = |name: &str| std::env::var(format!("SUPERVISE_{name}")).unwrap_or_else(|_| "-".to_owned());
                let facts = ["MESSAGE_ID", "KIND", "TIME", "PID"].map(fact);
                append(&word(), &format!("{}\n", facts.join(" ")));
                process::exit(0);
            }
            "alone" => {
                let lock = word();
                if !lock_for_life(&lock) {
                    append(&word(), &format!("{}\n", process::id()));
                } else {
                    word();
                }
            }
            "flock" => flock_for_life(&word()),
            "report" => publish(&word(), &given),
            "child" => fork_child(),
            "bomb" => loop {
                // SAFETY: this process has one thread, so a forked copy of it may do anything.
                if unsafe { libc::fork() } == -1 {
                    std::thread::sleep(std::time::Duration::from_millis(20));
                }
            },
            "chdir" => std::env::set_current_dir(word()).unwrap_or_else(|e| fail(&format!("chdir: {e}"))),
            "ignore" => {
                let signal = number(&word());
                set_action(signal, libc::SIG_IGN);
                set_mask(libc::SIG_UNBLOCK, &only(signal));
            }
            "core" => raise_core_limit(),
            "sleep" => std::thread::sleep(std::time::Duration::from_millis(decimal(&word()))),
            "from" => {
                let lines = decimal(&word());
                let text = fs::read_to_string(word()).unwrap_or_default();
                if text.lines().count() as u64 >= lines {
                    print(1, &format!("ready {}", process::id()));
                    wait();
                }
            }
            "until" => {
                let wanted = number(&word());
                while next_signal() != wanted {}
            }
            "signals" => loop {
                next_signal();
            },
            "limit" => {
                let (pid, name, soft) = (word(), word(), word());
                set_limit(decimal(&pid) as i32, &name, &soft);
            }
            "keep" => keep(words.collect()),
            "kill" => kill_itself(number(&word())),
            "exit" => process::exit(decimal(&word()) as i32),
            "wait" => wait(),
            _ => fail(&format!("unknown action {action:?}")),
        }
    }
    wait()
}

fn fail(text: &str) -> ! {
    print(2, &format!("service: {text}"));
    process::exit(99)
}

/// One line with one write, so that lines of several processes don't mix. An error is nobody's business here.
fn print(fd: c_int, text: &str) {
    let line = format!("{text}\n");
    // SAFETY: pointer and length are those of a living string.
    unsafe { libc::write(fd, line.as_ptr().cast(), line.len()) };
}

fn append(file: &str, line: &str) {
    let opened = fs::OpenOptions::new().append(true).create(true).open(file);
    if let Err(e) = opened.and_then(|mut f| f.write_all(line.as_bytes())) {
        fail(&format!("{file}: {e}"));
    }
}

/// The descriptor of the lock that says that this service is alone; -1 where there is none.
static LOCK: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(-1);

/// False where another process has the lock.
fn lock_for_life(file: &str) -> bool {
    let opened = fs::OpenOptions::new().append(true).create(true).open(file);
    let opened = opened.unwrap_or_else(|e| fail(&format!("{file}: {e}")));
    let descriptor = std::os::fd::IntoRawFd::into_raw_fd(opened);
    LOCK.store(descriptor, std::sync::atomic::Ordering::Relaxed);
    // Not flock(2): a child that was just forked would hold it too, until it has died.
    // SAFETY: all-zero bytes are the whole file; the descriptor is open, and stays so.
    unsafe {
        let mut whole = std::mem::zeroed::<libc::flock>();
        whole.l_type = libc::F_WRLCK as libc::c_short;
        libc::fcntl(descriptor, libc::F_SETLK, &raw const whole) == 0
    }
}

/// As supervise holds the lock of its status directory.
fn flock_for_life(file: &str) {
    let opened = fs::OpenOptions::new().append(true).create(true).open(file);
    let opened = opened.unwrap_or_else(|e| fail(&format!("{file}: {e}")));
    let descriptor = std::os::fd::IntoRawFd::into_raw_fd(opened);
    // SAFETY: the descriptor is open, and stays so.
    if unsafe { libc::flock(descriptor, libc::LOCK_EX | libc::LOCK_NB) } == -1 {
        fail(&format!("{file}: it is held"));
    }
}

/// Under a name of its own first: who sees FILE sees all of it.
fn publish(file: &str, text: &str) {
    let unfinished = format!("{file}.{}", process::id());
    if let Err(e) = fs::write(&unfinished, text).and_then(|()| fs::rename(&unfinished, file)) {
        fail(&format!("{file}: {e}"));
    }
}

/// What the parent gave: ids, signals, descriptors, folder, umask, limits, arguments, environment.
fn report(args: &[String]) -> String {
    let mut text = String::new();
    // SAFETY: these calls take numbers, return numbers and cannot fail; the umask is put back at once.
    let (pid, ppid, pgid, sid, umask) = unsafe {
        let mask = libc::umask(0);
        libc::umask(mask);
        (libc::getpid(), libc::getppid(), libc::getpgid(0), libc::getsid(0), mask)
    };
    let _ = writeln!(text, "pid {pid}\nppid {ppid}\npgid {pgid}\nsid {sid}\numask {umask:03o}");
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    for line in status.lines().filter(|line| line.starts_with("Sig")) {
        // SigPnd, SigBlk, SigIgn, SigCgt; SigQ is a number of another kind that no test asks for.
        let (key, value) = line.split_once(':').unwrap_or((line, ""));
        let _ = writeln!(text, "{key} {}", value.trim());
    }
    let mut descriptors: Vec<(u32, String)> = fs::read_dir("/proc/self/fd")
        .map(|entries| {
            let named = entries.flatten().filter_map(|entry| {
                let target = fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned();
                Some((entry.file_name().to_string_lossy().parse().ok()?, target))
            });
            // The folder that is being read is a descriptor of this function's.
            named.filter(|(_, target)| *target != format!("/proc/{pid}/fd")).collect()
        })
        .unwrap_or_default();
    descriptors.sort();
    for (fd, target) in descriptors {
        let _ = writeln!(text, "fd {fd} {target}");
    }
    let _ = writeln!(text, "cwd {}", fs::read_link("/proc/self/cwd").unwrap_or_default().display());
    for (name, resource) in [("nofile", libc::RLIMIT_NOFILE), ("core", libc::RLIMIT_CORE)] {
        let limit = limit_of(0, resource);
        let _ = writeln!(text, "limit {name} {} {}", limit.rlim_cur, limit.rlim_max);
    }
    for (i, arg) in args.iter().enumerate() {
        let _ = writeln!(text, "arg {i} {arg}");
    }
    for (name, value) in std::env::vars_os() {
        let _ = writeln!(text, "env {}={}", name.to_string_lossy(), value.to_string_lossy());
    }
    text
}

/// The child has the signals as they are set now, but nothing blocked.
fn fork_child() {
    // SAFETY: this process has one thread, so a forked copy of it may do anything.
    match unsafe { libc::fork() } {
        -1 => fail("fork failed"),
        0 => {
            // A child is no copy of the service: its lock is the parent's alone.
            // SAFETY: a descriptor that nothing here uses any more.
            unsafe { libc::close(LOCK.load(std::sync::atomic::Ordering::Relaxed)) };
            set_mask(libc::SIG_UNBLOCK, &all_signals());
            print(1, &format!("child {}", process::id()));
            wait()
        }
        _ => {}
    }
}

fn all_signals() -> libc::sigset_t {
    // SAFETY: sigfillset initialises the whole set.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigfillset(&mut set);
        set
    }
}

fn only(signal: c_int) -> libc::sigset_t {
    // SAFETY: sigemptyset initialises the whole set.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, signal);
        set
    }
}

fn signals_not_ignored() -> libc::sigset_t {
    let mut set = all_signals();
    for (_, number) in SIGNALS {
        // SAFETY: zeros are a valid sigaction, and with no new action the call only reports the present one.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            libc::sigaction(number, ptr::null(), &mut action);
            if action.sa_sigaction == libc::SIG_IGN {
                libc::sigdelset(&mut set, number);
            }
        }
    }
    set
}

fn set_mask(how: c_int, set: &libc::sigset_t) {
    // SAFETY: `set` is an initialised set.
    unsafe { libc::sigprocmask(how, set, ptr::null_mut()) };
}

fn set_action(signal: c_int, action: libc::sighandler_t) {
    // SAFETY: `action` is SIG_IGN or SIG_DFL, never a function.
    unsafe { libc::signal(signal, action) };
}

fn next_signal() -> c_int {
    // SAFETY: the set is initialised; no information beside the number is asked for.
    let got = unsafe { libc::sigwaitinfo(&all_signals(), ptr::null_mut()) };
    if got > 0 {
        let name = SIGNALS.iter().find(|(_, n)| *n == got).map_or("another one", |(name, _)| name);
        print(1, &format!("got {name}"));
    }
    got
}

fn kill_itself(signal: c_int) -> ! {
    set_action(signal, libc::SIG_DFL);
    set_mask(libc::SIG_UNBLOCK, &all_signals());
    // SAFETY: a signal to the process itself.
    unsafe { libc::kill(libc::getpid(), signal) };
    wait()
}

fn wait() -> ! {
    loop {
        // SAFETY: pause has no arguments.
        unsafe { libc::pause() };
    }
}

#[cfg(target_env = "gnu")]
type Resource = libc::__rlimit_resource_t;
#[cfg(not(target_env = "gnu"))]
type Resource = libc::c_int;

fn limit_of(pid: i32, resource: Resource) -> libc::rlimit {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a place for one rlimit.
    unsafe { libc::prlimit(pid, resource, ptr::null(), &mut limit) };
    limit
}

fn raise_core_limit() {
    let mut limit = limit_of(0, libc::RLIMIT_CORE);
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` is initialised and only read.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &limit) };
}

fn set_limit(pid: i32, name: &str, soft: &str) {
    let resource = match name {
        "nproc" => libc::RLIMIT_NPROC,
        "nofile" => libc::RLIMIT_NOFILE,
        "fsize" => libc::RLIMIT_FSIZE,
        _ => fail(&format!("unknown limit {name:?}")),
    };
    let mut limit = limit_of(pid, resource);
    limit.rlim_cur = if soft == "max" { limit.rlim_max } else { decimal(soft) };
    // SAFETY: `limit` is initialised and only read.
    if unsafe { libc::prlimit(pid, resource, &limit, ptr::null_mut()) } != 0 {
        fail(&format!("prlimit: {}", std::io::Error::last_os_error()));
    }
}

fn keep(words: Vec<String>) -> ! {
    let usr1 = only(libc::SIGUSR1);
    // SAFETY: a system call that takes numbers.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
    let (program, arguments) = words.split_first().unwrap_or_else(|| fail("keep: nothing to run"));
    if let Err(e) = process::Command::new(program).args(arguments).spawn() {
        fail(&format!("{program}: {e}"));
    }
    set_mask(libc::SIG_BLOCK, &usr1);
    loop {
        // SAFETY: the set is initialised, and nothing but the pid is asked for.
        unsafe {
            libc::sigwaitinfo(&usr1, ptr::null_mut());
            while libc::waitpid(-1, ptr::null_mut(), libc::WNOHANG) > 0 {}
        }
        print(1, "reaped");
    }
}

fn monotonic_nanoseconds() -> i64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a place for one timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

fn number(name: &str) -> c_int {
    let known = SIGNALS.iter().find(|(known, _)| *known == name);
    known.unwrap_or_else(|| fail(&format!("unknown signal {name:?}"))).1
}

fn decimal(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| fail(&format!("not a number: {text:?}")))
}
