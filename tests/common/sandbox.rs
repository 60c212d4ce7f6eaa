//! A folder of its own for each test, in which supervise runs, and from which nothing survives the test.

use std::fmt::Write as _;
use std::fs;
use std::ops::Deref;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use super::call::{Foreground, Output};
use super::process::{MARK, command_line, end_marked, marked, process_stat};
use super::status_dir::StatusDir;

/// The program under test.
pub(crate) fn supervise_program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_supervise"))
}

/// The service of the tests, which cargo builds as an example.
pub(crate) fn service_program() -> PathBuf {
    example("service")
}

/// Another program of the tests.
pub(crate) fn example(name: &str) -> PathBuf {
    let program = supervise_program().with_file_name("examples").join(name);
    assert!(
        program.exists(),
        "{} is not there: `cargo test` builds it, and so does `cargo build --examples`",
        program.display()
    );
    program
}

/// A test's folder. It has two parts: `work`, the current folder of all that is started, with `./service` in it, and
/// `calls` for the output of calls. It is used as its own default status directory: `sandbox.record()` is the
/// record in `work/status/app`.
pub(crate) struct Sandbox {
    app: StatusDir,
    mark: String,
    calls: AtomicU32,
    root: tempfile::TempDir,
}

impl Deref for Sandbox {
    type Target = StatusDir;

    fn deref(&self) -> &StatusDir {
        &self.app
    }
}

/// A shell starts what it puts into the background (`cargo test &`) with INT and QUIT ignored, nohup(1) with HUP, and
/// what the tests start would inherit that.
fn default_signals() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT] {
            // SAFETY: the default action has no handler that could do anything.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
    });
}

impl Sandbox {
    #[track_caller]
    pub(crate) fn new() -> Self {
        default_signals();
        let root = tempfile::Builder::new().prefix("supervise-test-").tempdir().expect("a temporary folder");
        let mark = root.path().to_string_lossy().into_owned();
        let work = root.path().join("work");
        fs::create_dir(&work).expect("the sandbox is writable");
        fs::create_dir(root.path().join("calls")).expect("the sandbox is writable");
        symlink(service_program(), work.join("service")).expect("the sandbox is writable");
        Sandbox { app: StatusDir::new(work.join("status/app"), &mark), mark, calls: AtomicU32::new(0), root }
    }

