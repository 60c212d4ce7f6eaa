//! What a status directory says: `status`, `state` and `claim`.

use std::time::Duration;

use crate::policy::{Ended, Event, Exit, Found, Moment, Now, Policy, Rules, Stamp};
use crate::statusdir::{Claim, ReadRecord, Record, is_id};

/// Any bytes are read; what they say is written in the same way.
pub fn status_record(bytes: &[u8]) {
    let Some(record) = Record::decode(bytes) else { return };
    let written = record.encode();
    let mut expected = bytes.to_vec();
    expected[12] = u8::from(record.paused && record.pid.is_some()); // only 1 is paused, and only what runs
    expected[15] = 0;
    assert_eq!(written[..], expected);
    let read = Record::decode(&written).expect("a record");
    assert_eq!(read, Record { paused: record.paused && record.pid.is_some(), ..record });
}

/// Any bytes are read, and so is each value as what it may be.
pub fn long_record(bytes: &[u8]) {
    let Some(record) = ReadRecord::decode(bytes) else { return };
    let mut again = String::new();
    for (key, value) in record.lines() {
        assert!(!key.contains('\n') && !value.contains('\n'));
        again.push_str(&format!("{key} : {value}\n"));
        let _ = (record.bytes(key), record.number(key), record.flag(key), record.duration(key));
        if let Some(time) = record.time(key) {
            assert!(record.text(key).is_some_and(|text| text.ends_with(&format!("{:09}", time.nanos()))));
        }
    }
    assert!(record.pid() != Some(0));
    assert_eq!(ReadRecord::decode(again.as_bytes()).as_ref(), Some(&record));
}

/// Any bytes are read, with the sum that they have and with the right one. What they say is written so that it is read
/// again, and a supervise can go on from it.
pub fn claim(bytes: &[u8]) {
    check_claim(bytes);
    // The sum is that of what follows its line, up to the end of the last line.
    let Some(end) = bytes.windows(5).position(|window| window == b"\nend\n") else { return };
    let summed = &bytes[..end + 5];
    let head = format!("supervise claim 1\nsum {:020}\n", Claim::command_number([summed]));
    check_claim(&[head.as_bytes(), summed].concat());
}

fn check_claim(bytes: &[u8]) {
    let Some(claim) = Claim::decode(bytes) else { return };
    assert!(claim.debts.iter().all(|debt| is_id(&debt.id)));
    let written = claim.encode().bytes().concat();
    let mut kept = claim.clone();
    kept.debts.truncate(Claim::MAX_DEBTS);
    // A supervise writes no claim that does not fit; who writes a longer one gets half of it, which is none.
    if bytes.len() <= written.len() - 512 {
        assert_eq!(Claim::decode(&written), Some(kept));
    }
    let dead = Exit { pid: 7, ended: Ended::Unknown, peak_kib: None, cpu_us: None };
    for found in [Found::Nothing, Found::Alive, Found::Dead(dead)] {
        let rules = Rules { window: Some(Duration::from_secs(60)), ..Rules::default() };
        let mut policy = Policy::new(rules);
        let now = Now { moment: Moment(1 << 40), stamp: Stamp(1 << 60) };
        policy.handle(now, Event::Begin { taken: Some(claim.ledger), found });
        for ended in [Ended::Code(1), Ended::Pending, Ended::Signal { number: 11, core: true }] {
            let moment = policy.next_deadline().unwrap_or(now.moment);
            let now = Now { moment, stamp: now.stamp_of(moment) };
            policy.handle(now, Event::Deadline);
            policy.handle(now, Event::Exited(Exit { ended, ..dead }));
            policy.handle(now, Event::StatusKnown(Ended::Signal { number: 6, core: true }));
            let view = policy.view();
            let _ = (view.since.seconds(), view.next_start.map(|start| now.stamp_of(start).nanos()));
        }
    }
}
