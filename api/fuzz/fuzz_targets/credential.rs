//! `millrace_api::fuzzing::credential` for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| millrace_api::fuzzing::credential(data));
