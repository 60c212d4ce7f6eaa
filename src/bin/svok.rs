//! `svok`: tells by its exit code whether a supervise lives.

fn main() -> std::process::ExitCode {
    supervise::commands::svok::main(std::env::args_os()).into()
}
