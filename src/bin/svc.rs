//! `svc`: one client for one service or a thousand.
#![no_main]

supervise::program!(supervise::commands::svc::main);
