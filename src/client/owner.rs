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
        && let Some((closed, meta)) = path.ancestors().find_map(|path| Some((path, look_at(path)?)))
    {
        let (owner, mode) = (user_name(meta.uid()), meta.mode() & 0o7777);
        return format!("{}: {} (owner {owner}, mode {mode:04o})", why(errno), shown(closed));
    }
    format!("{}: {}", why(errno), shown(path))
}

/// What a link leads to; the link itself where that can't be seen.
fn look_at(path: &Path) -> Option<fs::Metadata> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    fs::metadata(path).or_else(|_| fs::symlink_metadata(path)).ok()
}

/// The path as it is said.
#[must_use]
pub fn shown(path: &Path) -> String {
    let path = path.strip_prefix(".").unwrap_or(path); // of the usual status root
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
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
    use std::os::unix::fs::PermissionsExt as _;

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
        assert_eq!(refusal(Path::new("./a\n"), Errno::ENOENT), "No such file or directory: a\\x0a");
        let link = dir.path().join("link");
        fs::create_dir(dir.path().join("closed")).unwrap();
        fs::set_permissions(dir.path().join("closed"), fs::Permissions::from_mode(0o710)).unwrap();
        std::os::unix::fs::symlink("closed", &link).unwrap();
        assert!(refusal(&link, Errno::EACCES).ends_with(", mode 0710)"), "what the link leads to");
        assert!(refusal(Path::new("no-such-name"), Errno::EACCES).starts_with("Permission denied: . (owner "));
    }
}
