//! `millrace_api::fuzzing::cursor` for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| millrace_api::fuzzing::cursor(data));
