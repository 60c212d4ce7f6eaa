//! Scaffold.
use std::ffi::OsString;
pub(super) struct Asked;
pub(super) fn read(_: &[OsString]) -> Option<Asked> {
    None
}
pub(super) fn run(_: Asked) -> u8 {
    100
}
