//! `supervise`: keeps one program running.

fn main() -> std::process::ExitCode {
    supervise::commands::supervise::main(std::env::args_os().skip(1)).into()
}
