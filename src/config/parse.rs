//! Goes through the lines of supervise.conf and puts them where they belong.

use super::conf::{Conf, GLOBAL, Item, Section};
use super::keys::Key;
use super::line::{Line, classify, is_blank, lines, trim};
use super::problem::{Problem, Severity, shown};
use super::settings::Settings;

/// Parses the text of a file. Never fails, whatever the bytes are: what is wrong is noted with its line, for
/// every section (docs/man/supervise.conf.5).
pub fn parse(text: &[u8]) -> Conf {
    let mut reader = Reader::default();
    for (number, line) in lines(text) {
        reader.take(number, line);
    }
    reader.check_values();
    reader.check_windows();
    reader.finish()
}

/// Where the current line stands.
#[derive(Clone, Copy, Default)]
enum Place {
    /// Before the first header.
    #[default]
    Top,
    /// In a section that counts, by its index.
    Section(usize),
    /// In a section that does not; its header was the problem, so its lines are none.
    Ignored,
}

#[derive(Default)]
struct Reader {
    conf: Conf,
    place: Place,
    /// Each problem with the section it belongs to, not yet in order.
    found: Vec<(Problem, Option<usize>)>,
}

impl Reader {
    fn take(&mut self, number: usize, line: &[u8]) {
        match classify(line) {
            Line::Nothing => {}
            Line::Header { name, rest } => self.header(number, name, rest),
            Line::Unclosed => {
                self.place = Place::Ignored;
                self.warn_file(number, "a section's name needs a ] behind it; ignored up to the next section");
            }
            Line::Indented(text) => self.indented(number, text),
            Line::Bare => self.warn_here(number, None, "a line without : or = is ignored"),
            Line::Item { key, value, column } => self.item(number, key, value, column),
        }
    }

    fn header(&mut self, number: usize, name: &[u8], rest: &[u8]) {
        self.place = Place::Ignored;
        if name.is_empty() {
            self.warn_file(number, "a section without a name is ignored");
            return;
        }
        if let Some(first) = self.conf.index.get(name).copied() {
            // A second [global] is everybody's business, since everybody may miss its items.
            let owner = Some(first).filter(|_| name != GLOBAL);
            let text = format!("a second section [{}] is ignored: the first one counts", shown(name));
            self.warn(number, None, owner, text);
            return;
        }
        let index = self.conf.sections.len();
        self.conf.sections.push(Section { name: name.to_vec(), items: Vec::new() });
        self.conf.index.insert(name.to_vec(), index);
        self.place = Place::Section(index);
        let control = |bytes: &[u8]| bytes.iter().any(|byte| byte.is_ascii_control() && !is_blank(*byte));
        if name.iter().any(u8::is_ascii_control) {
            let text = format!("[{}] holds a control byte, as no module's name does", shown(name));
            self.warn_file(number, &text);
        } else if trim(name).len() < name.len() {
            let text = format!(
                "the blanks between the brackets are part of the name: [{}] is not [{}]",
                shown(name),
                shown(trim(name))
            );
            self.warn_file(number, &text);
        }
        if control(rest) {
            // A file with CR alone as its line end would otherwise be one header, and nothing said.
            self.warn_file(number, "control bytes behind the ]; the rest of this line is ignored");
        }
    }

    /// A line that starts with a blank was never an item. It is not worth a word, unless somebody indented
    /// what they meant to count.
    fn indented(&mut self, number: usize, text: &[u8]) {
        match classify(text) {
            Line::Header { name, .. } => {
                let text = format!("[{}] starts with a blank, so it starts no section", shown(name));
                self.warn_file(number, &text);
            }
            Line::Item { key, .. } if Key::find(key).is_some() => {
                self.warn_here(number, Some(key), "starts with a blank, so it is not an item and is ignored");
            }
            _ => {}
        }
    }

