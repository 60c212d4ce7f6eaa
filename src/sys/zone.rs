//! Local time: the time zone as TZ or /etc/localtime has it, read once.
//!
//! The C library could do this, and brings a tenth of a megabyte along: scanf and with it every kind of number.

use std::env;
use std::fs::File;
use std::io::{self, Read as _};
use std::sync::OnceLock;

use tz::{DateTime, LocalTimeType, TimeZone, TimeZoneSettings};

use crate::policy::Stamp;

/// A wall clock time in the local time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    /// The year, as people write it.
    pub year: i32,
    /// 1 to 12.
    pub month: i32,
    /// 1 to 31.
    pub day: i32,
    /// 0 to 23.
    pub hour: i32,
    /// 0 to 59.
    pub minute: i32,
    /// 0 to 60.
    pub second: i32,
    /// How far local time is ahead of UTC, in seconds.
    pub utc_offset: i64,
}

impl LocalTime {
    const EPOCH: Self = Self { year: 1970, month: 1, day: 1, hour: 0, minute: 0, second: 0, utc_offset: 0 };
}

/// Where the descriptions of time zones are (tzset(3) knows the first; the others are older places of it).
const FOLDERS: [&str; 3] = ["/usr/share/zoneinfo", "/usr/lib/zoneinfo", "/etc/zoneinfo"];
/// The largest description that is known has a few kilobytes.
const LARGEST: u64 = 1 << 20;
/// Changes of the offset that lie further back, in seconds, are forgotten: they are most of a description, and every
/// supervise would keep them.
const KEPT: i64 = 400 * 24 * 3600;

/// A stamp in local time; in UTC where the zone is not known.
#[must_use]
pub fn local_time(stamp: Stamp) -> LocalTime {
    static ZONE: OnceLock<TimeZone> = OnceLock::new();
    in_zone(stamp, ZONE.get_or_init(|| forget_the_past(zone_of(env::var("TZ")), signed(stamp))))
}

fn signed(stamp: Stamp) -> i64 {
    i64::try_from(stamp.seconds()).unwrap_or(i64::MAX)
}

fn zone_of(name: Result<String, env::VarError>) -> TimeZone {
    let zone = TimeZoneSettings::new(&FOLDERS, |path| Ok(read(path)?));
    // TZ may be empty, which means UTC, or wrong, which means the same (tzset(3)).
    let read = match name {
        Err(env::VarError::NotPresent) => zone.parse_local(),
        Err(env::VarError::NotUnicode(_)) => Ok(TimeZone::utc()),
        Ok(text) => zone.parse_posix_tz(&text).or_else(|error| match text.strip_prefix(':') {
            Some(text) => zone.parse_posix_tz(text),
            None => Err(error),
        }),
    };
    read.unwrap_or_else(|_| TimeZone::utc())
}

fn read(path: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn forget_the_past(zone: TimeZone, now: i64) -> TimeZone {
    let all = zone.as_ref();
    let kept = all.transitions().partition_point(|change| change.unix_leap_time() < now.saturating_sub(KEPT));
    // The one before is what holds until the first that is kept.
    let kept = all.transitions()[kept.saturating_sub(1)..].to_vec();
    let rest = TimeZone::new(kept, all.local_time_types().to_vec(), all.leap_seconds().to_vec(), *all.extra_rule());
    rest.unwrap_or(zone)
}

fn in_zone(stamp: Stamp, zone: &TimeZone) -> LocalTime {
    let seconds = signed(stamp);
    // A zone without a rule for the future ends with its last change, which then holds on.
    let last = zone.as_ref().transitions().last().map_or(0, |change| change.local_time_type_index());
    let kind = zone.find_local_time_type(seconds).ok().or_else(|| zone.as_ref().local_time_types().get(last));
    let kind = kind.copied().unwrap_or_else(LocalTimeType::utc);
    let time = DateTime::from_timespec_and_local(seconds, 0, kind);
    time.map_or(LocalTime::EPOCH, |time| LocalTime {
        year: time.year(),
        month: time.month().into(),
        day: time.month_day().into(),
        hour: time.hour().into(),
        minute: time.minute().into(),
        second: time.second().into(),
        utc_offset: kind.ut_offset().into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(zone: &str, seconds: u64) -> String {
        let zone = forget_the_past(named(zone), i64::try_from(seconds).unwrap());
        let LocalTime { year, month, day, hour, minute, second, utc_offset } = in_zone(stamp(seconds), &zone);
        format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} {utc_offset:+}")
    }

    fn stamp(seconds: u64) -> Stamp {
        Stamp(seconds * 1_000_000_000)
    }

    fn named(zone: &str) -> TimeZone {
        zone_of(Ok(zone.to_owned()))
    }

    #[test]
    fn what_tz_may_say() {
        let winter = 1_795_224_300; // 2026-11-21 01:25:00 UTC
        for (zone, expected) in [
            ("CET-1CEST,M3.5.0,M10.5.0/3", "2026-11-21 02:25:00 +3600"),
            ("<+0330>-3:30", "2026-11-21 04:55:00 +12600"),
            (":UTC0", "2026-11-21 01:25:00 +0"),
            ("", "2026-11-21 01:25:00 +0"),
            ("no such zone", "2026-11-21 01:25:00 +0"),
            ("/dev/zero", "2026-11-21 01:25:00 +0"),
        ] {
            assert_eq!(text(zone, winter), expected, "{zone}");
        }
    }

    #[test]
    fn the_offset_changes_at_its_second() {
        let rule = "EST5EDT,M3.2.0,M11.1.0";
        assert_eq!(text(rule, 1_793_512_799), "2026-11-01 01:59:59 -14400");
        assert_eq!(text(rule, 1_793_512_800), "2026-11-01 01:00:00 -18000");
    }

    #[test]
    fn what_lies_far_back_is_forgotten_and_what_is_near_is_not() {
        let summer = LocalTimeType::with_ut_offset(7200).unwrap();
        let winter = LocalTimeType::with_ut_offset(3600).unwrap();
        let year = 365 * 24 * 3600;
        let changes =
            (0..50).map(|number| tz::timezone::Transition::new(number * year / 2, usize::from(number % 2 == 0)));
        let whole = TimeZone::new(changes.collect(), vec![winter, summer], Vec::new(), None).unwrap();
        let now = 20 * year + 1;
        let kept = forget_the_past(whole.clone(), now);
        assert_eq!(kept.as_ref().transitions().len(), 50 - 37);
        for seconds in (now - year..now + 10 * year).step_by(1_000_000) {
            let at = stamp(seconds.cast_unsigned());
            assert_eq!(in_zone(at, &kept), in_zone(at, &whole), "{seconds}");
        }
        assert_eq!(in_zone(Stamp(u64::MAX), &kept).utc_offset, 3600, "the last change holds on");
    }

    #[test]
    fn years_that_nobody_writes() {
        let zone = TimeZone::utc();
        assert_eq!(in_zone(Stamp(0), &zone), LocalTime::EPOCH);
        assert_eq!(in_zone(Stamp(u64::MAX), &zone).year, 2554, "as far as a stamp reaches");
    }
}
