//! What is said to whom: lines on stderr, and colours only where they are seen.

use std::io::{self, Write as _};

/// A line on stderr; it may be closed.
pub(super) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "svc: {line}");
}

/// Whether to use colours: on a terminal that knows them, unless NO_COLOR is set to something (no-color.org);
/// elsewhere where CLICOLOR_FORCE is set to something but 0.
pub(super) fn has_colours(is_terminal: bool) -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let forced = is_set("CLICOLOR_FORCE") && std::env::var_os("CLICOLOR_FORCE").is_some_and(|value| value != "0");
    let knows = std::env::var_os("TERM").is_some_and(|term| term != "dumb" && !term.is_empty());
    !is_set("NO_COLOR") && (forced || (is_terminal && knows))
}
