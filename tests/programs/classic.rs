//! Stands in for the classic C program, as far as docs/compatibility.md knows it: its lock, its fifos, its record, its
//! loop around poll(2), the second after a start in which it hears nothing, a service in its own session and group.
//!
//! ```text
//! classic [ODD]... -p STATUS_DIR COMMAND [ARG]...
//!
//! --lock-first    takes the lock before it goes to the background: the kernel's list names a dead process
//! --asleep        never comes to its poll, but sleeps instead
//! --no-rest       hears something at once after a start
//! --child         has another child beside the service
//! --no-record     writes no record
//! --wrong-record  names its own pid in the record instead of the service's
//! ```

use std::ffi::CString;
use std::fs;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The writing end of the pipe that the handler of SIGCHLD writes to.
static CHILD_ENDED: AtomicI32 = AtomicI32::new(-1);

extern "C" fn on_child(_: libc::c_int) {
    // SAFETY: write is async-signal-safe; the descriptor is never closed.
    unsafe { libc::write(CHILD_ENDED.load(Ordering::Relaxed), c"".as_ptr().cast(), 1) };
}

struct Classic {
    dir: String,
    command: Vec<String>,
    odds: Vec<String>,
    pid: i32,
    changed: Duration,
    paused: bool,
    wanted_up: Option<bool>,
    alarms_off: bool,
    exits: bool,
}

