//! `svstat`: says in one line how each service fares, as daemontools does.
#![no_main]

supervise::program!(supervise::commands::svstat::main);
supervise::leave_out!();
