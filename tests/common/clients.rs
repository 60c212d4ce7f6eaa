//! Calls of the clients, and services in numbers for them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::{Foreground, Output, Sandbox, StatusDir, eventually};

/// A program that was built beside supervise: `svc`, `svstat`, `svok`.
pub(crate) fn client_program(name: &str) -> PathBuf {
    super::supervise_program().with_file_name(name)
}

impl Sandbox {
    /// A command line for one of the clients.
    pub(crate) fn client(&self, name: &str, args: &[&str]) -> Command {
        let mut command = self.program(client_program(name));
        command.args(args).env_remove("SUPERVISE_ROOT").env_remove("COMPLETE");
        command
    }

    /// Runs `svc` to its end.
    #[track_caller]
    pub(crate) fn svc(&self, args: &[&str]) -> Output {
        self.run(self.client("svc", args))
    }

    /// Starts `svc` and goes on.
    #[track_caller]
    pub(crate) fn svc_in_background(&self, args: &[&str]) -> Foreground {
        self.spawn(self.client("svc", args))
    }

    /// Starts `svc wait`, and goes on once it waits: it has `ok` open by then.
    #[track_caller]
    pub(crate) fn svc_that_waits(&self, args: &[&str]) -> Foreground {
        let call = self.svc_in_background(&[&["wait"], args].concat());
        let holds_ok = |entry: fs::DirEntry| fs::read_link(entry.path()).is_ok_and(|path| path.ends_with("ok"));
        eventually(self, "svc waits", || {
            fs::read_dir(format!("/proc/{}/fd", call.pid())).into_iter().flatten().flatten().any(holds_ok)
        });
        call
    }

    /// Starts `./service ACTIONS` as `status/NAME`.
    #[track_caller]
    pub(crate) fn start_module(&self, name: &str, actions: &str) -> StatusDir {
        let dir = format!("status/{name}");
        self.background(&["-p", &dir, "-f", &format!("./service {actions}")]).expect_code(0);
        self.status_dir(dir)
    }
}