fn main() {
    let mut args = std::env::args().skip(1);
    let odds: Vec<String> = args.by_ref().take_while(|arg| arg != "-p").collect();
    let dir = args.next().expect("-p STATUS_DIR");
    let classic = Classic {
        dir,
        command: args.collect(),
        odds,
        pid: 0,
        changed: Duration::ZERO,
        paused: false,
        wanted_up: Some(true),
        alarms_off: false,
        exits: false,
    };
    fs::create_dir_all(&classic.dir).expect("the status directory");
    let lock_first = classic.is("--lock-first");
    if lock_first {
        classic.lock();
    }
    // SAFETY: this process has one thread, so a forked copy of it may do anything.
    match unsafe { libc::fork() } {
        0 => {}
        pid => std::process::exit(i32::from(pid < 0)),
    }
    // SAFETY: setsid has no preconditions; HUP gets an action without code.
    unsafe {
        libc::setsid();
        libc::signal(libc::SIGHUP, libc::SIG_IGN);
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
    if !lock_first {
        classic.lock();
    }
    classic.run();
}

impl Classic {
    fn is(&self, odd: &str) -> bool {
        self.odds.iter().any(|known| known == odd)
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.dir)
    }

    fn lock(&self) {
        let open = fs::File::options().append(true).create(true).mode(0o600).open(self.path("lock"));
        let file = open.expect("lock").into_raw_fd();
        // SAFETY: the descriptor is open, and stays so.
        if unsafe { libc::flock(file, libc::LOCK_EX | libc::LOCK_NB) } != 0 {
            std::process::exit(111);
        }
    }

    fn fifo(&self, name: &str) -> i32 {
        let path = CString::new(self.path(name)).expect("no NUL");
        // SAFETY: a C string and a mode. One that is there already is as good.
        unsafe { libc::mkfifo(path.as_ptr(), 0o600) };
        let open = fs::File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(self.path(name));
        open.expect(name).into_raw_fd()
    }

    fn run(mut self) {
        let mut ends = [0; 2];
        // SAFETY: a place for two descriptors; the handler is async-signal-safe.
        unsafe {
            libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK);
            CHILD_ENDED.store(ends[1], Ordering::Relaxed);
            libc::signal(libc::SIGCHLD, on_child as *const () as libc::sighandler_t);
        }
        let (control, _ok) = (self.fifo("svcontrol"), self.fifo("ok"));
        if self.is("--child") {
            self.fork(&["sleep".to_owned(), "1000".to_owned()]);
        }
        self.changed();
        self.start();
        loop {
            if self.exits && self.pid == 0 {
                return;
            }
            if self.is("--asleep") {
                std::thread::sleep(Duration::from_secs(1000));
                continue;
            }
            let poll = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
            let mut waits = [poll(ends[0]), poll(control)];
            let mut byte = [0_u8; 64];
            // SAFETY: pointers to values of ours, with their lengths.
            unsafe {
                libc::poll(waits.as_mut_ptr(), 2, -1);
                while libc::read(ends[0], byte.as_mut_ptr().cast(), byte.len()) > 0 {}
            }
            self.reap();
            // SAFETY: one byte into a place for more.
            if unsafe { libc::read(control, byte.as_mut_ptr().cast(), 1) } == 1 {
                self.obey(byte[0]);
            }
        }
    }

    fn reap(&mut self) {
        let mut status = 0;
        loop {
            // SAFETY: a place for a status.
            let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
            if pid <= 0 {
                return;
            }
            if pid == self.pid {
                self.pid = 0;
                self.changed();
                if self.wanted_up == Some(true) && !self.exits {
                    self.start();
                }
            }
        }
    }

    fn obey(&mut self, byte: u8) {
        let signal = |signal| {
            if self.pid != 0 {
                // SAFETY: two numbers, of a child that is not reaped.
                unsafe { libc::kill(self.pid, signal) };
            }
        };
        match byte {
            b'u' => self.wanted_up = Some(true),
            b'd' => {
                signal(libc::SIGTERM);
                signal(libc::SIGCONT);
                self.wanted_up = Some(false);
                self.paused = false;
            }
            b'o' => self.wanted_up = None,
            b'x' => self.exits = true,
            b'k' => signal(libc::SIGKILL),
            b't' => signal(libc::SIGTERM),
            b'p' => {
                signal(libc::SIGSTOP);
                self.paused = true;
            }
            b'c' => {
                signal(libc::SIGCONT);
                self.paused = false;
            }
            b's' => self.alarms_off = true,
            b'n' => self.alarms_off = false,
            _ => return,
        }
        self.announce();
        if byte == b'u' && self.pid == 0 {
            self.start();
        }
    }

    fn start(&mut self) {
        let command = self.command.clone();
        self.pid = self.fork(&command);
        self.paused = false;
        self.changed();
        if !self.is("--no-rest") {
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    fn fork(&self, command: &[String]) -> i32 {
        let words: Vec<CString> = command.iter().map(|word| CString::new(word.as_str()).expect("no NUL")).collect();
        let mut argv: Vec<*const libc::c_char> = words.iter().map(|word| word.as_ptr()).collect();
        argv.push(std::ptr::null());
        let output = |name: &str| fs::File::options().append(true).create(true).open(self.path(name)).expect("output");
        let (out, err) = (output("__stdout"), output("__stderr"));
        // SAFETY: this process has one thread, so a forked copy of it may do anything.
        match unsafe { libc::fork() } {
            // SAFETY: numbers, and strings that are alive; the vector ends with a null.
            0 => unsafe {
                libc::dup2(out.as_raw_fd(), 1);
                libc::dup2(err.as_raw_fd(), 2);
                libc::execvp(argv[0], argv.as_ptr());
                libc::_exit(111)
            },
            pid => pid,
        }
    }

    fn changed(&mut self) {
        self.changed = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970");
        self.announce();
    }

    fn announce(&self) {
        if self.is("--no-record") {
            return;
        }
        let mut record = [0; 20];
        record[..8].copy_from_slice(&((1_u64 << 62) + 10 + self.changed.as_secs()).to_be_bytes());
        record[8..12].copy_from_slice(&self.changed.subsec_nanos().to_be_bytes());
        record[12] = u8::from(self.paused);
        record[13] = self.wanted_up.map_or(0, |up| if up { b'u' } else { b'd' });
        record[14] = if self.alarms_off { b'x' } else { b'o' };
        let pid = if self.is("--wrong-record") { std::process::id().cast_signed() } else { self.pid };
        record[16..].copy_from_slice(&pid.to_le_bytes());
        let new = self.path("status.new");
        fs::write(&new, record).and_then(|()| fs::rename(new, self.path("status"))).expect("the record");
    }
}
