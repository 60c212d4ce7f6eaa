use super::*;

#[test]
fn whoever_only_reads_makes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let dir = Directory::open(folder.path()).unwrap();
    assert_eq!((count(&dir), next_attempt(&dir, Moment(0), "b")), (Ok(0), None));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    store(&dir, "1.2.3", "x").unwrap();
    assert_eq!((count(&dir), next_attempt(&dir, Moment(0), "b")), (Ok(1), None));
    assert!(!folder.path().join("alarms/.delivery").exists());
}

#[test]
fn a_next_attempt_that_can_not_be_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let dir = Directory::open(folder.path()).unwrap();
    make(&dir).unwrap();
    let spool = Spool::open(&dir).unwrap();
    spool.set_next(Some(Moment(50)), "b 1").unwrap();
    assert_eq!(next_attempt(&dir, Moment(7), "b 1"), Some(Moment(50)));
    assert_eq!(next_attempt(&dir, Moment(7), "b 2"), None, "another boot's clock");
    spool.set_next(Some(Moment(7) + LONGEST), "b").unwrap();
    assert_eq!(next_attempt(&dir, Moment(7), "b"), Some(Moment(7) + LONGEST));
    assert_eq!(next_attempt(&dir, Moment(6), "b"), None, "no delay is so long");
    spool.set_next(None, "b").unwrap();
    assert_eq!(next_attempt(&dir, Moment(7), "b"), None);
}

#[test]
fn a_message_that_can_not_be_read_is_not_kept_empty() {
    let folder = tempfile::tempdir().unwrap();
    let dir = Directory::open(folder.path()).unwrap();
    make(&dir).unwrap();
    let spool = Spool::open(&dir).unwrap();
    assert_eq!(spool.keep_failed("1.2.3", "Failed: x\n"), Err(Errno::ENOENT));
    assert!(!folder.path().join("alarms/failed").exists());
    store(&dir, "1.2.3", "text").unwrap();
    spool.keep_failed("1.2.3", "Failed: x\n").unwrap();
    assert_eq!(std::fs::read_to_string(folder.path().join("alarms/failed/1.2.3")).unwrap(), "Failed: x\ntext");
}

#[test]
fn a_message_that_is_there_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let dir = Directory::open(folder.path()).unwrap();
    let message = "Message-ID: <1.2.3@h>\nSubject: s\n\nbody\n";
    let other = "Message-ID: <1.2.3@h>\nSubject: later\n\nbody\n";
    let text = |name: &str| std::fs::read_to_string(folder.path().join("alarms").join(name)).unwrap_or_default();
    assert_eq!(store(&dir, "1.2.3", message), Ok(Stored::New));
    assert_eq!((store(&dir, "1.2.3", other), text("1.2.3").as_str()), (Ok(Stored::Waiting), message));
    assert_eq!((store(&dir, "1.2.4", other), text("1.2.4").as_str()), (Ok(Stored::New), other), "that is another one");
    let spool = Spool::open(&dir).unwrap();
    spool.keep_failed("1.2.3", "Failed: To: a@b\nReason: no\n").unwrap();
    spool.remove("1.2.3").unwrap();
    assert_eq!((store(&dir, "1.2.3", other), text("1.2.3").as_str()), (Ok(Stored::Failed), ""));
}

#[test]
fn what_a_crash_of_the_machine_left_of_a_message_is_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let dir = Directory::open(folder.path()).unwrap();
    let message = "Message-ID: <1.2.3@h>\nSubject: s\n\nbody\n";
    for left in ["", "\0\0\0\0", "Message-ID: <1.2.3@h>\nSubj"] {
        make(&dir).unwrap();
        let file = folder.path().join("alarms/1.2.3");
        std::fs::write(&file, left).unwrap();
        assert_eq!(store(&dir, "1.2.3", message), Ok(Stored::New), "{left:?}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), message);
        // svalarm has put it aside.
        std::fs::write(&file, left).unwrap();
        Spool::open(&dir).unwrap().set_aside("1.2.3").unwrap();
        assert_eq!(store(&dir, "1.2.3", message), Ok(Stored::New), "{left:?} in failed");
    }
}
