//! How the end of a run is written in words, in the long record and in the claim.

use nix::errno::Errno;
use nix::sys::signal::Signal;

use crate::policy::Ended;
use crate::sys::Step;

/// `code 3`, `signal SEGV`, `signal SEGV core`, `not started exec ENOENT`, `unknown` or, in a claim only, `pending`.
#[must_use]
pub fn ended_text(ended: Ended) -> String {
    match ended {
        Ended::Code(code) => format!("code {code}"),
        Ended::Signal { number, core } => {
            let core = if core { " core" } else { "" };
            match Signal::try_from(number) {
                Ok(signal) => format!("signal {}{core}", signal.as_str().trim_start_matches("SIG")),
                Err(_) => format!("signal {number}{core}"), // a real-time signal
            }
        }
        Ended::NotStarted { step, errno } => {
            let step = Step::from_number(step).map_or("start", Step::name);
            format!("not started {step} {:?}", Errno::from_raw(errno))
        }
        Ended::Unknown => "unknown".to_owned(),
        Ended::Pending => "pending".to_owned(),
    }
}

/// Reads it back; `None`: it says nothing.
#[must_use]
pub fn ended_from_text(text: &str) -> Option<Ended> {
    let words: Vec<&str> = text.split(' ').collect();
    let signal = |name: &str| {
        name.parse().ok().or_else(|| format!("SIG{name}").parse::<Signal>().ok().map(|signal| signal as i32))
    };
    Some(match words.as_slice() {
        ["code", code] => Ended::Code(code.parse().ok()?),
        ["signal", name] => Ended::Signal { number: signal(name)?, core: false },
        ["signal", name, "core"] => Ended::Signal { number: signal(name)?, core: true },
        ["not", "started", step, errno] => {
            let step = Step::ALL.into_iter().find(|known| known.name() == *step)? as u8;
            let errno = (1..4096).find(|&number| format!("{:?}", Errno::from_raw(number)) == *errno)?;
            Ended::NotStarted { step, errno }
        }
        ["unknown"] => Ended::Unknown,
        ["pending"] => Ended::Pending,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let signals = (1..=64).flat_map(|number| [false, true].map(|core| Ended::Signal { number, core }));
        let codes = (0..=u8::MAX).map(Ended::Code);
        let others = [Ended::NotStarted { step: 6, errno: 2 }, Ended::Unknown, Ended::Pending];
        for ended in signals.chain(codes).chain(others) {
            assert_eq!(ended_from_text(&ended_text(ended)), Some(ended), "{}", ended_text(ended));
        }
        assert_eq!(ended_text(Ended::Signal { number: 11, core: true }), "signal SEGV core");
        assert_eq!(ended_text(Ended::Code(3)), "code 3");
        assert_eq!(ended_from_text("signal NONE"), None);
    }
}
