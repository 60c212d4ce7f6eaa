//! The one table of keys: what each is called, how its value is read, how it is shown.

use std::ffi::{OsStr, OsString};
use std::num::NonZeroU32;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

use super::address::{add_gsm, add_mail, check_address};
use super::line::is_blank;
use super::number::{classic_number, count, seconds, show_seconds, show_size, size};
use super::problem::{Severity, shown};
use super::settings::{Hup, KillMode, SHORTEST_WINDOW, Settings};
use super::transport::{parse_transport, parse_webhook};
use super::words::split_words;
use crate::text::printable;

/// A key of supervise.conf.
pub(super) struct Key {
    pub(super) name: &'static str,
    kind: Kind,
    /// The value as the file would say it.
    pub(super) show: fn(&Settings) -> String,
}

/// What is odd about a value that is taken all the same.
type Warnings = Vec<String>;

/// What is wrong with a value of ours.
type Outcome = Result<(), String>;

/// Whether a wrong value is a warning (classic keys) or refused (ours), and how it is read. A function
/// leaves the settings alone where it finds the value wrong.
enum Kind {
    /// A number of the classic program; 0 is the same as nothing.
    ClassicNumber(fn(&mut Settings, NonZeroU32)),
    /// A list of the classic program; the column is where the value starts in its line.
    ClassicList(fn(&mut Settings, &[u8], usize, &mut Warnings)),
    /// A number of ours.
    Number(fn(&mut Settings, &str) -> Outcome),
    /// A text of ours.
    Text(fn(&mut Settings, &str) -> Outcome),
    /// A program or a path of ours: any bytes but control bytes, since file names are that. What goes to
    /// the list at the end is worth a warning only.
    Bytes(fn(&mut Settings, &[u8], &mut Warnings) -> Outcome),
}

/// The shortest pacing: what is shorter keeps a processor busy with a service that can't start.
const SHORTEST_PACING: Duration = Duration::from_millis(100);

/// Most old log files that can be kept; each is a rename at every rotation.
const BACKUPS_LIMIT: u32 = 1000;

