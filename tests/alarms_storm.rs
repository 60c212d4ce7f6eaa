//! Many services that die together.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::common::{Sandbox, StatusDir, eventually, signal};
use crate::relayed;
use crate::smtp::{Answer, Smtp, Tls};

/// A hundred services of one user share eight slots, and all of their alarms arrive.
#[test]
fn a_storm_opens_few_connections_at_once_and_all_of_it_arrives() {
    const SERVICES: usize = 100;
    let relay = Smtp::with(Tls::None, |line| (line == ".").then_some(Answer::After(Duration::from_millis(30))));
    let sandbox = Sandbox::new();
    sandbox.write_conf(&relayed(relay.port, "").replace("[app]", "[global]"));
    let services: Vec<StatusDir> =
        (0..SERVICES).map(|number| sandbox.status_dir(format!("status/s{number}"))).collect();
    for number in 0..SERVICES {
        let path = format!("status/s{number}");
        sandbox.background(&["-p", &path, "-f", "./service ready"]).expect_code(0);
    }
    for service in &services {
        signal(service.service_pid().expect("it runs"), Signal::SIGKILL);
    }
    for tenth in 1..=10 {
        eventually(&sandbox, &format!("{tenth} tenths have arrived"), || relay.mails().len() >= tenth * SERVICES / 10);
    }
    for service in &services {
        eventually(&sandbox, "the spool is empty", || service.alarms().is_empty());
    }
    let mut subjects: Vec<String> = relay.mails().iter().map(crate::smtp::Mail::subject).collect();
    subjects.sort_by(|a, b| a.rsplit(' ').nth(1).cmp(&b.rsplit(' ').nth(1)));
    subjects.dedup_by(|a, b| a.rsplit(' ').nth(1) == b.rsplit(' ').nth(1));
    assert_eq!((relay.mails().len(), subjects.len()), (SERVICES, SERVICES));
    assert!((2..=8).contains(&relay.most_at_once()), "{}", relay.most_at_once());
}
