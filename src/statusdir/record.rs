//! The 20 bytes of `status`.

use crate::policy::{Stamp, Wanted};

/// The status record (docs/operation.md, "The status record").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The last change of the pid.
    pub stamp: Stamp,
    /// The service is paused.
    pub paused: bool,
    /// What the operator asked for.
    pub wanted: Wanted,
    /// Alarms are off.
    pub alarms_off: bool,
    /// The service's pid; `None`: down.
    pub pid: Option<u32>,
}

/// What a TAI64 label adds to Unix seconds: the label's origin, and the ten seconds between TAI and UTC in 1970.
const TAI64_UNIX: u64 = (1 << 62) + 10;

impl Record {
    /// The length of a record.
    pub const LEN: usize = 20;

    /// The record's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[0..8].copy_from_slice(&(TAI64_UNIX + self.stamp.seconds()).to_be_bytes());
        out[8..12].copy_from_slice(&self.stamp.nanos().to_be_bytes());
        out[12] = u8::from(self.paused && self.pid.is_some());
        out[13] = match self.wanted {
            Wanted::Up => b'u',
            Wanted::Down => b'd',
            Wanted::Once => 0,
        };
        out[14] = if self.alarms_off { b'x' } else { b'o' };
        out[16..20].copy_from_slice(&self.pid.unwrap_or(0).to_le_bytes());
        out
    }

    /// Reads a record; `None`: these are not the bytes of one.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::LEN] = bytes.try_into().ok()?;
        let number = |range: std::ops::Range<usize>| <[u8; 4]>::try_from(&bytes[range]).ok();
        let label = u64::from_be_bytes(<[u8; 8]>::try_from(&bytes[0..8]).ok()?);
        let nanos = u32::from_be_bytes(number(8..12)?);
        let seconds = label.checked_sub(TAI64_UNIX)?;
        if nanos >= 1_000_000_000 {
            return None;
        }
        let pid = u32::from_le_bytes(number(16..20)?);
        Some(Self {
            stamp: Stamp(seconds.checked_mul(1_000_000_000)?.checked_add(u64::from(nanos))?),
            paused: bytes[12] == 1,
            wanted: match bytes[13] {
                b'u' => Wanted::Up,
                b'd' => Wanted::Down,
                0 => Wanted::Once,
                _ => return None,
            },
            alarms_off: match bytes[14] {
                b'o' => false,
                b'x' => true,
                _ => return None,
            },
            pid: (pid != 0).then_some(pid),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UP: Record = Record {
        stamp: Stamp(1_795_224_300_123_456_789),
        paused: false,
        wanted: Wanted::Up,
        alarms_off: false,
        pid: Some(0x0102_0304),
    };

    #[test]
    fn golden_bytes() {
        assert_eq!(
            UP.encode(),
            [0x40, 0, 0, 0, 0x6b, 0x00, 0xf2, 0xf6, 0x07, 0x5b, 0xcd, 0x15, 0, b'u', b'o', 0, 0x04, 0x03, 0x02, 0x01]
        );
        let once = Record { paused: true, wanted: Wanted::Once, alarms_off: true, ..UP };
        assert_eq!(once.encode()[12..16], [1, 0, b'x', 0]);
        let down = Record { paused: true, wanted: Wanted::Down, pid: None, ..UP };
        assert_eq!(down.encode()[12..], [0, b'd', b'o', 0, 0, 0, 0, 0], "a service that is down is not paused");
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        for wanted in [Wanted::Up, Wanted::Down, Wanted::Once] {
            for pid in [None, Some(1), Some(u32::MAX)] {
                for flag in [false, true] {
                    let record = Record { wanted, pid, alarms_off: flag, paused: flag && pid.is_some(), ..UP };
                    assert_eq!(Record::decode(&record.encode()), Some(record));
                }
            }
        }
    }

    #[test]
    fn what_is_no_record_is_refused() {
        assert_eq!(Record::decode(&[]), None);
        assert_eq!(Record::decode(&UP.encode()[..19]), None);
        assert_eq!(Record::decode(&[0; 20]), None);
        assert_eq!(Record::decode(&[0xff; 20]), None);
    }
}
