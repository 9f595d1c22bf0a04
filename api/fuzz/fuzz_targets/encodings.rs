//! `millrace_api::fuzzing::encodings` for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| millrace_api::fuzzing::encodings(data));
