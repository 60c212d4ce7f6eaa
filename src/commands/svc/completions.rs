//! Completion of the command line: the shell asks this program what may follow.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::CompleteEnv;
use clap_complete::engine::{
    ArgValueCandidates, ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter,
};
use clap_complete::env::{Bash, EnvCompleter, Fish, Zsh};

use super::steer::SIGNALS;
use super::{Line, exit};
use crate::client::{find_all, root};
use crate::sys::words;

/// By this variable a shell asks; its value is the shell's name.
const VARIABLE: &str = "COMPLETE";

/// Of the shells only bash puts names onto the line as they are; but it quotes what it takes for names of files.
const BASH_QUOTES: &str = "\
_svc_quoting() {
    _clap_complete_svc \"$@\"
    local IFS=/
    [[ \"${COMPREPLY[*]}\" != *[^[:alnum:]/_.:=+@%,-]* ]] || compopt -o filenames 2> /dev/null
}
complete -o nospace -o bashdefault -o nosort -F _svc_quoting svc 2> /dev/null ||
    complete -o nospace -o bashdefault -F _svc_quoting svc
";

/// `svc completions`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Shell {
    fn completer(self) -> &'static dyn EnvCompleter {
        match self {
            Self::Bash => &Bash,
            Self::Zsh => &Zsh,
            Self::Fish => &Fish,
        }
    }
}

/// Answers a shell that asks what may follow, and ends the program then. A variable that was set for something else
/// changes nothing.
pub(super) fn answer_shell() {
    let asked = std::env::var_os(VARIABLE);
    if asked.is_some_and(|shell| Shell::value_variants().iter().any(|known| shell == known.completer().name())) {
        let folder = std::env::current_dir().ok();
        let completed =
            CompleteEnv::with_factory(Line::command).var(VARIABLE).bin("svc").try_complete(words(), folder.as_deref());
        if completed.unwrap_or_else(|error| error.exit()) {
            std::process::exit(0);
        }
    }
}

/// Prints what a shell is to read at its start.
pub(super) fn run(arguments: &Arguments) -> u8 {
    // Where it was called by a path it may be in no folder of PATH.
    let called = words().into_iter().next().unwrap_or_else(|| OsString::from("svc"));
    let has_folder = Path::new(&called).components().count() > 1;
    let program =
        if has_folder { std::env::current_exe().unwrap_or(PathBuf::from(called)) } else { PathBuf::from("svc") };
    let mut script = Vec::new();
    let completer = arguments.shell.completer();
    let registered = completer.write_registration(VARIABLE, "svc", "svc", &program.to_string_lossy(), &mut script);
    if arguments.shell == Shell::Bash {
        script.extend_from_slice(BASH_QUOTES.as_bytes());
    }
    let written = registered.and_then(|()| std::io::stdout().write_all(&script));
    written.map_or(exit::SYSTEM, |()| exit::DONE)
}

/// Completes the name of a service: the modules below the status root, else the paths of folders.
pub(super) fn names() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let line = words();
        let services = find_all(&root(root_typed(&line))).unwrap_or_default();
        let typed = [current.as_encoded_bytes(), &unquoted(current.as_encoded_bytes())];
        // Shells take candidates line by line, as text.
        let can_be_offered = |name: &OsString| name.to_str().is_some_and(|name| !name.contains(char::is_control));
        let is_meant = |name: &OsString| {
            can_be_offered(name) && typed.iter().any(|typed| name.as_encoded_bytes().starts_with(typed))
        };
        let found: Vec<CompletionCandidate> =
            services.into_iter().map(|service| service.name).filter(is_meant).map(CompletionCandidate::new).collect();
        if found.is_empty() { PathCompleter::dir().complete(current) } else { found }
    })
}

/// A word as the shell takes it in the end; what is not closed yet is closed at its end.
fn unquoted(word: &[u8]) -> Vec<u8> {
    let (mut out, mut open, mut bytes) = (Vec::new(), None, word.iter().copied());
    while let Some(byte) = bytes.next() {
        match (byte, open) {
            (b'\\', None | Some(b'"')) => out.extend(bytes.next()),
            (b'\'' | b'"', None) => open = Some(byte),
            (byte, Some(quote)) if byte == quote => open = None,
            _ => out.push(byte),
        }
    }
    out
}

/// Completes the name of a signal.
pub(super) fn signals() -> ArgValueCandidates {
    ArgValueCandidates::new(|| SIGNALS.iter().map(|&(name, _)| CompletionCandidate::new(name)).collect())
}

/// The status root that stands on the line so far.
fn root_typed(words: &[OsString]) -> Option<PathBuf> {
    let place = words.iter().rposition(|word| word.as_encoded_bytes().starts_with(b"--root"))?;
    let value = match words[place].to_str()?.strip_prefix("--root=") {
        Some(value) => value.into(),
        None if words[place] == "--root" => words.get(place + 1)?.clone(),
        None => return None,
    };
    Some(PathBuf::from(OsString::from_vec(unquoted(value.as_bytes()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_the_shells_own() {
        for (word, meant) in [
            ("web", "web"),
            ("my\\ ser", "my ser"),
            ("\"my ser", "my ser"),
            ("'o\\b", "o\\b"),
            ("\"o'b\"x", "o'bx"),
            ("\"a\\\"b", "a\"b"),
            ("a\\", "a"),
        ] {
            assert_eq!(String::from_utf8(unquoted(word.as_bytes())).unwrap(), meant, "{word}");
        }
    }

    #[test]
    fn the_root_may_stand_on_the_line() {
        let typed = |words: &[&str]| root_typed(&words.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(typed(&["svc", "--", "svc", "--root", "/a", "stop", ""]), Some("/a".into()));
        assert_eq!(typed(&["svc", "stop", "--root=/b", ""]), Some("/b".into()));
        assert_eq!(typed(&["svc", "--root", "'/b c'", ""]), Some("/b c".into()));
        for none in [&["svc", "stop", "--roots", "a"][..], &["svc", "--root"], &["svc", "stop"]] {
            assert_eq!(typed(none), None, "{none:?}");
        }
    }
}
