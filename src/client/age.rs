//! Lengths of time in a few characters.

use std::time::Duration;

/// `12.3 s`, `5m 12s`, `3h 5m`, `3d 4h`: the two units that matter.
#[must_use]
pub fn age(time: Duration) -> String {
    let seconds = time.as_secs();
    let two = |big: u64, unit: char, small: u64, of: char| format!("{big}{unit} {small}{of}");
    match seconds {
        0..60 => format!("{seconds}.{} s", time.subsec_millis() / 100),
        60..3600 => two(seconds / 60, 'm', seconds % 60, 's'),
        3600..86_400 => two(seconds / 3600, 'h', seconds / 60 % 60, 'm'),
        _ => two(seconds / 86_400, 'd', seconds / 3600 % 24, 'h'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_units() {
        for (millis, text) in [
            (0, "0.0 s"),
            (12_390, "12.3 s"),
            (59_999, "59.9 s"),
            (60_000, "1m 0s"),
            (312_000, "5m 12s"),
            (3_599_999, "59m 59s"),
            (11_100_000, "3h 5m"),
            (86_399_999, "23h 59m"),
            (273_600_000, "3d 4h"),
            (86_400_000 * 1000, "1000d 0h"),
        ] {
            assert_eq!(age(Duration::from_millis(millis)), text);
        }
    }
}
