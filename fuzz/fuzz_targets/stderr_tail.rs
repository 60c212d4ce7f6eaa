#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| supervise::fuzzing::stderr_tail(bytes));
