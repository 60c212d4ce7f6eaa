//! `svok`: tells by its exit code whether a supervise lives.
#![no_main]

supervise::quick_main!(supervise::commands::svok::main);
