//! The supervisors that are measured, each in a folder of its own.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use supervise::sys::now;

/// The programs of a run, and where they run.
#[derive(Debug)]
pub(crate) struct Programs {
    /// All folders stay until the run is over: ext4 looks at each inode that was freed in the last minutes before it
    /// takes another, so that whoever makes files after much was removed pays for it (ten times as much was seen).
    ground: tempfile::TempDir,
    /// The released supervise.
    pub(crate) supervise: PathBuf,
    floor: PathBuf,
    /// The service.
    pub(crate) stamp: PathBuf,
    runsv: Option<PathBuf>,
    daemontools: Option<PathBuf>,
}

/// A supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// This project's.
    Supervise,
    /// The least that is possible.
    Floor,
    /// runit's.
    Runsv,
    /// The other program of the name supervise.
    Daemontools,
}

impl Who {
    /// As it stands in the tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Supervise => "supervise",
            Self::Floor => "floor",
            Self::Runsv => "runit",
            Self::Daemontools => "daemontools",
        }
    }
}

impl Programs {
    /// Builds what is measured as it is released; `cargo bench` itself builds it to unwind.
    pub(crate) fn build() -> Self {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo)
            .args(["build", "--quiet", "--release", "--bin", "supervise", "--bin", "svc", "--example", "floor"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status();
        assert!(built.is_ok_and(|status| status.success()), "the programs can be built");
        let own = std::env::current_exe().expect("a program knows its file");
        let release = own.ancestors().nth(2).expect("it is in target/…/release/deps").to_owned();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let find = |name: &str, beside: &str| {
            let mut folders = std::env::split_paths(&path);
            folders.find(|folder| folder.join(name).exists() && folder.join(beside).exists()).map(|at| at.join(name))
        };
        Self {
            ground: tempfile::tempdir().expect("a folder can be made"),
            supervise: release.join("supervise"),
            floor: release.join("examples/floor"),
            stamp: build_stamp(&release),
            runsv: find("runsv", "runsv"),
            daemontools: find("supervise", "svscan"),
        }
    }

    /// A new folder.
    pub(crate) fn folder(&self) -> PathBuf {
        tempfile::tempdir_in(&self.ground).expect("a folder can be made").keep()
    }

    /// Those that can be measured here.
    pub(crate) fn all(&self) -> Vec<Who> {
        let mut all = vec![Who::Floor, Who::Supervise];
        all.extend(self.daemontools.as_ref().map(|_| Who::Daemontools));
        all.extend(self.runsv.as_ref().map(|_| Who::Runsv));
        all
    }

    /// The file of one of [`Programs::all`].
    pub(crate) fn path(&self, who: Who) -> &Path {
        let program = match who {
            Who::Supervise => Some(&self.supervise),
            Who::Floor => Some(&self.floor),
            Who::Runsv => self.runsv.as_ref(),
            Who::Daemontools => self.daemontools.as_ref(),
        };
        program.expect("it is one of `all`")
    }
}

/// The service, which cargo can't build: it has neither standard library nor C library.
fn build_stamp(folder: &Path) -> PathBuf {
    let (source, program) =
        (Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/programs/stamp.rs"), folder.join("stamp"));
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.args(["--edition", "2024", "-O"]).arg("-o").arg(&program).arg(source);
    for flag in ["panic=abort", "strip=symbols", "relocation-model=static", "target-feature=+crt-static"] {
        rustc.args(["-C", flag]);
    }
    let built = rustc.args(["-C", "link-arg=-nostartfiles", "-C", "link-arg=-nostdlib"]).status();
    assert!(built.is_ok_and(|status| status.success()), "the service can be built");
    program
}

/// One supervisor with its service.
#[derive(Debug)]
pub(crate) struct Place {
    /// Which supervisor.
    pub(crate) who: Who,
    folder: PathBuf,
    child: Option<Child>,
    /// When it was started, on CLOCK_MONOTONIC, in nanoseconds.
    pub(crate) begun: u64,
}

const CONF: &str = "[global]\nalarm_interval : 60\nalarm_mail :\nmax_tries : 0\npacing : 0.1\n";

impl Place {
    /// Starts a supervisor in `folder`, which it makes. `lines` are added to the conf of ours.
    pub(crate) fn start(programs: &Programs, who: Who, folder: &Path, lines: &str) -> Self {
        Self::spawn(programs, who, folder, lines).answered()
    }

    /// The same without waiting for the answer of ours, which goes into the background; [`Place::answered`] does.
    pub(crate) fn spawn(programs: &Programs, who: Who, folder: &Path, lines: &str) -> Self {
        fs::create_dir_all(folder.join("status")).expect("a folder can be made");
        fs::write(folder.join("supervise.conf"), format!("{CONF}{lines}")).expect("a file can be written");
        symlink(&programs.stamp, folder.join("run")).expect("a link can be made");
        let mut command = Command::new(programs.path(who));
        command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        match who {
            Who::Supervise => command.args(["-F", "supervise.conf", "-u", "status/app", "./run"]),
            Who::Floor => command.arg("./run"),
            Who::Runsv | Who::Daemontools => command.arg("."),
        };
        // A process group of its own, so that nothing of a peer's is left behind.
        command.process_group(0);
        let begun = now().moment.0;
        let child = Some(command.spawn().expect("the supervisor can be executed"));
        Self { who, folder: folder.to_owned(), child, begun }
    }

    /// Waits until supervise has said that it is started.
    pub(crate) fn answered(mut self) -> Self {
        if self.who == Who::Supervise
            && let Some(mut child) = self.child.take()
        {
            assert!(child.wait().is_ok_and(|status| status.success()), "supervise starts");
        }
        self
    }

    fn stamps(&self, kind: &str) -> Vec<(u64, i32)> {
        let text = fs::read_to_string(self.folder.join("stamps")).unwrap_or_default();
        let lines = text.lines().filter_map(|line| {
            let mut words = line.split(' ');
            let is_it = words.next() == Some(kind);
            is_it.then_some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
        });
        lines.collect()
    }

    /// The time and the number of the stamp of this kind that is the `count`th, once it is there.
    pub(crate) fn stamp(&self, kind: &str, count: usize) -> (u64, i32) {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(&stamp) = self.stamps(kind).get(count - 1) {
                return stamp;
            }
            assert!(Instant::now() < until, "{} goes on within 20 s", self.who.name());
            sleep(Duration::from_millis(2));
        }
    }

    /// How many stamps of this kind there are.
    pub(crate) fn count(&self, kind: &str) -> usize {
        self.stamps(kind).len()
    }

    /// The control fifo.
    pub(crate) fn fifo(&self) -> Option<PathBuf> {
        match self.who {
            Who::Supervise => Some(self.folder.join("status/app/svcontrol")),
            Who::Floor => None,
            Who::Runsv | Who::Daemontools => Some(self.folder.join("supervise/control")),
        }
    }

    /// The supervisor's own pid.
    pub(crate) fn pid(&self) -> i32 {
        match &self.child {
            Some(child) => i32::try_from(child.id()).expect("a pid is one"),
            None => {
                let state = fs::read_to_string(self.folder.join("status/app/state")).unwrap_or_default();
                let pid = state.lines().find_map(|line| line.strip_prefix("supervise : ")?.parse().ok());
                pid.expect("the long record names supervise")
            }
        }
    }
}

impl Drop for Place {
    /// Ends the supervisor, and then its service.
    fn drop(&mut self) {
        let supervisor = self.pid();
        let service = self.stamps("S").last().map(|&(_, pid)| pid);
        let _ = kill(Pid::from_raw(supervisor), Signal::SIGKILL);
        if let Some(child) = &mut self.child {
            let _ = child.wait();
        }
        if let Some(pid) = service {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}
