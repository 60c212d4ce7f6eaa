//! `svc`: one client for one service or a thousand.
#![no_main]

supervise::quick_main!(supervise::commands::svc::main);
