//! `svc status --watch`, through a real terminal: keys are sent to tmux, and its screen is read.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::common::{Pid, Sandbox, alive, eventually, eventually_some, signal, skip};
use crate::svc_view::{start_service, svc_command, svc_program};

/// CPU use is measured over so long a time; the kernel counts in hundredths of a second.
const MEASURED: Duration = Duration::from_secs(1);
/// Two looks and two drawings of an unoptimised program take less; one that spins takes 100, or its share of a busy
/// machine.
const FEW_TICKS: u64 = 8;

/// What the process has used, in hundredths of a second (proc_pid_stat(5)).
fn cpu_ticks(pid: Pid) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let fields: Vec<&str> = stat[stat.rfind(')').expect("a name in brackets")..].split_whitespace().collect();
    fields[12].parse::<u64>().expect("utime") + fields[13].parse::<u64>().expect("stime")
}

/// A terminal of 100 columns and 24 lines.
pub(crate) struct Terminal<'a> {
    sandbox: &'a Sandbox,
    socket: String,
}

impl<'a> Terminal<'a> {
    /// One in which a shell runs the view. `None`, and it is said: there is no tmux here.
    fn open(sandbox: &'a Sandbox, options: &str) -> Option<Self> {
        let line = format!(
            "stty -a > before; {} status --watch {options}; echo code $? > code; stty -a > after; cat",
            svc_program().display()
        );
        Self::with(sandbox, &["sh", "-c", &line])
    }

