//! What is said to whom: lines on stderr, colours only where they are seen, and nothing that moves a cursor.

use std::io::{self, Write as _};

use crate::text::printable;

/// Of a terminal that does not know how wide it is, in columns.
pub(super) const USUAL_WIDTH: u16 = 80;

/// A line on stderr about no service.
pub(super) fn say(line: &str) {
    say_plainly(&format!("svc: {line}"));
}

/// A line on stderr as it is; it may be closed.
pub(super) fn say_plainly(line: &str) {
    let _ = writeln!(io::stderr(), "{}", printable(line.as_bytes()));
}

/// The bytes as a terminal may have them: only tabs do more than being seen.
pub(super) fn harmless(bytes: &[u8]) -> String {
    let parts: Vec<String> = bytes.split(|&byte| byte == b'\t').map(printable).collect();
    parts.join("\t")
}

/// Whether to use colours: on a terminal that knows them, unless NO_COLOR is set to something (no-color.org);
/// elsewhere where CLICOLOR_FORCE is set to something but 0.
pub(super) fn has_colours(is_terminal: bool) -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let forced = is_set("CLICOLOR_FORCE") && std::env::var_os("CLICOLOR_FORCE").is_some_and(|value| value != "0");
    let knows = std::env::var_os("TERM").is_some_and(|term| term != "dumb" && !term.is_empty());
    !is_set("NO_COLOR") && (forced || (is_terminal && knows))
}
