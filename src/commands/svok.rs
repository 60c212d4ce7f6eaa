//! Scaffold.
use std::ffi::OsString;
/// Scaffold.
#[must_use]
pub fn main(_: impl IntoIterator<Item = OsString>) -> u8 {
    100
}
