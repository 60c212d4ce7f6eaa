//! Programs and web addresses that get an alarm.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

use crate::common::{Sandbox, after_a_delay, eventually, log_texts};
use crate::smtp::TestCa;
use crate::{alarmed, crash, crashed, until_delivered};

fn write_program(sandbox: &Sandbox, name: &str, text: &str) {
    sandbox.write(name, text);
    fs::set_permissions(sandbox.path(name), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn alarm_exec_gets_the_facts_and_the_text() {
    let sandbox = Sandbox::new();
    write_program(
        &sandbox,
        "told",
        "#!/bin/sh\nprintf '%s\\n' \"$@\" >> args\nenv | grep ^SUPERVISE_ > facts\ncat > text\n",
    );
    sandbox.write_conf("[app]\nalarm_exec : ./told 'a b' $(id)\n");
    crash(&sandbox, "err oops exit 3", &[]);
    until_delivered(&sandbox);
    assert_eq!(sandbox.read("args"), "a b\n$(id)\n", "once, and no shell in between");
    let facts = sandbox.read("facts");
    for fact in ["KIND=exited", "MODULE=app", "EXIT_CODE=3", "ENDED=code 3", "NEXT=restart", "WINDOW_EXIT=1", "CORE=no"]
    {
        assert!(facts.lines().any(|line| line == format!("SUPERVISE_{fact}")), "{fact} in {facts}");
    }
    let text = sandbox.read("text");
    assert!(text.lines().next().unwrap().ends_with("Service app exited!"), "{text}");
    assert!(text.contains("\n\nhost: ") && text.contains("oops"), "{text}");
}

#[test]
fn gsm_command_gets_each_number_and_the_text() {
    let sandbox = Sandbox::new();
    write_program(&sandbox, "gsm", "#!/bin/sh\ncat > \"text.$2\"\necho \"$@\" >> calls\n");
    sandbox.write_conf(&alarmed("alarm_gsm : 100, +200\ngsm_command : ./gsm -q"));
    crash(&sandbox, "exit 3", &[]);
    until_delivered(&sandbox);
    let mut calls: Vec<String> = sandbox.read("calls").lines().map(str::to_owned).collect();
    calls.sort();
    assert_eq!(calls, ["-q +200", "-q 100"]);
    assert!(sandbox.read("text.100").contains("Service app exited!"));
}

#[test]
fn without_gsm_command_it_is_the_gsmsend_script_of_the_path() {
    let sandbox = Sandbox::new();
    write_program(&sandbox, "gsmsend-script", "#!/bin/sh\ncat > text\necho \"$@\" >> calls\n");
    sandbox.write_conf(&alarmed("alarm_gsm : 100"));
    let path = format!("{}:/usr/bin:/bin", sandbox.path("").display());
    crash(&sandbox, "exit 3", &[("PATH", &path)]);
    until_delivered(&sandbox);
    assert_eq!(sandbox.read("calls"), "100\n");
    assert!(sandbox.read("text").contains("Service app exited!"), "{}", sandbox.read("text"));
}

#[test]
fn a_program_that_fails_is_tried_again_and_its_last_words_are_told() {
    let sandbox = Sandbox::new();
    write_program(&sandbox, "told", "#!/bin/sh\necho first >&2\necho the modem is off >&2\nexit 7\n");
    sandbox.write_conf("[app]\nalarm_exec : ./told\n");
    crash(&sandbox, "exit 3", &[]);
    sandbox.until_warned("./told ended with exit code 7: the modem is off");
    assert_eq!(sandbox.alarms().len(), 1);
    // They count also where it is a process of its own that says them.
    let late = Sandbox::new();
    write_program(&late, "told", "#!/bin/sh\n(sleep 0.2; echo the line is dead >&2) &\nexit 8\n");
    late.write_conf("[app]\nalarm_exec : ./told\n");
    crash(&late, "exit 3", &[]);
    late.until_warned("./told ended with exit code 8: the line is dead");
    let missing = crashed("[app]\nalarm_exec : ./nowhere\n", "exit 3");
    missing.until_warned("unable to run ./nowhere: No such file or directory");
}

#[test]
fn with_alarms_off_what_was_raised_before_is_delivered() {
    let sandbox = Sandbox::new();
    write_program(&sandbox, "told", "#!/bin/sh\n[ -e go ] && cat > text\n");
    sandbox.write_conf("[app]\nalarm_exec : ./told\n");
    crash(&sandbox, "exit 3", &[]);
    sandbox.until_warned("./told ended with exit code 1");
    sandbox.write_control(b"s");
    sandbox.until_value("alarms", "no");
    sandbox.write("go", "");
    // The next attempt is 10 to 12 s after the first.
    after_a_delay(&sandbox, "it is delivered", || sandbox.alarms().is_empty());
    assert!(sandbox.read("text").contains("Service app exited!"), "{}", sandbox.read("text"));
    assert_eq!(sandbox.value("alarms").as_deref(), Some("no"));
}

#[test]
fn a_program_that_hangs_is_ended_with_its_children() {
    let sandbox = Sandbox::new();
    write_program(&sandbox, "told", "#!/bin/sh\nsleep 1000 & sleep 1000\n");
    sandbox.write_conf("[app]\nalarm_exec : ./told\n");
    crash(&sandbox, "exit 3", &[("SVALARM_TEST_DEADLINE_MS", "500")]);
    sandbox.until_warned("no end within 0.5 s");
    eventually(&sandbox, "only supervise and the service are left", || sandbox.processes().len() == 2);
}

/// Heads and bodies.
type Requests = Arc<Mutex<Vec<(String, String)>>>;

/// A web server that answers with this status line; what it was sent.
fn web(status: &'static str) -> (u16, Requests) {
    web_over(status, |stream| stream)
}

/// The same over what is made of each connection.
fn web_over<S: Read + Write>(status: &'static str, wrap: impl Fn(TcpStream) -> S + Send + 'static) -> (u16, Requests) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let requests = Requests::default();
    let taken = Arc::clone(&requests);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = BufReader::new(wrap(stream));
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                if stream.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
                    break;
                }
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
                    length = value.trim().parse().unwrap();
                }
                head.push_str(&line);
            }
            if head.is_empty() {
                continue; // it did not trust us
            }
            let mut body = vec![0; length];
            let _ = stream.read_exact(&mut body);
            taken.lock().unwrap().push((head, String::from_utf8(body).unwrap()));
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let _ = stream.get_mut().write_all(answer.as_bytes());
            let _ = stream.get_mut().flush();
        }
    });
    (port, requests)
}

