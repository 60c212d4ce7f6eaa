//! Control scripts as people wrote them for the classic tools: od, fuser, svc and svstat, under bash and dash.

use std::fs;

use crate::common::{Sandbox, alive, client_program, eventually, skip};

/// start, stop, restart and check, in the ways of the classic tools.
const SCRIPT: &str = r#"
cd "$(dirname "$0")" || exit 1
DIR=./status/app

alive() { fuser -s "$DIR/lock" >/dev/null 2>&1; }

pid() { od -An -j16 -N4 -tu4 "$DIR/status" | tr -d ' '; }

start() {
    if alive; then
        svc -u "$DIR"
    else
        supervise -p "$DIR" -f "./service ready" || exit 1
    fi
    i=0
    while [ "$(pid)" = 0 ]; do
        i=$((i + 1)); [ $i -gt 500 ] && { echo "start failed"; exit 1; }
        sleep 0.02
    done
}

stop() {
    alive || return 0
    svc -d "$DIR"
    i=0
    while [ "$(pid)" != 0 ]; do
        i=$((i + 1)); [ $i -gt 500 ] && svc -k "$DIR"
        sleep 0.02
    done
    svc -x "$DIR"
    while svok "$DIR"; do sleep 0.02; done
    while alive; do sleep 0.02; done
}

restart() {
    old=$(pid)
    svc -t "$DIR"
    while [ "$(pid)" = "$old" ] || [ "$(pid)" = 0 ]; do sleep 0.02; done
}

check() {
    alive || { echo "no supervise"; exit 2; }
    case "$(svstat "$DIR")" in
        "$DIR: up (pid $(pid)) "*" seconds"*) echo "up $(pid)" ;;
        "$DIR: down "*) echo down; exit 1 ;;
        *) svstat "$DIR"; exit 3 ;;
    esac
}

case "$1" in
    start|stop|restart|check) "$1" ;;
    script) svc "$DIR" "$2" ;;
    *) echo "usage: $0 start|stop|restart|check"; exit 100 ;;
esac
"#;

fn works_under(shell: &str) {
    let sandbox = Sandbox::new();
    for tool in [shell, "od", "fuser"] {
        let found =
            std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(|dir| dir.join(tool).exists());
        if !found {
            return skip(&format!("{tool} is not installed"));
        }
    }
    sandbox.write("control", SCRIPT);
    let programs = client_program("svc").parent().expect("a folder").display().to_string();
    let path = format!("{programs}:{}", std::env::var("PATH").unwrap_or_default());
    let control = |words: &[&str], code: i32| {
        let mut command = sandbox.program(shell);
        command.arg("control").args(words).env("PATH", &path);
        let ended = sandbox.run(command).expect_code(code);
        assert_eq!(ended.stderr, "", "{words:?}");
        ended.stdout
    };
    assert_eq!(control(&["check"], 2), "no supervise\n");
    control(&["start"], 0);
    let first = sandbox.until_ready();
    assert_eq!(control(&["check"], 0), format!("up {first}\n"));
    control(&["start"], 0);
    assert_eq!(sandbox.service_pid(), Some(first), "it is up already");
    control(&["restart"], 0);
    let second = sandbox.until_ready_after(first);
    assert_eq!(control(&["check"], 0), format!("up {second}\n"));
    assert_eq!(control(&["script", "stop"], 0), "./status/app: stopped\n");
    assert_eq!(control(&["check"], 1), "down\n");
    control(&["start"], 0);
    let third = sandbox.until_ready_after(second);
    control(&["stop"], 0);
    assert!(!alive(third));
    assert_eq!(control(&["check"], 2), "no supervise\n");
    eventually(&sandbox, "nothing is left", || sandbox.processes().is_empty());
    assert!(fs::metadata(sandbox.file("svcontrol")).is_ok(), "the fifo stays");
}

#[test]
fn a_control_script_works_under_bash() {
    works_under("bash");
}

#[test]
fn a_control_script_works_under_dash() {
    works_under("dash");
}
