//! A parsed supervise.conf, and what each module gets from it.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::keys::Key;
use super::problem::{Problem, Severity};
use super::settings::Settings;

/// The section that others inherit from; so no module's own section can have this name.
pub(super) const GLOBAL: &[u8] = b"global";

/// A parsed file: its sections in file order, and everything that is wrong with it.
#[derive(Debug, Default)]
pub struct Conf {
    /// Each name once: a second section of the same name is not kept.
    pub(super) sections: Vec<Section>,
    /// Where in `sections` a name is.
    pub(super) index: BTreeMap<Vec<u8>, usize>,
    /// All problems, in line order.
    pub(super) problems: Vec<Problem>,
    /// For each problem the section it belongs to; `None`: the file as a whole.
    pub(super) owners: Vec<Option<usize>>,
}

/// A section with a name.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) name: Vec<u8>,
    /// Each key once: of several, the last.
    pub(super) items: Vec<Item>,
}

/// A line with a known key.
pub(super) struct Item {
    pub(super) key: &'static Key,
    pub(super) line: usize,
    /// Bytes of the line before the value.
    pub(super) column: usize,
    /// Trimmed; any bytes.
    pub(super) value: Vec<u8>,
}

/// What one module gets.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// The values that hold. Where a problem refuses one, what is inherited, else the default.
    pub settings: Settings,
    /// What is wrong with the parts of the file that concern this module, in line order.
    pub problems: Vec<Problem>,
}

impl Resolved {
    /// Whether one of the problems refuses a start.
    pub fn is_refused(&self) -> bool {
        self.problems.iter().any(|problem| problem.severity == Severity::Refused)
    }
}

impl Conf {
    /// Names of the sections that are modules, each once, in file order. They may be any bytes but `]` and
    /// line ends.
    pub fn modules(&self) -> impl Iterator<Item = &[u8]> {
        self.sections.iter().map(|section| section.name.as_slice()).filter(|name| *name != GLOBAL)
    }

    /// Everything that is wrong with the file, of all sections, in line order.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// What `module` gets: `[global]` if it has no section or one that stands behind `[global]`, and over
    /// that its own section. The name is compared byte for byte. The name `global` stands for a module
    /// without a section.
    ///
    /// The problems are those of the file as a whole, of the module's section, and of `[global]` where it
    /// is inherited; what `[global]` has to be refused for concerns every module.
    pub fn resolve(&self, module: &[u8]) -> Resolved {
        let global = self.index.get(GLOBAL).copied();
        let own = self.index.get(module).copied().filter(|own| Some(*own) != global);
        let inherited = global.filter(|global| own.is_none_or(|own| own > *global));

        let mut settings = Settings::default();
        let below = self.items(inherited);
        for item in below {
            item.apply(&mut settings);
        }
        for item in self.items(own) {
            let is_set_below = || below.iter().any(|low| low.key.name == item.key.name && !low.value.is_empty());
            if !(item.key.inherits(&item.value) && is_set_below()) {
                item.apply(&mut settings);
            }
        }
        settings.without_window_nothing_classic();

        let concerns = |problem: &Problem, owner: Option<usize>| {
            owner.is_none()
                || owner == own
                || owner == inherited
                || (owner == global && problem.severity == Severity::Refused)
        };
        let problems = self.problems.iter().zip(&self.owners);
        let problems = problems.filter(|(problem, owner)| concerns(problem, **owner));
        Resolved { settings, problems: problems.map(|(problem, _)| problem.clone()).collect() }
    }

    /// The programs that are to get alarms, each with its line and key, in file order by section.
    pub fn alarm_programs(&self) -> impl Iterator<Item = (usize, &'static str, OsString)> {
        self.sections.iter().flat_map(|section| &section.items).filter_map(|item| {
            let settings = item.alone();
            let words = settings.alarm_exec.or(settings.gsm_command)?;
            Some((item.line, item.key.name, words.into_iter().next()?))
        })
    }

    pub(super) fn items(&self, section: Option<usize>) -> &[Item] {
        section.and_then(|index| self.sections.get(index)).map_or(&[], |section| &section.items)
    }
}

impl Item {
    /// Reads the value into the settings; what is wrong with it comes back.
    pub(super) fn apply(&self, settings: &mut Settings) -> Vec<(Severity, String)> {
        self.key.apply(settings, &self.value, self.column)
    }

    /// The settings of a file that says this and no more.
    fn alone(&self) -> Settings {
        let mut settings = Settings::default();
        self.apply(&mut settings);
        settings
    }

    /// It opens an alarm window.
    pub(super) fn sets_window(&self) -> bool {
        self.alone().alarm_interval.is_some()
    }

    /// It says something that is without effect where there is no window.
    pub(super) fn needs_window(&self) -> bool {
        let mut settings = self.alone();
        settings.without_window_nothing_classic();
        !self.sets_window() && settings != self.alone()
    }
}

impl std::fmt::Debug for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} : {:?}", self.line, self.key.name, self.value.escape_ascii().to_string())
    }
}
