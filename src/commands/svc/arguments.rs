//! What several verbs take: which services, and for how long they are waited for.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use clap::Args;

use super::completions::names;
use crate::client::{Service, select};
use crate::text::escape;

/// Which services.
#[derive(Debug, Args)]
pub(crate) struct Names {
    /// A module below the status root, the path of a status directory, or a pattern for either
    #[arg(value_name = "NAME", add = names(), required_unless_present = "all")]
    names: Vec<OsString>,
    /// Every service below the status root
    #[arg(long, conflicts_with = "names")]
    all: bool,
}

/// How long.
#[derive(Debug, Args)]
pub(crate) struct Waiting {
    /// Waits so long until it is so
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
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
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|_| "not a time that can be waited for".to_owned())
}

/// What names on the command line stand for.
#[derive(Debug)]
pub(super) struct Named {
    /// The services, in the order of the names and none twice.
    pub(super) services: Vec<Service>,
    /// The names that name nothing, each with a line that says why.
    pub(super) unknown: Vec<(OsString, String)>,
}

impl Names {
    /// Finds the services.
    pub(super) fn find(&self, root: &Path) -> Named {
        Named::find(root, &self.names)
    }
}

impl Named {
    /// Finds the services with these names, without names all below the status root.
    pub(super) fn find(root: &Path, names: &[OsString]) -> Self {
        let mut named = Self { services: Vec::new(), unknown: Vec::new() };
        if names.is_empty() {
            let (services, errors) = select(root, names);
            if services.is_empty() && errors.is_empty() {
                let line = format!("there is no service below {}", escape(root.as_os_str().as_encoded_bytes()));
                named.unknown.push((root.as_os_str().to_owned(), line));
            }
            named.unknown.extend(errors.into_iter().map(|line| (root.as_os_str().to_owned(), line)));
            named.services = services;
        }
        for name in names {
            let (services, errors) = select(root, std::slice::from_ref(name));
            for service in services {
                if !named.services.contains(&service) {
                    named.services.push(service);
                }
            }
            named.unknown.extend(errors.into_iter().map(|line| (name.clone(), line)));
        }
        named
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_have_parts_and_an_end() {
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        for text in ["", "-1", "x", "NaN", "inf", "1e300"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
