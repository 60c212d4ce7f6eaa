//! The limits of this process.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the limit of descriptors as far as it may be: a thousand services have two thousand files.
pub(super) fn allow_many_files() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