    /// One in which this command runs. `None`, and it is said: there is no tmux here.
    pub(crate) fn with(sandbox: &'a Sandbox, command: &[&str]) -> Option<Self> {
        if Command::new("tmux").arg("-V").output().is_err() {
            skip("there is no tmux");
            return None;
        }
        let terminal = Terminal { sandbox, socket: sandbox.path("tmux").to_string_lossy().into_owned() };
        terminal.tmux(&[&["-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "24"], command].concat());
        Some(terminal)
    }

    fn tmux(&self, args: &[&str]) -> String {
        let mut command = self.sandbox.program("tmux");
        command.args(["-S", &self.socket]).args(args).env("TERM", "xterm-256color").env_remove("TMUX");
        for name in ["NO_COLOR", "SUPERVISE_ROOT"] {
            command.env_remove(name);
        }
        String::from_utf8_lossy(&command.output().expect("tmux runs").stdout).into_owned()
    }

    pub(crate) fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Waits until the screen is as it should be.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, fact: impl Fn(&str) -> bool) {
        let mut last = String::new();
        let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            eventually(self.sandbox, what, || {
                last = self.screen();
                fact(&last)
            });
        }));
        if let Err(panic) = seen {
            eprintln!("the screen:\n{last}");
            std::panic::resume_unwind(panic);
        }
    }

    /// Waits until the screen holds each of these texts.
    #[track_caller]
    pub(crate) fn shows(&self, texts: &[&str]) {
        self.until(&format!("the screen shows {texts:?}"), |screen| texts.iter().all(|text| screen.contains(text)));
    }

    /// The view.
    fn pid(&self) -> Pid {
        eventually_some(self.sandbox, "the view runs", || {
            let is_view = |pid: &Pid| {
                fs::read(format!("/proc/{pid}/cmdline"))
                    .is_ok_and(|line| line.windows(7).any(|part| part == b"--watch"))
                    && fs::read(format!("/proc/{pid}/comm")).is_ok_and(|name| name == b"svc\n")
            };
            self.sandbox.processes().into_iter().find(is_view)
        })
    }

    /// The terminal is as it was, and the exit code is this.
    #[track_caller]
    fn is_left_as_it_was(&self, code: u8) {
        eventually(self.sandbox, "the view has ended", || self.sandbox.path("after").exists());
        eventually(self.sandbox, "its exit code", || self.sandbox.read("code") == format!("code {code}\n"));
        eventually(self.sandbox, "the settings are the same", || {
            // All but the first line, which tells the size.
            let settings = |file: &str| self.sandbox.read(file).lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
            !settings("after").is_empty() && settings("before") == settings("after")
        });
        let state = self.tmux(&["display-message", "-p", "#{alternate_on} #{cursor_flag}"]);
        assert_eq!(state, "0 1\n", "the alternate screen is left, and the cursor is shown");
        assert!(!self.screen().contains("RESTARTS"), "{}", self.screen());
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

/// The first words of the lines of the list; the last line of the screen is not one.
fn names(screen: &str) -> Vec<&str> {
    let lines: Vec<&str> = screen.lines().collect();
    lines[..lines.len().saturating_sub(1)].iter().skip(2).map_while(|line| line.split_whitespace().next()).collect()
}

fn with_three() -> Sandbox {
    let sandbox = Sandbox::new();
    for name in ["app", "db", "web"] {
        start_service(&sandbox, name, "ready out said-by-it wait");
    }
    sandbox
}

#[test]
fn services_are_steered_from_the_screen() {
    let sandbox = with_three();
    let Some(terminal) = Terminal::open(&sandbox, "") else { return };
    terminal.until("all three are up", |screen| {
        names(screen)[..] == ["app", "db", "web"] && screen.contains("3 services: 3 up")
    });
    let db = sandbox.status_dir("status/db");
    let pid = db.service_pid().unwrap();
    terminal.keys(&["j", "x"]);
    terminal.shows(&["stop db? y: yes"]);
    terminal.keys(&["n"]);
    terminal.until("it was not meant so", |screen| !screen.contains("stop db?"));
    assert_eq!(db.service_pid(), Some(pid));
    terminal.keys(&["x", "y"]);
    terminal.shows(&["2 up; 1 down", "db: told to stop"]);
    assert_eq!(db.service_pid(), None);
    terminal.keys(&["s"]);
    terminal.shows(&["3 up", "db: told to start"]);
    let second = db.service_pid();
    terminal.keys(&["r", "y"]);
    eventually(&sandbox, "db runs as another process", || db.service_pid().is_some_and(|pid| Some(pid) != second));
    terminal.until("its history has two restarts", |screen| {
        screen.lines().any(|line| line.starts_with("db ") && line.contains('▃'))
    });
    sandbox.kill_supervise();
    terminal.shows(&["up, no supervise"]);
    terminal.keys(&["k", "s"]);
    terminal.shows(&["app: no supervise"]);
    terminal.keys(&["q"]);
    terminal.is_left_as_it_was(0);
}

#[test]
fn filtered_sorted_and_read_along() {
    let sandbox = with_three();
    let Some(terminal) = Terminal::open(&sandbox, "") else { return };
    terminal.shows(&["3 up", "by name"]);
    terminal.keys(&["/", "W", "e"]);
    terminal.until("only web is shown", |screen| names(screen)[..] == ["web"] && screen.contains("/We_"));
    terminal.keys(&["Enter", "t"]);
    terminal.shows(&["web: stdout and stderr", "out said-by-it"]);
    let file = sandbox.path("status/web/__stderr");
    fs::write(file, "an \x1b[31merror\n").unwrap();
    terminal.shows(&["err an \\x1b[31merror"]);
    terminal.keys(&["Escape"]);
    terminal.until("the pane is gone", |screen| !screen.contains("said-by-it"));
    terminal.keys(&["Escape"]);
    terminal.until("all are shown", |screen| names(screen).len() == 3);
    terminal.keys(&["i"]);
    terminal.until("reversed", |screen| screen.contains("by name (reversed)"));
    terminal.keys(&[">", ">"]);
    terminal.shows(&["by CPU"]);
    terminal.keys(&["<", "f"]);
    terminal.shows(&["by state", "failed only", "no service is to be shown"]);
    sandbox.kill_supervise();
    terminal.until("one needs attention", |screen| names(screen)[..] == ["app"]);
    terminal.keys(&["?"]);
    terminal.shows(&["any key: back"]);
    terminal.keys(&["x", "C-c"]);
    terminal.is_left_as_it_was(0);
}

#[test]
fn what_is_wrong_with_the_selected_one_is_told() {
    let sandbox = with_three();
    sandbox.write_conf("[db]\npacing : never\n");
    sandbox.svc(&["reload", "db"]).expect_code(1);
    let Some(terminal) = Terminal::open(&sandbox, "") else { return };
    terminal.shows(&["up, conf problem"]);
    let told = |screen: &str| screen.contains("db: conf: supervise.conf:2: pacing: ");
    terminal.until("nothing is told of app", |screen| !told(screen));
    terminal.keys(&["j"]);
    terminal.until("it is told of db", told);
    terminal.tmux(&["resize-window", "-x", "40", "-y", "12"]);
    terminal.until("in several lines where there is little room", |screen| {
        let words = screen.split_whitespace().collect::<Vec<_>>().join(" ");
        told(&words)
            && words.contains("never is not a number of seconds")
            && screen.lines().all(|line| line.chars().count() <= 40)
    });
    terminal.keys(&["j"]);
    terminal.until("nothing is told of web", |screen| !told(screen));
    terminal.keys(&["q"]);
    terminal.is_left_as_it_was(0);
}

#[test]
fn it_fits_any_size() {
    let sandbox = with_three();
    let Some(terminal) = Terminal::open(&sandbox, "") else { return };
    terminal.shows(&["LAST EXIT"]);
    terminal.tmux(&["resize-window", "-x", "80", "-y", "24"]);
    terminal.until("all keys have room", |screen| screen.ends_with("<> sort\n"));
    terminal.keys(&["?"]);
    terminal.until("so has the help", |screen| {
        screen.contains("│  q, Ctrl-C") && screen.lines().all(|line| !line.starts_with('│') || line.ends_with(" │"))
    });
    terminal.keys(&["?"]);
    terminal.tmux(&["resize-window", "-x", "40", "-y", "8"]);
    terminal.until("less is shown", |screen| {
        screen.lines().count() == 8
            && names(screen).len() >= 3
            && !screen.contains("LAST EXIT")
            && screen.contains("STATE")
    });
    terminal.tmux(&["resize-window", "-x", "3", "-y", "2"]);
    terminal.tmux(&["resize-window", "-x", "200", "-y", "50"]);
    terminal.shows(&["LAST EXIT", "ALARMS"]);
    terminal.tmux(&["resize-window", "-x", "100", "-y", "24"]);
    terminal.keys(&["q"]);
    terminal.is_left_as_it_was(0);
}

#[test]
fn signals_and_panics_leave_the_terminal_as_it_was() {
    for (number, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130), (Signal::SIGHUP, 129)] {
        let sandbox = with_three();
        let Some(terminal) = Terminal::open(&sandbox, "") else { return };
        terminal.shows(&["3 up"]);
        signal(terminal.pid(), number);
        terminal.is_left_as_it_was(code);
    }
    let sandbox = with_three();
    let Some(terminal) = Terminal::open(&sandbox, "") else { return };
    terminal.shows(&["3 up"]);
    terminal.keys(&["q"]);
    terminal.is_left_as_it_was(0);
    fs::remove_file(sandbox.path("after")).unwrap();
    let line = format!(
        "RUST_BACKTRACE=0 SVC_TEST_PANIC=1 {} status --watch; echo code 101 > code; stty -a > after; cat",
        svc_program().display()
    );
    terminal.tmux(&["respawn-pane", "-k", "sh", "-c", &line]);
    eventually(&sandbox, "it has ended", || sandbox.path("after").exists());
    terminal.shows(&["a panic was asked for"]);
    terminal.is_left_as_it_was(101);
}