/// Every key, in the order of the man page.
pub(super) static KEYS: [Key; 20] = [
    Key {
        name: "alarm_interval",
        kind: Kind::ClassicNumber(|settings, number| {
            let interval = Duration::from_secs(number.get().into());
            settings.alarm_interval = Some(interval.max(SHORTEST_WINDOW));
        }),
        show: |settings| show_seconds(settings.alarm_interval.unwrap_or_default()),
    },
    Key {
        name: "alarm_mail",
        kind: Kind::ClassicList(|settings, value, column, warnings| {
            add_mail(&mut settings.alarm_mail, value, column, warnings);
        }),
        show: |settings| settings.alarm_mail.join(", "),
    },
    Key {
        name: "alarm_gsm",
        kind: Kind::ClassicList(|settings, value, _, warnings| {
            add_gsm(&mut settings.alarm_gsm, value, warnings);
        }),
        show: |settings| settings.alarm_gsm.join(", "),
    },
    Key {
        name: "max_tries",
        kind: Kind::ClassicNumber(|settings, number| settings.max_tries = Some(number)),
        show: |settings| show_limit(settings.max_tries),
    },
    Key {
        name: "max_tries_if_coredumped",
        kind: Kind::ClassicNumber(|settings, number| settings.max_tries_if_coredumped = Some(number)),
        show: |settings| show_limit(settings.max_tries_if_coredumped),
    },
    Key {
        name: "command",
        kind: Kind::Bytes(|settings, value, warnings| set(&mut settings.command, program(value, warnings))),
        show: |settings| show_words(settings.command.as_deref()),
    },
    Key {
        name: "pacing",
        kind: Kind::Number(|settings, value| {
            let pacing = seconds(value)?;
            if pacing < SHORTEST_PACING {
                return Err(format!("{} is less than 0.1", shown(value.as_bytes())));
            }
            settings.pacing = pacing;
            Ok(())
        }),
        show: |settings| show_seconds(settings.pacing),
    },
    Key {
        name: "stop_timeout",
        kind: Kind::Number(|settings, value| {
            settings.stop_timeout = Some(seconds(value)?).filter(|time| !time.is_zero());
            Ok(())
        }),
        show: |settings| show_seconds(settings.stop_timeout.unwrap_or_default()),
    },
    Key {
        name: "kill_mode",
        kind: Kind::Text(|settings, value| {
            settings.kill_mode = choice(value, [("process", KillMode::Process), ("group", KillMode::Group)])?;
            Ok(())
        }),
        show: |settings| match settings.kill_mode {
            KillMode::Process => "process".to_owned(),
            KillMode::Group => "group".to_owned(),
        },
    },
    Key {
        name: "hup",
        kind: Kind::Text(|settings, value| {
            settings.hup = choice(value, [("ignored", Hup::Ignored), ("default", Hup::Default)])?;
            Ok(())
        }),
        show: |settings| match settings.hup {
            Hup::Ignored => "ignored".to_owned(),
            Hup::Default => "default".to_owned(),
        },
    },
    Key {
        name: "hook_timeout",
        kind: Kind::Number(|settings, value| {
            let timeout = seconds(value)?;
            if timeout.is_zero() {
                return Err("a hook needs a time above 0".to_owned());
            }
            settings.hook_timeout = timeout;
            Ok(())
        }),
        show: |settings| show_seconds(settings.hook_timeout),
    },
    Key {
        name: "log_max_size",
        kind: Kind::Number(|settings, value| {
            settings.log_max_size = size(value)?;
            Ok(())
        }),
        show: |settings| show_size(settings.log_max_size),
    },
    Key {
        name: "log_backups",
        kind: Kind::Number(|settings, value| {
            settings.log_backups = count(value, BACKUPS_LIMIT)?;
            Ok(())
        }),
        show: |settings| settings.log_backups.to_string(),
    },
    Key {
        name: "mail_transport",
        kind: Kind::Text(|settings, value| set(&mut settings.mail_transport, parse_transport(value))),
        show: |settings| settings.mail_transport.as_ref().map(ToString::to_string).unwrap_or_default(),
    },
    Key {
        name: "mail_from",
        kind: Kind::Text(|settings, value| {
            let address = check_address(value.as_bytes()).map(ToOwned::to_owned);
            let address = address.map_err(|wrong| format!("{}: {wrong}", shown(value.as_bytes())));
            set(&mut settings.mail_from, address)
        }),
        show: |settings| settings.mail_from.clone().unwrap_or_default(),
    },
    Key {
        name: "mail_password_file",
        kind: Kind::Bytes(|settings, value, _| {
            set(&mut settings.mail_password_file, Ok(PathBuf::from(OsStr::from_bytes(value))))
        }),
        show: |settings| match &settings.mail_password_file {
            Some(path) => printable(path.as_os_str().as_bytes()),
            None => String::new(),
        },
    },
    Key {
        name: "gsm_command",
        kind: Kind::Bytes(|settings, value, warnings| set(&mut settings.gsm_command, program(value, warnings))),
        show: |settings| show_words(settings.gsm_command.as_deref()),
    },
    Key {
        name: "alarm_exec",
        kind: Kind::Bytes(|settings, value, warnings| set(&mut settings.alarm_exec, program(value, warnings))),
        show: |settings| show_words(settings.alarm_exec.as_deref()),
    },
    Key {
        name: "alarm_webhook",
        kind: Kind::Text(|settings, value| {
            set(&mut settings.alarm_webhook, parse_webhook(value).map(ToOwned::to_owned))
        }),
        show: |settings| settings.alarm_webhook.clone().unwrap_or_default(),
    },
    Key {
        name: "alarm_recovered",
        kind: Kind::Text(|settings, value| {
            settings.alarm_recovered = choice(value, [("yes", true), ("no", false)])?;
            Ok(())
        }),
        show: |settings| if settings.alarm_recovered { "yes" } else { "no" }.to_owned(),
    },
];

