//! What [global] and a module's own section make together, and whose problem is whose.

use super::*;
use crate::policy::{HookRules, Rules};
use std::num::NonZeroU32;
use std::time::Duration;

#[test]
fn who_inherits() {
    let conf = parse(b"[early]\nhup : default\n[global]\npacing : 2\n[late]\nhup : default\n[bare]\n");
    let get = |module: &[u8]| {
        let settings = conf.resolve(module).settings;
        (settings.pacing.as_secs(), settings.hup == crate::config::Hup::Default)
    };
    assert_eq!(get(b"early"), (1, true), "a section before [global] inherits nothing");
    assert_eq!(get(b"late"), (2, true));
    assert_eq!(get(b"bare"), (2, false));
    assert_eq!(get(b"elsewhere"), (2, false), "no section: [global]");
    assert_eq!(get(b"global"), (2, false));
    assert_eq!(parse(b"[a]\npacing : 2\n").resolve(b"b").settings, Settings::default());
    assert_eq!(parse(b"").resolve(b"b").settings, Settings::default());
}

#[test]
fn what_an_own_value_does_to_the_inherited_one() {
    let own = |global: &str, own: &str| web(format!("[global]\n{global}\n[web]\n{own}\n")).0;
    let shown =
        |settings: Settings, key: &str| settings.describe().into_iter().find(|(name, _)| *name == key).unwrap().1;
    let table = [
        ("alarm_interval", "90", "120", "120"),
        ("alarm_interval", "90", "0", "90"),
        ("alarm_interval", "90", "", "90"),
        ("alarm_interval", "90", "x", "90"),
        ("pacing", "2", "3", "3"),
        ("pacing", "2", "", "2"),
        ("pacing", "2", "x", "2"),
        ("stop_timeout", "2", "0", "2"),
        ("stop_timeout", "2", "0.0", "2"),
        ("stop_timeout", "", "3", "3"),
        ("hook_timeout", "2", "0", "2"),
        ("log_backups", "5", "0", "5"),
        ("log_backups", "", "0", "0"),
        ("log_backups", "0", "3", "3"),
        ("log_max_size", "1k", "2k", "2k"),
        ("kill_mode", "group", "process", "process"),
        ("kill_mode", "group", "", "group"),
        ("hup", "default", "ignored", "ignored"),
        ("alarm_recovered", "yes", "no", "no"),
        ("command", "a b", "c", "c"),
        ("command", "a b", "", "a b"),
        ("command", "a b", "0", "0"),
        ("mail_transport", "sendmail", "none", "none"),
        ("mail_transport", "sendmail", "bad", "sendmail"),
        ("mail_from", "a", "b", "b"),
        ("mail_password_file", "/a", "/b", "/b"),
        ("gsm_command", "a", "b", "b"),
        ("alarm_exec", "a", "b", "b"),
        ("alarm_webhook", "http://a", "https://b", "https://b"),
    ];
    for (key, global, value, result) in table {
        let settings = own(&format!("{key} : {global}"), &format!("{key} : {value}"));
        assert_eq!(shown(settings, key), result, "{key}: {global} / {value}");
    }
    for key in ["max_tries", "max_tries_if_coredumped"] {
        for (value, result) in [("7", "7"), ("0", "5"), ("", "5"), ("-7", "5")] {
            let global = format!("alarm_interval : 60\n{key} : 5");
            assert_eq!(shown(own(&global, &format!("{key} : {value}")), key), result, "{key} {value}");
        }
    }
}

#[test]
fn lists_are_added_up() {
    let (settings, found) = web("[global]\nalarm_interval : 60\nalarm_mail : a b\nalarm_gsm : 1 2 3 4 5 6\n\
         [web]\nalarm_mail : c a\nalarm_gsm : 7 8 9 1 10 11\n[other]\nalarm_gsm : 7\n");
    assert_eq!(settings.alarm_mail, ["a", "b", "c"]);
    assert_eq!(settings.alarm_gsm, ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"]);
    assert_eq!(told(&found), ["7: alarm_gsm: more than 10 numbers, [global]'s included: 1 ignored"]);
}

#[test]
fn without_a_window_the_classic_keys_are_without_effect() {
    let items = "max_tries : 5\nmax_tries_if_coredumped : 2\nalarm_mail : a\nalarm_gsm : 1\n";
    for nothing in ["", "alarm_interval : 0\n"] {
        assert_eq!(web(format!("[web]\n{nothing}{items}")).0, Settings::default());
    }
    let (settings, _) = web(format!("[global]\n{items}[web]\nalarm_interval : 60"));
    assert_eq!(settings.alarm_mail, ["a"]);
    assert_eq!(settings.max_tries, NonZeroU32::new(5));
}

#[test]
fn whose_problem_it_is() {
    let conf = parse(
        b"top\n[early]\npacing : x\n[global]\nhup : x\nwords\n[late]\nkill_mode : x\n[late]\n[global]\n [late]\n[\n",
    );
    assert_eq!(conf.problems().len(), 9);
    let lines = |module: &[u8]| conf.resolve(module).problems.iter().map(|problem| problem.line).collect::<Vec<_>>();
    assert_eq!(lines(b"early"), [1, 3, 5, 10, 11, 12], "of [global] only what refuses");
    assert_eq!(lines(b"late"), [1, 5, 6, 8, 9, 10, 11, 12]);
    assert_eq!(lines(b"bare"), [1, 5, 6, 10, 11, 12]);
    assert!(conf.resolve(b"bare").is_refused());
    let conf = parse(b"[global]\nwords\n[other]\npacing : x\n");
    assert!(!conf.resolve(b"web").is_refused(), "another module's section refuses nothing here");
    assert!(conf.resolve(b"other").is_refused());
}

#[test]
fn rules_for_the_policy() {
    let rules = |items: &str, hook| web(format!("[web]\n{items}")).0.rules(hook);
    assert_eq!(rules("", None), Rules::default());
    let seconds = Duration::from_secs;
    assert_eq!(
        rules(
            "alarm_interval : 5\nmax_tries : 3\nmax_tries_if_coredumped : 2\npacing : 0.5\nstop_timeout : 7\n\
             hook_timeout : 9",
            Some(Some(seconds(4)))
        ),
        Rules {
            window: Some(seconds(60)),
            max_tries: NonZeroU32::new(3),
            max_coredumps: NonZeroU32::new(2),
            pacing: Duration::from_millis(500),
            stop_timeout: Some(seconds(7)),
            recovered: false,
            hook: Some(HookRules { reset: Some(seconds(4)), timeout: seconds(9) }),
        }
    );
    assert!(rules("alarm_recovered : yes", None).recovered);
    assert_eq!(rules("", Some(None)).hook, Some(HookRules { reset: None, timeout: seconds(60) }));
    assert_eq!(rules("", Some(Some(Duration::ZERO))).hook.unwrap().reset, None);
    for item in ["alarm_exec : a", "alarm_webhook : http://h"] {
        let rules = rules(&format!("max_tries : 3\n{item}"), None);
        assert_eq!((rules.window, rules.max_tries), (Some(seconds(60)), None), "{item}");
    }
    // By hand, too, a limit needs a window.
    let settings = Settings { max_tries: NonZeroU32::new(1), ..Settings::default() };
    assert_eq!(settings.rules(None), Rules::default());
    let settings = Settings { alarm_interval: Some(seconds(1)), ..settings };
    assert_eq!(settings.rules(None).window, Some(seconds(60)));
}
