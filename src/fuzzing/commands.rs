//! What arrives on svcontrol, and what else happens meanwhile.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::policy::world::{Doing, World};
use crate::policy::{Ended, HookRules, Rules};
use crate::statusdir::command_of;

/// The first two bytes are the rules. Each of the others is a command as in svcontrol, or something else that happens.
pub fn commands(bytes: &[u8]) {
    let [low, high, bytes @ ..] = bytes else { return };
    let mut world = World::new(rules([*low, *high]));
    for (place, &byte) in bytes.iter().enumerate() {
        if let Some(doing) = doing(byte, &bytes[place + 1..]) {
            world.do_it(doing);
        }
        if world.has_left() {
            world.start_afresh();
        }
    }
}

fn doing(byte: u8, behind: &[u8]) -> Option<Doing> {
    let signal = |number, core| Ended::Signal { number, core };
    Some(match byte {
        b'.' => Doing::ToDeadline,
        b'0' => Doing::Wait(0),
        b'3'..=b'9' => Doing::Wait(10_u64.pow(u32::from(byte - b'3') + 6)), // 1 ms to 1000 s
        b'A' => Doing::Exit(Ended::Code(0)),
        b'B' => Doing::Exit(Ended::Code(1)),
        b'C' => Doing::Exit(signal(11, false)),
        b'D' => Doing::Exit(signal(11, true)),
        b'E' => Doing::Exit(signal(9, false)),
        b'F' => Doing::Exit(signal(15, false)),
        b'G' => Doing::Exit(Ended::Unknown),
        b'H' => Doing::Exit(Ended::Pending),
        b'I' => Doing::Exit(Ended::NotStarted { step: 6, errno: 2 }),
        b'J' => Doing::StatusKnown(Ended::Code(0)),
        b'K' => Doing::StatusKnown(signal(6, true)),
        b'L' => Doing::HookEnds,
        b'M' => Doing::ForkRefused,
        b'N' => Doing::Killed { dies: false },
        b'O' => Doing::Killed { dies: true },
        b'P' => Doing::Terminate,
        b'Q' => Doing::Reload(rules([*behind.first()?, *behind.get(1)?])),
        b'R' => Doing::ClockSet(u64::from(*behind.first()?) << 56),
        _ => Doing::Command(command_of(byte)?),
    })
}

/// All that the limits can be, in two bytes.
fn rules([low, high]: [u8; 2]) -> Rules {
    let pick = |from: [Option<u64>; 4], byte: u8| from[usize::from(byte & 3)].map(Duration::from_secs);
    let hook =
        HookRules { reset: pick([None, Some(1), Some(60), Some(600)], high >> 4), timeout: Duration::from_secs(60) };
    Rules {
        window: pick([None, Some(60), Some(600), Some(86_400)], low),
        max_tries: NonZeroU32::new(u32::from(low >> 2 & 7)),
        max_coredumps: NonZeroU32::new(u32::from(low >> 5 & 3)),
        pacing: Duration::from_millis(if low & 0x80 == 0 { 1000 } else { 100 }),
        stop_timeout: pick([None, Some(1), Some(5), Some(600)], high),
        recovered: high & 4 != 0,
        hook: (high & 8 != 0).then_some(hook),
    }
}