#[test]
fn a_webhook_gets_one_json_object() {
    let (port, requests) = web("204 No Content");
    let conf = format!("[app]\nalarm_webhook : http://127.0.0.1:{port}/hook?key=1\n");
    let sandbox = crashed(&conf, "err 磁盘\"已满 exit 3");
    until_delivered(&sandbox);
    let requests = requests.lock().unwrap();
    assert_eq!(requests.len(), 1);
    let (head, body) = &requests[0];
    assert!(head.starts_with("POST /hook?key=1 HTTP/1.1\r\n"), "{head}");
    assert!(head.to_ascii_lowercase().contains("content-type: application/json\r\n"), "{head}");
    let object: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(object["version"], 1);
    assert_eq!(object["module"], "app");
    assert_eq!(object["kind"], "exited");
    assert_eq!(object["exit_code"], 3);
    assert!(object["subject"].as_str().unwrap().ends_with("Service app exited!"));
    assert!(object["text"].as_str().unwrap().contains("磁盘"), "{body}");
    assert!(object["ran"].is_number() && object["pid"].is_number(), "{body}");
}

#[test]
fn what_a_webhook_answers_counts() {
    for (status, for_good) in [
        ("404 Not Found", true),
        ("429 Slow Down", false),
        ("500 Oops", false),
        ("301 Moved", false),
        ("400 Bad", true),
    ] {
        let (port, _) = web(status);
        let sandbox = crashed(&format!("[app]\nalarm_webhook : http://127.0.0.1:{port}/\n"), "exit 3");
        let level = if for_good { "FATAL" } else { "WARNING" };
        eventually(&sandbox, &format!("{status}: a {level} line"), || {
            log_texts(&sandbox.warnings(), level).iter().any(|line| line.contains(&status[..3]))
        });
        eventually(&sandbox, status, || sandbox.alarms().is_empty() == for_good);
    }
}

#[test]
fn a_webhook_over_tls_is_trusted_only_if_an_authority_vouches_for_it() {
    let ca = TestCa::new();
    let server = ca.server.clone();
    let (port, requests) = web_over("200 OK", move |stream| {
        let connection = rustls::ServerConnection::new(server.clone()).expect("a good configuration");
        rustls::StreamOwned::new(connection, stream)
    });
    let conf = format!("[app]\nalarm_webhook : https://127.0.0.1:{port}/hook\n");
    let stranger = crashed(&conf, "exit 3");
    stranger.until_warned("was not delivered to 1 of 1");
    assert_eq!((requests.lock().unwrap().len(), stranger.alarms().len()), (0, 1));
    let sandbox = Sandbox::new();
    sandbox.write("ca.pem", &ca.pem);
    sandbox.write_conf(&conf);
    let authority = sandbox.path("ca.pem");
    crash(&sandbox, "exit 3", &[("SSL_CERT_FILE", authority.to_str().unwrap())]);
    until_delivered(&sandbox);
    assert_eq!(requests.lock().unwrap().len(), 1);
}
