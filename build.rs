//! Places the C library's data where few pages of it are written (src/sys/memory.ld), in the released, static
//! supervise.
//!
//! Only lld links that script as it is meant: with another linker the program is some pages larger. So lld is looked
//! for by linking an empty program with an option that no other linker has.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

const SCRIPT: &str = "src/sys/memory.ld";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={SCRIPT}");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|have| have.split(',').any(|part| part == value));
    let meant = is("PROFILE", "release")
        && is("CARGO_CFG_TARGET_ENV", "gnu")
        && is("CARGO_CFG_TARGET_ARCH", "x86_64")
        && is("CARGO_CFG_TARGET_FEATURE", "crt-static");
    if meant && links_with_lld() == Some(true) {
        let folder = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        println!("cargo::rustc-link-arg-bin=supervise=-Wl,-T,{folder}/{SCRIPT}");
    }
}

/// `None`: it cannot be found out.
fn links_with_lld() -> Option<bool> {
    let out = PathBuf::from(env::var_os("OUT_DIR")?);
    let source = out.join("empty.rs");
    fs::write(&source, "fn main() {}\n").ok()?;
    let mut rustc = Command::new(env::var_os("RUSTC")?);
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    rustc.args(flags.split('\u{1f}').filter(|flag| !flag.is_empty()));
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        let mut flag = OsString::from("linker=");
        flag.push(linker);
        rustc.arg("-C").arg(flag);
    }
    rustc.arg("--target").arg(env::var_os("TARGET")?);
    rustc.args(["-C", "link-arg=-Wl,--no-warn-symbol-ordering", "-o"]).arg(out.join("empty")).arg(source);
    Some(rustc.stdout(Stdio::null()).stderr(Stdio::null()).status().ok()?.success())
}
