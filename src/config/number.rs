//! Reads and writes the numbers of supervise.conf: counts, seconds, bytes.

use std::time::Duration;

use super::problem::shown;

/// Longest time that a key of ours may hold, in seconds: thirty years. What is longer is a slip of the
/// keyboard, and sums of deadlines stay far from the end of the clock.
const SECONDS_LIMIT: u64 = 1_000_000_000;

/// What atoi(3) would make of a classic number, 0 where it has no digits (a negative one has none for
/// us), and what is odd about it. A number too large for 32 bits counts as the largest.
pub(super) fn classic_number(text: &[u8]) -> (u32, Option<String>) {
    let digits_on = text.strip_prefix(b"+").unwrap_or(text);
    let length = digits_on.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = digits_on.split_at(length);
    if digits.is_empty() {
        return (0, Some(format!("{} is not a number, so it counts as unset", shown(text))));
    }
    let mut number: u32 = 0;
    for digit in digits {
        let next = number.checked_mul(10).and_then(|n| n.checked_add(u32::from(digit - b'0')));
        match next {
            Some(next) => number = next,
            None => {
                return (u32::MAX, Some(format!("{} is too large and counts as {}", shown(text), u32::MAX)));
            }
        }
    }
    let odd = (!rest.is_empty())
        .then(|| format!("{} counts as {number}: the rest behind the digits is ignored", shown(text)));
    (number, odd)
}

/// Seconds, with or without decimals, at most [`SECONDS_LIMIT`]. What is below a nanosecond is cut off.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if !all_digits(whole) || !all_digits(fraction) {
        return Err(format!("{} is not a number of seconds", shown(text.as_bytes())));
    }
    let too_long = || format!("{} is more than {SECONDS_LIMIT} seconds", shown(text.as_bytes()));
    let whole: u64 = whole.parse().map_err(|_| too_long())?;
    let nanos = fraction.bytes().chain(std::iter::repeat(b'0')).take(9);
    let nanos = nanos.fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    if whole > SECONDS_LIMIT || (whole == SECONDS_LIMIT && nanos > 0) {
        return Err(too_long());
    }
    Ok(Duration::new(whole, nanos))
}

/// A count from 0 to `limit`.
pub(super) fn count(text: &str, limit: u32) -> Result<u32, String> {
    let wrong = || format!("{} is not a number from 0 to {limit}", shown(text.as_bytes()));
    if !all_digits(text) {
        return Err(wrong());
    }
    text.parse().ok().filter(|number| *number <= limit).ok_or_else(wrong)
}

/// Bytes: a number above 0 with nothing, `k`, `m` or `g` behind it (1024 and its powers, either case).
pub(super) fn size(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.as_bytes() {
        [.., b'k' | b'K'] => (&text[..text.len() - 1], 1 << 10),
        [.., b'm' | b'M'] => (&text[..text.len() - 1], 1 << 20),
        [.., b'g' | b'G'] => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    if !all_digits(digits) {
        return Err(format!("{} is not a size such as 64m, 100k or 1g", shown(text.as_bytes())));
    }
    let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    match bytes {
        None => Err(format!("{} is too large", shown(text.as_bytes()))),
        Some(0) => Err("0 is no size; it must be above 0".to_owned()),
        Some(bytes) => Ok(bytes),
    }
}

/// Seconds as [`seconds`] reads them.
pub(super) fn show_seconds(time: Duration) -> String {
    if time.subsec_nanos() == 0 {
        return time.as_secs().to_string();
    }
    let text = format!("{}.{:09}", time.as_secs(), time.subsec_nanos());
    text.trim_end_matches('0').to_owned()
}

/// Bytes as [`size`] reads them, with the largest unit that comes out even.
pub(super) fn show_size(bytes: u64) -> String {
    for (shift, unit) in [(30, 'g'), (20, 'm'), (10, 'k')] {
        if bytes != 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
