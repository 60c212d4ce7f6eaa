//! The process that started supervise in the background, for as long as it waits to learn how that went.

use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};

/// The caller; in the foreground there is none to answer.
#[derive(Debug)]
pub struct Caller {
    pipe: Option<OwnedFd>,
    /// What is not on disk yet goes to stderr too.
    attentive: bool,
    /// stdout and stderr are let go with the answer.
    lets_go: bool,
}

impl Caller {
    /// Nobody waits: supervise is in the foreground.
    #[must_use]
    pub fn none() -> Self {
        Self { pipe: None, attentive: true, lets_go: false }
    }

    /// It was answered long ago, by the version that this one was upgraded from.
    #[must_use]
    pub fn answered() -> Self {
        Self { attentive: false, ..Self::none() }
    }

    /// Somebody waits at the other end of this pipe for one byte, the exit code. `lets_go`: with the answer, stdout
    /// and stderr become /dev/null.
    #[must_use]
    pub fn waiting(pipe: OwnedFd, lets_go: bool) -> Self {
        Self { pipe: Some(pipe), attentive: true, lets_go }
    }

    /// The same, but stdout and stderr stay its own: there is no /dev/null to let go for.
    #[must_use]
    pub(super) fn kept(self) -> Self {
        Self { lets_go: false, ..self }
    }

    /// It was not told yet how the start went: what goes wrong is said on stderr too.
    #[must_use]
    pub fn is_attentive(&self) -> bool {
        self.attentive
    }

    /// Says something on stderr while it listens.
    pub(super) fn tell(&self, module: &str, text: &str) {
        let _ = writeln!(std::io::stderr(), "supervise: {module}: {text}"); // it may have closed it
    }

    /// Tells it the exit code, and lets go of its terminal and pipes. The second answer says nothing.
    pub fn answer(&mut self, code: u8) {
        if !std::mem::take(&mut self.attentive) {
            return;
        }
        if let Some(pipe) = self.pipe.take() {
            if self.lets_go {
                // Nothing has to be opened for it: stdin is /dev/null already.
                let _ = nix::unistd::dup2_stdout(std::io::stdin());
                let _ = nix::unistd::dup2_stderr(std::io::stdin());
            }
            let _ = nix::unistd::write(pipe.as_fd(), &[code]); // it may have been killed
        }
    }
}
