//! One call of a program, with its output caught and its time limited.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::process::{Pid, signal};
use super::wait::{LIMIT, POLL};
use nix::sys::signal::Signal;

/// How a call ended, and what it said.
#[derive(Debug)]
pub(crate) struct Output {
    /// The exit code; none where a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    /// Fails the test unless the call ended with this code.
    #[track_caller]
    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "the exit code of {self:#?}");
        self
    }

    /// Fails the test unless stderr holds each of these texts.
    #[track_caller]
    pub(crate) fn expect_stderr(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.stderr.contains(text), "stderr should hold {text:?}: {self:#?}");
        }
        self
    }
}

/// A program that runs, with its output going to files. Files and not pipes: whoever keeps a pipe open would make
/// the test hang. When dropped, the program is killed and reaped.
pub(crate) struct Foreground {
    child: Child,
    ended: Option<ExitStatus>,
    what: String,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Foreground {
    /// Starts `command` with stdin from /dev/null; `base` and an ending name the files for its output.
    #[track_caller]
    pub(crate) fn start(mut command: Command, base: PathBuf) -> Self {
        let (stdout, stderr) = (base.with_extension("out"), base.with_extension("err"));
        let create = |path: &PathBuf| File::options().create(true).append(true).open(path).expect("a file for output");
        command.stdin(Stdio::null()).stdout(create(&stdout)).stderr(create(&stderr));
        let what = format!("{command:?}");
        let child = command.spawn().unwrap_or_else(|e| panic!("unable to start {what}: {e}"));
        Foreground { child, ended: None, what, stdout, stderr }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::try_from(self.child.id()).expect("a pid fits")
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.stdout).unwrap_or_default()).into_owned()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.stderr).unwrap_or_default()).into_owned()
    }

    /// Whether the program has not ended yet.
    pub(crate) fn runs(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("a child can be waited for");
        }
        self.ended.is_none()
    }

    /// Waits for the end; one that doesn't come in time fails the test.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Output {
        let limit = Instant::now() + LIMIT;
        while self.runs() {
            assert!(
                Instant::now() < limit,
                "{} has not returned after {} s\nstdout: {}\nstderr: {}\nkernel stack: {}",
                self.what,
                LIMIT.as_secs(),
                self.stdout(),
                self.stderr(),
                fs::read_to_string(format!("/proc/{}/stack", self.pid())).unwrap_or_default(),
            );
            std::thread::sleep(Duration::min(POLL, Duration::from_millis(2)));
        }
        let status = self.ended.expect("it has ended");
        Output { code: status.code(), stdout: self.stdout(), stderr: self.stderr() }
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        if self.runs() {
            signal(self.pid(), Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }
}
