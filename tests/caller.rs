//! The process that was called, while supervise goes on in a child: in the same memory, or, where that can't be, a copy.

use std::process::Command;

use nix::libc;
use nix::sys::signal::Signal;

use crate::common::{Output, Refused, Sandbox, alive, can_refuse, eventually, refusing, signal, supervise_program};
use crate::traced::can_trace;

/// How the child gets its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Memory {
    Shared,
    /// The kernel says that it is one of those where a core dump would end both.
    CopiedOnOldKernels,
    /// The kernel lets none be shared.
    CopiedWhereRefused,
}

const MEMORIES: [Memory; 3] = [Memory::Shared, Memory::CopiedOnOldKernels, Memory::CopiedWhereRefused];

impl Memory {
    /// Such a start, with the words of another program, `before`, in front of it.
    fn command(self, sandbox: &Sandbox, before: &[&str], options: &[&str]) -> Command {
        let mut words = if self == Self::CopiedOnOldKernels { vec!["setarch", "--uname-2.6"] } else { vec!["env"] };
        words.extend_from_slice(before);
        let mut command = sandbox.program(words[0]);
        command.args(&words[1..]).arg(supervise_program());
        command.args(["-p", "status/app", "-f", "./service ready"]).args(options);
        let argument = Some((0, (libc::CLONE_VM | libc::SIGCHLD).cast_unsigned()));
        let refused = Refused { call: libc::SYS_clone, argument, errno: libc::EPERM };
        if self == Self::CopiedWhereRefused { refusing(command, &[refused]) } else { command }
    }

    /// A start under strace, whose child ends before there is a service. The calls that are traced are those that make
    /// processes, wait and end.
    fn traced(self, sandbox: &Sandbox, more: &[&str], options: &[&str]) -> (Output, String) {
        let strace =
            ["strace", "-f", "-qq", "-o", "trace", "-e", "trace=clone,setsid,wait4,exit_group,set_tid_address"];
        let output = sandbox.run(self.command(sandbox, &[&strace, more].concat(), options));
        let trace = sandbox.read("trace");
        let is_shared = trace.lines().any(|line| line.contains("CLONE_VM") && !line.contains("= -1"));
        assert_eq!(is_shared, self == Self::Shared && cfg!(target_env = "gnu"), "{self:?}: {trace}");
        // In memory that is the child's the kernel is to note nothing at the end of this process.
        assert!(
            !is_shared || trace.contains("set_tid_address(0)") || trace.contains("set_tid_address(NULL)"),
            "{trace}"
        );
        (output, trace)
    }
}

#[test]
fn whoever_has_the_memory_the_caller_is_answered_and_the_service_runs() {
    for memory in MEMORIES {
        let sandbox = Sandbox::new();
        if memory == Memory::CopiedWhereRefused && !can_refuse(&sandbox) {
            continue;
        }
        let output = sandbox.run(memory.command(&sandbox, &[], &[])).expect_code(0);
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""), "{memory:?}");
        sandbox.until_ready();
        assert_eq!(sandbox.warnings(), "", "{memory:?}");
        sandbox.write_control(b"dx");
        sandbox.until_ended();
    }
}

#[test]
fn a_supervise_that_dies_before_it_answers_is_told_of_with_111() {
    for memory in MEMORIES {
        let sandbox = Sandbox::new();
        if !can_trace(&sandbox) || memory == Memory::CopiedWhereRefused && !can_refuse(&sandbox) {
            continue;
        }
        let (output, _) = memory.traced(&sandbox, &["-e", "inject=setsid:signal=KILL"], &[]);
        let output = output.expect_code(111);
        assert_eq!(output.stderr, "supervise: app: supervise died before the service was started\n", "{memory:?}");
        assert!(!sandbox.status_path().exists(), "{memory:?}");
    }
}

#[test]
fn a_start_that_fails_leaves_nothing_running() {
    for memory in MEMORIES {
        let sandbox = Sandbox::new();
        if !can_trace(&sandbox) || memory == Memory::CopiedWhereRefused && !can_refuse(&sandbox) {
            continue;
        }
        sandbox.write_conf("[global]\npacing : fast\n");
        let (_, trace) = memory.traced(&sandbox, &[], &["-F", "supervise.conf"]);
        let ends: Vec<_> = trace.lines().filter(|line| line.contains("exit_group(100")).collect();
        let [child, caller] = ends[..] else { panic!("{memory:?}: two end, with the same code: {trace}") };
        let pid = |line: &str| line.split_once(' ').expect("`PID call`").0.to_owned();
        let waited = format!("wait4({},", pid(child));
        let is_waited_for = |line: &str| pid(line) == pid(caller) && line.contains(&waited);
        assert!(trace.lines().any(is_waited_for), "{memory:?}, {waited}: {trace}");
    }
}

#[test]
fn a_caller_that_is_killed_while_it_waits_leaves_its_supervise() {
    for memory in MEMORIES {
        let sandbox = Sandbox::new();
        if !can_trace(&sandbox) || memory == Memory::CopiedWhereRefused && !can_refuse(&sandbox) {
            continue;
        }
        // Its child stands still in the middle of the setting up.
        let strace = ["strace", "-f", "-qq", "-o", "trace", "-e", "trace=clone,?fork,flock"];
        let hold = ["-e", "inject=flock:delay_enter=1000000"];
        let strace = sandbox.spawn(memory.command(&sandbox, &[&strace[..], &hold].concat(), &[]));
        eventually(&sandbox, "the child is on its way", || sandbox.read("trace").contains("flock("));
        let trace = sandbox.read("trace");
        let caller = trace.split_once(' ').and_then(|(pid, _)| pid.parse().ok()).expect("`PID call`");
        signal(caller, Signal::SIGKILL);
        sandbox.until_ready();
        assert!(!alive(caller));
        sandbox.write_control(b"dx");
        strace.wait();
        assert_eq!(sandbox.warnings(), "", "{memory:?}");
    }
}
