//! `supervise`: keeps one program running.
#![no_main]

supervise::program!(supervise::commands::supervise::main);
supervise::leave_out!();
