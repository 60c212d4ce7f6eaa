//! Everything that runs the built program, as one test binary: docs/operation.md is what the tests hold it to.

mod common;

mod adoption;
mod background;
mod bad_commands;
mod bad_conf;
mod bad_days;
mod bad_limits;
mod command_line;
mod commands;
mod commands_in_every_state;
mod conf_on_processes;
mod exits;
mod fifos;
mod give_up;
mod hook;
mod logs;
mod mended;
mod random_kills;
mod records;
mod start;
mod status_directory;
mod stopping;
mod succession;
mod svc_alarms;
mod svc_status;
mod svc_tail;
mod svc_view;
mod svc_watch;
