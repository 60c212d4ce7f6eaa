//! The manual page says what the command line takes, and nothing else.

use std::collections::BTreeSet;

use clap::{Command, CommandFactory};

use super::Line;

const PAGE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/man/svc.8"));

/// What stands in bold behind each .TP of a section.
fn items(section: &str) -> BTreeSet<String> {
    let mut lines = PAGE.lines().skip_while(|line| *line != format!(".SH {section}")).skip(1);
    let mut items = BTreeSet::new();
    while let Some(line) = lines.next().filter(|line| !line.starts_with(".SH ")) {
        if line == ".TP" {
            let tag = lines.next().unwrap_or_default().replace("\\-", "-");
            let words = tag.trim_start_matches(".BR ").trim_start_matches(".B ").replace("\", \"", " ");
            items.extend(words.split([' ', ',', '"']).filter(|word| !word.is_empty()).map(str::to_owned));
        }
    }
    items
}

/// The options of a command and of all below it, as they are typed.
fn options(command: &Command) -> BTreeSet<String> {
    let own = command.get_arguments().flat_map(|argument| {
        let long = argument.get_long().map(|long| format!("--{long}"));
        let short = argument.get_short().map(|short| format!("-{short}"));
        long.into_iter().chain(short)
    });
    own.chain(command.get_subcommands().flat_map(options)).collect()
}

#[test]
fn every_verb_and_option_is_in_the_manual_page_and_no_other() {
    let mut line = Line::command();
    line.build();
    let verbs: BTreeSet<String> = line.get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
    assert_eq!(items("VERBS"), verbs);
    assert_eq!(items("OPTIONS"), options(&line));
}
