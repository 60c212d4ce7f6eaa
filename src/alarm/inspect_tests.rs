use std::fs;

use super::*;

const MESSAGE: &str = "Message-ID: <1.2.3@h>\nSubject: s\nTo: a@b\nTo: c@d\nExec: x\nFact: module a\nFact: time \
                       5.000000000\n\nFailed: in the body\n";

struct Spool(tempfile::TempDir);

impl Spool {
    fn new(files: &[(&str, &str)]) -> Self {
        let spool = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            let path = spool.0.path().join("alarms").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        spool
    }

    fn dir(&self) -> Directory {
        Directory::open(self.0.path()).unwrap()
    }

    fn list(&self) -> Vec<Kept> {
        list(&self.dir()).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for folder in ["alarms", "alarms/failed", "alarms/.delivery"] {
            for entry in fs::read_dir(self.0.path().join(folder)).into_iter().flatten().flatten() {
                if entry.file_type().unwrap().is_file() {
                    names.push(format!("{folder}/{}", entry.file_name().display()));
                }
            }
        }
        names.sort();
        names
    }
}

#[test]
fn what_is_waiting_and_what_has_failed() {
    let spool = Spool::new(&[
        ("1.2.3", MESSAGE),
        ("1.2.4", "no message"),
        (".1.2.5.new", MESSAGE),
        (
            ".delivery/1.2.3",
            "svalarm progress 1\nattempts 3\nwaited 0\naccepted To: a@b\nrefused Exec: x\nreason n\\x0ao\nmissed To: c@d\nbecause not yet\nend\n",
        ),
        ("failed/1.2.2", &format!("Failed: To: c@d\nReason: 550 n\\x1bo\n{MESSAGE}")),
    ]);
    let all = spool.list();
    assert_eq!(all.iter().map(|kept| kept.id.as_str()).collect::<Vec<_>>(), ["1.2.2", "1.2.3", "1.2.4"]);
    assert_eq!(all[0].recipients, [("To: c@d".to_owned(), Delivery::Refused("550 n\\x1bo".to_owned()))]);
    assert_eq!((all[0].place, all[0].subject.as_deref()), (Place::Failed, Ok("s")));
    let fates: Vec<_> = all[1].recipients.iter().map(|(_, fate)| fate.clone()).collect();
    assert_eq!(
        fates,
        [Delivery::Accepted, Delivery::ToCome(Some("not yet".to_owned())), Delivery::Refused("n\no".to_owned())]
    );
    assert_eq!((all[1].attempts, all[1].due_in), (3, Duration::ZERO));
    assert!(all[2].subject.is_err());
    assert_eq!(text(&spool.dir(), Place::Queue, "1.2.3").unwrap(), MESSAGE.as_bytes());
    let none = Spool::new(&[]);
    assert_eq!(none.list(), []);
    assert!(!none.0.path().join("alarms").exists(), "looking makes nothing");
}

#[test]
fn a_failed_one_goes_back_for_those_who_missed_it() {
    let failed = format!("Failed: To: c@d\nReason: no\n{MESSAGE}");
    let spool = Spool::new(&[("failed/1.2.3", &failed), ("failed/1.2.4", "x"), (".delivery/1.2.3", "x")]);
    assert_eq!(requeue(&spool.dir(), "1.2.3").as_deref(), Ok("1.2.3.1"), "the name is taken by a note");
    let back = fs::read_to_string(spool.0.path().join("alarms/1.2.3.1")).unwrap();
    assert_eq!(back, MESSAGE.replace("To: a@b\n", "").replace("Exec: x\n", ""));
    assert!(requeue(&spool.dir(), "1.2.4").is_err());
    assert_eq!(spool.names(), ["alarms/.delivery/1.2.3", "alarms/1.2.3.1", "alarms/failed/1.2.4"]);
}

#[test]
fn a_dropped_one_leaves_nothing() {
    let files = [("1.2.3", MESSAGE), (".delivery/1.2.3", "x"), ("failed/1.2.3", MESSAGE), ("1.2.4", MESSAGE)];
    let spool = Spool::new(&files);
    remove(&spool.dir(), Place::Queue, "1.2.3").unwrap();
    assert_eq!(spool.names(), ["alarms/1.2.4", "alarms/failed/1.2.3"]);
    remove(&spool.dir(), Place::Failed, "1.2.3").unwrap();
    remove(&spool.dir(), Place::Queue, "1.2.4").unwrap();
    assert_eq!(spool.names(), Vec::<String>::new());
    assert_eq!(remove(&spool.dir(), Place::Queue, "1.2.4"), Err(Errno::ENOENT));
}

#[test]
fn a_submitted_one_is_in_the_queue() {
    let spool = Spool::new(&[]);
    submit(&spool.dir(), "1.2.3", MESSAGE).unwrap();
    assert_eq!(spool.list()[0].place, Place::Queue);
}
