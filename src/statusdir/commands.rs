//! The bytes of svcontrol and the commands behind them.

use crate::policy::Command;

/// The byte that stands for a command.
#[must_use]
pub fn byte_of(command: Command) -> u8 {
    match command {
        Command::Up => b'u',
        Command::Down => b'd',
        Command::Once => b'o',
        Command::Kill => b'k',
        Command::Exit => b'x',
        Command::Term => b't',
        Command::Int => b'i',
        Command::Hup => b'h',
        Command::Alrm => b'a',
        Command::Quit => b'q',
        Command::Usr1 => b'1',
        Command::Usr2 => b'2',
        Command::Pause => b'p',
        Command::Continue => b'c',
        Command::AlarmsOff => b's',
        Command::AlarmsOn => b'n',
        Command::Reload => b'r',
        Command::Upgrade => b'U',
    }
}

/// The command that a byte stands for; `None`: it stands for none.
#[must_use]
pub fn command_of(byte: u8) -> Option<Command> {
    Command::ALL.into_iter().find(|&command| byte_of(command) == byte)
}

/// Newline, blank and NUL mean nothing: `echo` writes the first, people and scripts the others.
#[must_use]
pub fn is_ignored(byte: u8) -> bool {
    matches!(byte, b'\n' | b' ' | 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_means_one_command_or_none() {
        for byte in 0..=u8::MAX {
            if let Some(command) = command_of(byte) {
                assert_eq!(byte_of(command), byte);
                assert!(!is_ignored(byte));
            }
        }
        assert_eq!((0..=u8::MAX).filter_map(command_of).count(), Command::ALL.len());
    }
}
