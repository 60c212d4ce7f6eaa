//! Why a system call failed, in the C library's words, which people know and search for.

use nix::errno::Errno;

/// The same for the standard library's errors, where the system is behind them.
#[must_use]
pub fn why_io(error: &std::io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), |number| why(Errno::from_raw(number)))
}

/// The number behind one of the standard library's errors; `EIO` where the system is not.
#[must_use]
pub fn errno_of(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// `No such file or directory` for `ENOENT`, and so on.
#[must_use]
pub fn why(errno: Errno) -> String {
    let text = std::io::Error::from(errno).to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_strerror() {
        assert_eq!(why(Errno::EAGAIN), "Resource temporarily unavailable");
        assert_eq!(why(Errno::ENOENT), "No such file or directory");
    }
}
