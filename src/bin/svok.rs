//! `svok`: tells by its exit code whether a supervise lives.
#![no_main]

supervise::program!(supervise::commands::svok::main);
supervise::leave_out!();
