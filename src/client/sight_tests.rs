use std::fs;
use std::path::Path;

use super::super::{json, row, state_words};
use super::*;
use crate::client::{Process, table};
use crate::statusdir::Record;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

/// Far more than any kernel gives (proc(5), pid_max).
const NO_PID: u32 = 0x7fff_fff0;

struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn sight(&self) -> Sight {
        Sight::of(Service { name: "a".into(), dir: self.path().to_owned() })
    }

    fn record(&self, pid: Option<u32>, wanted: Wanted) -> &Self {
        let record =
            Record { stamp: Stamp(started(std::process::id())), paused: false, wanted, alarms_off: false, pid };
        fs::write(self.path().join("status"), record.encode()).unwrap();
        self
    }

    fn state(&self, text: &str) -> &Self {
        fs::write(self.path().join("state"), format!("module : a\n{text}")).unwrap();
        self
    }

    /// A supervise that lives, as far as `ok` tells.
    fn living(&self) -> fs::File {
        use std::os::unix::fs::OpenOptionsExt;
        mkfifo(&self.path().join("ok"), Mode::S_IRWXU).unwrap();
        fs::File::options().read(true).custom_flags(nix::libc::O_NONBLOCK).open(self.path().join("ok")).unwrap()
    }
}

/// When a process was started, in Unix nanoseconds.
fn started(pid: u32) -> u64 {
    let age = std::time::Duration::from_nanos(crate::sys::boot_ns()) - Process::at(pid).unwrap().started;
    crate::sys::now().stamp.0 - u64::try_from(age.as_nanos()).unwrap()
}

fn own_pid() -> Option<u32> {
    Some(std::process::id())
}

#[test]
fn a_supervise_that_was_killed_leaves_a_service_that_is_up() {
    let dir = Dir::new();
    let sight = dir.record(own_pid(), Wanted::Up).sight();
    assert_eq!((sight.state, sight.pid, sight.supervise), (State::Up, own_pid(), Some(false)));
    assert_eq!((sight.level(), sight.trouble()), (Level::Unwatched, Some(Trouble::NoSupervise)));
    assert_eq!(state_words(&sight), "up, no supervise");
}

#[test]
fn a_pid_in_the_record_of_a_dead_supervise_is_not_believed() {
    let dir = Dir::new();
    let sight = dir.record(Some(NO_PID), Wanted::Up).sight();
    assert_eq!((sight.state, sight.pid, sight.since), (State::Down, None, None));
    let stranger = Record {
        stamp: Stamp(started(std::process::id()) - 60_000_000_000),
        paused: false,
        wanted: Wanted::Up,
        alarms_off: false,
        pid: own_pid(),
    };
    fs::write(dir.path().join("status"), stranger.encode()).unwrap();
    assert_eq!(dir.sight().pid, None, "a process that was started at another time");
}

#[test]
fn what_needs_attention() {
    let dir = Dir::new();
    let ended = dir.record(None, Wanted::Down).sight();
    assert_eq!((ended.trouble(), ended.level()), (None, Level::Unwatched), "it was told to end");
    assert_eq!(dir.record(None, Wanted::Up).sight().trouble(), Some(Trouble::NoSupervise));
    assert_eq!(dir.state("state : gave-up\npid : 0\n").sight().trouble(), Some(Trouble::GaveUp));
    let _ok = dir.living();
    for (wanted, state, trouble, words) in [
        (Wanted::Up, "down", Some(Trouble::Down), "down, wanted up"),
        (Wanted::Down, "down", None, "down"),
        (Wanted::Once, "down", None, "down"),
        (Wanted::Up, "pacing", Some(Trouble::Restarting), "pacing"),
        (Wanted::Up, "hook", Some(Trouble::Restarting), "hook"),
        (Wanted::Down, "down\nundelivered : 2", Some(Trouble::Undelivered), "down"),
    ] {
        let sight = dir.record(None, wanted).state(&format!("pid : 0\nstate : {state}\n")).sight();
        assert_eq!((sight.trouble(), state_words(&sight).as_str()), (trouble, words), "{state}");
        assert_eq!(sight.level(), Level::Down);
    }
}

