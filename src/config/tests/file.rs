//! What is read from disk, and what is not.

use crate::config::{SIZE_LIMIT, read};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;

#[test]
fn what_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("supervise.conf");
    for text in [&b""[..], b"[global]\n\xff\0", &vec![b'#'; SIZE_LIMIT as usize]] {
        fs::write(&path, text).unwrap();
        assert_eq!(read(&path).unwrap(), text);
    }
    let link = dir.path().join("link");
    symlink(&path, &link).unwrap();
    assert_eq!(read(&link).unwrap().len(), SIZE_LIMIT as usize);
}

#[test]
fn what_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("supervise.conf");
    assert_eq!(read(&path).unwrap_err().kind(), ErrorKind::NotFound);

    let file = fs::File::create(&path).unwrap();
    file.set_len(SIZE_LIMIT + 1).unwrap();
    assert_eq!(read(&path).unwrap_err().to_string(), "larger than 1 MiB");
    file.set_len(1 << 40).unwrap();
    assert_eq!(read(&path).unwrap_err().to_string(), "larger than 1 MiB");

    assert_eq!(read(dir.path()).unwrap_err().to_string(), "a directory, not a regular file");
    let fifo = dir.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(read(&fifo).unwrap_err().to_string(), "not a regular file"); // and does not wait for a writer
    assert_eq!(read("/dev/zero".as_ref()).unwrap_err().to_string(), "not a regular file");
}
