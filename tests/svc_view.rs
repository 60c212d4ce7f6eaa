//! What the tests of `svc status`, `svc tail` and `svc alarms` share.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use crate::common::{Output, Sandbox};

/// The client.
pub(crate) fn svc_program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_svc"))
}

/// A command line for it, in the sandbox, without anything of ours that changes how it prints.
pub(crate) fn svc_command(sandbox: &Sandbox, args: &[impl AsRef<OsStr>]) -> Command {
    let mut command = sandbox.program(svc_program());
    command.args(args);
    for name in ["NO_COLOR", "CLICOLOR_FORCE", "SUPERVISE_ROOT", "COLUMNS"] {
        command.env_remove(name);
    }
    command
}

/// Runs it to its end.
#[track_caller]
pub(crate) fn svc(sandbox: &Sandbox, args: &[impl AsRef<OsStr>]) -> Output {
    sandbox.run(svc_command(sandbox, args))
}

/// The words of the table's line for a module.
#[track_caller]
pub(crate) fn table_row(output: &Output, module: &str) -> Vec<String> {
    let line = output.stdout.lines().find(|line| line.split_whitespace().next() == Some(module));
    let line = line.unwrap_or_else(|| panic!("no line for {module} in {output:#?}"));
    line.split_whitespace().map(str::to_owned).collect()
}

/// Starts another service than `app`.
#[track_caller]
pub(crate) fn start_service(sandbox: &Sandbox, name: &str, actions: &str) {
    let dir = format!("status/{name}");
    sandbox.background(&["-p", &dir, "-f", &format!("./service {actions}")]).expect_code(0);
}