#[test]
fn the_classic_record_alone_is_enough() {
    let dir = Dir::new();
    let _ok = dir.living();
    let sight = dir.record(own_pid(), Wanted::Up).sight();
    assert_eq!((sight.state, sight.level(), sight.trouble(), &sight.problem), (State::Up, Level::Up, None, &None));
    let text = table::lines(&super::super::COLUMNS, &[row(&sight, sight.since.unwrap())], None, false);
    let words: Vec<&str> = text[1].split_whitespace().collect();
    assert_eq!(words, ["a", "up", &std::process::id().to_string(), "0.0", "s", "-", "-", "-", "on"]);
}

#[test]
fn a_long_record_of_another_process_is_not_believed() {
    let dir = Dir::new();
    let _ok = dir.living();
    dir.record(own_pid(), Wanted::Up).state("pid : 0\nstate : gave-up\nstarts : 7\n");
    let sight = dir.sight();
    assert_eq!((sight.state, sight.number("starts")), (State::Up, None));
}

#[test]
fn what_stands_there_instead_of_a_file_is_told() {
    for make in [
        (|path| fs::create_dir(path).unwrap()) as fn(&Path),
        |path| mkfifo(path, Mode::S_IRWXU).unwrap(),
        |path| std::os::unix::fs::symlink(path, path).unwrap(),
        |path| fs::write(path, [7; 19]).unwrap(),
        |path| fs::File::create(path).unwrap().set_len(1 << 30).unwrap(),
        |path| drop(std::os::unix::net::UnixListener::bind(path).unwrap()),
    ] {
        for name in ["status", "state"] {
            let dir = Dir::new();
            dir.record(None, Wanted::Down).state("pid : 0\nstate : down\n");
            let _ok = dir.living();
            fs::remove_file(dir.path().join(name)).unwrap();
            make(&dir.path().join(name));
            let sight = dir.sight();
            let problem = sight.problem.clone().unwrap_or_default();
            assert!(problem.contains(&format!("{}", dir.path().join(name).display())), "{problem:?}");
            let level = if name == "status" { Level::Unwatched } else { Level::Down };
            assert_eq!(sight.level(), level, "{name}: {problem}");
        }
    }
    let gone = Sight::of(Service { name: "x".into(), dir: "/nowhere/x".into() });
    assert_eq!(gone.problem.as_deref(), Some("No such file or directory: /nowhere/x"));
    assert_eq!((gone.state, gone.level()), (State::Unreadable, Level::Unwatched));
}

