//! What must always be true, whoever was killed and whatever failed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::{Pid, Sandbox, alive, decode_record, eventually, process_stat};
use crate::world::World;

/// Which of the records were there once, and so must be for ever.
#[derive(Debug, Default)]
pub(crate) struct Published {
    record: AtomicBool,
    long_record: AtomicBool,
}

impl Published {
    /// Those that are there.
    pub(crate) fn in_directory(dir: &Path) -> Self {
        let is_there = |name| AtomicBool::new(dir.join(name).exists());
        Self { record: is_there("status"), long_record: is_there("state") }
    }
}

/// For a reader at any moment: once there is a record it is there and whole, and so is the long one. The answer: what
/// is wrong with them.
pub(crate) fn records_are_whole(dir: &Path, published: &Published) -> Option<String> {
    match fs::read(dir.join("status")) {
        Err(_) if !published.record.load(Ordering::Relaxed) => return None,
        Err(error) => return Some(format!("the record can't be read: {error}")),
        Ok(bytes) => {
            published.record.store(true, Ordering::Relaxed);
            let valid = decode_record(&bytes).is_some_and(|record| {
                record.paused <= 1
                    && b"ud\0".contains(&record.wanted)
                    && b"ox".contains(&record.alarms)
                    && record.zero == 0
                    && record.nanoseconds < 1_000_000_000
            });
            if !valid {
                return Some(format!("not a record: {bytes:02x?}"));
            }
        }
    }
    let text = match fs::read_to_string(dir.join("state")) {
        // The first one comes after the first record.
        Err(_) if !published.long_record.load(Ordering::Relaxed) => return None,
        Err(error) => return Some(format!("the long record can't be read: {error}")),
        Ok(text) => text,
    };
    published.long_record.store(true, Ordering::Relaxed);
    let whole = text.starts_with("module : ") && text.contains("\nundelivered : ");
    (!whole).then(|| format!("not a long record: {text:?}"))
}

/// The processes that are children of this one and wait to be reaped.
pub(crate) fn zombies_of(pid: Pid) -> Vec<Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|child| process_stat(*child).is_some_and(|stat| stat.state == 'Z' && stat.parent == pid)).collect()
}

/// What the descriptors lead to that a process has open.
pub(crate) fn descriptors_of(pid: Pid) -> Vec<PathBuf> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    entries.map(|entry| fs::read_link(entry.path()).unwrap_or_default()).collect()
}

/// What the records say is so: `None`, or what is not true yet.
pub(crate) fn untrue(sandbox: &Sandbox) -> Option<String> {
    let state = sandbox.state();
    let value = |key: &str| state.get(key).map_or("", String::as_str);
    let Some(record) = fs::read(sandbox.file("status")).ok().and_then(|bytes| decode_record(&bytes)) else {
        return Some("there is no record".to_owned());
    };
    let pid = record.pid.unwrap_or(0);
    let wanted = match record.wanted {
        b'u' => "up",
        b'd' => "down",
        _ => "once",
    };
    let yes = |flag: bool| if flag { "yes" } else { "no" };
    let claims = [
        ("pid", pid.to_string()),
        ("wanted", wanted.to_owned()),
        ("paused", yes(record.paused == 1).to_owned()),
        ("alarms", yes(record.alarms == b'o').to_owned()),
    ];
    for (key, said) in claims {
        if value(key) != said {
            return Some(format!("{key}: the record says {said}, the long one {:?}", value(key)));
        }
    }
    let runs = matches!(value("state"), "up" | "stopping");
    if runs != (pid != 0) || (pid != 0 && !alive(pid)) {
        return Some(format!(
            "state {}, pid {pid}, which {}",
            value("state"),
            if alive(pid) { "lives" } else { "is dead" }
        ));
    }
    let stopped = process_stat(pid).is_some_and(|stat| stat.state == 'T');
    if pid != 0 && stopped != (record.paused == 1) {
        return Some(format!("paused {}, but the service is in state {:?}", record.paused, process_stat(pid)));
    }
    let named = value("supervise").parse::<Pid>().ok();
    if named.is_none_or(|pid| !sandbox.holds_lock(pid)) {
        return Some(format!("supervise {named:?}, which does not hold the lock"));
    }
    let (starts, exits) = (sandbox.count("starts"), sandbox.count("exits"));
    if starts != exits + u64::from(pid != 0) {
        return Some(format!("{starts} starts, {exits} exits, pid {pid}"));
    }
    None
}

/// With all quiet: the records are true, there is one service and it is known, nobody is left over.
#[track_caller]
pub(crate) fn hold(world: &World<'_>) {
    let sandbox = &world.sandbox;
    world.until_true();
    world.until_ok("nobody is left over", || untrue(sandbox).or_else(|| strangers(world)));
    never_two(sandbox);
    let ids = world.spooled();
    let mut heads = sandbox.headers("Message-ID");
    heads.dedup();
    assert_eq!(heads.len(), ids.len(), "every message has an id of its own: {ids:?} {heads:?}");
}

/// No copy of the service ever found another one at work.
#[track_caller]
pub(crate) fn never_two(sandbox: &Sandbox) {
    assert_eq!(sandbox.read("refused"), "", "a second copy was started");
}

/// Who runs here, and should not; or is dead, and not reaped.
pub(crate) fn strangers(world: &World<'_>) -> Option<String> {
    let sandbox = &world.sandbox;
    let service = sandbox.service_pid();
    let supervise: Option<Pid> = sandbox.value("supervise").and_then(|pid| pid.parse().ok());
    let of_its_group = |pid: &Pid| process_stat(*pid).is_some_and(|stat| Some(stat.group) == service);
    // What delivers alarms is supervise's own business, and its children's.
    let delivers = world.svalarms();
    let sink = |pid: &Pid| process_stat(*pid).is_some_and(|stat| delivers.contains(&stat.parent));
    let known = |pid: &Pid| {
        [service, supervise].contains(&Some(*pid)) || of_its_group(pid) || delivers.contains(pid) || sink(pid)
    };
    let unknown: Vec<Pid> = sandbox.processes().into_iter().filter(|pid| !known(pid)).collect();
    let zombies = supervise.map(zombies_of).unwrap_or_default();
    (!unknown.is_empty() || !zombies.is_empty()).then(|| format!("nobody's processes {unknown:?}, zombies {zombies:?}"))
}

/// Once supervise has ended as asked for: the service is down and said to be, and there is no other process but the
/// one that delivers alarms.
#[track_caller]
pub(crate) fn nothing_is_left(world: &World<'_>) {
    let sandbox = &world.sandbox;
    assert_eq!(sandbox.record().pid, None, "the record says down");
    assert!(!sandbox.ok_is_held(), "`ok` is gone");
    eventually(sandbox, "only svalarm is left", || {
        let name = |pid: &Pid| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        sandbox.processes().iter().all(|pid| matches!(name(pid).trim(), "svalarm" | ""))
    });
    never_two(sandbox);
}
