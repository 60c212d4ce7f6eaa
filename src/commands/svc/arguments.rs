//! What several verbs take: which services, and for how long they are waited for.

use std::cell::LazyCell;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

use clap::Args;

use super::completions::names;
use super::exit;
use crate::client::{Refusal, Service, distinct, find_all, select};
use crate::text::escape;

/// Which services.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Names {
    /// A module below the status root, the path of a status directory, or a pattern for either
    #[arg(value_name = "NAME", add = names())]
    names: Vec<OsString>,
    /// Every service below the status root
    #[arg(long)]
    all: bool,
}

/// Which services, where no name means all.
#[derive(Debug, Args)]
pub(crate) struct NamesOrAll {
    /// Modules below the status root, paths of status directories, or patterns; all modules where none is named
    #[arg(value_name = "NAME", add = names())]
    pub(super) names: Vec<OsString>,
}

/// How long.
#[derive(Debug, Args)]
pub(crate) struct Waiting {
    /// Waits so long until it is so
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds, allow_negative_numbers = true)]
    pub(super) timeout: Duration,
    /// Says nothing of what went well
    #[arg(short, long)]
    pub(super) quiet: bool,
}

/// Reads a length of time as it is typed.
///
/// # Errors
/// Why it is none.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| "a number of seconds is meant, 0 or more, like 30 or 0.5".to_owned())
}

/// What names on the command line stand for.
#[derive(Debug)]
pub(super) struct Named {
    /// The services, in the order of the names and none twice.
    pub(super) services: Vec<Service>,
    /// The names that name nothing, or that could not be looked for, each with a line that says why.
    pub(super) unknown: Vec<(OsString, String)>,
    /// The exit code of these.
    pub(super) code: u8,
}

impl Names {
    /// Finds the services; that there is none is an error too.
    pub(super) fn find(&self, root: &Path) -> Named {
        Named::find(root, &self.names).or_none(root)
    }
}

impl Named {
    /// These services.
    pub(super) fn these(services: Vec<Service>) -> Self {
        Self { services, unknown: Vec::new(), code: exit::DONE }
    }

    /// Finds the services with these names, without names all below the status root.
    pub(super) fn find(root: &Path, names: &[OsString]) -> Self {
        let mut named = Self::these(Vec::new());
        if names.is_empty() {
            let (services, errors) = select(root, names);
            named.services = services;
            for refusal in errors {
                named.refuse(root.as_os_str(), refusal);
            }
        }
        let known = LazyCell::new(|| find_all(root).unwrap_or_default());
        for name in names {
            let (services, errors) = select(root, std::slice::from_ref(name));
            named.services.extend(services);
            for refusal in errors {
                named.refuse(
                    name,
                    match (refusal, nearest(name, &known)) {
                        (Refusal::NoSupervise(line), Some(service)) => {
                            Refusal::NoSupervise(format!("{line}; did you mean {}?", service.shown()))
                        }
                        (refusal, _) => refusal,
                    },
                );
            }
        }
        named.services = distinct(named.services);
        named
    }

    /// Where no service was found, nor a name that names nothing, this is said of the status root.
    pub(super) fn or_none(mut self, root: &Path) -> Self {
        if self.services.is_empty() && self.unknown.is_empty() {
            let line = format!("there is no service below {}", escape(root.as_os_str().as_encoded_bytes()));
            self.refuse(root.as_os_str(), Refusal::NoSupervise(line));
        }
        self
    }

    fn refuse(&mut self, name: &OsStr, refusal: Refusal) {
        self.unknown.push((name.to_owned(), refusal.to_string()));
        self.code = self.code.max(exit::of(&refusal.into()));
    }
}

/// The service that was most likely meant by a name, if one is near enough: a third of it may differ.
fn nearest<'a>(name: &OsStr, services: &'a [Service]) -> Option<&'a Service> {
    let name = name.to_str()?;
    let allowed = name.len().max(3) / 3;
    let distance = |service: &'a Service| {
        let known = service.name.to_str()?;
        // The length is looked at first: it is cheap.
        let is_near = known.len().abs_diff(name.len()) <= allowed;
        let distance = is_near.then(|| strsim::osa_distance(known, name)).filter(|distance| *distance <= allowed)?;
        // Few mistake the first letter.
        Some((distance, known.chars().next() != name.chars().next(), service))
    };
    services.iter().filter_map(distance).min().map(|(.., service)| service)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_named() {
        let services: Vec<Service> =
            ["web", "web/a", "db", "应用"].map(|name| Service { name: name.into(), dir: name.into() }).into();
        let found = |name: &str| nearest(OsStr::new(name), &services).map(Service::shown);
        for (name, expected) in [
            ("wb", Some("web")),
            ("wbe", Some("web")),
            ("dv", Some("db")),
            ("应", None),
            ("应甲", Some("应用")),
            ("mail", None),
            ("w*", None),
            ("", None),
        ] {
            assert_eq!(found(name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn seconds_have_parts_and_an_end() {
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        for text in ["", "-1", "x", "NaN", "inf", "1e300"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
