//! The names that a running supervise is known by in its status directory, when somebody removes or replaces one.

use super::texts::Line;
use super::turn::Supervisor;
use crate::statusdir::{Control, OkFifo};
use crate::sys::why;

impl Supervisor {
    /// Looks whether each still leads to what is open here.
    pub(super) fn mend_names(&mut self) {
        self.mend_control();
        self.mend_ok();
        let is_lost = !self.lock.is_in_place(&self.dir);
        if is_lost && !self.troubles.lock_is_lost {
            let at = &self.at;
            // Another one is not taken: somebody else may have its lock by now, and nobody is waited for.
            self.lines.push(Line::warning(format!(
                "{at}/lock was removed or replaced: who asks it finds no supervise, until the next start"
            )));
        }
        self.troubles.lock_is_lost = is_lost;
    }

    /// Whoever asks `ok` for a supervise is to find this one.
    fn mend_ok(&mut self) {
        if self.ok.is_in_place(&self.dir) {
            self.troubles.mending_ok = false;
            return;
        }
        let at = &self.at;
        match OkFifo::open(&self.dir) {
            Ok(ok) => {
                self.ok = ok;
                self.troubles.mending_ok = false;
                self.lines.push(Line::warning(format!("{at}/ok was removed or replaced, and is made anew")));
            }
            Err(errno) if !std::mem::replace(&mut self.troubles.mending_ok, true) => {
                self.lines.push(Line::warning(format!("unable to make the fifo {at}/ok anew: {}", why(errno))));
            }
            Err(_) => {}
        }
    }

    /// Somebody removed or replaced svcontrol: whoever writes there next is to be heard.
    fn mend_control(&mut self) {
        let lost = self.control.out_of_place(&self.dir);
        if lost.is_empty() {
            self.troubles.mending = false;
            return;
        }
        self.obey_fifos(); // what stands in the old one
        let at = &self.at;
        match Control::open(&self.dir, |_| {}) {
            Ok(control) => {
                self.control = control;
                self.troubles.mending = false;
                let lines = lost.iter().map(|name| format!("{at}/{name} was removed or replaced, and is made anew"));
                self.lines.extend(lines.map(Line::warning));
            }
            Err((name, errno)) => {
                if !std::mem::replace(&mut self.troubles.mending, true) {
                    let text = format!("unable to make the fifo {at}/{name} anew: {}", why(errno));
                    self.lines.push(Line::warning(text));
                }
            }
        }
    }
}
