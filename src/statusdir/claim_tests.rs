//! The claim's format: golden bytes, and the way there and back.

use proptest::prelude::*;

use super::*;
use crate::policy::Ended;

fn full_claim() -> Claim {
    let exit = Exit {
        pid: i32::MAX,
        ended: Ended::Signal { number: 11, core: true },
        peak_kib: Some(u64::MAX),
        cpu_us: Some((u64::MAX, u64::MAX)),
    };
    let alarm = Alarm {
        kind: AlarmKind::GaveUp { tries: u32::MAX },
        exit,
        at: Stamp(u64::MAX),
        ran: Some(Duration::from_nanos(u64::MAX)),
        window_exit: u32::MAX,
        window_coredumps: u32::MAX,
        window_ends: Stamp(u64::MAX),
        next: Next::RestartAfter(Duration::from_nanos(u64::MAX)),
    };
    let stderr = Some(StderrMark { device: u64::MAX, inode: u64::MAX, length: u64::MAX });
    let debt = Debt { id: "9".repeat(64), alarm, stderr, said: None, merged: u32::MAX };
    Claim {
        pid: Some(u32::MAX),
        started_between: (u64::MAX, u64::MAX),
        session: i32::MAX,
        boot: "01234567-89ab-cdef-0123-456789abcdef".to_owned(),
        left: true,
        command: u64::MAX,
        ledger: Ledger {
            wanted: Wanted::Once,
            alarms_off: true,
            paused: true,
            start_due: true,
            prompt: true,
            stopping: Some(Moment(u64::MAX)),
            up_since: true,
            killed: true,
            sent: [Some(Moment(u64::MAX)); 4],
            started: Some(Moment(u64::MAX)),
            started_at: Stamp(u64::MAX),
            starts: u64::MAX,
            exits: u64::MAX,
            last_exit: Some(LastExit {
                ended: Ended::Signal { number: 11, core: true },
                at: Stamp(u64::MAX),
                moment: Moment(u64::MAX),
                ran_ns: Some(u64::MAX),
                expected: true,
            }),
            window: Some(Window {
                opened: Moment(u64::MAX),
                opened_at: Stamp(u64::MAX),
                exits: u32::MAX,
                coredumps: u32::MAX,
            }),
            alarmed: true,
            hook_count: u32::MAX,
        },
        debts: vec![debt; Claim::MAX_DEBTS],
    }
}

#[test]
fn the_largest_claim_fits_and_comes_back() {
    let block = full_claim().encode();
    assert!(block.said.len() < ClaimBlock::SIZE, "{} bytes", block.said.len());
    assert_eq!(block.bytes().concat().len(), ClaimBlock::SIZE);
    assert_eq!(Claim::decode(&block.bytes().concat()), Some(full_claim()));
}

#[test]
fn golden_bytes() {
    let claim = Claim {
        pid: Some(42),
        started_between: (7, 9),
        session: 3,
        boot: "boot".to_owned(),
        left: false,
        command: 5,
        ledger: Ledger::default(),
        debts: Vec::new(),
    };
    let block = claim.encode();
    let text = String::from_utf8(block.bytes().concat()).unwrap();
    let summed = "pid 00000000000000000042\nuntil 00000000000000000009\nfrom 7\nsession 3\nboot boot\nleft 0\ncommand 5\n\
                  wanted up\nflags 0 0 0 0 0 0\nstopping -\nsent - - - -\nstarted - 0\ncounts 0 0 0\nend\n";
    assert_eq!(text.trim_end(), format!("supervise claim 1\nsum {:020}\n{summed}", sum(summed.as_bytes())).trim_end());
}

#[test]
fn the_child_stamps_its_own_pid() {
    let claim = Claim { pid: None, ..full_claim() };
    let mut block = claim.encode();
    block.stamp(77, 123);
    let stamped = Claim::decode(&block.bytes().concat()).map(|claim| (claim.pid, claim.started_between.1));
    assert_eq!(stamped, Some((Some(77), 123)));
}

#[test]
fn every_damaged_byte_is_noticed() {
    let block = full_claim().encode();
    for at in 0..block.said.len() {
        let mut bytes = block.bytes().concat();
        bytes[at] ^= 1;
        assert_eq!(Claim::decode(&bytes), None, "byte {at}");
    }
}

#[test]
fn an_id_is_no_path() {
    let mut claim = full_claim();
    claim.debts[0].id = "../../etc/passwd".to_owned();
    assert_eq!(Claim::decode(&claim.encode().bytes().concat()), None);
}

#[test]
fn a_line_is_kept_to_its_end() {
    let claim = Claim { boot: "0f5f5b9e\r\r".to_owned(), ..full_claim() };
    assert_eq!(Claim::decode(&claim.encode().bytes().concat()), Some(claim));
}

#[test]
fn an_empty_or_short_file_says_nothing() {
    assert_eq!(Claim::decode(b""), None);
    assert_eq!(Claim::decode(b"supervise claim 1\n\nend\n"), None);
    assert_eq!(Claim::decode(ClaimBlock::EMPTY), None);
    assert_eq!(Claim::decode(&full_claim().encode().bytes().concat()[..1000]), None);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = Claim::decode(&bytes);
        let _ = Claim::decode(&[TITLE.as_bytes(), &bytes, b"\nend\n"].concat());
    }
}