#[test]
fn it_can_be_stopped_and_continued() {
    let sandbox = with_three();
    let Some(terminal) = Terminal::open(&sandbox, "") else { return };
    terminal.shows(&["3 up"]);
    let pid = terminal.pid();
    let is_stopped = || crate::common::process_stat(pid).is_some_and(|stat| stat.state == 'T');
    terminal.keys(&["C-z"]);
    eventually(&sandbox, "it is stopped", is_stopped);
    assert_eq!(terminal.tmux(&["display-message", "-p", "#{alternate_on} #{cursor_flag}"]), "0 1\n");
    signal(pid, Signal::SIGCONT);
    terminal.shows(&["3 up", "by name"]);
    signal(pid, Signal::SIGTSTP);
    eventually(&sandbox, "it is stopped once more", is_stopped);
    signal(pid, Signal::SIGCONT);
    terminal.shows(&["3 up", "by name"]);
    assert!(alive(pid));
    terminal.keys(&["q"]);
    terminal.is_left_as_it_was(0);
}

#[test]
fn a_thousand_services_are_scrolled() {
    let sandbox = with_three();
    for number in 0..997 {
        let dir = sandbox.path(format!("status/x{number:03}"));
        fs::create_dir(&dir).unwrap();
        fs::copy(sandbox.file("status"), dir.join("status")).unwrap();
    }
    let Some(terminal) = Terminal::open(&sandbox, "") else { return };
    terminal.shows(&["1000 services", "app", "x010"]);
    terminal.keys(&["End"]);
    terminal.until("the last one is shown", |screen| names(screen).last() == Some(&"x996"));
    terminal.keys(&["PgUp", "g"]);
    terminal.until("the first one is shown", |screen| names(screen).first() == Some(&"app"));
    fs::remove_dir_all(sandbox.path("status/x000")).unwrap();
    fs::create_dir(sandbox.path("status/aaa")).unwrap();
    fs::copy(sandbox.file("status"), sandbox.path("status/aaa/status")).unwrap();
    terminal.until("who comes and goes is seen", |screen| names(screen)[0] == "aaa" && !screen.contains("x000"));
    terminal.keys(&["q"]);
    terminal.is_left_as_it_was(0);
}