#[test]
fn golden_json() {
    let full = ReadRecord::decode(
        b"module : a\nsupervise : 7\nversion : 0.1.0\nupgraded : 9.5\ncommand : sleep \\x0a\nconf : c\n\
          conf_read : 1.000001999\npid : 8\nstate : up\nlast_exit : signal SEGV core\nlast_exit_at : 2.000000000\n\
          last_ran : 1.500000000\nlast_exit_expected : no\nadopted : yes\nstarts : 3\nexits : 2\n\
          window_opened : 1.000000000\nwindow_exits : 2\nwindow_coredumps : 1\nundelivered : 1\nfuture : 5\n",
    );
    let service = |name: &[u8]| {
        use std::os::unix::ffi::OsStrExt;
        let name = std::ffi::OsStr::from_bytes(name);
        Service { name: name.to_owned(), dir: Path::new("r").join(name) }
    };
    let up = Sight {
        service: service(b"a"),
        state: State::Up,
        supervise: Some(true),
        stopped: None,
        pid: Some(8),
        since: Some(Stamp(2_500_000_000)),
        wanted: Some(Wanted::Once),
        paused: true,
        alarms: Some(false),
        record: full,
        problem: None,
    };
    let broken = Sight::unreadable(service(b"\xff\x1b\\\""), "damaged: r/x".to_owned());
    let text = json(Path::new("r"), Stamp(1_795_236_674_020_071_968), &[up, broken]);
    assert_eq!(
        text,
        "{\"version\":1,\"root\":\"r\",\"time\":1795236674.020071,\"services\":[\n\
         {\"name\":\"a\",\"dir\":\"r/a\",\"state\":\"up\",\"up\":true,\"failed\":true,\"problem\":null,\"supervise\":true,\
         \"supervise_pid\":7,\"supervise_stopped\":false,\"version\":\"0.1.0\",\"upgraded\":null,\"upgrade_problem\":null,\
         \"command\":\"sleep \\\\x0a\",\"conf\":\"c\",\"conf_read\":1.000001,\"conf_problem\":null,\"pid\":8,\
         \"since\":2.500000,\"wanted\":\"once\",\"paused\":true,\"alarms\":false,\"adopted\":true,\"next_start\":null,\
         \"last_exit\":{\"text\":\"signal SEGV core\",\"code\":null,\"signal\":\"SEGV\",\"core\":true,\"at\":2.000000,\
         \"ran\":1.500000,\"expected\":false},\"starts\":3,\"exits\":2,\
         \"window\":{\"opened\":1.000000,\"exits\":2,\"coredumps\":1},\"undelivered\":1},\n\
         {\"name\":\"\\\\xff\\\\x1b\\\\x5c\\\"\",\"dir\":\"r/\\\\xff\\\\x1b\\\\x5c\\\"\",\"state\":\"unreadable\",\
         \"up\":null,\"failed\":true,\"problem\":\"damaged: r/x\",\"supervise\":null,\"supervise_pid\":null,\"supervise_stopped\":null,\
         \"version\":null,\"upgraded\":null,\"upgrade_problem\":null,\"command\":null,\"conf\":null,\"conf_read\":null,\
         \"conf_problem\":null,\"pid\":null,\"since\":null,\"wanted\":null,\"paused\":null,\"alarms\":null,\
         \"adopted\":null,\"next_start\":null,\"last_exit\":null,\"starts\":null,\"exits\":null,\"window\":null,\
         \"undelivered\":null}\n]}\n"
    );
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["services"][0]["last_exit"]["ran"], 1.5);
    assert_eq!(
        json(Path::new("r"), Stamp(0), &[]),
        "{\"version\":1,\"root\":\"r\",\"time\":0.000000,\"services\":[]}\n"
    );
}

#[test]
fn the_state_is_told_whole_on_forty_columns() {
    let dir = Dir::new();
    let mut sight =
        dir.record(own_pid(), Wanted::Up).state(&format!("pid : {}\nstate : up\n", own_pid().unwrap())).sight();
    sight.service.name = "shop/with-a-name/that-is-far-longer/than-that".into();
    let lines = |width| table::lines(&super::super::COLUMNS, &[row(&sight, sight.since.unwrap())], Some(width), false);
    assert_eq!(lines(40), ["MODULE                  STATE", "shop/with-a-name/that…  up, no supervise"]);
    assert_eq!(lines(24)[1], "shop/with-a…  up, no su…");
    assert_eq!(lines(16)[1], "shop/with-a…  u…");
}

#[test]
fn notes_that_are_shared_are_said_once() {
    let dir = Dir::new();
    let _ok = dir.living();
    let problem = "upgrade_problem : 5.0 no answer\nconf_problem : c:3: \u{85}x: unknown\n";
    let sight = dir
        .record(own_pid(), Wanted::Up)
        .state(&format!("pid : {}\nstate : up\n{problem}", own_pid().unwrap()))
        .sight();
    assert_eq!((sight.trouble(), state_words(&sight).as_str()), (Some(Trouble::Refused), "up, conf problem"));
    let named = |name: &str| Sight { service: Service { name: name.into(), ..sight.service.clone() }, ..sight.clone() };
    let other = Sight { problem: Some("damaged: state".to_owned()), record: None, ..named("z") };
    let five = ["a", "b", "c", "d", "e"].map(named);
    assert_eq!(
        super::super::notes(five.iter().chain([&other])),
        ["a, b, c and 2 more: conf: c:3: \\xc2\\x85x: unknown; upgrade: no answer", "z: damaged: state"]
    );
    assert_eq!(super::super::notes(&five[..2]), ["a, b: conf: c:3: \\xc2\\x85x: unknown; upgrade: no answer"]);
}
