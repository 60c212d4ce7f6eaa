//! `svalarm`: brings the alarms of one status directory to those who are to receive them.

fn main() -> std::process::ExitCode {
    supervise::commands::svalarm::main(std::env::args_os().skip(1)).into()
}