impl Key {
    /// The key of this name; upper and lower case differ.
    pub(super) fn find(name: &[u8]) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.name.as_bytes() == name)
    }

    /// The known name that was most likely meant, if one is near enough: a third of it may differ.
    pub(super) fn nearest(name: &[u8]) -> Option<&'static str> {
        let name = std::str::from_utf8(name).ok()?.to_ascii_lowercase();
        let allowed = name.len().max(3) / 3;
        KEYS.iter()
            // The length is looked at first: it is cheap, and a key may be as long as the file.
            .filter(|key| key.name.len().abs_diff(name.len()) <= allowed && name.len() <= 2 * key.name.len())
            .map(|key| (strsim::osa_distance(key.name, &name), key.name))
            .filter(|(distance, _)| *distance <= allowed)
            .min()
            .map(|(_, name)| name)
    }

    /// Reads a value into the settings, over what they hold; lists are added to. An empty value changes
    /// nothing, a wrong one nothing either. `column` is where the value starts in its line. What is wrong
    /// comes back.
    pub(super) fn apply(&self, settings: &mut Settings, value: &[u8], column: usize) -> Vec<(Severity, String)> {
        let mut warnings = Vec::new();
        if value.is_empty() {
            return Vec::new();
        }
        let outcome = match self.kind {
            // The line is not what somebody typed, so none of it counts.
            _ if value.iter().any(|byte| byte.is_ascii_control() && !is_blank(*byte)) => {
                Err("the value holds a control byte".to_owned())
            }
            // Bytes that are not UTF-8 spoil a word of a classic value and not the whole: files of that
            // age have their umlauts in Latin-1.
            Kind::ClassicNumber(read) => {
                let (number, odd) = classic_number(value);
                warnings.extend(odd);
                if let Some(number) = NonZeroU32::new(number) {
                    read(settings, number);
                }
                Ok(())
            }
            Kind::ClassicList(read) => {
                read(settings, value, column, &mut warnings);
                Ok(())
            }
            Kind::Number(read) | Kind::Text(read) => match std::str::from_utf8(value) {
                Ok(text) if !text.contains(char::is_control) => read(settings, text),
                Ok(_) => Err("the value holds a control character".to_owned()),
                Err(_) => Err("the value is not UTF-8".to_owned()),
            },
            Kind::Bytes(read) => read(settings, value, &mut warnings),
        };
        let mut found: Vec<_> = warnings.into_iter().map(|text| (Severity::Warning, text)).collect();
        match outcome {
            Ok(()) => {}
            Err(text) if self.is_classic() => {
                found.push((Severity::Warning, format!("{text}, so it counts as unset")));
            }
            Err(text) => found.push((Severity::Refused, text)),
        }
        found
    }

    /// Whether the value of a module's own section leaves the inherited one in force: an empty one does,
    /// and so does a number that is 0.
    pub(super) fn inherits(&self, value: &[u8]) -> bool {
        value.is_empty() || (self.is_number() && value.iter().all(|byte| matches!(byte, b'0' | b'.')))
    }

    fn is_classic(&self) -> bool {
        matches!(self.kind, Kind::ClassicNumber(_) | Kind::ClassicList(_))
    }

    fn is_number(&self) -> bool {
        matches!(self.kind, Kind::ClassicNumber(_) | Kind::Number(_))
    }
}

fn set<T>(place: &mut Option<T>, value: Result<T, String>) -> Outcome {
    *place = Some(value?);
    Ok(())
}

fn choice<T>(value: &str, choices: [(&str, T); 2]) -> Result<T, String> {
    let names = choices.each_ref().map(|(name, _)| *name);
    match choices.into_iter().find(|(name, _)| *name == value) {
        Some((_, choice)) => Ok(choice),
        None => Err(format!("{} is neither {} nor {}", shown(value.as_bytes()), names[0], names[1])),
    }
}

/// The words of a program with its arguments.
fn program(value: &[u8], warnings: &mut Warnings) -> Result<Vec<OsString>, String> {
    let (words, uneven) = split_words(value);
    if uneven {
        warnings.push("its quotes don't come out even, so it is split on blanks".to_owned());
    }
    match words.first() {
        Some(first) if !first.is_empty() => Ok(words),
        _ => Err("it names no program".to_owned()),
    }
}

fn show_limit(limit: Option<NonZeroU32>) -> String {
    limit.map_or(0, NonZeroU32::get).to_string()
}

/// Words in a form that is split into the same words again.
fn show_words(words: Option<&[OsString]>) -> String {
    let Some(words) = words else {
        return String::new();
    };
    match shlex::bytes::try_join(words.iter().map(|word| word.as_bytes())) {
        Ok(text) => printable(&text),
        // Only a NUL is refused, and no value that was read holds one.
        Err(_) => printable(&words.join(OsStr::new(" ")).into_vec()),
    }
}