    fn item(&mut self, number: usize, key: &[u8], value: &[u8], column: usize) {
        let Place::Section(index) = self.place else {
            // Outside a section it doesn't matter what the item says.
            self.warn_here(number, Some(key), "");
            return;
        };
        if key.is_empty() {
            self.warn_here(number, None, "there is no key before the separator; ignored");
            return;
        }
        let Some(known) = Key::find(key) else {
            let text = match Key::nearest(key) {
                Some(nearest) => format!("unknown key, ignored; is {nearest} meant?"),
                None => "unknown key, ignored".to_owned(),
            };
            self.warn_here(number, Some(key), &text);
            return;
        };
        let item = Item { key: known, line: number, column, value: value.to_vec() };
        let items = &mut self.conf.sections[index].items;
        match items.iter_mut().find(|earlier| earlier.key.name == known.name) {
            None => items.push(item),
            Some(earlier) => {
                let earlier = std::mem::replace(earlier, item).line;
                let text = format!("ignored: it stands again in line {number}, and the last one counts");
                self.warn(earlier, Some(key), Some(index), text);
            }
        }
    }

    /// Reads every value once, only to hear what is wrong with it.
    fn check_values(&mut self) {
        let global = self.conf.index.get(GLOBAL).copied();
        let mut inherited = Settings::default();
        for item in self.conf.items(global) {
            item.apply(&mut inherited);
        }
        for (index, section) in self.conf.sections.iter().enumerate() {
            let mut settings = Settings::default();
            if global.is_some_and(|global| global < index) {
                // How many numbers are too many depends on those inherited.
                settings.alarm_gsm.clone_from(&inherited.alarm_gsm);
            }
            for item in &section.items {
                for (severity, text) in item.apply(&mut settings) {
                    let key = Some(item.key.name.to_owned());
                    self.found.push((Problem { line: item.line, key, severity, text }, Some(index)));
                }
            }
        }
    }

    /// Who names recipients or limits and no window expects alarms that nobody gets.
    fn check_windows(&mut self) {
        let sections = &self.conf.sections;
        let global = self.conf.index.get(GLOBAL).copied();
        let has_window = |section: &Section| section.items.iter().any(Item::sets_window);
        for (index, section) in sections.iter().enumerate() {
            let has_effect = match global {
                // Each section behind it inherits.
                Some(global) if global == index => sections[index..].iter().any(has_window),
                Some(global) if global < index => has_window(&sections[global]) || has_window(section),
                _ => has_window(section),
            };
            for item in section.items.iter().filter(|item| !has_effect && item.needs_window()) {
                let (line, key) = (item.line, Some(item.key.name.to_owned()));
                let text = "without effect, because alarm_interval is not set or 0".to_owned();
                self.found.push((Problem { line, key, severity: Severity::Warning, text }, Some(index)));
            }
        }
    }

    fn finish(mut self) -> Conf {
        self.found.sort_by_key(|(problem, _)| problem.line); // stable: one line's stay in their order
        (self.conf.problems, self.conf.owners) = self.found.into_iter().unzip();
        self.conf
    }

    /// Of the line itself, in whatever section it stands. Before the first header nothing else about it
    /// matters, and in an ignored section nothing at all.
    fn warn_here(&mut self, number: usize, key: Option<&[u8]>, text: &str) {
        match self.place {
            Place::Section(index) => self.warn(number, key, Some(index), text.to_owned()),
            Place::Top => {
                self.warn(number, key, None, "ignored: it stands before the first section".to_owned());
            }
            Place::Ignored => {}
        }
    }

    fn warn_file(&mut self, number: usize, text: &str) {
        self.warn(number, None, None, text.to_owned());
    }

    fn warn(&mut self, line: usize, key: Option<&[u8]>, owner: Option<usize>, text: String) {
        let key = key.filter(|key| !key.is_empty()).map(shown);
        self.found.push((Problem { line, key, severity: Severity::Warning, text }, owner));
    }
}
