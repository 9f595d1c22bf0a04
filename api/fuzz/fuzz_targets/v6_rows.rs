//! `millrace_api::fuzzing::v6_rows` for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| millrace_api::fuzzing::v6_rows(data));
