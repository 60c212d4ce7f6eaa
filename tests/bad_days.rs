//! Names, status directories and disks that are against us: nothing is lost, and it is said what is wrong.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use crate::common::{Pid, Sandbox, alive, eventually, is_root, process_stat, signal, with_status_on_a_small_disk};

#[test]
fn module_names_may_hold_blanks_quotes_and_any_language() {
    for module in ["two words", "it's", "a \"quoted\" one", "服务", "straße", "$(id)", "a;b&c", "-dash", "[x]", "a:b=c"]
    {
        let sandbox = Sandbox::new();
        let path = format!("status/{module}");
        sandbox.background(&["-p", &path, "-f", "./service ready"]).expect_code(0);
        let status = sandbox.status_dir(&path);
        let named = || status.value("module").as_deref() == Some(module);
        eventually(&sandbox, &format!("the module is {module:?}"), named);
        status.write_control(b"dx");
        eventually(&sandbox, "supervise has ended", || status.lock_holders().is_empty());
        assert!(status.log().contains(module), "{}", status.log());
    }
}

#[test]
fn a_module_name_may_hold_bytes_that_are_no_utf_8() {
    use std::os::unix::ffi::OsStrExt;
    let sandbox = Sandbox::new();
    let path = std::ffi::OsStr::from_bytes(b"status/latin-\xe9");
    let mut command = sandbox.command(&["-p"]);
    command.arg(path).args(["-f", "./service ready"]);
    sandbox.run(command).expect_code(0);
    let status = sandbox.status_dir(path);
    assert!(status.ok_is_held());
    let service = status.service_pid().expect("it is up");
    assert!(alive(service));
    status.write_control(b"dx");
    eventually(&sandbox, "supervise has ended", || status.lock_holders().is_empty());
}

#[test]
fn a_module_with_blanks_and_brackets_has_its_section() {
    let sandbox = Sandbox::new();
    sandbox.write_conf("[two words]\ncommand : ./service ready\n");
    sandbox.background(&["-p", "status/two words"]).expect_code(0);
    let status = sandbox.status_dir("status/two words");
    eventually(&sandbox, "it is up", || status.stdout().contains("ready"));
}

#[test]
fn a_module_name_of_300_bytes_is_told_with_110() {
    let sandbox = Sandbox::new();
    let path = format!("status/{}", "n".repeat(300));
    let output = sandbox.background(&["-p", &path, "-f", "./service ready"]).expect_code(110);
    output.expect_stderr(&["supervise: ", "File name too long"]);
    assert_eq!(sandbox.processes(), Vec::<Pid>::new());
}

#[track_caller]
fn cannot_be_made(sandbox: &Sandbox, reason: &str) {
    let output = sandbox.background(&["-p", "status/app", "-f", "./service line started ready"]).expect_code(110);
    output.expect_stderr(&["supervise: ", "status/app", reason]);
    assert_eq!((sandbox.processes(), sandbox.read("started")), (Vec::<Pid>::new(), String::new()));
}

#[test]
fn a_file_in_place_of_the_status_directory() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("status")).expect("the sandbox is writable");
    sandbox.write("status/app", "here first");
    cannot_be_made(&sandbox, "");
    assert_eq!(sandbox.read("status/app"), "here first");
}

#[test]
fn a_dangling_link_in_place_of_the_status_directory() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("status")).expect("the sandbox is writable");
    symlink("/missing/folder", sandbox.status_path()).expect("a link");
    cannot_be_made(&sandbox, "");
}

#[test]
fn a_status_root_that_may_not_be_written_to() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("status")).expect("the sandbox is writable");
    fs::set_permissions(sandbox.path("status"), fs::Permissions::from_mode(0o555)).expect("one's own folder");
    if !is_root() {
        return cannot_be_made(&sandbox, "Permission denied");
    }
    // Root may write to every folder, so it is somebody else who supervises.
    sandbox.give_to(64_126);
    let args = ["-p", "status/app", "-f", "./service line started wait"];
    let output = sandbox.run(sandbox.command_as(64_126, &args)).expect_code(110);
    output.expect_stderr(&["supervise: ", "status/app", "Permission denied"]);
    assert_eq!(sandbox.read("started"), "");
}

