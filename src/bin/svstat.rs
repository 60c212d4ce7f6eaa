//! `svstat`: says in one line how each service fares, as daemontools does.

fn main() -> std::process::ExitCode {
    supervise::commands::svstat::main(std::env::args_os()).into()
}
