//! `millrace_api::fuzzing::push_json` for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| millrace_api::fuzzing::push_json(data));