#[test]
fn a_status_directory_on_a_read_only_file_system() {
    let sandbox = Sandbox::new();
    with_status_on_a_small_disk(&sandbox, 64, || {
        fs::create_dir(sandbox.status_path()).expect("a new file system");
        remount_read_only(&sandbox.path("status"));
        // The status directory is there, so it is the first file in it that cannot be opened.
        let output = sandbox.background(&["-p", "status/app", "-f", "./service line started ready"]);
        assert!(matches!(output.code, Some(110 | 111)), "{output:#?}");
        output.expect_stderr(&["supervise: ", "status/app", "Read-only file system"]);
        let output = sandbox.background(&["-p", "status/new", "-f", "./service line started ready"]).expect_code(110);
        output.expect_stderr(&["supervise: ", "status/new", "Read-only file system"]);
        assert_eq!((sandbox.processes(), sandbox.read("started")), (Vec::<Pid>::new(), String::new()));
    });
}

#[test]
fn a_status_directory_removed_while_running_takes_no_service_down() {
    let sandbox = Sandbox::new();
    sandbox.start("line started wait", &[]);
    let lines = sandbox.until_lines("started", 1);
    let first: Pid = lines[0].split(' ').next().expect("a pid").parse().expect("digits");
    let supervise = sandbox.supervise_pid();
    // What supervise writes meanwhile can make the removal fail.
    eventually(&sandbox, "the folder is gone", || {
        let _ = fs::remove_dir_all(sandbox.path("status"));
        !sandbox.path("status").exists()
    });
    signal(first, Signal::SIGKILL);
    sandbox.until_lines("started", 2);
    signal(supervise, Signal::SIGTERM);
    sandbox.until_dead(supervise);
    eventually(&sandbox, "nothing is left", || sandbox.processes().is_empty());
}