    /// A path below the current folder of what the test starts.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.path().join("work").join(name)
    }

    /// Another status directory than `status/app`.
    pub(crate) fn status_dir(&self, path: impl AsRef<Path>) -> StatusDir {
        StatusDir::new(self.path(path), &self.mark)
    }

    /// The text of a file, empty where there is none.
    pub(crate) fn read(&self, name: impl AsRef<Path>) -> String {
        String::from_utf8_lossy(&fs::read(self.path(name)).unwrap_or_default()).into_owned()
    }

    #[track_caller]
    pub(crate) fn write(&self, name: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap_or_else(|e| panic!("unable to write {}: {e}", path.display()));
    }

    /// Writes supervise.conf.
    #[track_caller]
    pub(crate) fn write_conf(&self, text: &str) {
        self.write("supervise.conf", text);
    }

    /// Copies a program into the sandbox, under this name.
    #[track_caller]
    pub(crate) fn bring(&self, program: &Path, name: &str) {
        copy_program(program, &self.path(name));
    }

    /// Makes all of the sandbox another user's, for tests that root runs as somebody else. The programs are copied in,
    /// because that user may not be able to enter the folder they were built in.
    #[track_caller]
    pub(crate) fn give_to(&self, uid: u32) {
        fs::remove_file(self.path("service")).expect("the link is there");
        for (program, name) in [(service_program(), "service"), (supervise_program(), "supervise")] {
            self.bring(&program, name);
        }
        let root = self.root.path();
        for path in [root.to_owned(), root.join("calls"), self.path(""), self.path("service"), self.path("supervise")] {
            std::os::unix::fs::chown(&path, Some(uid), Some(uid)).expect("root may give files away");
        }
    }

    /// A command line for any program that is to run in this sandbox.
    pub(crate) fn program(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command
            .current_dir(self.path(""))
            .env(MARK, &self.mark)
            .env("SVALARM_TEST_SLOTS", self.root.path().join("slots"));
        command
    }

    /// A command line for supervise.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.program(supervise_program());
        command.args(args);
        command
    }

    /// Runs a command line to its end, with its output caught and its time limited.
    #[track_caller]
    pub(crate) fn run(&self, command: Command) -> Output {
        self.spawn(command).wait()
    }

    /// Starts a command line and goes on.
    #[track_caller]
    pub(crate) fn spawn(&self, command: Command) -> Foreground {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        Foreground::start(command, self.root.path().join(format!("calls/{number:03}")))
    }

    /// Calls supervise and waits until the caller's process has returned.
    #[track_caller]
    pub(crate) fn background(&self, args: &[&str]) -> Output {
        self.run(self.command(args))
    }

    /// Starts supervise with arguments that keep it in the foreground.
    #[track_caller]
    pub(crate) fn foreground(&self, args: &[&str]) -> Foreground {
        self.spawn(self.command(args))
    }

    /// The usual start, which must work: `supervise -p status/app -f "./service ACTIONS" OPTIONS`.
    #[track_caller]
    pub(crate) fn start(&self, actions: &str, options: &[&str]) -> Output {
        let service = format!("./service {actions}");
        let args: Vec<&str> = ["-p", "status/app", "-f", &service].iter().chain(options).copied().collect();
        self.background(&args).expect_code(0)
    }

    /// The usual start as another user, for root. The sandbox must have been given to that user.
    pub(crate) fn command_as(&self, uid: u32, args: &[&str]) -> Command {
        let mut command = self.program(self.path("supervise"));
        command.args(args).uid(uid).gid(uid);
        command
    }

    /// The living processes of this sandbox.
    pub(crate) fn processes(&self) -> Vec<super::Pid> {
        marked(&self.mark)
    }

    /// All there is to see: the files, what is in the short ones, and the processes.
    pub(crate) fn dump(&self) -> String {
        let mut text = format!("--- the sandbox {} ---\n", self.mark);
        dump_folder(self.root.path(), &mut text);
        text.push_str("processes:\n");
        for pid in self.processes() {
            let _ = writeln!(text, "  {pid} {} {:?}", command_line(pid), process_stat(pid));
        }
        text
    }
}

/// Copies a program, by another process: a file that this one has open for writing could not be executed (ETXTBSY), also
/// where it is a child just forked by another test that has it open.
#[track_caller]
pub(crate) fn copy_program(from: &Path, to: &Path) {
    let copied = Command::new("cp").args([from, to]).status().expect("cp is there");
    assert!(copied.success(), "cp {} {}", from.display(), to.display());
}

/// One line a file, and the content of those that tests look at.
fn dump_folder(folder: &Path, text: &mut String) {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect();
    paths.sort();
    for path in paths {
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        let mode = meta.permissions().mode();
        let _ = write!(text, "{mode:06o} {:>5} {:>8} {}", meta.uid(), meta.len(), path.display());
        if let Ok(target) = fs::read_link(&path) {
            let _ = write!(text, " -> {}", target.display());
        }
        text.push('\n');
        if meta.is_dir() {
            dump_folder(&path, text);
        } else if meta.is_file() && meta.len() < 1 << 20 && mode & 0o111 == 0 {
            dump_file(&path, text);
        }
    }
}

fn dump_file(path: &Path, text: &mut String) {
    /// The last lines of a file are those that tell, and the first characters of a line.
    const LINES: usize = 40;
    const WIDTH: usize = 300;
    let bytes = fs::read(path).unwrap_or_default();
    if path.file_name().is_some_and(|name| name == "status") {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let _ = writeln!(text, "    {hex}");
        return;
    }
    // The environment in a report is nobody's business but the test's.
    let content = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = content.lines().filter(|line| !line.is_empty() && !line.starts_with("env ")).collect();
    for line in &lines[lines.len().saturating_sub(LINES)..] {
        let _ = writeln!(text, "    {}", line.chars().take(WIDTH).collect::<String>());
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.dump());
        }
        end_marked(&self.mark);
    }
}