#[test]
fn a_root_that_vanishes_is_waited_for_in_quiet() {
    let sandbox = with_three();
    let Some(terminal) = Terminal::open(&sandbox, "") else { return };
    terminal.shows(&["3 up"]);
    fs::rename(sandbox.path("status"), sandbox.path("away")).unwrap();
    terminal.shows(&["unable to read the status root: No such file", "3 unreadable"]);
    let pid = terminal.pid();
    let (mut since, mut used, mut quiet) = (Instant::now(), cpu_ticks(pid), 0);
    eventually(&sandbox, "it uses next to no CPU, three times in a row", || {
        if since.elapsed() >= MEASURED {
            let now = cpu_ticks(pid);
            quiet = if now - used <= FEW_TICKS { quiet + 1 } else { 0 };
            (since, used) = (Instant::now(), now);
        }
        quiet == 3
    });
    terminal.keys(&["?", "q"]);
    terminal.shows(&["unable to read the status root"]);
    fs::rename(sandbox.path("away"), sandbox.path("status")).unwrap();
    terminal.until("it is back", |screen| screen.contains("3 up") && !screen.contains("unable to"));
    terminal.keys(&["q"]);
    terminal.is_left_as_it_was(0);
}

#[test]
fn without_a_terminal_it_says_so() {
    let sandbox = Sandbox::new();
    let output = sandbox.run(svc_command(&sandbox, &["status", "--watch"])).expect_code(100);
    assert!(output.stderr.contains("--watch needs a terminal"), "{output:#?}");
    sandbox.run(svc_command(&sandbox, &["status", "--watch", "--json"])).expect_code(100);
}
