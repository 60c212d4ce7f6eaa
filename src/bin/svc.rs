//! `svc`: one client for one service or a thousand.

fn main() -> std::process::ExitCode {
    supervise::commands::svc::main(std::env::args_os()).into()
}
