//! Where the kernel left the core file of a process, if it left one (core(5)).

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What the kernel's pattern can ask for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dumped<'a> {
    pub(super) pid: i32,
    pub(super) signal: i32,
    pub(super) host: &'a str,
    /// The first word of the command.
    pub(super) program: &'a [u8],
    /// The earliest Unix time in seconds at which it can have been written.
    pub(super) not_before: u64,
}

/// The core file's path, if the pattern names a file, it is there, and it is new enough to be this one.
pub(super) fn core_file(dumped: Dumped<'_>) -> Option<PathBuf> {
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").ok()?;
    let uses_pid = fs::read_to_string("/proc/sys/kernel/core_uses_pid").is_ok_and(|text| text.trim() != "0");
    let path = std::path::absolute(expand(pattern.trim_end_matches('\n'), uses_pid, dumped)?).ok()?;
    let written = u64::try_from(fs::symlink_metadata(&path).ok().filter(fs::Metadata::is_file)?.mtime()).ok()?;
    (written >= dumped.not_before).then_some(path)
}

/// `None`: the core goes to a program, or the pattern asks for something that we cannot know.
fn expand(pattern: &str, uses_pid: bool, dumped: Dumped<'_>) -> Option<String> {
    if pattern.starts_with('|') || pattern.starts_with('@') || pattern.is_empty() {
        return None;
    }
    let mut out = String::new();
    let mut characters = pattern.chars();
    let mut has_pid = false;
    while let Some(character) = characters.next() {
        if character != '%' {
            out.push(character);
            continue;
        }
        match characters.next()? {
            '%' => out.push('%'),
            'p' => {
                has_pid = true;
                out.push_str(&dumped.pid.to_string());
            }
            's' => out.push_str(&dumped.signal.to_string()),
            'h' => out.push_str(dumped.host),
            'u' => out.push_str(&nix::unistd::getuid().to_string()),
            'g' => out.push_str(&nix::unistd::getgid().to_string()),
            // The kernel's name for a process: 15 bytes of its file's name.
            'e' => {
                let name = Path::new(OsStr::from_bytes(dumped.program)).file_name()?.to_str()?;
                out.push_str(name.get(..15).unwrap_or(name));
            }
            _ => return None,
        }
    }
    if uses_pid && !has_pid {
        out.push('.');
        out.push_str(&dumped.pid.to_string());
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let dumped =
            Dumped { pid: 42, signal: 11, host: "h1", program: b"/opt/bin/a-very-long-program", not_before: 0 };
        for (pattern, uses_pid, expected) in [
            ("core", false, Some("core")),
            ("core", true, Some("core.42")),
            ("core.%p", true, Some("core.42")),
            ("/cores/%e.%p.%s.%h%%", false, Some("/cores/a-very-long-pro.42.11.h1%")),
            ("|/usr/lib/handler %p", false, None),
            ("core.%t", false, None),
            ("core%", false, None),
            ("", false, None),
        ] {
            assert_eq!(expand(pattern, uses_pid, dumped).as_deref(), expected, "{pattern}");
        }
    }
}
