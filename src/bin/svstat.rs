//! `svstat`: says in one line how each service fares, as daemontools does.
#![no_main]

supervise::quick_main!(supervise::commands::svstat::main);