fn remount_read_only(folder: &Path) {
    use std::os::unix::ffi::OsStrExt;
    let folder = std::ffi::CString::new(folder.as_os_str().as_bytes()).expect("no NUL in a path");
    let (none, flags) = (std::ptr::null(), libc::MS_REMOUNT | libc::MS_RDONLY);
    // SAFETY: the arguments are numbers and a C string that outlives the call.
    let result = unsafe { libc::mount(none, folder.as_ptr(), none, flags, none.cast()) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// Fills the file system of a folder; gives back the file that does it.
pub(crate) fn fill(folder: &Path) -> PathBuf {
    let path = folder.join("filler");
    let mut file = File::create(&path).expect("a file takes no room yet");
    while file.write_all(&[0; 4096]).is_ok() {}
    path
}

#[test]
fn a_service_starts_on_a_full_disk() {
    let sandbox = Sandbox::new();
    with_status_on_a_small_disk(&sandbox, 256, || {
        let filler = fill(&sandbox.path("status"));
        let output = sandbox.background(&["-p", "status/app", "-f", "./service line started until USR1 exit 3"]);
        let output = output.expect_code(0);
        let output = output.expect_stderr(&["No space left on device"]);
        output.expect_stderr(&["/claim: No space left on device; a death of supervise now may not be survived"]);
        sandbox.until_lines("started", 1);
        sandbox.write_control(b"1");
        sandbox.until_lines("started", 2);
        assert!(sandbox.ok_is_held() && !sandbox.lock_is_free());
        // With room again, the next change is on record.
        fs::remove_file(filler).expect("it is there");
        sandbox.write_control(b"1");
        let lines = sandbox.until_lines("started", 3);
        let third = lines[2].split(' ').next().expect("a pid").parse().ok();
        eventually(&sandbox, "the record has the new pid", || sandbox.service_pid() == third);
        sandbox.until_state("up");
        sandbox.write_control(b"dkx");
        sandbox.until_ended();
        assert_eq!((sandbox.record().pid, sandbox.value("state").as_deref()), (None, Some("down")));
    });
}

#[test]
fn a_disk_that_fills_up_takes_no_service_down_and_no_command_away() {
    let sandbox = Sandbox::new();
    with_status_on_a_small_disk(&sandbox, 256, || {
        sandbox.start("line started until USR1 exit 3", &[]);
        sandbox.until_lines("started", 1);
        sandbox.until_state("up");
        let (record, supervise) = (sandbox.record(), sandbox.supervise_pid());
        let filler = fill(&sandbox.path("status"));
        sandbox.write_control(b"1");
        sandbox.until_lines("started", 2);
        sandbox.write_control(b"?s1");
        let lines = sandbox.until_lines("started", 3);
        assert!(alive(supervise));
        // A reader still sees a whole record, an old one or a new one.
        assert!(sandbox.record().seconds >= record.seconds);
        fs::remove_file(filler).expect("it is there");
        sandbox.write_control(b"dk");
        sandbox.until_state("down");
        assert_eq!((sandbox.record().pid, sandbox.record().wanted), (None, b'd'));
        let third: Pid = lines[2].split(' ').next().expect("a pid").parse().expect("digits");
        assert!(!alive(third));
        sandbox.write_control(b"?");
        sandbox.until_warned("[WARNING]");
        sandbox.write_control(b"x");
        sandbox.until_ended();
    });
}

#[test]
fn a_record_that_could_not_be_written_is_written_once_it_can_be() {
    for name in ["status", "state"] {
        let sandbox = Sandbox::new();
        // The new record can't be made: its place is taken by a folder that is not empty.
        let obstacle = sandbox.file(&format!("{name}.new"));
        fs::create_dir_all(obstacle.join("content")).expect("the sandbox is writable");
        sandbox.start("line started wait", &[]);
        sandbox.until_lines("started", 1);
        sandbox.until_warned(&format!("unable to write status/app/{name}: "));
        // Nothing happens from here on but that it is tried again.
        fs::remove_dir_all(obstacle).expect("it is there");
        eventually(&sandbox, "both records are there", || {
            sandbox.value("state").as_deref() == Some("up") && sandbox.service_pid().is_some()
        });
    }
}

#[test]
fn an_alarm_that_meets_a_full_disk_is_written_once_there_is_room() {
    let sandbox = Sandbox::new();
    sandbox.write_conf(
        "[app]\nalarm_interval : 60\nalarm_mail : nobody@example.invalid\nmail_transport : smtp://127.0.0.1:1\n",
    );
    with_status_on_a_small_disk(&sandbox, 256, || {
        sandbox.start("line started until USR1 exit 3", &["-F", "supervise.conf"]);
        sandbox.until_lines("started", 1);
        let filler = fill(&sandbox.path("status"));
        sandbox.write_control(b"1");
        sandbox.until_lines("started", 2);
        fs::remove_file(filler).expect("it is there");
        // Something for supervise to wake up for; this exit is in the same window and raises no alarm.
        sandbox.write_control(b"1");
        sandbox.until_lines("started", 3);
        eventually(&sandbox, "the message file is there, and whole", || {
            let whole =
                |path: &PathBuf| fs::read_to_string(path).is_ok_and(|text| text.contains("Service app exited!"));
            sandbox.alarms().len() == 1 && sandbox.alarms().iter().all(whole)
        });
    });
}

#[test]
fn a_fifo_that_is_removed_or_replaced_while_running_is_made_anew_with_a_warning() {
    for name in ["svcontrol", "control"] {
        for replaced in [false, true] {
            let sandbox = Sandbox::new();
            sandbox.start("ready signals", &[]);
            sandbox.until_ready();
            // The file that takes its place comes at once, so there is no moment in which the name is free.
            if replaced {
                sandbox.write("status/app/other", "d\n");
                fs::rename(sandbox.file("other"), sandbox.file(name)).expect("a rename");
            } else {
                fs::remove_file(sandbox.file(name)).expect("it is there");
            }
            eventually(&sandbox, "both names lead to the same fifo", || {
                let inode = |name| fs::metadata(sandbox.file(name)).ok().map(|stat| (stat.ino(), stat.file_type()));
                inode("svcontrol") == inode("control") && inode(name).is_some_and(|(_, file_type)| file_type.is_fifo())
            });
            sandbox.until_warned(&format!("status/app/{name} was removed or replaced"));
            sandbox.write_fifo(name, b"1").expect("it is read");
            sandbox.until_said("got USR1");
        }
    }
}

#[test]
fn a_lock_file_that_nobody_holds_is_no_obstacle() {
    for text in ["", "12345\n", "rubbish \0 of a former owner"] {
        let sandbox = Sandbox::new();
        fs::create_dir_all(sandbox.status_path()).expect("the sandbox is writable");
        let mut stale = File::options();
        stale.write(true).create(true).mode(0o600);
        stale.open(sandbox.file("lock")).and_then(|mut file| file.write_all(text.as_bytes())).expect("a stale lock");
        sandbox.start("ready", &[]);
        sandbox.until_ready();
        assert!(!sandbox.lock_is_free());
    }
}

#[test]
fn rubbish_in_the_files_of_an_earlier_supervise_is_no_obstacle() {
    let rubbish: [&[u8]; 4] = [b"", b"\xff", &[0; 20], &[0x41; 9000]];
    for bytes in rubbish {
        let sandbox = Sandbox::new();
        fs::create_dir_all(sandbox.status_path()).expect("the sandbox is writable");
        for name in ["status", "state", "claim"] {
            sandbox.write(format!("status/app/{name}"), bytes);
        }
        sandbox.start("ready", &[]);
        let service = sandbox.until_ready();
        sandbox.until_value("pid", &service.to_string());
        sandbox.until_value("adopted", "no");
    }
}

#[test]
fn fifos_without_a_reader_in_place_of_the_files_block_nobody() {
    let mode = nix::sys::stat::Mode::from_bits_truncate(0o600);
    for name in ["lock", "status", "state", "claim", "supervise.log", "supervise.log.wf", "alarms"] {
        let sandbox = Sandbox::new();
        fs::create_dir_all(sandbox.status_path()).expect("the sandbox is writable");
        nix::unistd::mkfifo(&sandbox.file(name), mode).expect("a fifo");
        let output = sandbox.background(&["-p", "status/app", "-f", "./service line started wait"]);
        if output.code == Some(0) {
            // Two lines in the logs, two changes of the records; and whoever comes after a KILL reads the claim.
            sandbox.until_lines("started", 1);
            sandbox.write_control(b"?r");
            sandbox.write_control(b"k");
            sandbox.until_lines("started", 2);
            sandbox.write_control(b"dx");
            sandbox.until_ended();
            sandbox.start("line started wait", &[]);
            sandbox.until_lines("started", 3);
        } else {
            assert!(matches!(output.code, Some(110 | 111)), "{name}: {output:#?}");
            output.expect_stderr(&[name]);
            assert_eq!(sandbox.processes(), Vec::<Pid>::new(), "{name}");
        }
    }
}

#[test]
fn folders_in_place_of_the_files_are_named() {
    for name in ["lock", "status", "state", "claim", "supervise.log", "supervise.log.wf", "svcontrol", "ok"] {
        let sandbox = Sandbox::new();
        fs::create_dir_all(sandbox.file(name)).expect("the sandbox is writable");
        sandbox.write(format!("status/app/{name}/content"), "");
        let output = sandbox.background(&["-p", "status/app", "-f", "./service ready"]);
        match output.code {
            Some(0) => assert!(alive(sandbox.until_ready()), "{name}"),
            Some(110 | 111) => assert_eq!(sandbox.processes(), Vec::<Pid>::new(), "{name}"),
            _ => panic!("{name}: {output:#?}"),
        }
        // A line of a log that cannot be opened is lost; everything else is told.
        let said = output.stderr + &sandbox.warnings();
        assert!(name.contains("log") || said.contains(name), "{name} is named: {said}");
    }
}

#[test]
fn a_file_system_that_is_read_only_for_a_while_takes_no_service_down() {
    let sandbox = Sandbox::new();
    sandbox.start("line started ready until USR1 exit 3", &[]);
    let first = sandbox.until_ready();
    sandbox.until_state("up");
    // As NFS does it: files that are open for writing would keep a local file system from a remount.
    let read_only = "inject=openat,mkfifoat,mkdirat,linkat,unlinkat,renameat,renameat2,pwrite64:error=EROFS";
    let Some(strace) = crate::traced::strace(&sandbox, sandbox.supervise_pid(), &["-e", read_only]) else { return };
    sandbox.write_control(b"s");
    sandbox.until_warned("Read-only file system; it is out of date");
    assert_eq!(sandbox.record().alarms, b'o', "the old record is still there, and whole");
    sandbox.write_control(b"1");
    sandbox.until_lines("started", 2);
    sandbox.until_dead(first);
    sandbox.write_control(b"p?");
    let second: Pid =
        sandbox.read("started").lines().last().and_then(|line| line.split(' ').next()?.parse().ok()).expect("a pid");
    let stopped = || process_stat(second).is_some_and(|stat| stat.state == 'T');
    eventually(&sandbox, "the service is stopped", stopped);
    sandbox.until_warned("unknown byte");
    assert_eq!(sandbox.warnings().matches("is out of date").count(), 1, "it is told once: {}", sandbox.warnings());
    signal(strace.pid(), Signal::SIGINT);
    strace.wait();
    // Nothing else happens that would make supervise look.
    eventually(&sandbox, "the records are right", || {
        let record = sandbox.record();
        (record.pid, record.paused, record.alarms) == (Some(second), 1, b'x')
    });
    sandbox.until_value("starts", "2");
    let claimed = format!("pid {second:020}\n");
    eventually(&sandbox, "and so is the claim", || sandbox.text("claim").contains(&claimed));
    sandbox.write_control(b"dx");
    sandbox.until_ended();
}
