//! The shells themselves complete verbs, options and module names. Where a shell is missing its test says so.

use crate::common::{Output, Sandbox, client_program, skip};
use crate::svc_watch::Terminal;

fn is_installed(shell: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(shell).exists()))
}

/// Runs a script in this shell, with `svc` in PATH and two services; none where the shell is not installed.
fn run(shell: &str, script: &str) -> Option<(Sandbox, Output)> {
    let sandbox = Sandbox::new();
    if !is_installed(shell) {
        skip(&format!("{shell} is not installed"));
        return None;
    }
    for name in ["web", "weblog", "db"] {
        sandbox.start_module(name, "ready");
    }
    sandbox.start_module("other", "ready");
    std::fs::rename(sandbox.path("status/other"), sandbox.path("elsewhere")).expect("supervise lets it be renamed");
    std::fs::create_dir(sandbox.path("second")).expect("the sandbox is writable");
    std::fs::rename(sandbox.path("elsewhere"), sandbox.path("second/other")).expect("the sandbox is writable");
    let programs = client_program("svc").parent()?.display().to_string();
    sandbox.write("script", script);
    let mut command = sandbox.program(shell);
    let path = format!("{programs}:{}", std::env::var("PATH").ok()?);
    command.arg("script").env("PATH", path).env("HOME", sandbox.path("")).env_remove("SUPERVISE_ROOT");
    let output = sandbox.run(command);
    Some((sandbox, output))
}

/// What the lines `LINE => candidates` say.
#[track_caller]
fn expect(output: &Output, expected: &[(&str, &[&str])]) {
    for (line, candidates) in expected {
        let start = format!("{line} =>");
        let found = output.stdout.lines().find_map(|said| said.strip_prefix(&start));
        let found = found.unwrap_or_else(|| panic!("nothing is said of {line:?}: {output:#?}"));
        let found: Vec<&str> = found.split_whitespace().collect();
        for candidate in *candidates {
            assert!(found.contains(candidate), "{line:?} should offer {candidate}: {found:?}");
        }
        assert!(!candidates.is_empty() || found.is_empty(), "{line:?} should offer nothing: {found:?}");
        if line.contains(" stop w") {
            assert_eq!(found.len(), 2, "only what begins so: {found:?}");
        }
    }
}

const EXPECTED: &[(&str, &[&str])] = &[
    ("svc st", &["start", "stop"]),
    ("svc stop w", &["web", "weblog"]),
    ("svc stop --", &["--all", "--no-wait", "--timeout"]),
    ("svc --root second stop ", &["other"]),
    ("svc signal US", &["USR1", "USR2"]),
    ("svc wait ", &["up", "down", "gave-up", "exited"]),
    ("svc completions ", &["bash", "zsh", "fish"]),
];

#[test]
fn bash_completes() {
    let script = r#"
eval "$(svc completions bash)"
complete -p svc >/dev/null || exit 1
function=$(complete -p svc | sed 's/.*-F \([^ ]*\).*/\1/')
ask() {
    COMP_LINE=$1 COMP_POINT=${#1} COMP_TYPE=9
    read -ra COMP_WORDS <<< "$1"
    case $1 in *' ') COMP_WORDS+=('') ;; esac
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    COMPREPLY=()
    "$function" svc "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}" 2>/dev/null
    echo "$1 => ${COMPREPLY[*]}"
}
"#;
    if let Some((_sandbox, output)) = run("bash", &ask_all(script)) {
        expect(&output, EXPECTED);
    }
}

#[test]
fn zsh_completes() {
    // The registered function is called with the words as zsh sets them, and what it would offer is caught.
    let script = r#"
compdef() { registered=$1; }
eval "$(svc completions zsh)"
_describe() {
    local candidate
    for candidate in "${(@P)@[-1]}"; do offered="$offered ${candidate%%:*}"; done
}
ask() {
    words=(${(z)1})
    case $1 in *' ') words+=('') ;; esac
    CURRENT=${#words}
    offered=
    "$registered"
    echo "$1 => $offered"
}
"#;
    if let Some((_sandbox, output)) = run("zsh", &ask_all(script)) {
        expect(&output, EXPECTED);
    }
}

#[test]
fn fish_completes() {
    let script = r#"
svc completions fish | source
function ask
    echo "$argv[1] =>" (complete -C $argv[1] | string replace -r '\t.*' '')
end
"#;
    if let Some((_sandbox, output)) = run("fish", &ask_all(script)) {
        expect(&output, EXPECTED);
    }
}

fn ask_all(script: &str) -> String {
    EXPECTED.iter().fold(script.to_owned(), |script, (line, _)| format!("{script}ask '{line}'\n"))
}

#[test]
fn names_are_quoted_as_the_shell_wants_it() {
    for (shell, begin) in [("bash", "bash --norc --noprofile"), ("zsh", "zsh -f"), ("fish", "fish --no-config")] {
        if !is_installed(shell) {
            skip(&format!("{shell} is not installed"));
            continue;
        }
        let sandbox = Sandbox::new();
        for name in ["my service", "o'brien", "new\nline", "plain"] {
            let dir = sandbox.path(format!("status/{name}"));
            std::fs::create_dir_all(&dir).expect("the sandbox is writable");
            std::fs::write(dir.join("status"), "").expect("the sandbox is writable");
        }
        let programs = client_program("svc").parent().expect("it stands in a folder").display().to_string();
        let line = format!("PATH={programs}:$PATH HOME=. exec {begin}");
        let Some(terminal) = Terminal::with(&sandbox, &["sh", "-c", &line]) else { return };
        let source = match shell {
            "bash" => "source <(svc completions bash)",
            "zsh" => "autoload -U compinit; compinit -D; source <(svc completions zsh)",
            _ => "svc completions fish | source",
        };
        terminal.keys(&["-l", &format!("{source}; echo all is re''ady")]);
        terminal.keys(&["Enter"]);
        terminal.shows(&["all is ready"]);
        for (typed, completed) in [
            ("my", "my\\ service"),
            ("my\\ s", "my\\ service"),
            ("\"my s", "\"my service\""),
            ("o", "o\\'brien"),
            ("pl", "plain"),
            ("new", "new"),
        ] {
            terminal.keys(&["-l", &format!("svc stop {typed}")]);
            terminal.keys(&["Tab"]);
            // What is completed is followed by a blank, so what is typed next is another word.
            terminal.keys(&["-l", "END"]);
            let blank = if completed == "new" { "" } else { " " };
            terminal.until(&format!("{shell} makes {completed} of {typed}"), |screen| {
                screen.contains(&format!("svc stop {completed}{blank}END"))
            });
            terminal.keys(&["C-u"]);
        }
    }
}

#[test]
fn a_variable_of_that_name_changes_nothing_else() {
    let sandbox = Sandbox::new();
    for value in ["", "0", "1", "/bin/sh"] {
        let mut command = sandbox.client("svc", &["--version"]);
        command.env("COMPLETE", value);
        let said = sandbox.run(command).expect_code(0).stdout;
        assert!(said.starts_with("svc "), "{said}");
    }
    sandbox.svc(&["completions", "tcsh"]).expect_code(100);
}
