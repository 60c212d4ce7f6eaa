//! Why a file may not be read, told so that the reader knows whom to ask.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;

use crate::sys::why;
use crate::text::escape;

/// `Permission denied: status/web (owner www, mode 0700)`; other errors without what stands in brackets. Where a folder
/// above the file keeps us out, that folder is named.
#[must_use]
pub fn refusal(path: &Path, errno: Errno) -> String {
    if matches!(errno, Errno::EACCES | Errno::EPERM)
        && let Some((closed, meta)) =
            path.ancestors().find_map(|path| fs::symlink_metadata(path).ok().map(|m| (path, m)))
    {
        let (owner, mode) = (user_name(meta.uid()), meta.mode() & 0o7777);
        return format!("{}: {} (owner {owner}, mode {mode:04o})", why(errno), shown(closed));
    }
    format!("{}: {}", why(errno), shown(path))
}

fn shown(path: &Path) -> String {
    escape(path.as_os_str().as_encoded_bytes())
}

/// The user's name in /etc/passwd, else the number. Not through the C library, whose name services a statically linked
/// program cannot load.
#[must_use]
pub fn user_name(uid: u32) -> String {
    let passwd = fs::read("/etc/passwd").unwrap_or_default();
    name_in(&String::from_utf8_lossy(&passwd), uid).unwrap_or_else(|| uid.to_string())
}

fn name_in(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| escape(name.as_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_a_name_or_a_number() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\n# 7\n::7:\nwww:x:33:33::/:/bin/false\n";
        assert_eq!(name_in(passwd, 33).as_deref(), Some("www"));
        assert_eq!(name_in(passwd, 7), None);
        assert_eq!(user_name(0), "root");
    }

    #[test]
    fn who_keeps_us_out_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("no/such");
        let text = refusal(&inside, Errno::EACCES);
        assert!(text.starts_with(&format!("Permission denied: {} (owner ", dir.path().display())), "{text}");
        assert!(text.contains(", mode 07"), "{text}");
        assert_eq!(refusal(Path::new("a\n"), Errno::ENOENT), "No such file or directory: a\\x0a");
    }
}
